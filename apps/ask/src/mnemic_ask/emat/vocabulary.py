"""The tokens of a network: bytes, a file, or pieces of words learned from the training texts."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_retrieval.tokenizers import ByteTokenizer, FileTokenizer, Tokenizer, read_tokenizer

Kind = Literal["bytes", "file", "pieces"]

_SPECIAL = ("<pad>", "</s>", "<unk>")  # 0, 1 and 2, as in T5


@dataclass(frozen=True)
class Vocabulary:
    """How texts become tokens.

    Args:
        kind: ``bytes`` needs nothing; ``file`` is a released tokenizer; ``pieces`` are learned from the training texts
            by byte-pair encoding, in lower case, the same ones from the same texts.
        file: of ``file``, such as T5's ``spiece.model``.
        size: tokens of ``pieces``, at least 256 bytes and 3 special ones.
    """

    kind: Kind = "bytes"
    file: Path | None = None
    size: int = 1000

    def __post_init__(self) -> None:
        check_choice(Kind, kind=self.kind)
        check_range(self, 256 + len(_SPECIAL), inf, "size")
        if (self.kind == "file") != (self.file is not None):
            raise UserError(f"a vocabulary of kind {self.kind} with file {self.file}: give a file for kind file alone")

    def open(self, texts: Iterable[str]) -> Tokenizer:
        """Return the tokenizer; ``texts`` are read only where it is learned from them."""
        if self.file is not None:
            return read_tokenizer(self.file)
        return ByteTokenizer() if self.kind == "bytes" else learn_pieces(texts, self.size)


def learn_pieces(texts: Iterable[str], size: int) -> Tokenizer:
    """Return pieces of words learned by byte-pair encoding.

    Example:
        >>> tokenizer = learn_pieces(["a frog", "a frog is green"], 300)
        >>> tokenizer.decode(tokenizer.encode("A green frog"))
        'a green frog'
    """
    from tokenizers import Tokenizer as Pieces
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    pieces = Pieces(models.BPE(unk_token=_SPECIAL[2]))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*_SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # else in an order of its own
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    return FileTokenizer(pieces.to_str())
