"""Multi-scale deformable attention in plain PyTorch, without a compiled extension.

On a CPU the samples are gathered by `embedding_bag`, with a backward pass of its own. What decided: milliseconds of
processor time at the size of an 800x1344 image (22,323 cells and queries in the encoder, 320 queries in the decoder;
8 heads of 32 channels, 4 levels, 4 points; float32, one thread of an AVX2 machine, medians of three, where
`Linear(256, 256)` over the cells takes 41 and a ResNet-50 forward 2443). `benchmarks/deformable_attention.py`
measures them again.

| form                                  | encoder forward | with backward | decoder forward | with backward |
|---------------------------------------|----------------:|--------------:|----------------:|--------------:|
| `grid_sample`, all levels stacked     |            1108 |          3072 |            11.6 |          47.1 |
| `grid_sample`, level by level         |             800 |          3078 |            13.1 |          51.2 |
| `embedding_bag`, the rest by autograd |             348 |          2193 |             7.1 |          33.1 |
| here                                  |              78 |           375 |             7.2 |          24.5 |

With two threads on busy cores all ratios shrink, as every operation waits for the slower thread. Working head by head
saves up to a fifth of the backward pass on quiet cores, but waits eight times as often and then costs five times as
much: hence few large operations.

Both directions are operators of their own, which `torch.compile` calls as they are: the code that it generates for
`grid_sample` took 16 seconds for the encoder forward. On other devices and in exported graphs the form is
`grid_sample` level by level: it is one kernel a level, needs no table of indices, and runs anywhere. That choice is by
reasoning; it was not run on a GPU.
"""

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Shapes: TypeAlias = Sequence[tuple[int, int]]

_BORDER = 2  # cells of zeros around a map: a sample clamped to them has all its corners outside the map


class DeformableAttention(nn.Module):
    """Attention that reads a few learned positions per query from feature maps of several sizes.

    Each query and head predicts `num_points` offsets per level around its reference and a softmax weight for each
    of them; the values there are interpolated bilinearly and summed (Deformable DETR, arXiv 2010.04159, equation 3).
    Parameters have the names of the official implementation. Locations are computed in float32 whatever the
    precision of the values, because half precision moves a sample by up to a third of a cell.

    Args:
        dim: Channels of queries and values.
        num_heads: Attention heads; must divide `dim`.
        num_levels: Feature maps.
        num_points: Sampled positions per query, head and level.

    Raises:
        ValueError: `dim` is not a multiple of `num_heads`.
    """

    def __init__(self, dim: int = 256, num_heads: int = 8, num_levels: int = 4, num_points: int = 4) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads, got {dim} and {num_heads}; change one of them")
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
        """Sets the official start: head m looks along the angle 2*pi*m/M, point p at p+1 cells, equal weights."""
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
        """Reads the feature maps around the references.

        Args:
            query: Queries with their position embedding added.
            reference: Points (x, y) or boxes (cx, cy, width, height) per level, in [0, 1] of the padded level.
            value: Feature maps of all levels, flattened row by row and concatenated.
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

    def _locations(self, offsets: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Adds offsets to the references: in cells to points, in half boxes per point to boxes.

        Level, point and coordinate are one axis here, as broadcasting over axes of length 2 and 4 is slow on a CPU.
        """
        offsets = offsets.unflatten(-1, (self.num_heads, -1))  # batch query head level*point*2
        reference = reference.repeat_interleave(self.num_points, dim=2).unsqueeze(2)
        centre = reference[..., :2].flatten(-2)
        if reference.shape[-1] == 2:
            sizes = offsets.new_tensor([(width, height) for height, width in shapes])
            locations = torch.addcdiv(centre, offsets, sizes.repeat_interleave(self.num_points, dim=0).flatten())
        else:
            locations = torch.addcmul(centre, offsets / self.num_points, reference[..., 2:].flatten(-2) * 0.5)
        return torch.unflatten(locations, -1, (self.num_levels, self.num_points, 2))


