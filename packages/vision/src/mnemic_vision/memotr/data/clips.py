"""Training clips: their frames, and batches of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from mnemic_core.errors import UserError
from mnemic_vision.images import pad_images
from mnemic_vision.memotr.data.augment import Clip, ClipAugmentation, RawClip, shift_still
from mnemic_vision.memotr.data.sequence import TargetRows, TrackingSequence
from mnemic_vision.memotr.targets import ClipBatch


class ClipDataset(Dataset[Clip]):
    """A clip from every frame with enough successors (MeMOTR, ``data/dancetrack.py``).

    The frames of a clip are d apart, d = min(random 1 to ``max_interval``, maximum that fits into the sequence), and 1
    where that would include a frame without labels (BDD100K). Stills are repeated and shifted instead.

    A clip depends on seed, epoch and index alone, not on the process that loads it, so resumed training gets the same
    clips. Frames without objects give empty targets (the official BDD100K code invents a box there). Identities are
    made unique over all sequences.

    Args:
        sequences: with ground truth.
        length: frames of a clip, or a schedule by epoch such as ``{0: 2, 6: 3, 10: 4, 14: 5}``.
        max_interval: maximum distance between two frames of a clip.
        augmentation: of the clips; None: the default one.
        seed: random seed.

    Raises:
        UserError: a sequence has no ground truth, or none is long enough.

    Example:
        >>> from mnemic_vision.memotr.data import GeneratedSequences
        >>> world = GeneratedSequences(seed=0, num_sequences=1, num_frames=6, size=(96, 128))
        >>> small = ClipAugmentation(scales=(96,), max_size=128, crop_prob=0.0)
        >>> clips = ClipDataset(world.sequences, length={0: 2, 4: 5}, augmentation=small)
        >>> len(clips), clips[0].images.shape
        (5, torch.Size([2, 3, 96, 128]))
        >>> clips.set_epoch(4)
        >>> len(clips), clips[0].images.shape
        (2, torch.Size([5, 3, 96, 128]))
    """

    def __init__(
        self,
        sequences: Sequence[TrackingSequence],
        length: int | Mapping[int, int] = 2,
        *,
        max_interval: int = 10,
        augmentation: ClipAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        without = [sequence.name for sequence in sequences if not sequence.has_ground_truth]
        if without:
            raise UserError(f"training needs ground truth, but there is none for {', '.join(without)}")
        if max_interval < 1:
            raise UserError(f"max_interval must be at least 1, got {max_interval}")
        self._lengths = {0: length} if isinstance(length, int) else dict(length)
        if 0 not in self._lengths or min(self._lengths.values()) < 1:
            raise UserError(f"length must give the number of frames, at least 1, from epoch 0 on, got {length}")
        self.sequences = sequences
        self.augmentation = augmentation or ClipAugmentation()
        self._max_interval = max_interval
        self._seed = seed
        self._offsets = _identity_offsets(sequences)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which length and number of clips and the random numbers depend.

        Loader processes have a copy of the data set: start new ones after the call.
        """
        self._epoch = epoch
        self.length = self._lengths[max(first for first in self._lengths if first <= epoch)]
        starts = [_clip_starts(sequence, self.length) for sequence in self.sequences]
        self._starts = np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64)
        self._owners = np.repeat(np.arange(len(starts)), [len(found) for found in starts])
        if not len(self._starts):
            raise UserError(f"no sequence has {self.length} labeled frames in a row; use shorter clips")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        generator = np.random.default_rng((self._seed, self._epoch, index))
        owner, start = int(self._owners[index]), int(self._starts[index])
        sequence = self.sequences[owner]
        if sequence.are_stills:
            rows = self._rows(owner, start)
            overflow = self.augmentation.overflow_boxes
            clip = shift_still(sequence.image(start), rows, self.length, generator, overflow_boxes=overflow)
        else:
            chosen = clip_frames(sequence, start, self.length, self._max_interval, generator)
            images = torch.stack([sequence.image(frame) for frame in chosen])
            clip = RawClip(images, [self._rows(owner, frame) for frame in chosen])
        return self.augmentation(clip, generator)

    def _rows(self, owner: int, frame: int) -> TargetRows:
        rows = self.sequences[owner].target_rows(frame)
        return rows._replace(ids=rows.ids + self._offsets[owner])


def _identity_offsets(sequences: Sequence[TrackingSequence]) -> list[int]:
    """Return an offset for the identities of each sequence that makes them unique over all sequences."""
    offsets, total = [], 0
    for sequence in sequences:
        ids = sequence.annotations.rows.ids if sequence.annotations else np.zeros(0, dtype=np.int64)
        lowest, highest = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
        offsets.append(total - lowest)
        total += highest - lowest + 1
    return offsets


def _clip_starts(sequence: TrackingSequence, length: int) -> np.ndarray:
    """Return the frames that start ``length`` consecutive labeled frames."""
    labeled = sequence.annotations.labeled if sequence.annotations else np.zeros(0, dtype=bool)
    length = 1 if sequence.are_stills else length  # `shift_still` makes a clip of one
    if len(labeled) < length:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(labeled, length).all(axis=1))


def clip_frames(
    sequence: TrackingSequence, start: int, length: int, max_interval: int, generator: np.random.Generator
) -> list[int]:
    """Return ``length`` equidistant labeled frames from ``start`` on, at most ``max_interval`` apart."""
    drawn = int(generator.integers(1, max_interval, endpoint=True))
    room = sequence.num_frames - 1 - start
    interval = min(drawn, room // max(1, length - 1))
    chosen = [start + step * interval for step in range(length)]
    # BDD100K has unlabeled frames, but not right after the start; see `_clip_starts`.
    if sequence.annotations and not sequence.annotations.labeled[chosen].all():
        chosen = list(range(start, start + length))
    return chosen


def collate_clips(clips: Sequence[Clip]) -> ClipBatch:
    """Return a batch of clips of equal length, padded at the right and at the bottom to multiples of 32."""
    lengths = {len(clip.targets) for clip in clips}
    if len(lengths) != 1:
        raise UserError(f"the clips of a batch must have the same length, got {sorted(lengths)}")
    length = lengths.pop()
    images, padding = pad_images([image for clip in clips for image in clip.images])
    by_frame = [[clip.targets[frame] for clip in clips] for frame in range(length)]
    # One padding mask per clip, since its frames have the same size.
    return ClipBatch(images.unflatten(0, (len(clips), length)), padding[::length], by_frame)
