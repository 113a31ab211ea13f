"""Training, validation and test text as streams of segments."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

from mnemic_core.errors import check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_lm.streams import TextStreams
from mnemic_lm.text import Corpus, read_corpus, shuffled
from mnemic_lm.tokens import open_codec


class TextData(SplitData):
    """Text files, one document each, as parallel streams of consecutive segments.

    Args:
        train: text files, plain or .gz, and folders of them.
        val: validation text.
        test: test text; the validation text if not given.
        tokenizer: tokenizer.json of the tokenizers package; null: bytes.
        segment_length: tokens that the network sees at once; earlier ones reach it through the memory.
        batch_size: parallel streams.
        bptt: segments per training step; gradients cross the boundaries within a step, not between steps.
        seed: of the order of documents; linked to ``seed_everything`` on the command line.
    """

    contents = "text"
    example = "[my.txt]"

    def __init__(
        self,
        train: Sequence[Path] = (),
        val: Sequence[Path] = (),
        test: Sequence[Path] = (),
        tokenizer: Path | None = None,
        segment_length: int = 128,
        batch_size: int = 16,
        bptt: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val, test, seed)
        self.tokenizer = tokenizer
        self.segment_length, self.batch_size, self.bptt = segment_length, batch_size, bptt
        check_range(self, 1, inf, "segment_length", "batch_size", "bptt")

    @property
    def description(self) -> str:
        """Short description of the training text."""
        return " + ".join(path.name for path in self.sources["train"])

    @property
    def steps_per_epoch(self) -> int:
        """Training steps per epoch, independent of the order of the documents."""
        return len(TextStreams(self._opened["train"], self.segment_length, self.batch_size, self.bptt))

    def open_split(self, split: str, stage: str) -> Corpus:
        """Read the text of a split.

        Raises:
            FileNotFoundError: if a path does not exist.
            UserError: if a file is damaged.
        """
        return read_corpus(self.sources[split], open_codec(self.tokenizer))

    def epoch_loader(self, train: Corpus, share: EpochShare) -> ResumableLoader:
        """Return the steps of one epoch, with the documents in an order drawn for it."""
        corpus = shuffled(train, self.seed, share.epoch)
        streams = TextStreams(corpus, self.segment_length, self.batch_size, self.bptt)
        return ResumableLoader(streams, share, shuffle=False)

    def whole_loader(self, opened: Corpus) -> TextStreams:
        """Return all segments of a text in order."""
        return TextStreams(opened, self.segment_length, self.batch_size)
