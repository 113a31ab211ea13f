"""A text cut into parallel streams of consecutive segments, between which a memory is carried."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_core.errors import check_at_least
from mnemic_lm.text import Corpus


@dataclass(frozen=True)
class SegmentBatch:
    """Consecutive segments of every stream.

    Attributes:
        inputs: tokens, shifted by one: the last one of the previous segment, or the start token, comes first.
        targets: the token after each.
        padding: True after the end of the document.
        reset: True at streams whose document starts with this segment.
        bytes_per_token: mean of the complete text.
    """

    inputs: Int[Tensor, "segment batch time"]
    targets: Int[Tensor, "segment batch time"]
    padding: Bool[Tensor, "segment batch time"]
    reset: Bool[Tensor, "segment batch"]
    bytes_per_token: float

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "SegmentBatch":
        """Return a copy on a device."""
        names = ("inputs", "targets", "padding", "reset")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class TextStreams(Dataset[SegmentBatch]):
    """All segments of a text, distributed over ``batch_size`` parallel streams.

    The documents are cut into segments, with padding after the last one of each; every stream gets an equal number of
    consecutive segments, the last stream padding where they run out. Step ``i`` is determined by the text and ``i``, so
    that a restart needs only the number of steps.

    Args:
        corpus: the text.
        segment_length: tokens per segment.
        batch_size: number of streams.
        segments_per_step: segments per batch.

    Example:
        >>> from mnemic_lm.text import Corpus
        >>> streams = TextStreams(Corpus((torch.tensor([1, 2, 3]),), 0, 3), segment_length=2, batch_size=1)
        >>> [batch.inputs.tolist() for batch in streams]
        [[[[0, 1]]], [[[2, 0]]]]
    """

    def __init__(self, corpus: Corpus, segment_length: int, batch_size: int, segments_per_step: int = 1) -> None:
        check_at_least(1, segment_length=segment_length, batch_size=batch_size, segments_per_step=segments_per_step)
        self.segment_length, self.segments_per_step = segment_length, segments_per_step
        self.bytes_per_token = corpus.bytes_per_token
        # The start token precedes each document; 16 bits hold bytes and most vocabularies.
        narrow = torch.int16 if corpus.start_token < 2**15 else torch.int32
        start = torch.tensor([corpus.start_token], dtype=narrow)
        self._tokens = torch.cat([part.to(narrow) for document in corpus.documents for part in (start, document)])
        begin, length, is_first = _cut(corpus, segment_length)
        rows = math.ceil(len(begin) / batch_size)
        missing = rows * batch_size - len(begin)
        self._begin, self._length, self._reset = (
            torch.cat([tensor, tensor.new_zeros(missing)]).view(batch_size, rows).T.contiguous()
            for tensor in (begin, length, is_first)
        )  # segment batch
        self._reset[0] = True  # a stream can start within a document, but never with a memory

    def __len__(self) -> int:
        """Return the number of steps."""
        return math.ceil(len(self._begin) / self.segments_per_step)

    def __getitem__(self, step: int) -> SegmentBatch:
        """Return one step."""
        if not 0 <= step < len(self):
            raise IndexError(f"step must be in 0..{len(self) - 1}, got {step}")
        part = slice(step * self.segments_per_step, (step + 1) * self.segments_per_step)
        place = torch.arange(self.segment_length)
        padding = place >= self._length[part, :, None]
        index = (self._begin[part, :, None] + place).masked_fill(padding, 0)
        inputs, targets = (self._tokens[index + shift].long().masked_fill(padding, 0) for shift in (0, 1))
        return SegmentBatch(inputs, targets, padding, self._reset[part], self.bytes_per_token)

    def __iter__(self) -> Iterator[SegmentBatch]:
        """Yield all steps."""
        return (self[step] for step in range(len(self)))


def _cut(
    corpus: Corpus, segment_length: int
) -> tuple[Int[Tensor, " segment"], Int[Tensor, " segment"], Bool[Tensor, " segment"]]:
    """Return offset and length of each segment, and whether it is the first of a document."""
    begin, length, is_first = [], [], []
    offset = 0
    for document in corpus.documents:
        within = torch.arange(0, len(document), segment_length)
        begin.append(offset + within)
        length.append((len(document) - within).clamp(max=segment_length))
        is_first.append(within == 0)
        offset += 1 + len(document)  # with its start token
    return torch.cat(begin), torch.cat(length), torch.cat(is_first)
