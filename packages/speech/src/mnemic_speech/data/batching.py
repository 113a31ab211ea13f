"""Batches of utterances of similar length, to limit padding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from mnemic_core.distinct_names import with_distinct_names
from mnemic_core.errors import UserError
from mnemic_speech.data.augmentation import Augmentation
from mnemic_speech.data.cached_features import read_features
from mnemic_speech.data.manifest import Utterance
from mnemic_speech.features import Features
from mnemic_speech.text import Tokenizer

_JITTER = 0.1  # relative jitter of durations per epoch, so that batches vary


@runtime_checkable
class Clip(Protocol):
    """A recording with its text, read lazily."""

    @property
    def id(self) -> str:
        """Name of the clip, unique in its data set."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def seconds(self) -> float:
        """Duration, known without reading the audio."""

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform; generated clips may draw from ``random``."""


@dataclass(frozen=True)
class RenamedClip:
    """A clip under another name.

    Attributes:
        clip: the clip.
        id: its name here.
    """

    clip: Clip
    id: str

    @property
    def text(self) -> str:
        """The text."""
        return self.clip.text

    @property
    def seconds(self) -> float:
        """Duration, known without reading the audio."""
        return self.clip.seconds

    def read(self, sample_rate: int, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform."""
        return self.clip.read(sample_rate, random)


def with_distinct_ids(sources: Sequence[Sequence[Clip]]) -> list[Clip]:
    """Return the clips of several sources, named as by `with_distinct_names`."""
    return with_distinct_names(sources, lambda clip: clip.id, _renamed)


def _renamed(clip: Clip, name: str) -> Clip:
    return replace(clip, id=name) if isinstance(clip, Utterance) else RenamedClip(clip, name)


@runtime_checkable
class InputReader(Protocol):
    """Gives what a network gets of a clip; the generator serves generated clips and augmentation."""

    def __call__(self, clip: Clip, random: np.random.Generator) -> Float[Tensor, "*input"]:
        """Return samples, or frames of features."""


@dataclass(frozen=True)
class Waveforms:
    """Reads waveforms.

    Attributes:
        sample_rate: in Hz; recordings of another rate are resampled.
        augmentation: of each; None: none.
    """

    sample_rate: int
    augmentation: Augmentation | None = None

    def __call__(self, clip: Clip, random: np.random.Generator) -> Float[Tensor, " samples"]:
        """Return the waveform of a clip."""
        waveform = clip.read(self.sample_rate, random)
        return waveform if self.augmentation is None else self.augmentation(waveform, random)


@dataclass(frozen=True)
class FeatureInputs:
    """Reads features: those that are kept in a file where a clip has some, otherwise of its waveform.

    Attributes:
        features: of waveforms.
    """

    features: Features

    def __call__(self, clip: Clip, random: np.random.Generator) -> Float[Tensor, "frame mel"]:
        """Return the features of a clip, without normalization."""
        if isinstance(clip, Utterance) and clip.features is not None:
            return read_features(clip.features, clip.id, self.features.config)
        with torch.no_grad():
            found: Tensor = self.features(clip.read(self.features.config.sample_rate, random)[None])[0][0]
        return found


@dataclass(frozen=True)
class SpeechBatch:
    """A zero-padded batch of utterances.

    Attributes:
        inputs: samples in [-1, 1], or features.
        lengths: samples or frames of each utterance.
        tokens: tokens of each text.
        token_lengths: number of tokens of each text.
        ids: names of the utterances.
        texts: text of each.
    """

    inputs: Float[Tensor, "batch time *_"]
    lengths: Int[Tensor, " batch"]
    tokens: Int[Tensor, "batch token"]
    token_lengths: Int[Tensor, " batch"]
    ids: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.ids)

    def to(self, device: torch.device) -> "SpeechBatch":
        """Return the batch on a device."""
        names = ("inputs", "lengths", "tokens", "token_lengths")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True)
