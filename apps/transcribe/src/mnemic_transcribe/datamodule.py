"""Training, validation and test utterances from a mixture of data sets."""

from collections.abc import Sequence
from functools import cached_property
from math import inf
from typing import Any

from torch.utils.data import DataLoader

from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_speech.data.augmentation import Augmentation
from mnemic_speech.data.batching import Clip, Durations, SpeechBatches, Waveforms, sample_clips, with_distinct_ids
from mnemic_speech.data.vocabulary import Vocabulary
from mnemic_speech.text import TextStyle, Tokenizer
from mnemic_transcribe.sources import DataSource

# Defaults as objects, not None: jsonargparse shows their fields in the help page.
_VOCABULARY, _NO_AUGMENTATION = Vocabulary(), Augmentation()


class SpeechData(SplitData):
    """Utterances with texts, in batches of similar length.

    Args:
        train: sources of training utterances, concatenated.
        val: sources of validation utterances.
        test: sources of utterances for test and predict; default: the validation utterances.
        vocabulary: the tokens of the model's output.
        text_style: normalization of texts: letters, digits and apostrophes in upper or lower case, or unchanged.
        sample_rate: of the features, which the command line links here. Recordings of another rate are resampled.
        batch_seconds: audio per batch and process, padding included.
        min_seconds: shorter training utterances are left out.
        max_seconds: longer training utterances are left out.
        augmentation: of training utterances.
        num_workers: worker processes.
        seed: of order and augmentation; linked to ``seed_everything`` on the command line.
    """

    contents = "utterances"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        vocabulary: Vocabulary = _VOCABULARY,
        text_style: TextStyle = "upper",
        sample_rate: int = 16000,
        batch_seconds: float = 400.0,
        min_seconds: float = 0.1,
        max_seconds: float = 30.0,
        augmentation: Augmentation = _NO_AUGMENTATION,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.durations = Durations(batch_seconds, min_seconds, max_seconds)
        self.vocabulary = vocabulary
        self.text_style: TextStyle = text_style
        self.sample_rate = sample_rate
        self.augmentation = augmentation
        self.num_workers = num_workers
        check_range(self, 1, inf, "sample_rate")
        check_range(self, 0, inf, "num_workers")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; a missing SentencePiece model is trained on the training texts."""
        return self.vocabulary.open(clip.text for clip in self.clips("train"))

    @property
    def tokenizer_state(self) -> dict[str, Any]:
        """The tokenizer as plain data, linked to the model."""
        return self.tokenizer.state()

    @property
    def vocab_size(self) -> int:
        """Number of tokens, linked to the model."""
        return self.tokenizer.vocab_size

    @property
    def description(self) -> str:
        """Short description of the training data."""
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
        found = with_distinct_ids([list(source.open(self.text_style)) for source in sources])
        if split == "train":
            # Validation keeps all.
            found = self.durations.choose(found)
        if sources and not found:
            raise UserError(f"no utterance of usable length in data.{split}: {', '.join(map(str, sources))}")
        return found

    def setup(self, stage: str) -> None:
        """Open the files of a stage, and refuse training texts with pieces outside the vocabulary."""
        super().setup(stage)
        if stage != "fit":
            return
        for clip in self.clips("train"):
            try:
                self.tokenizer.encode(clip.text, strict=True)
            except ValueError as error:
                raise UserError(f"{clip.id}: {error} (data.text_style, data.vocabulary)") from error

    def epoch_loader(self, train: list[Clip], share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        batches = self._batches(train, (self.seed, share.epoch), self.augmentation)
        return ResumableLoader(batches, share, num_workers=self.num_workers)

    def whole_loader(self, opened: list[Clip]) -> DataLoader[Any]:
        """Return utterances by length."""
        return DataLoader(self._batches(opened), batch_size=None, num_workers=self.num_workers)

    def sample(self, count: int) -> SpeechBatches:
        """Return a random sample of at most ``count`` training utterances, not augmented, for statistics."""
        return self._batches(sample_clips(self.clips("train"), count, self.seed))

    def _batches(
        self, clips: Sequence[Clip], shuffle: tuple[int, int] | None = None, augmentation: Augmentation | None = None
    ) -> SpeechBatches:
        read = Waveforms(self.sample_rate, augmentation)
        return SpeechBatches(clips, self.tokenizer, read, self.durations.batch, shuffle)
