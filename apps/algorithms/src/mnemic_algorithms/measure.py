"""What a memory costs over a stream, and how far back it recalls: measured, whatever it claims."""

import platform
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnemic_core import MemoryState
from mnemic_core.memory import SegmentMemory

POINTS = 8  # of the curves
TOLERANCE = 1e-5  # a change of an output below this share of the outputs' root mean square does not show
PROBES = 4  # tokens that are changed, each in a copy of the stream of its own


@dataclass(frozen=True)
class StreamPoint:
    """What a step costs after so many tokens.

    Attributes:
        tokens: length of the stream so far.
        seconds: time of one step, the smallest of the steps up to here since the last point.
        peak_bytes: most bytes that one step holds.
        state_bytes: bytes of the state, all rows together.
    """

    tokens: int
    seconds: float
    peak_bytes: int
    state_bytes: int


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operators make and that are still alive.

    What a kernel needs inside itself is not counted. What was alive before does not count either, even if it dies.

    Args:
        present: tensors that are alive already; views of them are no new memory.

    Attributes:
        now: bytes alive.
        peak: largest number of them so far.

    Example:
        >>> with LiveBytes([]) as live:
        ...     total = (torch.ones(256) + 1).sum()
        >>> live.now, live.peak
        (4, 2048)
    """

    def __init__(self, present: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type for it
        self.now = self.peak = 0
        self._known = {_place(tensor) for tensor in present}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count what it made."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage, place = tensor.untyped_storage(), _place(tensor)
        if place in self._known or not storage.nbytes():
            return
        self._known.add(place)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, place, storage.nbytes())

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def measure(
    memory: SegmentMemory[Any], *, segment_length: int, segments: int, batch: int, device: torch.device
) -> dict[str, Any]:
    """Return time and peak memory per step against stream length, state size, throughput and recall distance.

    A step is one segment. Times are the smallest of all steps around a point: other programs only make them larger.

    Args:
        memory: what is measured, with the weights that it has.
        segment_length: tokens of a segment.
        segments: segments of the stream, a multiple of the number of points.
        batch: rows of the stream.
        device: where to run.
    """
    memory = memory.to(device).eval()
    with torch.inference_mode():
        stream = measure_stream(memory, segment_length, segments, batch, device)
        distance, reaches_start = recall_distance(memory, segment_length, segments, device)
    fastest = min(point.seconds for point in stream)
    first, last = stream[0], stream[-1]
    return {
        "parameters": sum(parameter.numel() for parameter in memory.parameters()),
        "state_bytes_per_row": last.state_bytes / batch,
        "tokens_per_second": batch * segment_length / fastest,
        "recall_distance": distance,
        "recall_reaches_start": reaches_start,
        "time_ratio": last.seconds / first.seconds,
        "memory_ratio": last.peak_bytes / max(first.peak_bytes, 1),
        "is_memory_flat": last.state_bytes == first.state_bytes and last.peak_bytes <= first.peak_bytes,
        "stream": [asdict(point) for point in stream],
    }


def measure_stream(
    memory: SegmentMemory[Any], segment_length: int, segments: int, batch: int, device: torch.device
) -> list[StreamPoint]:
    """Return the points of the curves."""
    generator = torch.Generator().manual_seed(0)
    state = memory.init_state(batch, device=device)
    for _ in range(segments // POINTS):  # the libraries make buffers of their own, the processor wakes up
        memory(_segment(memory, batch, segment_length, generator, device), state)
    points = []
    for point in range(POINTS):
        times = []
        for _ in range(segments // POINTS):
            segment = _segment(memory, batch, segment_length, generator, device)
            before = state
            _synchronise(device)
            started = time.perf_counter()
            _, state = memory(segment, before)
            _synchronise(device)
            times.append(time.perf_counter() - started)
        tokens = (point + 1) * (segments // POINTS) * segment_length
        points.append(StreamPoint(tokens, min(times), peak_bytes(memory, segment, before), state.nbytes))
    return points


def peak_bytes(memory: SegmentMemory[Any], segment: Tensor, state: MemoryState) -> int:
    """Return the most bytes that one step holds beside its arguments and parameters."""
    if segment.is_cuda:
        torch.cuda.reset_peak_memory_stats(segment.device)
        before = torch.cuda.memory_allocated(segment.device)
        memory(segment, state)
        return int(torch.cuda.max_memory_allocated(segment.device) - before)
    live = LiveBytes([segment, *state.tensors().values(), *memory.parameters(), *memory.buffers()])
    with live:
        memory(segment, state)
    return live.peak


def recall_distance(
    memory: SegmentMemory[Any], segment_length: int, segments: int, device: torch.device
) -> tuple[int, bool]:
    """Return how far back a changed token still changes an output, and whether the last segment still changes.

    The rows of a batch are the same stream, each with another token of its first segment changed but for the last
    row. The distance is from the changed token to the last token whose output differs.

    Returns:
        The largest distance of all rows, and True if the stream was too short to find it.
    """
    generator = torch.Generator().manual_seed(1)
    changed = sorted({round(index * (segment_length - 1) / max(PROBES - 1, 1)) for index in range(PROBES)})
    rows = len(changed) + 1
    state = memory.init_state(rows, device=device)
    farthest = 0
    last = -1
    for index in range(segments):
        segment = _segment(memory, 1, segment_length, generator, device).repeat(rows, 1, 1)
        if not index:
            for row, place in enumerate(changed):
                segment[row, place] = torch.randn(memory.dim, generator=generator).to(device)
        output, state = memory(segment, state)
        for row, latest in enumerate(_latest_change(output)):
            if latest >= 0:
                last = index * segment_length + latest
                farthest = max(farthest, last - changed[row])
    return farthest, last >= (segments - 1) * segment_length


def _latest_change(output: Tensor) -> list[int]:
    """Return the last token of each row whose output differs from that of the last row; -1 if none does."""
    output = output.float()
    scale = output[-1].square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    differs = ((output[:-1] - output[-1]).abs() > TOLERANCE * scale).any(-1)
    place = torch.arange(1, differs.shape[1] + 1, device=output.device)
    latest: list[int] = ((differs * place).amax(1) - 1).tolist()
    return latest


def _segment(
    memory: SegmentMemory[Any], batch: int, length: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    return torch.randn(batch, length, memory.dim, generator=generator).to(device)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread: threads that wait for each other blur the times of small steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return what measurements were made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "machine": {"device": name, "system": platform.system(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
