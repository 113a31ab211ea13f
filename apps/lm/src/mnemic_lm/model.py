"""A language model: embedding, a transformer with any memory, and a head that shares the embedding."""

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
        num_heads: queries per token.
        k: values that each head reads.
        key_dim: width of queries and keys, even.
        query_norm: normalization of queries, for a more even use of the values; ``batch`` mixes rows in training.
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
    """Settings of a language model.

    Args:
        transformer: sizes and memory.
        vocab_size: number of tokens, with the start token of documents.
        product_keys: sizes of a product-key memory; None for none.
    """

    transformer: TransformerConfig
    vocab_size: int
    product_keys: ProductKeyConfig | None = None

    def __post_init__(self) -> None:
        check_range(self, 2, inf, "vocab_size")


class LanguageModel(PretrainedModel):
    """Predicts the next token of every stream, segment by segment, with a memory of earlier segments.

    The place of the memory in the network follows from its catalogue entry. A product-key memory, which has no state,
    is a residual branch before the head, a place that every transformer has.

    Args:
        config: settings.

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
        # Small, since the head shares it: a hidden state resembles its input token, which would predict itself.
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.transformer = build_transformer(config.transformer)
        self.detach = self.transformer.detach
        self.product_key_memory = None if keys is None else ProductKeyMemory(self.dim, **vars(keys))

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryState:
        """Return the initial state, on the device of the weights by default."""
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
            state: of earlier segments.
            padding: True at tokens to ignore; their outputs are undefined.
            reset: True at rows whose sequence starts with this segment.

        Returns:
            Logits of the token after each, and the new state.
        """
        hidden, state = self.transformer(self.embed(ids), state, padding=padding, reset=reset)
        return self.head(hidden), state

    def embed(self, ids: Int[Tensor, "*batch time"]) -> Float[Tensor, "*batch time dim"]:
        """Return the embeddings of tokens."""
        # Scaled as in Vaswani et al. 2017, section 3.4.
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
    """Return the sum of the negative log-likelihoods of all targets without padding, in nats."""
    ignored = targets.masked_fill(padding, -100)
    # In half precision a sum over thousands of tokens would lose small terms.
    return F.cross_entropy(logits.flatten(0, -2).float(), ignored.flatten(), ignore_index=-100, reduction="sum")
