"""The windows of a batch of recordings as tensors: which frames each sees, and which of its outputs are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.buffers.context_windows import ContextWindow, Side, context_windows
from mnemic_speech.simultaneous.config import SegmentConfig
from mnemic_speech.subsampling import STRIDE


@dataclass(frozen=True)
class Windows:
    """The windows of a batch, one row for each recording and segment; recordings with fewer segments have empty ones.

    Attributes:
        frames: feature frames of each window; any number beyond its length.
        lengths: of each window in feature frames; 0 for an empty one.
        kept: first and last but one of its encoder frames that are those of the segment.
        num_segments: of the longest recording.
        distinct: rows of which no earlier one has the same frames.
        source: for each row, its place among these; at the end of a recording, shifted windows often are the same.
    """

    frames: Int[Tensor, "row time"]
    lengths: Int[Tensor, " row"]
    kept: Int[Tensor, "row 2"]
    num_segments: int
    distinct: Int[Tensor, " distinct"]
    source: Int[Tensor, " row"]

    @classmethod
    def of(cls, lengths: Sequence[int], segments: SegmentConfig, shift: Sequence[Side]) -> "Windows":
        """Return the windows of recordings with these numbers of feature frames."""
        sizes = (segments.length, segments.left, segments.right)
        return cls.of_layouts([context_windows(length, *sizes, shift=shift) for length in lengths])

    @classmethod
    def of_layouts(cls, layouts: Sequence[Sequence[ContextWindow]]) -> "Windows":
        """Return given windows of each recording."""
        number = max(map(len, layouts), default=0)
        rows = [window for layout in layouts for window in [*layout, *[_EMPTY] * (number - len(layout))]]
        spans = torch.tensor([(window.start, window.stop) for window in rows], dtype=torch.long).view(-1, 2)
        kept = [(each.start, max(each.start, each.stop)) for each in (window.kept(STRIDE) for window in rows)]
        longest = int((spans[:, 1] - spans[:, 0]).max()) if len(rows) else 0
        found: dict[tuple[int, int, int], tuple[int, int]] = {}  # place among distinct ones, and row
        keys = [(place // max(1, number), window.start, window.stop) for place, window in enumerate(rows)]
        source = [found.setdefault(key, (len(found), row))[0] for row, key in enumerate(keys)]
        return cls(
            spans[:, :1] + torch.arange(longest),
            spans[:, 1] - spans[:, 0],
            torch.tensor(kept, dtype=torch.long).view(-1, 2),
            number,
            torch.tensor([row for _, row in found.values()], dtype=torch.long),
            torch.tensor(source, dtype=torch.long),
        )

    def to(self, device: torch.device) -> "Windows":
        """Return the windows on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def cut(self, features: Float[Tensor, "batch time mel"]) -> Float[Tensor, "row window mel"]:
        """Return the features of each window; zeros beyond its length."""
        time = features.shape[1]
        rows = self.frames.view(len(features), -1).clamp(0, max(0, time - 1))
        taken = features.gather(1, rows[..., None].expand(-1, -1, features.shape[2]))
        windows = taken.view(*self.frames.shape, -1)
        beyond = torch.arange(self.frames.shape[1], device=features.device) >= self.lengths[:, None]
        return windows.masked_fill(beyond[..., None], 0)

    def center(self, num_frames: int) -> Bool[Tensor, "row frame"]:
        """Return True at the encoder frames that are those of the segment."""
        place = torch.arange(num_frames, device=self.kept.device)
        return (place >= self.kept[:, :1]) & (place < self.kept[:, 1:])

    def join(
        self,
        frames: Float[Tensor, "row window_frame dim"],
        batch: int,
        segments: Bool[Tensor, "batch segment"] | None = None,
    ) -> tuple[Float[Tensor, "batch frame dim"], Int[Tensor, " batch"]]:
        """Return the kept frames of each recording one after the other, zeros after them, and their number.

        Args:
            frames: of the windows.
            batch: number of recordings.
            segments: which segments to take; None: all.
        """
        center = self.center(frames.shape[1]).view(batch, self.num_segments, -1)
        if segments is not None:
            center = center & segments[..., None]
        center = center.flatten(1)
        order = (~center).to(torch.uint8).argsort(dim=1, stable=True)
        lengths = center.sum(1)
        most = int(lengths.max()) if batch else 0
        flat = frames.reshape(batch, -1, frames.shape[-1])
        joined = flat.gather(1, order[:, :most, None].expand(-1, -1, flat.shape[-1]))
        beyond = torch.arange(most, device=frames.device) >= lengths[:, None]
        return joined.masked_fill(beyond[..., None], 0), lengths


_EMPTY = ContextWindow(0, 0, 0, 0)
