"""One encoder for pictures, texts and both, of items and of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState
from mnemic_retrieval.encoders import Features, PictureEncoder, SentenceEncoder
from mnemic_retrieval.murag.config import MuragConfig
from mnemic_retrieval.murag.reducers import AverageReducer, Resampler
from mnemic_retrieval.murag.vectors import SummaryVectors
from mnemic_retrieval.t5.blocks import masked_bias
from mnemic_retrieval.t5.encoder import T5Encoder
from mnemic_retrieval.t5.tokens import Tokens

_KINDS = 2  # pairs of a word with something else, and of others


@dataclass(frozen=True)
class Embedded(MemoryState):
    """Items or questions as they enter the blocks of the encoder.

    Attributes:
        tokens: the pool, patches and words.
        padding: True at what a row lacks.
        is_word: True at words.
        ids: which word it is; 0 elsewhere.
    """

    tokens: Float[Tensor, "batch place dim"]
    padding: Bool[Tensor, "batch place"]
    is_word: Bool[Tensor, "batch place"]
    ids: Int[Tensor, "batch place"]


@dataclass(frozen=True)
class Encoded(MemoryState):
    """What the encoder makes of items or questions.

    Attributes:
        embedded: what went in.
        hidden: what each place became; of width 0 where nobody asked for it.
        vector: by which items are found.
    """

    embedded: Embedded
    hidden: Float[Tensor, "batch place width"]
    vector: Float[Tensor, "batch dim_of_vector"]

    @property
    def padding(self) -> Bool[Tensor, "batch place"]:
        """True at what a row lacks."""
        return self.embedded.padding


class JointEncoder(nn.Module):
    """Encodes ``[pool, patches, words]`` with the blocks of T5; the retrieval vector is what the pool becomes.

    Between words position bias is that of T5. Patches have positions from their own network: pairs with one share a
    learned number for each head, as do pairs of a word with a patch or the pool. Where both encoders are pretrained and
    have summaries, these make the retrieval vector instead, see `SummaryVectors`.

    Args:
        config: sizes.
        tokens: token layer, shared with the decoder.
        sentences: encoder of words; None: the token layer embeds them.

    Attributes:
        kinds: added to patches and to words, so that the two differ from the start.
    """

    def __init__(self, config: MuragConfig, tokens: Tokens, sentences: SentenceEncoder | None = None) -> None:
        super().__init__()
        dim, heads = config.t5.dim, config.t5.num_heads
        self.config, self.tokens, self.sentences = config, tokens, sentences
        self.pictures, self.stack = PictureEncoder(config.pictures), T5Encoder(config.t5)
        self.project = nn.Sequential(nn.Linear(self.pictures.dim, dim), nn.LayerNorm(dim))
        self.project_words: nn.Module = nn.Identity()
        if sentences is not None:
            self.project_words = nn.Sequential(nn.Linear(sentences.dim, dim), nn.LayerNorm(dim))
        self.reduce = _build_reducer(config, self.pictures.num_tokens)
        self.vectors: SummaryVectors | None = None
        if config.has_summaries and sentences is not None:
            self.vectors = SummaryVectors(self.pictures, sentences, config.picture_dropout)
        self.kinds = nn.Parameter(0.02 * torch.randn(2, dim))
        self.pool = nn.Parameter(torch.randn(dim))
        self.pair_bias = nn.Parameter(torch.zeros(_KINDS, heads))

    @property
    def vector_dim(self) -> int:
        """Width of retrieval vectors."""
        return self.config.t5.dim if self.vectors is None else self.vectors.dim

    @property
    def num_patches(self) -> int:
        """Patches of a picture that have a place in it, after the reducer; 0 for learned queries."""
        if self.config.reducer == "resample":
            return 0
        number = self.pictures.num_tokens
        return number if self.config.reducer == "none" else ((isqrt(number) + 1) // 2) ** 2

    def read(self, tokens: Int[Tensor, "batch token"]) -> Features:
        """Return texts as words, from tokens filled with ``pad_id`` behind; a row of padding is one without a text."""
        if self.sentences is not None:
            found: Features = self.sentences(tokens)
            return found
        words = self.tokens(tokens)
        return Features(words, tokens == self.config.t5.pad_id, words[:, 0, :0], tokens)

    def see(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return pictures, with values in [0, 1], as patches."""
        found: Features = self.pictures(images)
        return found

    def forward(
        self,
        words: Features,
        pictures: Features | None = None,
        has_picture: Bool[Tensor, " batch"] | None = None,
        *,
        needs_hidden: bool = True,
        is_question: bool = False,
    ) -> Encoded:
        """Encode items or questions of any modality.

        Args:
            words: from `read`.
            pictures: from `see`; None: there are none in the batch.
            has_picture: False at rows without a picture, whose patches do not matter; None: all have one.
            needs_hidden: whether ``hidden`` is used; where not even vectors need the blocks, they then do not run.
            is_question: which matters to vectors that are summaries.
        """
        pictures = _present(pictures, has_picture)
        embedded = self._embed(words, pictures)
        if self.vectors is None:
            hidden = self.run(embedded)
            return Encoded(embedded, hidden, self._scaled(hidden[:, 0]))
        hidden = self.run(embedded) if needs_hidden else embedded.tokens[..., :0]
        vectors = self.vectors(words, pictures, has_picture, is_question=is_question)
        return Encoded(embedded, hidden, self._scaled(vectors))

    def vectors_of(
        self,
        words: Features,
        pictures: Features | None = None,
        has_picture: Bool[Tensor, " batch"] | None = None,
        *,
        is_question: bool = False,
    ) -> Float[Tensor, "batch dim_of_vector"]:
        """Return the retrieval vectors of `forward` alone; where they are summaries, no block runs."""
        if self.vectors is None:
            encoded: Encoded = self(words, pictures, has_picture)
            return encoded.vector
        pictures = _present(pictures, has_picture)
        return self._scaled(self.vectors(words, pictures, has_picture, is_question=is_question))

    def run(self, embedded: Embedded) -> Float[Tensor, "batch place dim"]:
        """Return each place after the blocks."""
        bias = masked_bias(self._bias(embedded), ~embedded.padding[:, None, None])
        return self.stack.finish(self.stack.run(self.stack.dropout(embedded.tokens), bias))

    def _scaled(self, vector: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return F.normalize(vector, dim=-1) if self.config.normalize else vector

    def _embed(self, words: Features, pictures: Features | None) -> Embedded:
        made = self.project_words(words.tokens) + self.kinds[1]
        pool = self.pool.to(made.dtype).expand(len(made), 1, -1)
        no = torch.zeros(pool.shape[:2], dtype=torch.bool, device=pool.device)
        is_word = torch.ones_like(words.padding)
        parts = [Embedded(pool, no, no, no.long()), Embedded(made, words.padding, is_word, words.ids)]
        if pictures is not None:
            patches = (self.reduce(self.project(pictures.tokens)) + self.kinds[0]).to(made.dtype)
            no = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
            parts.insert(1, Embedded(patches, no | pictures.padding[:, :1], no, no.long()))
        return join(parts)

    def _bias(self, embedded: Embedded) -> Float[Tensor, "batch head place place"]:
        """Return position bias by how many words lie between two words, padding not counted."""
        place = (embedded.is_word & ~embedded.padding).cumsum(1)
        between_words: Tensor = self.stack.relative_bias(place, place)
        with_word, others = self.pair_bias[:, None, :, None, None]  # batch head place place
        query, key = embedded.is_word[:, None, :, None], embedded.is_word[:, None, None]
        return torch.where(query & key, between_words, torch.where(query ^ key, with_word, others))


def join(parts: Sequence[Embedded]) -> Embedded:
    """Return sequences of the same batch behind each other."""
    names = ("tokens", "padding", "is_word", "ids")
    return Embedded(*(torch.cat([getattr(part, name) for part in parts], 1) for name in names))


def _present(pictures: Features | None, has_picture: Bool[Tensor, " batch"] | None) -> Features | None:
    """Return patches that are 0 and padding where there is no picture: a mask does not hide a NaN."""
    if pictures is None or has_picture is None:
        return pictures
    missing = ~has_picture
    tokens, summary = pictures.tokens.masked_fill(missing[:, None, None], 0), pictures.summary
    summary = summary.masked_fill(missing[:, None], 0)
    return Features(tokens, pictures.padding | missing[:, None], summary, pictures.ids)


def _build_reducer(config: MuragConfig, num_patches: int) -> nn.Module:
    if config.reducer == "average":
        return AverageReducer(num_patches)
    return Resampler(config.t5, config.num_queries) if config.reducer == "resample" else nn.Identity()
