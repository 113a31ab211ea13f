"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159) in plain PyTorch, without a compiled extension.

On a CPU samples are gathered by `embedding_bag` with a custom backward pass (`gathered_sample`): for the encoder of an
800x1344 image, 10 times as fast as `grid_sample` forward and 8 times with backward, and about twice as fast for the
decoder (one thread; `benchmarks/deformable_attention.py`, results in `benchmarks/results`). Both directions are custom
operators, because the code that `torch.compile` generates for `grid_sample` took 16 seconds for the encoder forward.

On other devices and in exported graphs samples come from one `grid_sample` per level, which needs no table of indices
and runs everywhere. That choice was not measured on a GPU.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.gathered_sample import gathered_sample, sample_forward

Shapes: TypeAlias = Sequence[tuple[int, int]]


class DeformableAttention(nn.Module):
    """Attention to a few learned positions per query in feature maps of several sizes.

    Each query and head predicts `num_points` offsets per level around its reference and a softmax weight for each
    of them; the values there are interpolated bilinearly and summed (equation 3). Locations are always computed in
    float32, because half precision moves a sample by up to a third of a cell.

    Args:
        dim: channels of queries and values.
        num_heads: attention heads; must divide `dim`.
        num_levels: feature maps.
        num_points: sampled positions per query, head and level.
    """

    def __init__(self, dim: int = 256, num_heads: int = 8, num_levels: int = 4, num_points: int = 4) -> None:
        super().__init__()
        if dim % num_heads:
            raise UserError(f"dim must be a multiple of num_heads, got {dim} and {num_heads}; change one of them")
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        num_samples = num_heads * num_levels * num_points
        self.value_proj = nn.Linear(dim, dim)
        self.sampling_offsets = nn.Linear(dim, num_samples * 2)
        self.attention_weights = nn.Linear(dim, num_samples)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize as the official code: point p of head m of M is p+1 cells away at the angle 2*pi*m/M."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        distances = torch.arange(1, self.num_points + 1)[:, None]
        offsets = directions[:, None, None] * distances  # head 1 point 2
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Float[Tensor, "batch query dim"],
        reference: Float[Tensor, "batch query level coordinate"],
        value: Float[Tensor, "batch key dim"],
        shapes: Shapes,
        padding: Bool[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the attention output for each query.

        Args:
            query: queries plus their position embeddings.
            reference: points (x, y) or boxes (cx, cy, width, height) per level, in [0, 1] of the padded level.
            value: feature maps of all levels, flattened row by row and concatenated.
            shapes: (height, width) of each level in cells.
            padding: True at cells of `value` that are read as zero.
        """
        weights = self.attention_weights(query).float().unflatten(-1, (self.num_heads, -1)).softmax(dim=-1)
        value = self.value_proj(value)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0)
        sampled = deformable_sample(
            value.unflatten(-1, (self.num_heads, -1)),
            shapes,
            self._locations(self.sampling_offsets(query).float(), reference.float(), shapes),
            weights.unflatten(-1, (self.num_levels, self.num_points)),
        )
        output: Tensor = self.output_proj(sampled)
        return output

    def _locations(
        self,
        offsets: Float[Tensor, "batch query offset"],
        reference: Float[Tensor, "batch query level coordinate"],
        shapes: Shapes,
    ) -> Float[Tensor, "batch query head level point 2"]:
        """Return references plus offsets, which are in cells from points, and in half boxes per point from boxes."""
        # Level, point and coordinate are one axis here, as broadcasting over axes of length 2 and 4 is slow on a CPU.
        offsets = offsets.unflatten(-1, (self.num_heads, -1))  # batch query head level*point*2
        reference = reference.repeat_interleave(self.num_points, dim=2).unsqueeze(2)
        center = reference[..., :2].flatten(-2)
        if reference.shape[-1] == 2:
            sizes = offsets.new_tensor([(width, height) for height, width in shapes])
            locations = torch.addcdiv(center, offsets, sizes.repeat_interleave(self.num_points, dim=0).flatten())
        else:
            locations = torch.addcmul(center, offsets / self.num_points, reference[..., 2:].flatten(-2) * 0.5)
        return torch.unflatten(locations, -1, (self.num_levels, self.num_points, 2))


def deformable_sample(
    value: Float[Tensor, "batch key head head_dim"],
    shapes: Shapes,
    locations: Float[Tensor, "batch query head level point 2"],
    weights: Float[Tensor, "batch query head level point"],
) -> Float[Tensor, "batch query dim"]:
    """Return weighted sums of bilinear samples of several feature maps, each head at its own locations.

    Differentiable once in `value`, `locations` and `weights`.

    Args:
        value: maps of all levels, flattened row by row and concatenated.
        shapes: (height, width) of each level in cells.
        locations: (x, y) in [0, 1] of the level, cell centers at (i + 0.5) / size; outside there are zeros. Their
            precision, float32 or float64, is that of the computation.
        weights: of the samples.

    Raises:
        TypeError: if `locations` are in half precision.
        UserError: if `shapes` do not match the levels of `value` and `locations`.
    """
    if locations.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"locations must be float32 or float64, got {locations.dtype}; compute them in float32")
    cells = sum(height * width for height, width in shapes)
    if (len(shapes), cells) != (locations.shape[3], value.shape[1]):
        found = f"{locations.shape[3]} levels in locations, {value.shape[1]} cells in value"
        raise UserError(f"shapes {list(shapes)} have {len(shapes)} levels and {cells} cells, got {found}; pass theirs")
    weights = weights.to(locations.dtype)
    # In torch 2.11 is_exporting() is True under torch.compile as well.
    is_exporting = torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
    if value.device.type == "cpu" and locations.numel() and not is_exporting:
        # The first call of an operator imports torch's compiler, a second of CPU time that inference is spared.
        is_plain = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        sample = sample_forward if is_plain else gathered_sample
        sizes = [size for shape in shapes for size in shape]
        sampled: Tensor = sample(value, sizes, locations.flatten(3, 4), weights.flatten(3))
        return sampled.flatten(2)
    return sample_by_level(value, shapes, locations, weights)


def sample_by_level(
    value: Float[Tensor, "batch key head head_dim"],
    shapes: Shapes,
    locations: Float[Tensor, "batch query head level point 2"],
    weights: Float[Tensor, "batch query head level point"],
) -> Float[Tensor, "batch query dim"]:
    """Return the same as `deformable_sample` with one `grid_sample` per level, whose samples alone are in memory."""
    batch, _, head, head_dim = value.shape
    maps = value.flatten(2).transpose(1, 2).split([height * width for height, width in shapes], dim=2)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # batch*head query level point 2
    factors = weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # batch*head 1 query level point
    total = locations.new_zeros(batch * head, head_dim, locations.shape[1])
    for level, shape in enumerate(shapes):
        image = maps[level].reshape(batch * head, head_dim, *shape).to(grid.dtype)
        samples = F.grid_sample(image, grid[:, :, level], align_corners=False)
        total = total + (samples * factors[:, :, :, level]).sum(dim=-1)
    return torch.unflatten(total, 0, (batch, head)).permute(0, 3, 1, 2).flatten(2).to(value.dtype)
