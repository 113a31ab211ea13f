"""Text as tokens: its bytes, or what a tokenizer file makes of it."""

import codecs
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mnemic_core.errors import UserError

Decoder = Callable[[int | None], str]


@runtime_checkable
class Codec(Protocol):
    """Turns text into tokens and back.

    Attributes:
        num_tokens: how many there are; the token after them, `num_tokens` itself, stands where a document begins.
        source: content of the tokenizer file, which is kept in checkpoints; None for bytes.
    """

    @property
    def num_tokens(self) -> int: ...  # noqa: D102  # see Attributes

    @property
    def source(self) -> str | None: ...  # noqa: D102  # see Attributes

    def encode(self, content: bytes) -> Shaped[Tensor, " token"]:
        """Return the tokens of a text."""
        ...

    def decoder(self) -> Decoder:
        """Return a function from the next token to the text that has become certain by it; None ends the text."""
        ...


class ByteCodec:
    """Every byte is a token, so that any file is a text.

    Example:
        >>> codec = ByteCodec()
        >>> codec.encode("né".encode()).tolist()
        [110, 195, 169]
        >>> decode = codec.decoder()
        >>> [decode(token) for token in (110, 195, 169)]
        ['n', '', 'é']
    """

    num_tokens = 256
    source = None

    def encode(self, content: bytes) -> Shaped[Tensor, " token"]:
        """Return the bytes."""
        return torch.tensor(bytearray(content), dtype=torch.uint8)

    def decoder(self) -> Decoder:
        """Return a function that keeps the bytes of a character back until it is whole."""
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda token: utf8.decode(b"" if token is None else bytes([token]), final=token is None)


class FileCodec:
    """A tokenizer file of the ``tokenizers`` package (``tokenizer.json``), which is imported only now.

    Args:
        source: content of the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            tokenizer = import_module("tokenizers").Tokenizer
        except ModuleNotFoundError as error:
            raise UserError(
                "a tokenizer file needs tokenizers; install it with: pip install 'mnemic-lm[tokenizers]'"
            ) from error
        try:
            return tokenizer.from_str(self.source)
        except Exception as error:  # the package raises no narrower class
            raise UserError(f"the tokenizer file cannot be read ({error}); expected a tokenizer.json") from error

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, content: bytes) -> Int[Tensor, " token"]:
        """Return the tokens of a text.

        Raises:
            UserError: if it is not UTF-8.
        """
        return torch.tensor(self._tokenizer.encode(content.decode(), add_special_tokens=False).ids, dtype=torch.int32)

    def decoder(self) -> Decoder:
        """Return a function that keeps tokens back until their text can be told from what follows."""
        tokens: list[int] = []
        shown = 0

        def decode(token: int | None) -> str:
            nonlocal shown
            if token is not None:
                tokens.append(token)
            text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
            if token is not None and text.endswith("\N{REPLACEMENT CHARACTER}"):
                return ""  # the first bytes of a character
            new, shown = text[shown:], len(text)
            return new

        return decode


def open_codec(tokenizer: Path | None) -> Codec:
    """Return the codec of a tokenizer file; of bytes without one.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the ``tokenizers`` package is not installed.
        UserError: if it is no tokenizer file.
    """
    if tokenizer is None:
        return ByteCodec()
    if not tokenizer.is_file():
        raise FileNotFoundError(f"no tokenizer file at {tokenizer}; leave it out for bytes")
    return restore_codec(tokenizer.read_text(encoding="utf-8"))


def restore_codec(source: str | None) -> Codec:
    """Return the codec whose ``source`` was kept."""
    if source is None:
        return ByteCodec()
    codec = FileCodec(source)
    _ = codec.num_tokens  # a missing package or a wrong file shows now
    return codec
