"""Settings of EMAT."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_retrieval.t5.config import T5Config

KeyHead: TypeAlias = Literal["conv", "linear", "prefix"]
"""How keys come from the hidden states: a convolution over all of them, a linear layer on the prefix, or the prefix."""

InsertedBias: TypeAlias = Literal["recompute", "zero"]
"""Position bias in the blocks after the insertion."""


@dataclass(frozen=True)
class EmatConfig:
    """Settings of the network; the defaults are those of question answering in the paper, T5 1.0 base with FKSV.

    Layers are counted from 0: "after layer i" is the output of block i.

    Attributes:
        t5: the encoder-decoder.
        prefix_length: learned vectors before the tokens; also the slots of a key and of a value.
        key_layer: after it queries and keys are taken.
        insert_layer: after it retrieved keys are put before the sequence; ``key_layer`` (FKSV), or a later one (SKSV)
            so that the search has the time of the layers between.
        value_layer: after it values are taken, and added to the inserted keys.
        num_values: retrieved items.
        key_head: from hidden states to keys.
        bias_after_insertion: ``recompute`` goes on with relative positions, and has one learned number a head for
            pairs with a retrieved slot. In the released code all positions count as equal from there on, by mistake
            (``zero``); its weights need that.
        has_own_memory_encoder: whether keys and values have an encoder of their own, as in dialogue.
        search_dim: width of search vectors, by a linear layer; None: that of tokens, without such a layer.
    """

    t5: T5Config = field(
        default_factory=lambda: T5Config(ffn_dim=3072, activation="relu", tie_embeddings=True, scale_outputs=True)
    )
    prefix_length: int = 2
    key_layer: int = 3
    insert_layer: int = 3
    value_layer: int = 7
    num_values: int = 10
    key_head: KeyHead = "conv"
    bias_after_insertion: InsertedBias = "recompute"
    has_own_memory_encoder: bool = False
    search_dim: int | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "prefix_length", "num_values")
        check_choice(KeyHead, key_head=self.key_head)
        check_choice(InsertedBias, bias_after_insertion=self.bias_after_insertion)
        if self.search_dim is not None:
            check_range(self, 1, inf, "search_dim")
        last = self.t5.encoder_layers - 1
        if not 0 <= self.key_layer <= self.insert_layer <= self.value_layer <= last:
            raise UserError(
                f"layers must be 0 <= key <= insert <= value <= {last}, the last one, got {self.key_layer}, "
                f"{self.insert_layer} and {self.value_layer}"
            )


def emat_serial() -> EmatConfig:
    """Return FKSV, the paper's setting for question answering: keys enter where they are taken."""
    return EmatConfig()


def emat_async() -> EmatConfig:
    """Return SKSV, the paper's setting for dialogue: seven layers run while the memory is searched."""
    return replace(EmatConfig(), insert_layer=10, value_layer=11)
