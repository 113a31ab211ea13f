"""A language model: embedding, a transformer with any memory, and the embedding again as the head."""

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState, TransformerConfig, build_transformer
from mnemic_core.errors import check_range
from mnemic_core.parametric.product_key_memory import ProductKeyMemory
from mnemic_core.pretrained import PretrainedModel


@dataclass(frozen=True)
class ProductKeyConfig:
    """Sizes of a product-key memory of ``sub_keys**2`` learned values.

    Args:
        sub_keys: keys in each of the two sets of a head.
        num_heads: queries of a token.
        k: values that each head reads.
        key_dim: width of queries and keys, even.
        query_norm: normalises queries so that more values come to be used; ``batch`` mixes rows while training.
    """

    sub_keys: int = 64
    num_heads: int = 4
    k: int = 16
    key_dim: int = 64
    query_norm: Literal["batch", "layer"] | None = "layer"

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "sub_keys", "num_heads", "k", "key_dim")


@dataclass(frozen=True)
class LanguageModelConfig:
    """Every size of a language model.

    Args:
        transformer: sizes and memory.
        vocab_size: number of tokens, with the one that begins a document.
        product_keys: sizes of a product-key memory; None for none.
    """

    transformer: TransformerConfig
    vocab_size: int
    product_keys: ProductKeyConfig | None = None

    def __post_init__(self) -> None:
        check_range(self, 2, inf, "vocab_size")


class LanguageModel(PretrainedModel):
    """Predicts the next token of every stream, segment by segment, with what its memory holds of the past.

    The memory stands where its place in the catalogue is. A product-key memory, which has no state, is a residual
    branch before the head, since every transformer has that place whatever its memory.

    Args:
        config: all sizes.

    Attributes:
        dim: width of embeddings and hidden states.
        detach: gradient policy of the memory.

    Example:
        >>> from mnemic_core import MemoryConfig
        >>> config = TransformerConfig(dim=8, num_layers=1, num_heads=2, ffn_dim=8, memory=MemoryConfig("window"))
        >>> model = LanguageModel(LanguageModelConfig(config, vocab_size=257))
        >>> logits, state = model(torch.zeros(1, 5, dtype=torch.long), model.init_state(batch=1))
        >>> logits.shape
        torch.Size([1, 5, 257])
    """

    config_class = LanguageModelConfig

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.dim, keys = config.transformer.dim, config.product_keys
        self.embedding = nn.Embedding(config.vocab_size, self.dim)
        # Small, since it is also the head: a token would else predict itself, which its hidden state resembles.
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.transformer = build_transformer(config.transformer)
        self.detach = self.transformer.detach
        self.product_key_memory = None if keys is None else ProductKeyMemory(self.dim, **vars(keys))

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryState:
        """Return a fresh state of ``batch`` rows, where the weights are if no device is given."""
        device = self.embedding.weight.device if device is None else device
        state: MemoryState = self.transformer.init_state(batch, device=device, dtype=dtype)
        return state

    def forward(
        self,
        ids: Int[Tensor, "batch time"],
        state: MemoryState,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time token"], MemoryState]:
        """Run one segment.

        Args:
            ids: tokens.
            state: what earlier segments left.
            padding: True at tokens to ignore; outputs there have no meaning.
            reset: True at rows that begin a new sequence with this segment.

        Returns:
            Logits of the token after each, and the new state.
        """
        hidden, state = self.transformer(self.embed(ids), state, padding=padding, reset=reset)
        return self.head(hidden), state

    def embed(self, ids: Int[Tensor, "*batch time"]) -> Float[Tensor, "*batch time dim"]:
        """Return the embeddings of tokens."""
        embeds: Tensor = self.embedding(ids) * self.dim**0.5
        return embeds

    def head(self, hidden: Float[Tensor, "*batch time dim"]) -> Float[Tensor, "*batch time token"]:
        """Return the logits of the next tokens."""
        if self.product_key_memory is not None:
            hidden = hidden + self.product_key_memory(hidden)
        return F.linear(hidden, self.embedding.weight)

    @property
    def num_parameters(self) -> int:
        """Number of learned parameters; embedding and head share theirs."""
        return sum(parameter.numel() for parameter in self.parameters())


def total_nats(
    logits: Float[Tensor, "*batch time token"],
    targets: Int[Tensor, "*batch time"],
    padding: Bool[Tensor, "*batch time"],
) -> Float[Tensor, ""]:
    """Return the sum of the negative log-likelihoods of all targets that are no padding, in nats."""
    ignored = targets.masked_fill(padding, -100)
    # In half precision a sum over thousands of tokens would lose the last ones.
    return F.cross_entropy(logits.flatten(0, -2).float(), ignored.flatten(), ignore_index=-100, reduction="sum")
