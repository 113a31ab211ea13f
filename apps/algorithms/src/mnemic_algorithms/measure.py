"""Cost per step of a memory over a stream, and its recall distance."""

import platform
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnemic_core import MemoryState
from mnemic_core.memory import SegmentMemory

POINTS = 8  # of the curves
TOLERANCE = 1e-5  # smallest change of an output that counts, relative to the root mean square of the outputs
PROBES = 4  # changed tokens, each in its own copy of the stream


@dataclass(frozen=True)
class StreamPoint:
    """Cost of a step at one point of the stream.

    Attributes:
        tokens: length of the stream up to here.
        seconds: time of one step, the minimum since the previous point.
        peak_bytes: peak memory of one step.
        state_bytes: size of the state, summed over rows.
    """

    tokens: int
    seconds: float
    peak_bytes: int
    state_bytes: int


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of live tensors created by operators.

    Temporary memory inside kernels is not counted, nor are tensors that existed before.

    Args:
        present: existing tensors; views of them do not count.

    Attributes:
        now: bytes alive.
        peak: maximum so far.

    Example:
        >>> with LiveBytes([]) as live:
        ...     total = (torch.ones(256) + 1).sum()
        >>> live.now, live.peak
        (4, 2048)
    """

    def __init__(self, present: list[Shaped[Tensor, "*_shape"]]) -> None:
        initialize: Callable[[], None] = super().__init__  # torch annotates nothing here
        initialize()
        self.now = self.peak = 0
        self._known = {_place(tensor) for tensor in present}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count its results."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Shaped[Tensor, "*shape"]) -> None:
        storage, place = tensor.untyped_storage(), _place(tensor)
        if place in self._known or not storage.nbytes():
            return
        self._known.add(place)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        # Forgotten when it dies, since addresses are reused.
        weakref.finalize(storage, self._forget, place, storage.nbytes())

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def measure(
    memory: SegmentMemory[Any], *, segment_length: int, segments: int, batch: int, device: torch.device
) -> dict[str, Any]:
    """Return time and peak memory per step along a stream, state size, throughput and recall distance.

    A step is one segment. Times are minima over the steps before a point, since other programs only add to them.

    Args:
        memory: the memory, with its current weights.
        segment_length: tokens per segment.
        segments: segments of the stream, a multiple of `POINTS`.
        batch: rows of the stream.
        device: to run on.
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
    """Return time, peak memory and state size at `POINTS` points of the stream."""
    generator = torch.Generator().manual_seed(0)
    state = memory.init_state(batch, device=device)
    for _ in range(segments // POINTS):  # warm-up: buffers of libraries, clock of the processor
        memory(_segment(memory, batch, segment_length, generator, device), state)
    points = []
    for point in range(POINTS):
        times = []
        for _ in range(segments // POINTS):
            segment = _segment(memory, batch, segment_length, generator, device)
            before = state  # for the peak of the last step, which is repeated
            _synchronize(device)
            started = time.perf_counter()
            _, state = memory(segment, before)
            _synchronize(device)
            times.append(time.perf_counter() - started)
        tokens = (point + 1) * (segments // POINTS) * segment_length
        points.append(StreamPoint(tokens, min(times), peak_bytes(memory, segment, before), state.nbytes))
    return points


def peak_bytes(memory: SegmentMemory[Any], segment: Float[Tensor, "batch time dim"], state: MemoryState) -> int:
    """Return the peak memory of one step in bytes, without arguments and parameters."""
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
    """Return the largest distance from a changed token to an output that it changes, in tokens.

    All rows are copies of one stream. In each but the last, another token of the first segment is changed; outputs are
    compared with those of the last row.

    Returns:
        Maximum over the rows, and whether outputs still differ in the last segment, so that the stream was too short.
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
        # In every segment, since a difference can vanish and return.
        for row, latest in enumerate(_latest_change(output)):
            if latest >= 0:
                last = index * segment_length + latest
                farthest = max(farthest, last - changed[row])
    return farthest, last >= (segments - 1) * segment_length


def _latest_change(output: Float[Tensor, "row time dim"]) -> list[int]:
    """Return for each row but the last the last token whose output differs from the last row; -1 if none does."""
    output = output.float()
    scale = output[-1].square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    differs = ((output[:-1] - output[-1]).abs() > TOLERANCE * scale).any(-1)
    place = torch.arange(1, differs.shape[1] + 1, device=output.device)
    latest: list[int] = ((differs * place).amax(1) - 1).tolist()
    return latest


def _segment(
    memory: SegmentMemory[Any], batch: int, length: int, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "batch time dim"]:
    return torch.randn(batch, length, memory.dim, generator=generator).to(device)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _place(tensor: Shaped[Tensor, "*shape"]) -> int:
    """Return the address of the storage, which views share."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread, since synchronization of threads dominates the time of small steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Return machine and versions of a measurement."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "machine": {"device": name, "system": platform.system(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
