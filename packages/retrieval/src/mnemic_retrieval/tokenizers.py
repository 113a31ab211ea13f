"""From text to tokens and back: bytes, which need no file, or the files of released networks."""

from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file
from mnemic_retrieval.libraries import optional_library

PAD_ID, END_ID = 0, 1  # of T5, in all of these
_SPECIAL = 3  # padding, end, unknown


class Tokenizer(ABC):
    """Turns text into tokens, with 0 for padding and 1 for the end, as in T5."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens, the special ones included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without an end."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return JSON-compatible values from which `tokenizer_from_state` rebuilds it."""

    def batch(self, texts: Sequence[str], max_tokens: int) -> Int[Tensor, "text token"]:
        """Return texts as rows that end with 1 and are filled with 0; longer ones are cut to ``max_tokens``.

        Example:
            >>> ByteTokenizer().batch(["ab", "c"], max_tokens=4)
            tensor([[100, 101,   1],
                    [102,   1,   0]])
        """
        rows = [[*self.encode(text)[: max_tokens - 1], END_ID] for text in texts]
        filled = torch.full((len(rows), max(map(len, rows), default=1)), PAD_ID)
        for place, row in enumerate(rows):
            filled[place, : len(row)] = torch.tensor(row)
        return filled

    def texts(self, tokens: Int[Tensor, "text token"]) -> list[str]:
        """Return the text of each row, up to its end."""
        rows = [row[: row.index(END_ID)] if END_ID in row else row for row in tokens.tolist()]
        return [self.decode(row) for row in rows]


class ByteTokenizer(Tokenizer):
    """Every byte of UTF-8 is a token, as in ByT5 (arXiv 2105.13626).

    Example:
        >>> tokenizer = ByteTokenizer()
        >>> tokenizer.decode(tokenizer.encode("Größe"))
        'Größe'
    """

    @property
    def vocab_size(self) -> int:
        """The bytes and three special tokens."""
        return 256 + _SPECIAL

    def encode(self, text: str) -> list[int]:
        """Return the bytes of a text."""
        return [byte + _SPECIAL for byte in text.encode(errors="replace")]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes; what is no UTF-8 becomes a replacement character."""
        return bytes(token - _SPECIAL for token in tokens if token >= _SPECIAL).decode(errors="replace")

    def state(self) -> dict[str, Any]:
        """Return the kind."""
        return {"kind": "bytes"}


class SentencePieceTokenizer(Tokenizer):
    """The pieces of a SentencePiece model, such as T5's ``spiece.model``.

    Args:
        model: content of the file.
        source: its name in messages.

    Raises:
        ImportError: sentencepiece is not installed.
        UserError: it is no model, or one whose padding and end are not 0 and 1.
    """

    def __init__(self, model: bytes, source: str | Path = "the tokenizer") -> None:
        library = optional_library("sentencepiece", "sentencepiece")
        self._model, self._processor = model, library.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise UserError(f"{source} is no SentencePiece model: copy or download it again") from error
        found = (self._processor.pad_id(), self._processor.eos_id())
        if found != (PAD_ID, END_ID):
            raise UserError(f"{source} has padding {found[0]} and end {found[1]}, expected 0 and 1, as in T5")

    @property
    def vocab_size(self) -> int:
        """Pieces of the model; networks may have more tokens, for other tasks."""
        return int(self._processor.GetPieceSize())

    def encode(self, text: str) -> list[int]:
        """Return the pieces of a text."""
        pieces: list[int] = self._processor.EncodeAsIds(text)
        return pieces

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of pieces."""
        known = [token for token in tokens if _SPECIAL <= token < self.vocab_size]
        return str(self._processor.DecodeIds(known))

    def state(self) -> dict[str, Any]:
        """Return the model."""
        return {"kind": "sentencepiece", "model": b64encode(self._model).decode()}


class FileTokenizer(Tokenizer):
    """A ``tokenizer.json`` of Hugging Face's tokenizers.

    Args:
        content: of the file.
        source: its name in messages.

    Raises:
        ImportError: tokenizers is not installed.
        UserError: it is no such file.
    """

    def __init__(self, content: str, source: str | Path = "the tokenizer") -> None:
        library = optional_library("tokenizers", "tokenizers")
        self._content = content
        try:
            self._tokenizer = library.Tokenizer.from_str(content)
            # A file may ask that every text be filled or cut to one length.
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
        except Exception as error:  # the library raises nothing more specific
            raise UserError(f"{source} is no tokenizer.json ({error}): copy or download it again") from error

    @property
    def vocab_size(self) -> int:
        """Tokens of the file."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self._tokenizer.decode([token for token in tokens if token not in {PAD_ID, END_ID}]))

    def state(self) -> dict[str, Any]:
        """Return the content of the file, in base64: jsonargparse would take JSON inside of a string for settings."""
        return {"kind": "tokenizers", "content": b64encode(self._content.encode()).decode()}


def read_tokenizer(path: str | Path) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json`` or, with another ending, of a SentencePiece model.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the library for it is not installed.
        UserError: it is no tokenizer.
    """
    check_file(path)
    if Path(path).suffix != ".json":
        return SentencePieceTokenizer(Path(path).read_bytes(), path)
    try:
        return FileTokenizer(Path(path).read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: copy or download it again") from error


def tokenizer_from_state(state: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of `Tokenizer.state`.

    Raises:
        UserError: it is damaged, or of a kind that is not known.
    """
    try:
        if state["kind"] == "bytes":
            return ByteTokenizer()
        if state["kind"] == "sentencepiece":
            return SentencePieceTokenizer(b64decode(state["model"], validate=True))
        if state["kind"] == "tokenizers":
            return FileTokenizer(b64decode(state["content"], validate=True).decode())
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the tokenizer is damaged ({error!r})") from error
    raise UserError(f"unknown tokenizer {state['kind']!r}: update mnemic-retrieval")
