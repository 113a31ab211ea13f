"""Tokenization of text: bytes, or the tokens of a tokenizer file.

A codec has ``num_tokens``; the start token of documents has the next index, ``num_tokens`` itself. ``source`` is the
content of its tokenizer file, kept in checkpoints, and None for bytes.

Its decoders are called with one token after another, and None at the end. They return text as soon as no later token
can change it. From the pending tokens in ``state()``, ``decoder`` makes a decoder that continues the text.
"""

import codecs
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mnemic_core.errors import UserError


class ByteCodec:
    """Every byte is a token, so that any file can be encoded.

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

    def decoder(self, state: Sequence[int] = ()) -> "_ByteDecoder":
        """Return a decoder that keeps the bytes of a character until it is complete."""
        return _ByteDecoder(bytes(state))


class FileCodec:
    """A tokenizer file of the ``tokenizers`` package (``tokenizer.json``), imported on first use.

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
        except Exception as error:  # the package raises plain Exception
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

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def decoder(self, state: Sequence[int] = ()) -> "_FileDecoder":
        """Return a decoder that keeps tokens until they end with a complete character."""
        return _FileDecoder(self, state)


class _ByteDecoder:
    def __init__(self, held: bytes) -> None:
        # Sampled bytes need not be valid UTF-8.
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._utf8.setstate((held, 0))

    def __call__(self, token: int | None) -> str:
        return self._utf8.decode(b"" if token is None else bytes([token]), final=token is None)

    def state(self) -> list[int]:
        return list(self._utf8.getstate()[0])


class _FileDecoder:
    """Decodes new tokens together with the previous ones, on which spaces and joined characters may depend."""

    def __init__(self, codec: FileCodec, state: Sequence[int]) -> None:
        self._codec = codec
        self._shown, *self._tokens = state or (0,)  # number of tokens already decoded, then those and the pending ones

    def __call__(self, token: int | None) -> str:
        if token is not None:
            self._tokens.append(token)
        text, shown = self._codec.decode(self._tokens), self._codec.decode(self._tokens[: self._shown])
        if token is not None and text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""  # the first bytes of a character
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        return text[len(shown) :]

    def state(self) -> list[int]:
        return [self._shown, *self._tokens]


Codec: TypeAlias = ByteCodec | FileCodec


def open_codec(tokenizer: Path | None) -> Codec:
    """Return the codec of a tokenizer file; of bytes without one.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the ``tokenizers`` package is not installed, or the file is not a tokenizer file.
    """
    if tokenizer is None:
        return ByteCodec()
    if not tokenizer.is_file():
        raise FileNotFoundError(f"no tokenizer file at {tokenizer}; leave it out for bytes")
    return restore_codec(tokenizer.read_text(encoding="utf-8"))


def restore_codec(source: str | None) -> Codec:
    """Return the codec with this ``source``."""
    if source is None:
        return ByteCodec()
    codec = FileCodec(source)
    _ = codec.num_tokens  # so that a missing package or a wrong file raises now
    return codec
