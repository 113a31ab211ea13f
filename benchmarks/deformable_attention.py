"""Deformable attention against the grid_sample form, a linear layer and a ResNet-50, at the size of an 800x1344 image.

All forms take turns in one process; on a busy machine compare their processor times.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torchvision
from common.report import run
from common.timing import Calls, time_in_turn
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.markdown import markdown_table
from mnemic_vision.deformable_attention import DeformableAttention, deformable_sample, sample_by_level

CONFIG = {"image": [800, 1344], "dim": 256, "heads": 8, "levels": 4, "points": 4, "decoder_queries": 320}
SHAPES = [(100, 168), (50, 84), (25, 42), (13, 21)]
CELLS = [height * width for height, width in SHAPES]

Values: TypeAlias = Float[Tensor, "batch cell head head_dim"]
Locations: TypeAlias = Float[Tensor, "batch query head level point 2"]  # x and y, shares of the image
Weights: TypeAlias = Float[Tensor, "batch query head level point"]
Samples: TypeAlias = Float[Tensor, "batch query dim"]
Form = Callable[[Values, Locations, Weights], Samples]
Inputs = tuple[Values, Locations, Weights]


def stacked_grid_sample(value: Values, locations: Locations, weights: Weights) -> Samples:
    """Sample as the official pure PyTorch code: all levels in one tensor, then their weighted sum."""
    batch, queries, heads = locations.shape[:3]
    samples = []
    for level, cells in enumerate(value.split(CELLS, dim=1)):
        image = cells.flatten(2).transpose(1, 2).reshape(batch * heads, -1, *SHAPES[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(F.grid_sample(image, grid, align_corners=False))
    factors = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    total = (torch.stack(samples, dim=-2).flatten(-2) * factors).sum(-1)
    return total.view(batch, -1, queries).transpose(1, 2).contiguous()


def plain_embedding_bag(value: Values, locations: Locations, weights: Weights) -> Samples:
    """Gather all corners with one embedding_bag; autograd differentiates indices and weights."""
    batch, queries, heads = locations.shape[:3]
    sizes = locations.new_tensor([(width, height) for height, width in SHAPES])[:, None]
    starts = torch.tensor([sum(CELLS[:level]) for level in range(len(CELLS))], device=value.device)[:, None]
    position = ((2 * locations - 1 + 1) * sizes - 1) / 2  # rounds as in grid_sample
    first = position.detach().floor()
    fraction = position - first
    # The four corners of bilinear interpolation.
    rows, shares = [], []
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = first[..., 0] + right, first[..., 1] + down
        inside = (x >= 0) & (x < sizes[..., 0]) & (y >= 0) & (y < sizes[..., 1])
        row = torch.where(inside, y * sizes[..., 0] + x + starts, 0)
        rows.append(row.int() * heads + torch.arange(heads, dtype=torch.int32, device=value.device)[:, None, None])
        near_x = fraction[..., 0] if right else 1 - fraction[..., 0]
        near_y = fraction[..., 1] if down else 1 - fraction[..., 1]
        shares.append(weights * near_x * near_y * inside)
    bags = torch.stack(rows, dim=-1).flatten(3).flatten(0, 2)
    factors = torch.stack(shares, dim=-1).flatten(3).flatten(0, 2)
    total = F.embedding_bag(bags, value.flatten(0, 2), mode="sum", per_sample_weights=factors)
    return total.view(batch, queries, -1)


FORMS: dict[str, Form] = {
    "grid_sample, stacked (official)": stacked_grid_sample,
    "grid_sample, level by level": lambda value, *places: sample_by_level(value, SHAPES, *places),
    "embedding_bag, plain": plain_embedding_bag,
    "deformable_sample": lambda value, *places: deformable_sample(value, SHAPES, *places),
}


def cell_centers() -> Float[Tensor, "1 query level 2"]:
    """Return the reference points of the encoder: the center of each cell of each level."""
    centers = []
    for height, width in SHAPES:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        centers.append(torch.stack([x, y], dim=-1).flatten(0, 1))
    return torch.cat(centers)[None, :, None].expand(-1, -1, len(SHAPES), -1).contiguous()


def random_inputs(reference: Float[Tensor, "1 query level 2"], device: str) -> Inputs:
    """Return values, locations as far from the references as those of an untrained module, and weights."""
    heads, levels, points = CONFIG["heads"], CONFIG["levels"], CONFIG["points"]
    offsets = DeformableAttention().sampling_offsets.bias.detach().unflatten(0, (heads, levels, points, 2))
    offsets = offsets + 2 * torch.randn(1, reference.shape[1], *offsets.shape)
    locations = reference[:, :, None, :, None] + offsets / torch.tensor([(w, h) for h, w in SHAPES])[:, None]
    weights = torch.randn(*locations.shape[:-1]).flatten(3).softmax(-1).view(locations.shape[:-1])
    value = torch.randn(1, sum(CELLS), heads, CONFIG["dim"] // heads)
    return value.to(device), locations.to(device), weights.to(device)


def forward_only(module: Callable[..., object], *inputs: object) -> Callable[[], object]:
    """Return a call without gradients."""
    return torch.no_grad()(lambda: module(*inputs))


def with_backward(form: Form, inputs: Inputs) -> Callable[[], object]:
    """Return a forward pass followed by the gradients of all inputs."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    return lambda: torch.autograd.grad(form(*inputs).sum(), inputs)