def deformable_sample(
    value: Float[Tensor, "batch key head head_dim"],
    shapes: Shapes,
    locations: Float[Tensor, "batch query head level point 2"],
    weights: Float[Tensor, "batch query head level point"],
) -> Float[Tensor, "batch query dim"]:
    """Sums weighted bilinear samples of several feature maps, each head at its own locations.

    Differentiable once in `value`, `locations` and `weights`.

    Args:
        value: Maps of all levels, flattened row by row and concatenated.
        shapes: (height, width) of each level in cells.
        locations: (x, y) in [0, 1] of the level, cell centres at (i + 0.5) / size; outside there are zeros. Their
            precision, float32 or float64, is the precision of the computation.
        weights: Factor of each sample.

    Returns:
        Heads concatenated, in the precision of `value`.

    Raises:
        TypeError: `locations` are in half precision.
        ValueError: `shapes` do not describe the levels of `value` and `locations`.
    """
    if locations.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"locations must be float32 or float64, got {locations.dtype}; compute them in float32")
    cells = sum(height * width for height, width in shapes)
    if (len(shapes), cells) != (locations.shape[3], value.shape[1]):
        found = f"{locations.shape[3]} levels in locations, {value.shape[1]} cells in value"
        raise ValueError(f"shapes {list(shapes)} have {len(shapes)} levels and {cells} cells, got {found}; pass theirs")
    weights = weights.to(locations.dtype)
    # torch.compile claims to be exporting as well (torch 2.11), torch.export does not claim to be Dynamo.
    is_exporting = torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
    if value.device.type == "cpu" and locations.numel() and not is_exporting:
        sizes = [size for shape in shapes for size in shape]
        sampled: Tensor = _gathered_sample(value, sizes, locations.flatten(3, 4), weights.flatten(3))
        return sampled.flatten(2)
    return _sample_by_level(value, shapes, locations, weights)


