"""Training, validation and test utterances from any mixture of data sets, chosen by name."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from mnemic_core.errors import UserError
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_speech.text import TextStyle, Tokenizer
from mnemic_transcribe.augmentation import Augmentation
from mnemic_transcribe.batching import Clip, SpeechBatches
from mnemic_transcribe.sources import DataSource
from mnemic_transcribe.vocabulary import Vocabulary


class SpeechData(SplitData):
    """Utterances with their texts, in batches of like length.

    Args:
        train: sources of training utterances, put together.
        val: sources of validation utterances.
        test: sources of utterances to test on or to transcribe; the validation utterances if not given.
        vocabulary: the tokens; the model's output has one for each.
        text_style: how texts are normalized: letters, digits and apostrophes in upper or lower case, or as they are.
        sample_rate: of what the model hears; the command line sets it to that of the features. Recordings of any
            other rate are resampled.
        batch_seconds: sound in a batch of one process, padding included.
        min_seconds: shorter training utterances are left out.
        max_seconds: longer training utterances are left out.
        augmentation: what is changed at random in training.
        num_workers: processes that load utterances.
        seed: of order and augmentation; the command line sets it to ``seed_everything``.
    """

    contents = "utterances"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        vocabulary: Vocabulary = Vocabulary(),  # noqa: B008  # frozen, and jsonargparse shows its defaults in the help
        text_style: TextStyle = "upper",
        sample_rate: int = 16000,
        batch_seconds: float = 400.0,
        min_seconds: float = 0.1,
        max_seconds: float = 30.0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008  # likewise
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        if batch_seconds <= 0 or not 0 <= min_seconds < max_seconds:
            raise UserError(
                "expected batch_seconds above 0 and 0 <= min_seconds < max_seconds, "
                f"got {batch_seconds}, {min_seconds} and {max_seconds}"
            )
        self.vocabulary = vocabulary
        self.text_style: TextStyle = text_style
        self.sample_rate = sample_rate
        self.batch_seconds = batch_seconds
        self.seconds_range = (min_seconds, max_seconds)
        self.augmentation = augmentation
        self.num_workers = num_workers

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokens; a SentencePiece model that does not exist yet is trained on the training texts."""
        return self.vocabulary.open(clip.text for clip in self.clips("train"))

    @property
    def tokenizer_state(self) -> dict[str, Any]:
        """The tokens as plain data, which the command line gives to the model."""
        return self.tokenizer.state()

    @property
    def vocab_size(self) -> int:
        """Number of tokens, likewise."""
        return self.tokenizer.vocab_size

    @property
    def description(self) -> str:
        """The training data in a few words."""
        return " + ".join(map(str, self.sources["train"]))

    def clips(self, split: str) -> list[Clip]:
        """Return the utterances of a split.

        Raises:
            FileNotFoundError: if a folder or file is missing.
            UserError: if a file is malformed, or a split has no utterance.
        """
        found: list[Clip] = self.split(split)
        return found

    def open_split(self, split: str, stage: str) -> list[Clip]:
        """Open the files of a split; training utterances that are too short or too long are left out."""
        sources = self.sources[split]
        found = [clip for source in sources for clip in source.open(self.text_style)]
        if split == "train":
            shortest, longest = self.seconds_range
            found = [clip for clip in found if shortest <= clip.seconds <= longest]
        if sources and not found:
            raise UserError(f"no utterance of usable length in data.{split}: {', '.join(map(str, sources))}")
        return found

    def setup(self, stage: str) -> None:
        """Open the files that a stage needs, and refuse training texts that the vocabulary cannot write."""
        super().setup(stage)
        if stage == "fit":
            self._check_vocabulary()

    def epoch_loader(self, train: list[Clip], share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        batches = self._batches(train, (self.seed, share.epoch), self.augmentation)
        return ResumableLoader(batches, share, num_workers=self.num_workers)

    def whole_loader(self, opened: list[Clip]) -> DataLoader[Any]:
        """Return utterances by length."""
        return DataLoader(self._batches(opened), batch_size=None, num_workers=self.num_workers)

    def sample(self, count: int) -> SpeechBatches:
        """Return at most so many training utterances as they are, for statistics; the seed decides which."""
        clips = self.clips("train")
        chosen = np.random.default_rng(self.seed).permutation(len(clips))[:count]
        return self._batches([clips[index] for index in chosen])

    def _batches(
        self, clips: Sequence[Clip], shuffle: tuple[int, int] | None = None, augmentation: Augmentation | None = None
    ) -> SpeechBatches:
        return SpeechBatches(clips, self.tokenizer, self.sample_rate, self.batch_seconds, shuffle, augmentation)

    def _check_vocabulary(self) -> None:
        """Refuse training texts that the vocabulary cannot write, before the first step."""
        for clip in self.clips("train"):
            try:
                self.tokenizer.encode(clip.text, strict=True)
            except ValueError as error:
                raise UserError(f"{clip.id}: {error} (data.text_style, data.vocabulary)") from error
