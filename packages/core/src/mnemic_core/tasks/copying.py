"""Copy, reverse and associative recall over segments, which need a memory across segments."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.tasks.task import draw_tokens


@dataclass(frozen=True)
class SegmentBatch:
    """Sequences cut into segments of one length.

    Attributes:
        tokens: inputs.
        targets: outputs, undefined where not valid.
        valid: True at outputs that count, all of them in the last segment.
    """

    tokens: Int[Tensor, "segment batch time"]
    targets: Int[Tensor, "segment batch time"]
    valid: Bool[Tensor, "segment batch time"]


class CopyTask:
    """A string in the first segment, blanks in between, and queries for the string in the last segment.

    The copy task of the Neural Turing Machine (Graves et al. 2014, arXiv:1410.5401, section 4.1) with symbols. Tokens
    below ``symbols`` are symbols, ``symbols`` is the blank and ``symbols + 1`` the query. Accuracy without memory is
    ``1 / symbols``.

    Args:
        symbols: number of symbols, at least 2.
        is_reversed: whether the string is to be reversed.

    Example:
        >>> batch = CopyTask(symbols=4).sample(batch=2, length=5, segments=3)
        >>> batch.tokens.shape, torch.equal(batch.targets[-1], batch.tokens[0])
        (torch.Size([3, 2, 5]), True)
    """

    def __init__(self, symbols: int = 8, *, is_reversed: bool = False) -> None:
        check_at_least(2, symbols=symbols)
        self.symbols = symbols
        self.is_reversed = is_reversed
        self.input_size = symbols + 2
        self.output_size = symbols

    def sample(
        self, batch: int, length: int, *, segments: int = 2, generator: torch.Generator | None = None
    ) -> SegmentBatch:
        """Return random strings with their copies.

        Args:
            batch: number of rows.
            length: length of the string and of every segment.
            segments: number of segments, at least 2; the memory must reach over ``segments - 1`` of them.
            generator: source of randomness; PyTorch's own if None.
        """
        _check_sizes(batch, length, segments)
        string = draw_tokens(batch, length, self.symbols, generator)
        blanks = torch.full((segments - 2, batch, length), self.symbols)
        ask = torch.full((1, batch, length), self.symbols + 1)
        return _asked_last(torch.cat([string[None], blanks, ask]), string.flip(1) if self.is_reversed else string)


class AssociativeRecall:
    """Pairs of a key and a value in the first segment, blanks in between, and the keys in the last segment.

    The associative recall of the Neural Turing Machine (Graves et al. 2014, arXiv:1410.5401, section 4.3) with items
    of one token. Tokens below ``keys`` are keys, the next ``values`` are values, ``keys + values`` is the blank. Keys
    of a row are distinct. The last segment has the keys in another order, a blank after each; the target at a key is
    its value, counted from 0. The accuracy without memory is ``1 / values``.

    Args:
        keys: number of keys.
        values: number of values, at least 2.

    Example:
        >>> task = AssociativeRecall(keys=4, values=3)
        >>> batch = task.sample(batch=2, pairs=3)
        >>> batch.tokens.shape, batch.valid[-1, 0].tolist()
        (torch.Size([2, 2, 6]), [True, False, True, False, True, False])
    """

    def __init__(self, keys: int = 8, values: int = 8) -> None:
        check_at_least(1, keys=keys)
        check_at_least(2, values=values)
        self.keys = keys
        self.values = values
        self.input_size = keys + values + 1
        self.output_size = values

    def sample(
        self, batch: int, pairs: int, *, segments: int = 2, generator: torch.Generator | None = None
    ) -> SegmentBatch:
        """Return random pairs and questions.

        Args:
            batch: number of rows.
            pairs: pairs to remember, at most the number of keys; a segment has twice as many tokens.
            segments: as in :meth:`CopyTask.sample`.
            generator: source of randomness; PyTorch's own if None.
        """
        _check_sizes(batch, pairs, segments)
        if pairs > self.keys:
            raise UserError(f"pairs must be at most the {self.keys} keys, got {pairs}; build the task with more keys")
        keys = torch.rand(batch, self.keys, generator=generator).argsort(1)[:, :pairs]  # distinct in each row
        values = draw_tokens(batch, pairs, self.values, generator)
        order = torch.rand(batch, pairs, generator=generator).argsort(1)
        asked, answers = keys.gather(1, order), values.gather(1, order)
        blank = torch.full_like(keys, self.keys + self.values)
        shown = torch.stack([keys, self.keys + values], dim=2).flatten(1)
        ask = torch.stack([asked, blank], dim=2).flatten(1)
        blanks = blank.repeat(1, 2).expand(segments - 2, -1, -1)
        no_answer = torch.full_like(answers, -1)
        return _asked_last(
            torch.cat([shown[None], blanks, ask[None]]), torch.stack([answers, no_answer], dim=2).flatten(1)
        )


def _asked_last(tokens: Tensor, answers: Tensor) -> SegmentBatch:
    """Return segments with the answers, if not negative, as targets of the last one."""
    targets, valid = torch.zeros_like(tokens), torch.zeros_like(tokens, dtype=torch.bool)
    targets[-1], valid[-1] = answers.clamp(min=0), answers >= 0
    return SegmentBatch(tokens, targets, valid)


def _check_sizes(batch: int, length: int, segments: int) -> None:
    check_at_least(1, batch=batch, **{"the length or number of pairs": length})
    check_at_least(2, segments=segments)