def _sample_by_level(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The portable form: one `grid_sample` a level, added up at once, so that no level's samples outlive it."""
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


@torch.library.custom_op("mnemic_vision::gathered_sample", mutates_args=())
def _gathered_sample(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """The form for CPUs: one weighted `embedding_bag` gathers the four corners of all samples of a query and head.

    An operator of its own, so that a compiled graph calls it as it is. Only the inputs are kept for the backward pass.

    Args:
        value: Maps [batch key head head_dim].
        sizes: Height and width of each level in turn.
        locations: [batch query head sample 2].
        weights: [batch query head sample], in the precision of the locations.

    Returns:
        [batch query head head_dim].
    """
    maps = _PaddedMaps(value, sizes, locations)
    output = value.new_empty(*weights.shape[:3], value.shape[-1])
    for item, table in enumerate(maps.rows.flatten(1, 2)):
        rows, fractions = maps.corners(locations[item])
        shares = _corner_weights(weights[item], fractions, dim=2)
        bags, factors = rows.flatten(0, 1).flatten(1), shares.flatten(0, 1).flatten(1)
        sums = F.embedding_bag(bags, table, mode="sum", per_sample_weights=factors)
        output[item] = sums.view_as(output[item])
    return output


@torch.library.custom_op("mnemic_vision::gathered_sample_backward", mutates_args=())
def _gathered_sample_backward(
    gradients: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights.

    That of the maps is an `embedding_bag` too, over the samples sorted by the cell that they touch, hence
    deterministic. The others follow from the scalar products of every gathered row with the gradient of its query.
    """
    maps = _PaddedMaps(value, sizes, locations)
    value_gradient, location_gradient, weight_gradient = (torch.empty_like(x) for x in (value, locations, weights))
    for item, table in enumerate(maps.rows.flatten(1, 2)):
        rows, fractions = maps.corners(locations[item])
        gradient = gradients[item].to(weights.dtype).flatten(0, 1).contiguous()
        products = _row_products(rows, table, gradient)
        by_location, by_weight = _interpolation_gradients(products.unbind(dim=2), fractions)
        by_location.mul_(maps.sizes[:, None, None]).mul_(weights[item])
        location_gradient[item].movedim(-1, 0).copy_(by_location)
        weight_gradient[item] = by_weight
        if rows.numel() < len(table):
            shares = _corner_weights(weights[item], fractions, dim=2).unsqueeze(0)
        else:  # few rows for many samples: sort these once for all corners
            rows, shares = rows[:, :, 0], _corner_weights(weights[item], fractions)
        maps.crop(_collect(gradient, rows, shares, len(table)), value_gradient[item])
    return value_gradient, location_gradient, weight_gradient


@_gathered_sample.register_fake
def _(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(*weights.shape[:3], value.shape[-1])


@_gathered_sample_backward.register_fake
def _(
    gradients: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.sizes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = ctx.saved_tensors
    by_value, *others = _gathered_sample_backward(gradient, value, ctx.sizes, locations, weights)
    return by_value, None, *others


_gathered_sample.register_autograd(_differentiate, setup_context=_keep_inputs)


class _PaddedMaps:
    """Maps with a border of zeros, as rows of channels, so that every corner of every sample is a valid row.

    The two columns of zeros before each line of a map also close the line before it.

    Args:
        value: Maps [batch key head head_dim].
        level_sizes: Height and width of each level in turn.
        locations: [batch query head sample 2], for the precision and the number of samples.

    Attributes:
        rows: Padded maps [batch head row head_dim].
        sizes: (width, height) of the level of each sample [2 sample].
    """

    def __init__(self, value: Tensor, level_sizes: Sequence[int], locations: Tensor) -> None:
        self.shapes = shapes = list(zip(level_sizes[::2], level_sizes[1::2], strict=True))
        num_points = locations.shape[3] // len(shapes)
        pitches = torch.tensor([width + _BORDER for _, width in shapes])
        lengths = torch.tensor([height + 2 * _BORDER for height, _ in shapes]) * pitches
        origins = lengths.cumsum(0) - lengths + _BORDER * (pitches + 1)  # row of the cell (0, 0) of a level
        sizes = torch.tensor([(width, height) for height, width in shapes], dtype=locations.dtype)
        self.sizes = sizes.repeat_interleave(num_points, dim=0).T.contiguous()
        self._pitches = pitches.repeat_interleave(num_points).to(locations.dtype)
        corners = torch.stack([origins, origins + 1, origins + pitches, origins + pitches + 1])
        self._corners = corners.repeat_interleave(num_points, dim=1).int()  # corner sample
        batch, _, head, head_dim = value.shape
        # The lower right corner of the last level's border may lie two rows behind it.
        self.rows = locations.new_zeros(batch, head, int(lengths.sum()) + _BORDER, head_dim)
        cells = [height * width for height, width in shapes]
        for interior, level in zip(self._interiors(self.rows), value.transpose(1, 2).split(cells, dim=2), strict=True):
            interior.copy_(level.unflatten(2, interior.shape[2:4]))

    def corners(self, locations: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the four cells around each location [query head sample 2].

        Returns:
            Rows of the corners, counted over all heads [query head corner sample], and the position between them
            as fractions [2 query head sample].
        """
        sizes = self.sizes[:, None, None]
        position = locations.movedim(-1, 0).clone(memory_format=torch.contiguous_format)
        # Algebraically location * size - 0.5. The steps are grid_sample's, so that samples on the edge of a cell get
        # the same corners: its ((2 * location - 1) + 1) * size / 2 - 0.5 without the exact factors of two.
        position.sub_(0.5).add_(0.5).mul_(sizes).sub_(0.5)
        position.clamp_(min=-_BORDER)
        torch.minimum(position, sizes, out=position)
        first = position.floor()
        fractions = position.sub_(first)
        rows = torch.addcmul(first[0], first[1], self._pitches).int()  # exact in float32 up to 2**24 cells
        torch.maximum(rows, -_BORDER * (self._pitches.int() + 1), out=rows)  # some row for NaN: its fraction is NaN
        first_rows = torch.arange(rows.shape[1], dtype=torch.int32) * self.rows.shape[2]
        return rows.unsqueeze(2) + (first_rows[:, None, None] + self._corners), fractions

    def crop(self, corners: Sequence[Tensor], output: Tensor) -> None:
        """Adds what was collected for each corner at the row of the first one, without the border.

        Args:
            corners: Rows [head*row head_dim] for the upper left, upper right, lower left and lower right corner.
            output: Receives the sum as maps [key head head_dim].
        """
        output = output.transpose(0, 1)
        heads = [corner.unflatten(0, (len(output), -1)) for corner in corners]
        shifted = [self._interiors(rows, up=index // 2, left=index % 2) for index, rows in enumerate(heads)]
        cells = [height * width for height, width in self.shapes]
        for level, parts in zip(output.split(cells, dim=1), zip(*shifted, strict=True), strict=True):
            level.copy_(functools.reduce(Tensor.add, parts).flatten(1, 2))

    def _interiors(self, rows: Tensor, up: int = 0, left: int = 0) -> Iterator[Tensor]:
        """Views the cells of each level [... height width head_dim] in padded rows [... row head_dim]."""
        start = 0
        for height, width in self.shapes:
            padded = (height + 2 * _BORDER, width + _BORDER)
            level = rows.narrow(-2, start, padded[0] * padded[1]).unflatten(-2, padded)
            yield level.narrow(-3, _BORDER - up, height).narrow(-2, _BORDER - left, width)
            start += padded[0] * padded[1]


def _corner_weights(weights: Tensor, fractions: Tensor, dim: int = 0) -> Tensor:
    """Shares the weight of each sample among its four corners, which become axis `dim`."""
    x, y = fractions
    shape = list(weights.shape)
    shares = weights.new_empty(*shape[:dim], 4, *shape[dim:])
    upper_left, upper_right, lower_left, lower_right = shares.unbind(dim)
    lower = weights * y
    upper = weights - lower
    torch.mul(upper, x, out=upper_right)
    torch.sub(upper, upper_right, out=upper_left)
    torch.mul(lower, x, out=lower_right)
    torch.sub(lower, lower_right, out=lower_left)
    return shares


def _interpolation_gradients(corners: Sequence[Tensor], fractions: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolates the values at the corners.

    Returns:
        The derivatives in x and y [2 ...], in cells, and the interpolated value [...].
    """
    upper_left, upper_right, lower_left, lower_right = corners
    x, y = fractions
    upper, lower = torch.lerp(upper_left, upper_right, x), torch.lerp(lower_left, lower_right, x)
    derivatives = torch.empty_like(fractions)
    torch.lerp(upper_right - upper_left, lower_right - lower_left, y, out=derivatives[0])
    torch.sub(lower, upper, out=derivatives[1])
    return derivatives, torch.lerp(upper, lower, y)


def _row_products(rows: Tensor, table: Tensor, gradient: Tensor) -> Tensor:
    """Scalar products of rows [query head corner sample] of the table with the gradient [query*head head_dim]."""
    _acknowledge_sparse_beta()
    starts = torch.arange(0, rows.numel() + 1, rows[0, 0].numel(), dtype=torch.int32)
    zeros = gradient.new_zeros(rows.numel())
    pattern = torch.sparse_csr_tensor(starts, rows.flatten(), zeros, size=(len(gradient), len(table)))
    torch.sparse.sampled_addmm(pattern, gradient, table.T, beta=0.0, out=pattern)
    return torch.Tensor.values(pattern).view_as(rows)


@functools.cache
def _acknowledge_sparse_beta() -> None:
    """Makes PyTorch's once-per-process notice about sparse CSR tensors appear here, where it is silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([]).long(), torch.tensor([]), size=(1, 1))


def _collect(gradient: Tensor, rows: Tensor, shares: Tensor, num_rows: int) -> list[Tensor]:
    """Adds to each row the gradients of the queries that read it, once for every set of shares.

    Args:
        gradient: Gradients [query*head head_dim].
        rows: Rows that were read [query head ...].
        shares: Sets of factors [set query head ...].
        num_rows: Length of the results.
    """
    keys, order = rows.flatten().sort()  # by radix: linear time
    counts = torch.bincount(keys, minlength=num_rows)
    starts = (counts.cumsum(0) - counts).int()
    queries = (order // rows[0, 0].numel()).int()
    shares = shares.flatten(1).gather(1, order.expand(len(shares), -1))
    return [F.embedding_bag(queries, gradient, starts, mode="sum", per_sample_weights=share) for share in shares]
