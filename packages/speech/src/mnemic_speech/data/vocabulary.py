"""Configuration of the tokens."""

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError, check_range
from mnemic_core.temporary_files import replacing
from mnemic_speech.text import CharTokenizer, SentencePieceTokenizer, Tokenizer, WordTokenizer


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a recognizer or translator.

    Args:
        kind: single characters, the words of a closed list, or sub-word pieces of a SentencePiece unigram model.
        alphabet: the characters; those of LibriSpeech's transcripts by default.
        words: the closed list.
        file: the SentencePiece model. If absent, it is trained on the training texts and written.
        size: number of pieces of a trained model, special ones included.
        marks_end: let pieces of a trained model mark the end of a word instead of its beginning, so that a simultaneous
            translator knows that a word is complete without the next one.
    """

    kind: Literal["characters", "words", "sentencepiece"] = "characters"
    alphabet: str = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    words: tuple[str, ...] = ()
    file: Path | None = None
    size: int = 5000
    marks_end: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "size")
        if self.kind == "sentencepiece" and self.file is None:
            raise UserError("a sentencepiece vocabulary needs file: the .model to use, or to write after training it")

    def open(self, texts: Iterable[str]) -> Tokenizer:
        """Return the tokenizer; the training texts are only read to train a SentencePiece model.

        Raises:
            UserError: if the vocabulary is empty, or the file is damaged.
        """
        if self.kind == "characters":
            return CharTokenizer(self.alphabet)
        if self.kind == "words":
            return WordTokenizer(self.words)
        assert self.file is not None  # checked above
        if not self.file.exists():
            self._train(texts, self.file)
        try:
            return SentencePieceTokenizer(self.file.read_bytes())
        except ValueError as error:
            raise UserError(f"{self.file}: {error}") from error

    def _train(self, texts: Iterable[str], file: Path) -> None:
        # Trained in memory and written atomically: an interrupted run must not leave a partial model.
        model = b64decode(SentencePieceTokenizer.train(texts, self.size, marks_end=self.marks_end).state()["model"])
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(model)
