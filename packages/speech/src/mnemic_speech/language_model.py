"""N-gram language model over tokens, scored for all hypotheses of a beam at once."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mnemic_core.checkpoint import KEY, check_version, read_header
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_core.tensor_file import read_tensors, write_tensors
from mnemic_speech.ngram_counts import count_ngrams, kneser_ney
from mnemic_speech.token_scorer import BeamState, select_beams

KIND = "ngram"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class NgramState(BeamState):
    """Index of the longest known context of each hypothesis; 0 is the empty one."""

    context: Int[Tensor, "batch beam"]

    def reorder(self, parents: Int[Tensor, "batch beam"]) -> "NgramState":
        """Return the state with the hypotheses of each beam replaced by those at ``parents``."""
        return NgramState(select_beams(self.context, parents))


class NgramModel:
    """Backoff n-gram model over token ids, a :class:`~mnemic_speech.token_scorer.TokenScorer` for shallow fusion.

    The n-grams are numbered breadth first: by length, then in the order of their tokens. So an n-gram is found by
    bisection, the continuations of a context are contiguous, and the state of a hypothesis is one integer. Build one
    with :meth:`train` or :meth:`load`.

    Args:
        order: tokens of the longest n-gram.
        vocab_size: number of tokens; all have positive probability.
        keys: of each n-gram, ``vocab_size`` times the number of its context plus its last token; ascending.
        suffix: number of each n-gram without its first token, preceded by 0 for the empty one.
        log_prob: of each n-gram's last token given its context, preceded by an unused entry.
        backoff: log-weight of the shorter context where a token was not seen after a context; for the empty n-gram
            and each other.

    Example:
        >>> model = NgramModel.train([[1, 2], [1, 2, 2]], order=2, vocab_size=4, sos_eos=3)
        >>> log_probs, state = model.step(torch.tensor([[3]]), model.init_state(batch=1, beam=1))
        >>> int(log_probs.argmax())
        1
    """

    def __init__(
        self,
        order: int,
        vocab_size: int,
        keys: Int[Tensor, " ngram"],
        suffix: Int[Tensor, " node"],
        log_prob: Float[Tensor, " node"],
        backoff: Float[Tensor, " node"],
    ) -> None:
        self.order, self.vocab_size = order, vocab_size
        self.keys, self.suffix, self.log_prob, self.backoff = keys, suffix, log_prob, backoff
        # The continuations of n-gram i are numbered from _first_child[i] up to _first_child[i + 1].
        ngrams = torch.arange(len(suffix) + 1, device=keys.device)
        self._first_child = torch.searchsorted(keys, ngrams * vocab_size) + 1
        self._unigrams = (backoff[0] - math.log(vocab_size)).repeat(vocab_size)
        known = keys[: int(self._first_child[1]) - 1]
        self._unigrams[known] = log_prob[1 : len(known) + 1]

    @classmethod
    def train(cls, texts: Iterable[Sequence[int]], order: int, *, vocab_size: int, sos_eos: int) -> "NgramModel":
        """Return a model with interpolated Kneser-Ney smoothing (Chen and Goodman 1999, section 2.7).

        Texts are token ids without start and end symbol; ``order`` is the number of tokens of the longest n-gram.

        Raises:
            UserError: if there is no text, a token out of range or an order below 1.
        """
        if order < 1:
            raise UserError(f"order must be at least 1, got {order}")
        levels = count_ngrams(texts, order, vocab_size, sos_eos)
        log_prob, backoff = kneser_ney(levels, vocab_size)
        keys = np.concatenate([level.keys for level in levels])
        suffix = np.concatenate([[0], *(level.suffix for level in levels)])
        tensors = (torch.from_numpy(array) for array in (keys, suffix, log_prob, backoff))
        return cls(order, vocab_size, *tensors)

    def init_state(self, batch: int, beam: int) -> NgramState:
        """Return the state of empty hypotheses, without the start symbol."""
        return NgramState(torch.zeros(batch, beam, dtype=torch.long, device=self.keys.device))

    def step(
        self, tokens: Int[Tensor, "batch beam"], state: NgramState
    ) -> tuple[Float[Tensor, "batch beam vocab"], NgramState]:
        """Return the log-probability of every token that may follow ``tokens``, and the state that includes them."""
        context = self._advance(state.context, tokens)
        return self._log_probs(context.flatten()).unflatten(0, context.shape), NgramState(context)

    def to(self, device: torch.device | str) -> "NgramModel":
        """Return the model on another device."""
        return NgramModel(self.order, self.vocab_size, *(tensor.to(device) for tensor in self._tensors().values()))

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors, atomically."""
        header = {"kind": KIND, "format_version": FORMAT_VERSION, "order": self.order, "vocab_size": self.vocab_size}
        write_tensors(path, self._tensors(), {KEY: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> "NgramModel":
        """Read a model that :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is damaged, not an n-gram model or of another format.
        """
        tensors, metadata = read_tensors(path)
        header = read_header(metadata, path)
        if header.get("kind") != KIND:
            raise UserError(f"{path} is not an n-gram model (kind {header.get('kind')!r}): train and save it again")
        check_version(header.get("format_version"), FORMAT_VERSION, path, __name__)
        order, vocab_size = (deserialize(int, header.get(name), path, name) for name in ("order", "vocab_size"))
        if not _fits(tensors, vocab_size) or order < 1:
            raise UserError(f"{path} is damaged: its n-grams do not fit together; train and save it again")
        return cls(order, vocab_size, **tensors)

    def _tensors(self) -> dict[str, Tensor]:
        return {"keys": self.keys, "suffix": self.suffix, "log_prob": self.log_prob, "backoff": self.backoff}

    def _advance(
        self, context: Int[Tensor, "batch beam"], tokens: Int[Tensor, "batch beam"]
    ) -> Int[Tensor, "batch beam"]:
        """Return the longest known n-gram that is a suffix of each context plus its token."""
        found = torch.zeros_like(context)
        for _ in range(self.order + 1):  # from a context of ``order`` tokens down to the empty one
            key = context * self.vocab_size + tokens
            index = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
            found = torch.where((found == 0) & (self.keys[index] == key), index + 1, found)
            context = self.suffix[context]
        return found

    def _log_probs(self, context: Int[Tensor, " context"]) -> Float[Tensor, "context vocab"]:
        """Return the log-probability of every token after each context."""
        contexts = [context]
        for _ in range(self.order):
            contexts.append(self.suffix[contexts[-1]])
        rows = self._unigrams.repeat(len(context), 1)
        for longer in reversed(contexts):
            rows = self._refine(rows, longer)
        return rows

    def _refine(
        self, rows: Float[Tensor, "context vocab"], context: Int[Tensor, " context"]
    ) -> Float[Tensor, "context vocab"]:
        """Return the rows of longer contexts: backed off, and overwritten at seen tokens; context 0 changes nothing."""
        known = context > 0
        rows = rows + torch.where(known, self.backoff[context], 0)[:, None]
        first = self._first_child[context]
        count = torch.where(known, self._first_child[context + 1] - first, 0)
        row = torch.repeat_interleave(count)
        within = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
        child = first[row] + within
        rows[row, self.keys[child - 1] % self.vocab_size] = self.log_prob[child]
        return rows


def _fits(tensors: Mapping[str, Shaped[Tensor, "..."]], vocab_size: int) -> bool:
    """Return whether the tables fit together, with all indices in range."""
    if tensors.keys() != {"keys", "suffix", "log_prob", "backoff"} or any(each.ndim != 1 for each in tensors.values()):
        return False
    keys, suffix, log_prob, backoff = (tensors[name] for name in ("keys", "suffix", "log_prob", "backoff"))
    if not keys.dtype == suffix.dtype == torch.int64 or not log_prob.dtype == backoff.dtype == torch.float32:
        return False
    count = len(keys)
    if not count or not all(len(each) == count + 1 for each in (suffix, log_prob, backoff)):
        return False
    in_order = bool((keys.diff() > 0).all()) and int(keys[0]) >= 0 and int(keys[-1]) < (count + 1) * vocab_size
    return in_order and int(suffix.min()) >= 0 and int(suffix.max()) <= count
