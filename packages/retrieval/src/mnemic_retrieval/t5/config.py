"""Settings of T5."""

from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError, check_choice, check_range

Activation: TypeAlias = Literal["relu", "gated_gelu"]
"""Hidden units of the feed-forward parts: those of T5 1.0 or of 1.1."""


@dataclass(frozen=True)
class T5Config:
    """Sizes of an encoder-decoder; the defaults are those of T5 v1.1 base.

    Attributes:
        vocab_size: number of tokens; the released networks pad it to a multiple of 128.
        dim: width of tokens.
        num_heads: attention heads.
        head_dim: width of a head; unlike in other transformers, heads need not add up to ``dim``.
        ffn_dim: hidden width of the feed-forward parts.
        encoder_layers: blocks of the encoder.
        decoder_layers: blocks of the decoder.
        activation: ``relu`` (1.0) or ``gated_gelu`` (1.1).
        tie_embeddings: whether the output layer is the token embedding, as in 1.0, or has weights of its own (1.1).
        scale_outputs: whether what enters the output layer is divided by the root of ``dim``, as in 1.0.
        num_buckets: rows of the table of relative positions.
        max_distance: distance from which all positions share a bucket.
        dropout: of embeddings, attention weights, hidden units and residual branches.
        pad_id: token that fills rows; it also begins every output.
        end_id: token that ends a text.
    """

    vocab_size: int = 32128
    dim: int = 768
    num_heads: int = 12
    head_dim: int = 64
    ffn_dim: int = 2048
    encoder_layers: int = 12
    decoder_layers: int = 12
    activation: Activation = "gated_gelu"
    tie_embeddings: bool = False
    scale_outputs: bool = False
    num_buckets: int = 32
    max_distance: int = 128
    dropout: float = 0.1
    pad_id: int = 0
    end_id: int = 1

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "vocab_size", "dim", "num_heads", "head_dim", "ffn_dim")
        check_range(self, 1, inf, "encoder_layers", "decoder_layers", "max_distance")
        check_range(self, 4, inf, "num_buckets")
        check_range(self, 0, 1, "dropout")
        check_range(self, 0, self.vocab_size - 1, "pad_id", "end_id")
        check_choice(Activation, activation=self.activation)
        # A quarter of the encoder's buckets are for single distances, the next must be larger than these.
        if self.num_buckets % 4 or self.max_distance <= self.num_buckets // 2:
            raise UserError(
                f"num_buckets must be a multiple of 4 and max_distance above half of it, got {self.num_buckets} and "
                f"{self.max_distance}"
            )
