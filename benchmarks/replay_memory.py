"""Peak memory and time of memory replay against plain back-propagation through 32 segments.

Each method runs in its own process, since the peak of a process includes all that ran before in it.
"""

import resource
import statistics
import time
import weakref
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Literal

import torch
from common.report import run
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from mnemic_core import MemoryConfig, MemoryState
from mnemic_core.training import replay_backward, run_segments

Method = Literal["bptt", "replay"]
Segment = Float[Tensor, "batch time dim"]
# Dropout, so that replay has to restore random states.
CONFIG = {"segments": 32, "batch": 4, "length": 64, "dim": 128, "heads": 4, "layers": 2, "capacity": 64, "dropout": 0.1}


class SegmentModel(nn.Module):
    """A small transformer encoder of tokens with what they read from a memory."""

    def __init__(self) -> None:
        super().__init__()
        dim = CONFIG["dim"]
        layer = nn.TransformerEncoderLayer(dim, CONFIG["heads"], 4 * dim, CONFIG["dropout"], batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, CONFIG["layers"])
        self.memory = MemoryConfig("window", {"capacity": CONFIG["capacity"], "detach": "never"}).build(dim)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: MemoryState,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], MemoryState]:
        """Read, encode, write."""
        hidden = self.encoder(x + self.memory.read(x, state))
        return hidden, self.memory.write(state, hidden, padding=padding)


class SavedBytes:
    """Counts the bytes that autograd saves, each storage once, and their peak."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.owned = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self.users: Counter[int] = Counter()
        self.now = self.peak = 0

    def pack(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Count a tensor that autograd saves, until it is freed."""
        saved, storage = tensor.detach(), tensor.untyped_storage()
        if storage.data_ptr() not in self.owned:  # parameters exist with either method
            self.change(storage.data_ptr(), storage.nbytes(), 1)
            weakref.finalize(saved, self.change, storage.data_ptr(), storage.nbytes(), -1)
        return saved

    def change(self, place: int, size: int, step: int) -> None:
        """Add or remove one user of a storage."""
        before = self.users[place]
        self.users[place] = before + step
        if 0 in (before, before + step):  # its first or last user
            self.now += step * size
            self.peak = max(self.peak, self.now)


def loss_fn(output: Segment, index: int) -> Float[Tensor, ""]:
    """Return a loss with a different target for every segment."""
    return (output - torch.linspace(-1, 1, output.shape[-1]) * (index + 1)).square().mean()


def train_step(method: Method, model: SegmentModel, segments: list[Segment], state: MemoryState) -> None:
    """Accumulate the gradients of all segments."""
    if method == "replay":
        replay_backward(model, segments, state, loss_fn)
    else:
        outputs, _ = run_segments(model, segments, state)
        torch.autograd.backward([loss_fn(output, index) for index, output in enumerate(outputs)])


def measure(method: Method) -> dict[str, Any]:
    """Return peaks, gradient norms and the median time of one method."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SegmentModel()
    segments = list(torch.randn(CONFIG["segments"], CONFIG["batch"], CONFIG["length"], CONFIG["dim"]))
    state = model.memory.init_state(CONFIG["batch"])
    train_step(method, model, segments[:1], state)  # buffers of libraries do not count
    model.zero_grad()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counter = SavedBytes(list(model.parameters()))
    torch.manual_seed(1)  # equal dropout with both methods
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda saved: saved):
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


def in_process(method: Method) -> dict[str, Any]:
    """Measure in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, method).result()


def replay_memory() -> dict[str, Any]:
    """Measure memory replay against plain back-propagation."""
    bptt, replay = in_process("bptt"), in_process("replay")
    norms = zip(bptt.pop("gradient_norms"), replay.pop("gradient_norms"), strict=True)
    torch.set_num_threads(1)  # as in the measurements, for the facts on the machine
    return {
        "config": CONFIG | {"repeats": 3},
        "results": {"bptt": bptt, "replay": replay},
        "ratios": {
            "saved_bytes_bptt_over_replay": round(bptt["peak_saved_bytes"] / replay["peak_saved_bytes"], 2),
            "seconds_replay_over_bptt": round(replay["seconds"] / bptt["seconds"], 2),
        },
        "largest_relative_difference_of_gradient_norms": max(abs(a - b) / max(a, 1e-12) for a, b in norms),
    }


if __name__ == "__main__":
    run(replay_memory)
