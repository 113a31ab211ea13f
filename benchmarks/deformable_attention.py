"""Deformable attention against the grid_sample form, a linear layer and a ResNet-50, at the size of an 800x1344 image.

``python benchmarks/deformable_attention.py [--device cuda] [--threads 1 2] [--write]`` prints a table of medians;
``--write`` also keeps them in ``benchmarks/results/deformable_attention.json``. All forms take turns in one process,
so their ratios hold on a busy machine too; processor time says more than wall time there.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_vision.deformable_attention import DeformableAttention, deformable_sample

CONFIG = {"image": [800, 1344], "dim": 256, "heads": 8, "levels": 4, "points": 4, "decoder_queries": 320}
SHAPES = [(100, 168), (50, 84), (25, 42), (13, 21)]
CELLS = [height * width for height, width in SHAPES]
ALLOCATOR = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "LD_PRELOAD", "OMP_WAIT_POLICY"]
RESULT = Path(__file__).parent / "results" / "deformable_attention.json"

Inputs = tuple[Tensor, Tensor, Tensor]
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def stacked_grid_sample(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Computes as the official pure PyTorch code: samples of all levels in one tensor, then their weighted sum."""
    batch, queries, heads = locations.shape[:3]
    samples = []
    for level, cells in enumerate(value.split(CELLS, dim=1)):
        image = cells.flatten(2).transpose(1, 2).reshape(batch * heads, -1, *SHAPES[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(F.grid_sample(image, grid, align_corners=False))
    factors = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    total = (torch.stack(samples, dim=-2).flatten(-2) * factors).sum(-1)
    return total.view(batch, -1, queries).transpose(1, 2).contiguous()


def grid_sample_by_level(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Adds up each level's samples at once, as `deformable_sample` does on other devices."""
    batch, queries, heads = locations.shape[:3]
    total: Tensor | float = 0.0
    for level, cells in enumerate(value.split(CELLS, dim=1)):
        image = cells.flatten(2).transpose(1, 2).reshape(batch * heads, -1, *SHAPES[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        factors = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        total = total + (F.grid_sample(image, grid, align_corners=False) * factors).sum(-1)
    return total.view(batch, -1, queries).transpose(1, 2).contiguous()


def plain_embedding_bag(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Gathers all corners with one embedding_bag whose indices and weights are left to autograd."""
    batch, queries, heads = locations.shape[:3]
    sizes = locations.new_tensor([(width, height) for height, width in SHAPES])[:, None]
    starts = torch.tensor([sum(CELLS[:level]) for level in range(len(CELLS))], device=value.device)[:, None]
    position = ((2 * locations - 1 + 1) * sizes - 1) / 2
    first = position.detach().floor()
    fraction = position - first
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


def ours(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The product."""
    return deformable_sample(value, SHAPES, locations, weights)


FORMS: dict[str, Form] = {
    "grid_sample, stacked (official)": stacked_grid_sample,
    "grid_sample, level by level": grid_sample_by_level,
    "embedding_bag, plain": plain_embedding_bag,
    "deformable_sample": ours,
}


def cell_centres() -> Tensor:
    """References of the encoder: the centre of each cell of each level [1 query level 2]."""
    centres = []
    for height, width in SHAPES:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        centres.append(torch.stack([x, y], dim=-1).flatten(0, 1))
    return torch.cat(centres)[None, :, None].expand(-1, -1, len(SHAPES), -1).contiguous()


def random_inputs(reference: Tensor, device: str) -> Inputs:
    """Values, locations some cells around the references (as far as an untrained module looks), and weights."""
    heads, levels, points = CONFIG["heads"], CONFIG["levels"], CONFIG["points"]
    offsets = DeformableAttention().sampling_offsets.bias.detach().unflatten(0, (heads, levels, points, 2))
    offsets = offsets + 2 * torch.randn(1, reference.shape[1], *offsets.shape)
    locations = reference[:, :, None, :, None] + offsets / torch.tensor([(w, h) for h, w in SHAPES])[:, None]
    weights = torch.randn(*locations.shape[:-1]).flatten(3).softmax(-1).view(locations.shape[:-1])
    value = torch.randn(1, sum(CELLS), heads, CONFIG["dim"] // heads)
    return value.to(device), locations.to(device), weights.to(device)


def forward_only(module: Callable[..., Tensor], *inputs: object) -> Callable[[], object]:
    """Makes a call without gradients."""
    return torch.no_grad()(lambda: module(*inputs))


def with_backward(form: Form, inputs: Inputs) -> Callable[[], object]:
    """Makes a forward pass and the gradients of all inputs."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    return lambda: torch.autograd.grad(form(*inputs).sum(), inputs)


def candidates(device: str) -> dict[str, Callable[[], object]]:
    """Everything to be timed, by name: what the form is, and where."""
    reference = cell_centres()
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


def measure(calls: dict[str, Callable[[], object]], repetitions: int, device: str) -> dict[str, dict[str, float]]:
    """Takes the medians of wall and processor seconds; every repetition runs all calls, after one run to warm up."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            wait()
            wall, processor = time.perf_counter(), time.process_time()
            call()
            wait()
            if repetition:
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    medians = {
        name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in times.items()
    }
    return {name: {"wall_s": round(wall, 5), "cpu_s": round(cpu, 5)} for name, (wall, cpu) in medians.items()}


def print_table(threads: int, results: dict[str, dict[str, float]]) -> None:
    """Prints milliseconds, and for the forms how many times faster than the official one they are."""
    print(f"{threads} threads{'':50}wall ms    cpu ms  official/this (cpu)")
    for name, result in results.items():
        official = results.get(f"{next(iter(FORMS))} | {name.split(' | ')[1]}")
        ratio = f"{official['cpu_s'] / result['cpu_s']:10.2f}" if official and name.split(" | ")[0] in FORMS else ""
        print(f"{name:58}{result['wall_s'] * 1e3:9.1f} {result['cpu_s'] * 1e3:9.1f} {ratio}")


def main() -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    torch.manual_seed(0)
    calls = candidates(options.device)
    results = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        results[threads] = measure(calls, options.repetitions, options.device)
        print_table(threads, results[threads])
    document = {
        "config": CONFIG | {"shapes": SHAPES, "repetitions": options.repetitions, "precision": "float32"},
        "machine": {
            "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
            "processor": platform.machine(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "load_at_end": [round(x, 1) for x in os.getloadavg()],
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "allocator": {name: os.environ[name] for name in ALLOCATOR if name in os.environ},
        "threads": results,
    }
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
