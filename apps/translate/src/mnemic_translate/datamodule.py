"""Training, validation and test utterances with their translations."""

from collections.abc import Sequence
from functools import cached_property
from math import inf
from typing import Any

from torch.utils.data import DataLoader

from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_speech.data.batching import Clip, Durations, FeatureInputs, SpeechBatches, sample_clips, with_distinct_ids
from mnemic_speech.data.vocabulary import Vocabulary
from mnemic_speech.features import FeatureConfig, Features
from mnemic_speech.text import Tokenizer
from mnemic_translate.sources import DataSource

# Defaults as objects, not None: jsonargparse shows their fields in the help page.
_VOCABULARY = Vocabulary()


class TranslationData(SplitData):
    """Utterances with translations, or with transcripts, in batches of similar length.

    Args:
        train: sources of training utterances, concatenated.
        val: sources of validation utterances.
        test: sources of utterances for test and predict; default: the validation utterances.
        spoken: code of the language of the speech.
        written: code of the language of the texts; that of the speech to train a recognizer.
        vocabulary: the tokens of the network's output.
        features: of waveforms, which the command line links to the model. They are computed when an utterance is read,
            unless its manifest names a file with them.
        batch_seconds: audio per batch and process, padding included; 800 are the recipe's 80,000 frames.
        min_seconds: shorter training utterances are left out; 5 frames.
        max_seconds: longer training utterances are left out; 3000 frames.
        num_workers: worker processes.
        seed: of the order; linked to ``seed_everything`` on the command line.
    """

    contents = "utterances"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        spoken: str = "en",
        written: str = "de",
        vocabulary: Vocabulary = _VOCABULARY,
        features: FeatureConfig | None = None,
        batch_seconds: float = 800.0,
        min_seconds: float = 0.065,
        max_seconds: float = 30.0,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.durations = Durations(batch_seconds, min_seconds, max_seconds)
        self.spoken, self.written = spoken, written
        self.vocabulary, self.features = vocabulary, features or FeatureConfig("kaldi")
        self.num_workers = num_workers
        check_range(self, 0, inf, "num_workers")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; a missing SentencePiece model is trained on the training texts."""
        return self.vocabulary.open(clip.text for clip in self.split("train"))

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
        """The training data in one line, for the provenance of checkpoints."""
        return f"{' + '.join(map(str, self.sources['train']))}, {self.spoken} to {self.written}"

    def open_split(self, split: str, stage: str) -> list[Clip]:
        """Open the files of a split; training utterances that are too short or too long are left out."""
        sources = self.sources[split]
        found = with_distinct_ids([list(source.open(self.spoken, self.written)) for source in sources])
        if split == "train":
            found = self.durations.choose(found)
        if sources and not found:
            raise UserError(f"no utterance of usable length in data.{split}: {', '.join(map(str, sources))}")
        return found

    def epoch_loader(self, train: list[Clip], share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        return ResumableLoader(self._batches(train, (self.seed, share.epoch)), share, num_workers=self.num_workers)

    def whole_loader(self, opened: list[Clip]) -> DataLoader[Any]:
        """Return utterances by length."""
        return DataLoader(self._batches(opened), batch_size=None, num_workers=self.num_workers)

    def in_order(self, split: str) -> SpeechBatches:
        """Return the utterances of a split by length, for what is computed once for each."""
        return self._batches(self.split(split))

    def sample(self, count: int) -> SpeechBatches:
        """Return a random sample of at most ``count`` training utterances, for statistics."""
        return self._batches(sample_clips(self.split("train"), count, self.seed))

    def _batches(self, clips: Sequence[Clip], shuffle: tuple[int, int] | None = None) -> SpeechBatches:
        read = FeatureInputs(Features(self.features))
        return SpeechBatches(clips, self.tokenizer, read, self.durations.batch, shuffle)