class Durations:
    """Seconds of audio in training.

    Attributes:
        batch: upper bound of `duration_batches`.
        shortest: of an utterance; shorter ones have no encoder frame.
        longest: of an utterance; longer ones exceed memory.

    Raises:
        UserError: if they are not positive and finite, or the longest is not longer than the shortest.
    """

    batch: float
    shortest: float
    longest: float

    def __post_init__(self) -> None:
        if not (0 < self.batch < inf and 0 <= self.shortest < self.longest < inf):
            raise UserError(
                "expected batch_seconds above 0 and 0 <= min_seconds < max_seconds, "
                f"got {self.batch}, {self.shortest} and {self.longest}"
            )

    def choose(self, clips: Iterable[Clip]) -> list[Clip]:
        """Return the clips that are neither too short nor too long."""
        return [clip for clip in clips if self.shortest <= clip.seconds <= self.longest]


def sample_clips(clips: Sequence[Clip], count: int, seed: int) -> list[Clip]:
    """Return a random sample of at most ``count`` clips, such as for statistics of features."""
    chosen = np.random.default_rng(seed).permutation(len(clips))[:count]
    return [clips[index] for index in chosen]


def duration_batches(
    seconds: Sequence[float], batch_seconds: float, shuffle: tuple[int, int] | None = None
) -> list[list[int]]:
    """Return the indices of each batch: clips of similar length, as many as fit when padded to the longest.

    Args:
        seconds: duration of each clip.
        batch_seconds: upper bound of the longest duration times the number of clips; a longer clip forms its own batch.
        shuffle: seed and epoch of the jitter of durations; None: strictly by length.

    Example:
        >>> duration_batches([3.0, 1.0, 2.0, 1.0], batch_seconds=4.0)
        [[1, 3], [2], [0]]
    """
    durations = np.asarray(seconds, dtype=float)
    keys = durations
    if shuffle is not None:
        keys = durations * np.random.default_rng(shuffle).uniform(1 - _JITTER, 1 + _JITTER, len(durations))
    batches: list[list[int]] = []
    longest = 0.0
    for index in np.argsort(keys, kind="stable").tolist():
        # With jitter the clips are not in the order of their true durations.
        longest = max(longest, durations[index])
        if batches and longest * (len(batches[-1]) + 1) <= batch_seconds:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = durations[index]
    return batches


class SpeechBatches(Dataset[SpeechBatch]):
    """The batches of one epoch; batch i is determined by seed, epoch and i.

    Args:
        clips: the utterances.
        tokenizer: text to tokens.
        read: what the network gets of a clip.
        batch_seconds: of `duration_batches`.
        shuffle: seed and epoch, for training; None: by length.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        tokenizer: Tokenizer,
        read: InputReader,
        batch_seconds: float,
        shuffle: tuple[int, int] | None = None,
    ) -> None:
        self.clips = clips
        self.tokenizer = tokenizer
        self.read = read
        self.shuffle = shuffle
        self.batches = duration_batches([clip.seconds for clip in clips], batch_seconds, shuffle)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> SpeechBatch:
        """Return one batch."""
        indices = self.batches[index]
        clips = [self.clips[each] for each in indices]
        # Not strict: validation texts may have characters that the training texts lack.
        tokens = [torch.tensor(self.tokenizer.encode(clip.text, strict=False), dtype=torch.long) for clip in clips]
        # From seed, epoch and index alone, so that workers and resumed runs draw the same.
        seeds = [(*(self.shuffle or (0, 0)), index) for index in indices]
        inputs = [self.read(clip, np.random.default_rng(seed)) for clip, seed in zip(clips, seeds, strict=True)]
        return SpeechBatch(
            pad_sequence(inputs, batch_first=True),
            torch.tensor([len(each) for each in inputs]),
            pad_sequence(tokens, batch_first=True),
            torch.tensor([len(each) for each in tokens]),
            tuple(clip.id for clip in clips),
            tuple(clip.text for clip in clips),
        )
