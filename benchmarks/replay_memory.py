"""Peak memory and time of memory replay against plain back-propagation through 32 segments.

``python benchmarks/replay_memory.py [--write]`` prints one JSON object; ``--write`` also keeps it in
``benchmarks/results/replay_memory.json``. Each measurement runs in a process of its own, so that the peak is its own.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnemic_core import MemoryConfig, MemoryState
from mnemic_core.training import replay_backward, run_segments

CONFIG = {"segments": 32, "batch": 4, "length": 64, "dim": 128, "heads": 4, "layers": 2, "capacity": 64, "dropout": 0.1}
RESULT = Path(__file__).parent / "results" / "replay_memory.json"


class SegmentModel(nn.Module):
    """A small transformer encoder over what each token recalls."""

    def __init__(self) -> None:
        super().__init__()
        dim = CONFIG["dim"]
        layer = nn.TransformerEncoderLayer(dim, CONFIG["heads"], 4 * dim, CONFIG["dropout"], batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, CONFIG["layers"])
        self.memory = MemoryConfig("window", {"capacity": CONFIG["capacity"], "detach": "never"}).build(dim)

    def forward(
        self, x: Tensor, state: MemoryState, *, padding: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, MemoryState]:
        """Read, encode, write."""
        hidden = self.encoder(x + self.memory.read(x, state))
        return hidden, self.memory.write(state, hidden, padding=padding)


class SavedBytes:
    """Counts the bytes that autograd holds, each storage once, and remembers the largest number."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.owned = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self.users: Counter[int] = Counter()
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Saved":
        """Note that autograd keeps a tensor."""
        return Saved(self, tensor)

    def change(self, tensor: Tensor, step: int) -> None:
        """Add or drop one user of the tensor's storage."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self.owned:
            return
        before = self.users[storage.data_ptr()]
        self.users[storage.data_ptr()] = before + step
        if 0 in (before, before + step):
            self.now += step * storage.nbytes()
            self.peak = max(self.peak, self.now)


class Saved:
    """A tensor that autograd keeps, counted as long as it does."""

    def __init__(self, counter: SavedBytes, tensor: Tensor) -> None:
        self.counter, self.tensor = counter, tensor.detach()
        counter.change(self.tensor, 1)

    def __del__(self) -> None:
        self.counter.change(self.tensor, -1)


def loss_fn(output: Tensor, index: int) -> Tensor:
    """Return a loss with a target of its own for every segment."""
    return (output - torch.linspace(-1, 1, output.shape[-1]) * (index + 1)).square().mean()


def train_step(method: str, model: SegmentModel, segments: list[Tensor], state: MemoryState) -> None:
    """Add the gradients of the whole rollout to the parameters."""
    if method == "replay":
        replay_backward(model, segments, state, loss_fn)
    else:
        outputs, _ = run_segments(model, segments, state)
        torch.autograd.backward([loss_fn(output, index) for index, output in enumerate(outputs)])


def measure(method: str) -> dict[str, Any]:
    """Return peaks, gradients and the median time of a rollout by one method."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SegmentModel()
    segments = list(torch.randn(CONFIG["segments"], CONFIG["batch"], CONFIG["length"], CONFIG["dim"]))
    state = model.memory.init_state(CONFIG["batch"])
    train_step(method, model, segments[:1], state)  # makes the libraries' own buffers, which are not compared
    model.zero_grad()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counter = SavedBytes(list(model.parameters()))
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda saved: saved.tensor):
        train_step(method, model, segments, state)
    norms = [float(p.grad.double().norm()) for p in model.parameters() if p.grad is not None]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        train_step(method, model, segments, state)
        seconds.append(time.perf_counter() - start)
    return {
        "peak_saved_bytes": counter.peak,
        "peak_rss_bytes": 1024 * peak,
        "peak_rss_growth_bytes": 1024 * (peak - before),
        "seconds": round(statistics.median(seconds), 3),
        "gradient_norms": norms,
    }


def in_process(method: str) -> dict[str, Any]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--method", method]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    measured: dict[str, Any] = json.loads(printed)
    return measured


def compare() -> dict[str, Any]:
    """Return both measurements, their ratio, and what they were made on."""
    results = {method: in_process(method) for method in ("bptt", "replay")}
    norms = zip(*(results[method].pop("gradient_norms") for method in ("bptt", "replay")), strict=True)
    bptt, replay = results["bptt"], results["replay"]
    return {
        "benchmark": "replay_memory",
        "machine": {"processor": platform.machine(), "system": platform.system(), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "config": CONFIG | {"repeats": 3},
        "results": results,
        "ratios": {
            "saved_bytes_bptt_over_replay": round(bptt["peak_saved_bytes"] / replay["peak_saved_bytes"], 2),
            "seconds_replay_over_bptt": round(replay["seconds"] / bptt["seconds"], 2),
        },
        "largest_relative_difference_of_gradient_norms": max(abs(a - b) / max(a, 1e-12) for a, b in norms),
    }


def main() -> None:
    """Print the comparison, or one measurement when called by it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.name}")
    parser.add_argument("--method", choices=("bptt", "replay"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(measure(arguments.method)))
        return
    text = json.dumps(compare(), indent=2)
    print(text)
    if arguments.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
