"""Text normalization and tokenizers of characters, words or sub-word pieces.

Vocabularies have ESPnet's layout: 0 is the CTC blank, 1 the unknown token, the last one both start and end of a
sentence, and the pieces lie between.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError

TextStyle = Literal["upper", "lower", "keep"]
UNKNOWN_TEXT = "<unk>"

_BLANK, _UNKNOWN = 0, 1
_NUM_SPECIAL = 3
_SPACE_MARK = "\u2581"  # SentencePiece's mark for a space
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u00b4`", "'"))


class Tokenizer(ABC):
    """Converts text to tokens and back; subclasses split texts into pieces and give the surface form of a piece."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = tuple(pieces)
        if not self._pieces:
            raise UserError("a tokenizer needs at least one piece besides blank and unknown, got none")
        if repeated := [piece for piece, count in Counter(self._pieces).items() if count > 1]:
            raise UserError(f"the vocabulary names {', '.join(map(repr, repeated))} more than once; give each once")
        self._ids = {piece: number for number, piece in enumerate(self._pieces, _UNKNOWN + 1)}

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self._pieces) + _NUM_SPECIAL

    @property
    def blank_id(self) -> int:
        """The blank of CTC."""
        return _BLANK

    @property
    def sos_eos_id(self) -> int:
        """Start and end of a sentence, the last token."""
        return self.vocab_size - 1

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Return the tokens of a normalized text; see :func:`normalize_text`.

        Raises:
            UserError: in strict mode, naming the pieces outside the vocabulary, otherwise the unknown token.
        """
        pieces = self._split(text)
        if strict and (unknown := sorted(set(pieces) - self._ids.keys())):
            names = ", ".join(map(repr, unknown))
            raise UserError(f"not in the vocabulary: {names} in {text[:80]!r}; normalize the text or extend it")
        return [self._ids.get(piece, _UNKNOWN) for piece in pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens with single spaces, without blanks and ends; the unknown token is ``<unk>``.

        Raises:
            UserError: if a token is not in the vocabulary.
        """
        return " ".join("".join(map(self._text, tokens)).split())

    def word_spans(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Return the token range of each word of ``decode(tokens)``, end exclusive."""
        spans: list[tuple[int, int]] = []
        is_inside = False
        for index, text in enumerate(map(self._text, tokens)):
            is_inside = is_inside and not text.startswith(" ")
            if text.strip():
                first = spans.pop()[0] if is_inside else index
                spans.append((first, index + 1))
                is_inside = not text.endswith(" ")
        return spans

    def ends_word(self, tokens: Sequence[int]) -> bool:
        """Return whether the last word of tokens is complete, whatever follows: pieces may mark the end of a word."""
        return "".join(map(self._text, tokens)).endswith(" ")

    def _text(self, token: int) -> str:
        if not 0 <= token < self.vocab_size:
            raise UserError(f"token {token} is outside of the vocabulary of {self.vocab_size}: other tokenizer?")
        if token in (self.blank_id, self.sos_eos_id):
            return ""
        return self._surface(UNKNOWN_TEXT if token == _UNKNOWN else self._pieces[token - _UNKNOWN - 1])

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return JSON-compatible values from which :func:`tokenizer_from_state` rebuilds the tokenizer."""

    @abstractmethod
    def _split(self, text: str) -> list[str]: ...

    @abstractmethod
    def _surface(self, piece: str) -> str: ...


class CharTokenizer(Tokenizer):
    """Every character is a token.

    Args:
        alphabet: the characters, in the order of their tokens; with a space to separate words.

    Example:
        >>> tokenizer = CharTokenizer(" abc")
        >>> tokenizer.encode("cab b")
        [5, 3, 4, 2, 4]
        >>> tokenizer.decode([5, 3, 4, 2, 4]), tokenizer.word_spans([5, 3, 4, 2, 4])
        ('cab b', [(0, 3), (4, 5)])
    """

    def __init__(self, alphabet: Iterable[str]) -> None:
        super().__init__(alphabet)
        if long := [piece for piece in self._pieces if len(piece) != 1]:
            raise UserError(f"an alphabet has single characters, got {', '.join(map(repr, long))}")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """Return a tokenizer of all characters in the texts, in code point order."""
        return cls(sorted({character for text in texts for character in text}))

    def state(self) -> dict[str, Any]:
        """Return the alphabet."""
        return {"kind": "char", "alphabet": "".join(self._pieces)}

    def _split(self, text: str) -> list[str]:
        return list(text)

    def _surface(self, piece: str) -> str:
        return piece


class WordTokenizer(Tokenizer):
    """Every word of a small closed vocabulary, such as the ten digits, is a token.

    Args:
        words: the words, in the order of their tokens.

    Example:
        >>> WordTokenizer(["no", "yes"]).encode("yes no maybe")
        [3, 2, 1]
    """

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(words)
        if wrong := [word for word in self._pieces if word.split() != [word]]:
            raise UserError(f"words have no spaces and are not empty, got {', '.join(map(repr, wrong))}")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "WordTokenizer":
        """Return a tokenizer of all words in the texts, in alphabetical order."""
        return cls(sorted({word for text in texts for word in text.split()}))

    def state(self) -> dict[str, Any]:
        """Return the words."""
        return {"kind": "word", "words": list(self._pieces)}

    def _split(self, text: str) -> list[str]:
        return text.split()

    def _surface(self, piece: str) -> str:
        return f" {piece}"


class SentencePieceTokenizer(Tokenizer):
    """Sub-word pieces of a SentencePiece model, with the ids of ESPnet's recipes.

    The model's three special pieces (unknown, start, end) are replaced by ours, so a model of 5000 pieces is a
    vocabulary of 5000 tokens, in the order of the token list written by ESPnet's ``asr.sh``.

    Args:
        model: content of a ``.model`` file.

    Raises:
        UserError: if it is not a SentencePiece model, or has other special pieces.

    Example:
        >>> tokenizer = SentencePieceTokenizer.train(["THE CAT", "THE HAT", "A HAT"], vocab_size=11)
        >>> tokenizer.decode(tokenizer.encode("A CAT"))
        'A CAT'
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise UserError(f"not a SentencePiece model ({len(model)} bytes): give the .model file") from error
        processor = self._processor
        special = (processor.unk_id(), processor.bos_id(), processor.eos_id())
        if not model or special != (0, 1, 2):
            raise UserError(
                f"expected a SentencePiece model with unknown, start and end as pieces 0, 1, 2, got {special}: "
                "train it with the standard numbers"
            )
        super().__init__(processor.id_to_piece(number) for number in range(_NUM_SPECIAL, processor.get_piece_size()))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = 5000,
        kind: Literal["unigram", "bpe"] = "unigram",
        *,
        marks_end: bool = False,
    ) -> "SentencePieceTokenizer":
        """Train a model on texts, covering all their characters.

        Args:
            texts: one sentence each.
            vocab_size: number of tokens, the special ones included.
            kind: unigram model (the paper's) or byte pair encoding.
            marks_end: let the last piece of a word hold the space after it, instead of the first one that before it.

        Raises:
            UserError: if there is no text, or too little for a vocabulary of that size.
        """
        model = BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=vocab_size,
                model_type=kind,
                character_coverage=1.0,
                treat_whitespace_as_suffix=marks_end,
                num_threads=1,  # floating-point sums depend on the number of threads
                minloglevel=2,
            )
        except RuntimeError as error:
            reason = str(error).rpartition("] ")[2].strip() or "no text was given"
            raise UserError(f"cannot train {vocab_size} SentencePiece tokens: {reason}") from error
        return cls(model.getvalue())

    def state(self) -> dict[str, Any]:
        """Return the model."""
        return {"kind": "sentencepiece", "model": b64encode(self._model).decode("ascii")}

    def _split(self, text: str) -> list[str]:
        pieces: list[str] = self._processor.encode_as_pieces(text)
        return pieces

    def _surface(self, piece: str) -> str:
        return piece.replace(_SPACE_MARK, " ")


def tokenizer_from_state(state: Mapping[str, Any], source: str | Path = "the tokenizer's state") -> Tokenizer:
    """Return the tokenizer with this :meth:`Tokenizer.state`; ``source`` is named in messages.

    Raises:
        UserError: if the kind is unknown or the content damaged.

    Example:
        >>> tokenizer_from_state(CharTokenizer("ab").state()).encode("b")
        [3]
    """
    match state.get("kind"):
        case "char":
            return CharTokenizer(deserialize(str, state.get("alphabet"), source, "alphabet"))
        case "word":
            return WordTokenizer(deserialize(tuple[str, ...], state.get("words"), source, "words"))
        case "sentencepiece":
            return SentencePieceTokenizer(_decoded(deserialize(str, state.get("model"), source, "model"), source))
        case kind:
            raise UserError(f"tokenizer of kind {kind!r}, expected char, word or sentencepiece: update mnemic-speech")


def _decoded(text: str, source: str | Path) -> bytes:
    try:
        return b64decode(text)
    except ValueError as error:
        raise UserError(f"{source} has a damaged SentencePiece model ({error}): copy or download it again") from error


def normalize_text(text: str, style: TextStyle = "upper") -> str:
    r"""Normalize a text as in the transcripts of LibriSpeech.

    Letters, digits and apostrophes within words are kept, everything else separates words. Accents are kept, and
    numbers are not spelled out. The style ``"keep"`` only normalizes white space.

    Example:
        >>> normalize_text("  Well-known: \u201cthe Reader\u2019s\u201d 3rd\tcase ... ")
        "WELL KNOWN THE READER'S 3RD CASE"
    """
    if style == "keep":
        return " ".join(text.split())
    folded = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
    spoken = "".join(map(_spoken, folded.upper() if style == "upper" else folded.lower()))
    # A letter may end in a combining mark (U+0300 to U+036F), which is no word character to a regular expression.
    return " ".join(re.sub(r"(?<![\w\u0300-\u036f])'|'(?!\w)", " ", spoken).split())


def _spoken(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # soft hyphens and joiners occur within words
        return ""
    return character if category[0] in "LMN" or character == "'" else " "
