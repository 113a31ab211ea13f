"""Training, validation and test text as streams of segments."""

from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl

from mnemic_core.errors import UserError
from mnemic_kit.data import reloading_trainer
from mnemic_lm.streams import StreamLoader, TextStreams
from mnemic_lm.text import Corpus, read_corpus, shuffled
from mnemic_lm.tokens import open_codec


class TextData(pl.LightningDataModule):
    """Text files, each a document, cut into streams of segments that follow each other.

    Args:
        train: text files, plain or .gz, and folders of them.
        val: likewise, to validate on.
        test: likewise, to test on; the validation text if not given.
        tokenizer: tokenizer.json of the tokenizers package; bytes without one.
        segment_length: tokens that the network sees at once; what lies before is for its memory.
        batch_size: streams beside each other.
        bptt: segments of a training step; gradients cross the boundaries within, not those between steps.
        seed: of the order of documents; the command line sets it to ``seed_everything``.
    """

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
        super().__init__()
        self.paths = {"train": tuple(train), "val": tuple(val), "test": tuple(test) or tuple(val)}
        self.tokenizer = tokenizer
        self.segment_length, self.batch_size, self.bptt = segment_length, batch_size, bptt
        self.seed = seed
        self._corpora: dict[str, Corpus] = {}

    @property
    def description(self) -> str:
        """The training text in a few words."""
        return " + ".join(path.name for path in self.paths["train"])

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch, whatever the order of the documents."""
        return len(TextStreams(self._corpora["train"], self.segment_length, self.batch_size, self.bptt))

    def setup(self, stage: str) -> None:
        """Read the text that a stage needs.

        Raises:
            FileNotFoundError: if a path does not exist.
            UserError: if no text is given, or a file is damaged.
        """
        needed = {"fit": "train", "validate": "val"}.get(stage, "test")
        if not self.paths[needed]:
            raise UserError(f"data.{needed} names no text: give files or folders, such as --data.{needed}=[my.txt]")
        codec = open_codec(self.tokenizer)
        for split in {needed, "val"} if stage == "fit" else {needed}:
            if split not in self._corpora and self.paths[split]:
                self._corpora[split] = read_corpus(self.paths[split], codec)

    def train_dataloader(self) -> StreamLoader:
        """Return the steps of the present epoch."""
        epoch = reloading_trainer(self, "documents change places every epoch").current_epoch
        corpus = shuffled(self._corpora["train"], self.seed, epoch)
        streams = TextStreams(corpus, self.segment_length, self.batch_size, self.bptt)
        return StreamLoader(streams, epoch)

    def val_dataloader(self) -> TextStreams | list[TextStreams]:
        """Return the validation text; an empty list without any."""
        return self._whole("val") if "val" in self._corpora else []

    def test_dataloader(self) -> TextStreams:
        """Return the test text."""
        return self._whole("test")

    def _whole(self, split: str) -> TextStreams:
        return TextStreams(self._corpora[split], self.segment_length, self.batch_size)
