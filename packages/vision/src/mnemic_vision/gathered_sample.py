"""Deformable sampling on a CPU: bilinear samples gathered by `embedding_bag`, forward and backward.

Two custom operators, which `torch.compile` does not trace into; see `deformable_attention` for their speed.
"""

import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_BORDER = 2  # cells of zeros around a map, so that a sample clamped to them has all its corners outside the map


# torch reads the schema of operators from their annotations, so axes are in the docstrings.
def sample_forward(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of all samples of each query and head, gathered by one `embedding_bag`.

    Args:
        value: maps [batch key head head_dim].
        sizes: height and width of each level in turn.
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


gathered_sample = torch.library.custom_op("mnemic_vision::gathered_sample", sample_forward, mutates_args=())
"""`sample_forward` as an operator, for compiled graphs; only the inputs are saved for the backward pass."""


@torch.library.custom_op("mnemic_vision::gathered_sample_backward", mutates_args=())
def _gathered_sample_backward(
    gradients: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of value, locations and weights.

    That of the maps is an `embedding_bag` over the samples sorted by cell, hence deterministic. The others follow from
    the scalar products of every gathered row with the gradient of its query.
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
        else:  # few rows for many samples: one sort for all corners
            rows, shares = rows[:, :, 0], _corner_weights(weights[item], fractions)
        maps.crop(_collect(gradient, rows, shares, len(table)), value_gradient[item])
    return value_gradient, location_gradient, weight_gradient


@gathered_sample.register_fake
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


gathered_sample.register_autograd(_differentiate, setup_context=_keep_inputs)


class _PaddedMaps:
    """Maps with a border of zeros, as rows of channels, so that every corner of every sample is a valid row.

    The two columns of zeros before each line of a map are also the right border of the line before it. Locations give
    the precision and the number of samples.

    Attributes:
        rows: padded maps [batch head row head_dim].
        sizes: (width, height) of the level of each sample [2 sample].
    """

    def __init__(
        self,
        value: Float[Tensor, "batch key head head_dim"],
        level_sizes: Sequence[int],
        locations: Float[Tensor, "batch query head sample 2"],
    ) -> None:
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
        # The lower right corner of a sample in the last level's border may be two rows after it.
        self.rows = locations.new_zeros(batch, head, int(lengths.sum()) + _BORDER, head_dim)
        cells = [height * width for height, width in shapes]
        for interior, level in zip(self._interiors(self.rows), value.transpose(1, 2).split(cells, dim=2), strict=True):
            interior.copy_(level.unflatten(2, interior.shape[2:4]))

    def corners(
        self, locations: Float[Tensor, "query head sample 2"]
    ) -> tuple[Int[Tensor, "query head 4 sample"], Float[Tensor, "2 query head sample"]]:
        """Return the rows of the four cells around each location, and the position between them as fractions."""
        sizes = self.sizes[:, None, None]
        position = locations.movedim(-1, 0).clone(memory_format=torch.contiguous_format)
        # location * size - 0.5 in the steps of grid_sample, so that samples on the edge of a cell get the same corners:
        # ((2 * location - 1) + 1) * size / 2 - 0.5 without the exact factors of two.
        position.sub_(0.5).add_(0.5).mul_(sizes).sub_(0.5)
        position.clamp_(min=-_BORDER)
        torch.minimum(position, sizes, out=position)
        first = position.floor()
        fractions = position.sub_(first)
        rows = torch.addcmul(first[0], first[1], self._pitches).int()  # exact in float32 up to 2**24 cells
        torch.maximum(
            rows, -_BORDER * (self._pitches.int() + 1), out=rows
        )  # any row for NaN, since its fraction is NaN
        first_rows = torch.arange(rows.shape[1], dtype=torch.int32) * self.rows.shape[2]
        return rows.unsqueeze(2) + (first_rows[:, None, None] + self._corners), fractions

    def crop(
        self, corners: Sequence[Float[Tensor, "head_row head_dim"]], output: Float[Tensor, "key head head_dim"]
    ) -> None:
        """Write the sum of the gradients of the upper left, upper right, lower left and lower right corner to maps.

        All are at the rows of the upper left one.
        """
        output = output.transpose(0, 1)
        heads = [corner.unflatten(0, (len(output), -1)) for corner in corners]
        shifted = [self._interiors(rows, up=index // 2, left=index % 2) for index, rows in enumerate(heads)]
        cells = [height * width for height, width in self.shapes]
        for level, parts in zip(output.split(cells, dim=1), zip(*shifted, strict=True), strict=True):
            level.copy_(functools.reduce(Tensor.add, parts).flatten(1, 2))

    def _interiors(
        self, rows: Float[Tensor, "*batch row head_dim"], up: int = 0, left: int = 0
    ) -> Iterator[Float[Tensor, "*batch height width head_dim"]]:
        """Yield views of the cells of each level in padded rows."""
        start = 0
        for height, width in self.shapes:
            padded = (height + 2 * _BORDER, width + _BORDER)
            level = rows.narrow(-2, start, padded[0] * padded[1]).unflatten(-2, padded)
            yield level.narrow(-3, _BORDER - up, height).narrow(-2, _BORDER - left, width)
            start += padded[0] * padded[1]


def _corner_weights(
    weights: Float[Tensor, "query head sample"], fractions: Float[Tensor, "2 query head sample"], dim: int = 0
) -> Float[Tensor, "_ _ _ _"]:
    """Return the weights of the four corners of each sample along axis `dim`."""
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


def _interpolation_gradients(
    corners: Sequence[Float[Tensor, "query head sample"]], fractions: Float[Tensor, "2 query head sample"]
) -> tuple[Float[Tensor, "2 query head sample"], Float[Tensor, "query head sample"]]:
    """Return the derivatives in x and y, in cells, and the interpolated value of the corners."""
    upper_left, upper_right, lower_left, lower_right = corners
    x, y = fractions
    upper, lower = torch.lerp(upper_left, upper_right, x), torch.lerp(lower_left, lower_right, x)
    by_x = torch.lerp(upper_right - upper_left, lower_right - lower_left, y)
    return torch.stack([by_x, lower - upper]), torch.lerp(upper, lower, y)


def _row_products(
    rows: Int[Tensor, "query head 4 sample"],
    table: Float[Tensor, "row head_dim"],
    gradient: Float[Tensor, "query_head head_dim"],
) -> Float[Tensor, "query head 4 sample"]:
    """Return the scalar products of rows of the table with the gradient of their query and head."""
    _acknowledge_sparse_beta()
    starts = torch.arange(0, rows.numel() + 1, rows[0, 0].numel(), dtype=torch.int32)
    zeros = gradient.new_zeros(rows.numel())
    pattern = torch.sparse_csr_tensor(starts, rows.flatten(), zeros, size=(len(gradient), len(table)))
    torch.sparse.sampled_addmm(pattern, gradient, table.T, beta=0.0, out=pattern)
    return torch.Tensor.values(pattern).view_as(rows)


@functools.cache
def _acknowledge_sparse_beta() -> None:
    """Trigger PyTorch's once-per-process warning about sparse CSR tensors, to suppress it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([]).long(), torch.tensor([]), size=(1, 1))


def _collect(
    gradient: Float[Tensor, "query_head head_dim"],
    rows: Int[Tensor, "query head *sample"],
    shares: Float[Tensor, "set query head *sample"],
    num_rows: int,
) -> list[Float[Tensor, "num_rows head_dim"]]:
    """Return, for each set of shares, the weighted sum of the gradients of the queries that read each row."""
    keys, order = rows.flatten().sort()  # by radix: linear time
    counts = torch.bincount(keys, minlength=num_rows)
    starts = (counts.cumsum(0) - counts).int()
    queries = (order // rows[0, 0].numel()).int()
    shares = shares.flatten(1).gather(1, order.expand(len(shares), -1))
    return [F.embedding_bag(queries, gradient, starts, mode="sum", per_sample_weights=share) for share in shares]
