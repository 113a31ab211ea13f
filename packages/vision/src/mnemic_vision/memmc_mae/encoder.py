"""The encoder: transformer blocks of a ViT, each with a memory of normal patterns."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from mnemic_core.layers import FeedForward
from mnemic_core.parametric.persistent_keys import PersistentAttention
from mnemic_core.parametric.product_key_memory import ProductKeyMemory
from mnemic_vision.memmc_mae.config import EncoderMemory, MemMcMaeConfig

EPSILON = 1e-6  # of layer normalization, as in ViT


class EncoderBlock(nn.Module):
    """A pre-norm block of a ViT whose self-attention also sees learned keys and values.

    ::

        x = x + attention(norm(x)) over tokens and slots
        x = x + recall(norm(x))                            only with a product-key memory
        x = x + mlp(norm(x))

    Args:
        dim: width of tokens.
        num_heads: attention heads.
        memory: which memory.
    """

    def __init__(self, dim: int, num_heads: int, memory: EncoderMemory) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, EPSILON)
        slots: dict[str, Any] = memory.options if memory.name == "persistent" else {"num_slots": 0}
        self.attention = PersistentAttention(dim, num_heads=num_heads, **slots)
        self.recall = None
        if memory.name == "product_key":
            self.recall = nn.Sequential(nn.LayerNorm(dim, EPSILON), ProductKeyMemory(dim, **memory.options))
        self.mlp_norm = nn.LayerNorm(dim, EPSILON)
        self.mlp = FeedForward(dim, 4 * dim, gelu)

    def forward(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after the block."""
        x = x + self.attention(self.attention_norm(x))
        if self.recall is not None:
            x = x + self.recall(x)
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y

    def slot_weights(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token slot"]:
        """Return the attention of every token to the slots, the mean of all heads."""
        weights: Tensor = self.attention.weights(self.attention_norm(x))[..., x.shape[1] :].mean(1)
        return weights


class Encoder(nn.Module):
    """Blocks of a ViT whose intermediate outputs are returned.

    Args:
        config: sizes.
    """

    def __init__(self, config: MemMcMaeConfig) -> None:
        super().__init__()
        self.levels = config.level_indices
        self.blocks = nn.ModuleList(
            EncoderBlock(config.dim, config.num_heads, config.memory) for _ in range(config.depth)
        )

    def forward(
        self, x: Float[Tensor, "batch token dim"]
    ) -> tuple[Float[Tensor, "batch token dim"], list[Float[Tensor, "batch token dim"]]]:
        """Return the output of the last block, and those of the levels."""
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return x, [outputs[index] for index in self.levels]

    def slot_weights(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch block token slot"]:
        """Return the attention of every token to the slots of every block, the mean of all heads."""
        found = []
        for block in self.blocks:
            found.append(cast(EncoderBlock, block).slot_weights(x))
            x = block(x)
        return torch.stack(found, dim=1)
