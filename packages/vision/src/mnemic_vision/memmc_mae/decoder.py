"""The decoder: reconstructs patches by attention to several levels of the encoder at once."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.layers import FeedForward, MultiHeadAttention, join_heads, split_heads
from mnemic_vision.memmc_mae.config import MemMcMaeConfig
from mnemic_vision.memmc_mae.encoder import EPSILON
from mnemic_vision.memmc_mae.masks import masked_patches
from mnemic_vision.memmc_mae.positions import grid_positions


class LevelGates(nn.Module):
    """Weights of the levels by sigmoid gates that see the token and what it found in the level.

    ``sum over l of sigmoid([u ; c_l] W_l + b_l) * c_l / sqrt(levels)``, as in the Meshed-Memory Transformer
    (arXiv 1912.08226), whose weights are ``alpha``. The division keeps the scale of one level.

    Args:
        num_levels: number of levels.
        dim: width of tokens.
        num_gates: gates of a level: ``dim``, or one for each of so many groups of channels.
    """

    def __init__(self, num_levels: int, dim: int, num_gates: int) -> None:
        super().__init__()
        self.num_gates = num_gates
        self.token = nn.Linear(dim, num_levels * num_gates)
        self.found = nn.Parameter(torch.empty(num_levels, dim, num_gates))
        nn.init.xavier_uniform_(self.token.weight)
        nn.init.zeros_(self.token.bias)
        for matrix in self.found:
            nn.init.xavier_uniform_(matrix)

    def forward(
        self, token: Float[Tensor, "batch query dim"], found: Float[Tensor, "level batch query dim"]
    ) -> Float[Tensor, "batch query dim"]:
        """Return the gated sum of what was found in each level."""
        levels, batch, query, _ = found.shape
        own = self.token(token).unflatten(-1, (levels, -1)).permute(2, 0, 1, 3)  # level batch query gate
        theirs = torch.bmm(found.flatten(1, 2), self.found.to(found.dtype)).view(levels, batch, query, -1)
        gates = (own + theirs).sigmoid()
        parts = found.unflatten(-1, (self.num_gates, -1))  # level batch query gate channel
        gated: Tensor = (gates[..., None] * parts).sum(0).flatten(-2)
        return gated / math.sqrt(levels)


class MultiLevelAttention(nn.Module):
    """Cross-attention to several levels of an encoder with the same weights, then gates over the levels.

    Args:
        dim: width of tokens.
        num_heads: attention heads.
        num_levels: number of levels.
        gates_heads: gate each head before the output projection, which is then applied once; otherwise each channel
            after it.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, *, gates_heads: bool) -> None:
        super().__init__()
        self.gates_heads = gates_heads
        self.attention = MultiHeadAttention(dim, num_heads)
        self.gates = LevelGates(num_levels, dim, num_heads if gates_heads else dim)

    def forward(
        self,
        token: Float[Tensor, "batch query dim"],
        keys: Float[Tensor, "level batch key dim"],
        values: Float[Tensor, "level batch key dim"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return what each token finds in the levels."""
        attention, levels = self.attention, len(keys)
        query = attention.queries(token).repeat(levels, 1, 1, 1)  # levels one after the other, as rows of a batch
        key = split_heads(attention.key(keys.flatten(0, 1)), attention.num_heads)
        value = split_heads(attention.value(values.flatten(0, 1)), attention.num_heads)
        heads = join_heads(F.scaled_dot_product_attention(query, key, value))
        if self.gates_heads:
            gated: Tensor = attention.output(self.gates(token, heads.unflatten(0, (levels, -1))))
        else:
            gated = self.gates(token, attention.output(heads).unflatten(0, (levels, -1)))
        return gated


class DecoderBlock(nn.Module):
    """Self-attention, multi-level cross-attention and a feed-forward network, each after a normalization.

    Args:
        config: sizes.
    """

    def __init__(self, config: MemMcMaeConfig) -> None:
        super().__init__()
        dim, heads, levels = config.decoder_dim, config.decoder_heads, len(config.level_indices)
        self.self_norm = self.self_attention = self.cross_norm = self.cross_attention = None
        if config.decoder_self_attention:
            self.self_norm, self.self_attention = nn.LayerNorm(dim, EPSILON), MultiHeadAttention(dim, heads)
        if levels:
            self.cross_norm = nn.LayerNorm(dim, EPSILON)
            self.cross_attention = MultiLevelAttention(dim, heads, levels, gates_heads=config.gates == "head")
        self.mlp_norm = nn.LayerNorm(dim, EPSILON)
        self.mlp = FeedForward(dim, 4 * dim, F.gelu)

    def forward(
        self,
        x: Float[Tensor, "batch query dim"],
        keys: Float[Tensor, "level batch key dim"],
        values: Float[Tensor, "level batch key dim"],
        attends: Bool[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the tokens after the block.

        Args:
            x: tokens of patches, after that of the class with self-attention.
            keys: outputs of encoder levels, with positions.
            values: outputs of encoder levels.
            attends: tokens that attend to the levels; None: all.
        """
        if self.self_norm is not None and self.self_attention is not None:
            normed = self.self_norm(x)
            x = x + self.self_attention(normed, *self.self_attention.keys_and_values(normed))
        if self.cross_norm is not None and self.cross_attention is not None:
            found = self.cross_attention(self.cross_norm(x), keys, values)
            x = x + (found if attends is None else found * attends[..., None])
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class Decoder(nn.Module):
    """Predicts patches from the visible tokens and the levels of the encoder.

    Args:
        config: sizes.
        patch_dim: numbers of a patch.
    """

    positions: Tensor

    def __init__(self, config: MemMcMaeConfig, patch_dim: int) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.config = config
        # The last one is that after the last block of a ViT, which is needed without levels too.
        self.norms = nn.ModuleList(nn.LayerNorm(config.dim, EPSILON) for _ in config.level_indices or (0,))
        self.project = nn.Linear(config.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.register_buffer("positions", grid_positions(dim, config.grid))
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_depth))
        self.output_norm = nn.LayerNorm(dim, EPSILON)
        self.head = nn.Linear(dim, patch_dim)

    def forward(
        self,
        last: Float[Tensor, "batch token dim"],
        levels: list[Float[Tensor, "batch token dim"]],
        visible: Int[Tensor, "batch visible"],
        wanted: Int[Tensor, "batch query"] | None = None,
    ) -> Float[Tensor, "batch query value"]:
        """Return the patches at the wanted places.

        Args:
            last: output of the encoder, class token and visible patches.
            levels: outputs of its levels.
            visible: places of the visible patches.
            wanted: places to decode; None: all. Self-attention needs all tokens, and saves only the last layer.
        """
        tokens = self.project(self.norms[-1](last))
        values = self._project_levels(levels, tokens)
        keys = values + self.positions[F.pad(visible + 1, (1, 0))]  # the class token has place 0
        x, attends = self._queries(tokens, visible, wanted)
        for block in self.blocks:
            x = block(x, keys, values, attends)
        if self.config.decoder_self_attention:
            x = _take(x, wanted + 1) if wanted is not None else x[:, 1:]
        patches: Tensor = self.head(self.output_norm(x))
        return patches

    def _project_levels(
        self, levels: list[Float[Tensor, "batch token dim"]], last: Float[Tensor, "batch token decoder_dim"]
    ) -> Float[Tensor, "level batch token decoder_dim"]:
        """Return the levels in the width of the decoder; the last one is there already."""
        earlier = [self.project(norm(level)) for norm, level in zip(self.norms, levels[:-1], strict=False)]
        return torch.stack([*earlier, last] if levels else [last])

    def _queries(
        self,
        tokens: Float[Tensor, "batch token dim"],
        visible: Int[Tensor, "batch visible"],
        wanted: Int[Tensor, "batch query"] | None,
    ) -> tuple[Float[Tensor, "batch row dim"], Bool[Tensor, "batch row"] | None]:
        """Return visible and mask tokens at their places with positions, and which attend to the levels."""
        config = self.config
        grid = self.mask_token.to(tokens.dtype).expand(tokens.shape[0], config.num_patches, -1)
        grid = grid.scatter(1, visible[..., None].expand(-1, -1, tokens.shape[-1]), tokens[:, 1:])
        x = torch.cat([tokens[:, :1], grid], dim=1) + self.positions
        attends = None
        if config.cross_queries == "masked":
            attends = F.pad(masked_patches(visible, config.num_patches), (1, 0), value=False)
        if config.decoder_self_attention:
            return x, attends
        if wanted is None:
            return x[:, 1:], None if attends is None else attends[:, 1:]
        return _take(x, wanted + 1), None if attends is None else attends.gather(1, wanted + 1)


def _take(x: Float[Tensor, "batch token dim"], place: Int[Tensor, "batch query"]) -> Float[Tensor, "batch query dim"]:
    """Return the tokens at places of each row."""
    return x.gather(1, place[..., None].expand(-1, -1, x.shape[-1]))
