"""Settings of MuRAG's networks."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_retrieval.encoders import PictureConfig, SentenceConfig
from mnemic_retrieval.t5.config import T5Config

ReaderForm: TypeAlias = Literal["fid", "fid_cached", "concat"]
"""How items and question come together: each item encoded with the question, each alone, or all in one sequence."""

Reducer: TypeAlias = Literal["none", "average", "resample"]
"""How patches become fewer: not, by the mean of 2 x 2, or by attention of learned queries to them."""


@dataclass(frozen=True)
class MuragConfig:
    """Settings of the network.

    The paper joins a T5 and a ViT; how, could not be read beyond that: the order of the sequence, the place of the
    retrieval vector, its normalization and the form of the reader are choices of ours.

    Attributes:
        t5: encoder-decoder for words and patches.
        pictures: network that makes patches.
        sentences: network that makes words, instead of the token embedding of T5.
        normalize: whether retrieval vectors have length 1.
        temperature: by which products of retrieval vectors are divided in training; where it begins, since it learns.
        reader: how items and question come together.
        num_items: items that an answer is read from.
        reducer: how patches become fewer.
        num_queries: learned queries of ``resample``.
        copies: whether words of what is read can be copied into the answer, see `CopyHead`.
        picture_dropout: of the mean patch on its way into the retrieval vector, where the encoders have summaries.
    """

    t5: T5Config = field(default_factory=T5Config)
    pictures: PictureConfig = field(default_factory=PictureConfig)
    sentences: SentenceConfig | None = None
    normalize: bool = True
    temperature: float = 0.05
    reader: ReaderForm = "fid"
    num_items: int = 4
    reducer: Reducer = "none"
    num_queries: int = 32
    copies: bool = False
    picture_dropout: float = 0.8

    def __post_init__(self) -> None:
        check_range(self, 1e-6, inf, "temperature")
        check_range(self, 1, inf, "num_items", "num_queries")
        check_range(self, 0, 1, "picture_dropout")
        check_choice(ReaderForm, reader=self.reader)
        check_choice(Reducer, reducer=self.reducer)
        if self.pictures.has_classes and self.sentences is None:
            raise UserError("pictures.has_classes compares names of classes with texts: give sentences too")
        if self.sentences is not None and self.sentences.vocab_size != self.t5.vocab_size:
            raise UserError(
                f"words are read and written with the same tokens: t5.vocab_size is {self.t5.vocab_size}, that of "
                f"sentences {self.sentences.vocab_size}"
            )

    @property
    def has_summaries(self) -> bool:
        """Whether retrieval vectors are summaries of pretrained encoders, instead of the pool."""
        return self.pictures.has_classes


def murag_base() -> MuragConfig:
    """Return sizes into which released weights of T5 v1.1 base and a ViT-L/16 load."""
    return MuragConfig()


def murag_small() -> MuragConfig:
    """Return sizes into which released weights of T5 v1.1 small load, with a ViT-B/16."""
    t5 = T5Config(dim=512, num_heads=6, ffn_dim=1024, encoder_layers=8, decoder_layers=8)
    return MuragConfig(t5, PictureConfig("vit_base_patch16_224"))


def murag_tiny(vocab_size: int = 259) -> MuragConfig:
    """Return sizes for tests and small pictures: 32 pixels in 16 patches, fewer than a million weights."""
    t5 = T5Config(vocab_size, 64, num_heads=4, head_dim=16, ffn_dim=128, encoder_layers=2, decoder_layers=2)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return MuragConfig(t5, PictureConfig("vit_tiny_patch16_224", options=sizes))