def candidates(device: str) -> Calls:
    """Return all calls by form and place."""
    reference = cell_centers()
    encoder = random_inputs(reference, device)
    decoder = random_inputs(torch.rand(1, CONFIG["decoder_queries"], len(SHAPES), 2), device)
    query = torch.randn(1, sum(CELLS), CONFIG["dim"], device=device)
    image = torch.randn(1, 3, *CONFIG["image"], device=device).to(memory_format=torch.channels_last)
    resnet = torchvision.models.resnet50().eval().to(device, memory_format=torch.channels_last)
    attention = DeformableAttention().to(device)
    calls: dict[str, Callable[[], object]] = {
        "ResNet-50 | forward": forward_only(resnet, image),
        "Linear(256, 256) | forward": forward_only(nn.Linear(256, 256).to(device), query),
        "DeformableAttention | encoder forward": forward_only(attention, query, reference.to(device), query, SHAPES),
    }
    for name, form in FORMS.items():
        for place, inputs in (("encoder", encoder), ("decoder", decoder)):
            calls[f"{name} | {place} forward"] = forward_only(form, *inputs)
            calls[f"{name} | {place} forward+backward"] = with_backward(form, inputs)
    return calls


def print_table(threads: int, results: dict[str, dict[str, float]]) -> None:
    """Print milliseconds, and for each form the speed-up over the official one."""
    rows = []
    for name, result in results.items():
        form, place = name.split(" | ")
        official = results.get(f"{next(iter(FORMS))} | {place}") if form in FORMS else None
        ratio = f"{official['cpu_s'] / result['cpu_s']:.2f}" if official else ""
        rows.append([form, place, f"{result['median_s'] * 1e3:.1f}", f"{result['cpu_s'] * 1e3:.1f}", ratio])
    print(markdown_table([f"{threads} threads", "place", "wall ms", "cpu ms", "official/this (cpu)"], rows))


def deformable_attention(
    device: str = "cpu", threads: tuple[int, ...] = (1, 2), repetitions: int = 3
) -> dict[str, Any]:
    """Measure deformable attention in all its forms.

    Args:
        device: cpu or cuda.
        threads: numbers of CPU threads to measure with.
        repetitions: turns of each call.
    """
    torch.manual_seed(0)
    calls = candidates(device)
    results = {}
    for count in threads:
        torch.set_num_threads(count)
        results[count] = time_in_turn(calls, repetitions, device)
        print_table(count, results[count])
    config = CONFIG | {"shapes": SHAPES, "repetitions": repetitions, "precision": "float32"}
    return {"config": config, "threads": results}


if __name__ == "__main__":
    run(deformable_attention, packages=["torchvision"])
