"""What the start decoder attends to: the current window and what a memory kept of earlier ones."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core import MemoryState
from mnemic_core.buffers import SegmentQueue
from mnemic_core.residual import ResidualMemory
from mnemic_vision.matr.config import QUEUE, MatrConfig


@dataclass(frozen=True)
class Frames:
    """Frames for the attention of the start decoder.

    Attributes:
        tokens: projected frames; zeros where memory is empty.
        window_age: age of each frame's window in windows, 0 for the current one; -1 where memory is empty.
        frame_age: later frames in its window.
    """

    tokens: Float[Tensor, "lane key dim"]
    window_age: Int[Tensor, "lane key"]
    frame_age: Int[Tensor, " key"]


class PastWindows(nn.Module, ABC):
    """Base of memories of past windows.

    Each lane is a sequence of windows that do not overlap. A lane's memory is read before its window is stored, and no
    gradient reaches the frames.
    """

    @abstractmethod
    def init_state(self, lanes: int, device: torch.device | None = None) -> MemoryState:
        """Return empty memories."""

    @abstractmethod
    def reset(self, state: MemoryState, rows: Bool[Tensor, " lane"]) -> MemoryState:
        """Return the state with empty memories at the given lanes."""

    @abstractmethod
    def read(
        self, window: Float[Tensor, "lane frame dim"], state: MemoryState, now: Int[Tensor, " lane"]
    ) -> tuple[Frames, MemoryState]:
        """Return the frames to attend to, and the state that would follow if every lane stored its window.

        Args:
            window: projected frames of the current windows, oldest first.
            state: memories of the lanes.
            now: index of the newest frame of each window.
        """

    def forward(
        self, window: Float[Tensor, "lane frame dim"], state: MemoryState, now: Int[Tensor, " lane"]
    ) -> tuple[Frames, MemoryState]:
        """Return what `read` returns for a window without gradient."""
        return self.read(window.detach(), state, now)


class QueuedWindows(PastWindows):
    """The paper's memory: a queue of windows, all frames of which the start decoder sees.

    Args:
        queue: stores the frames of these ages of each window.
        ages: ages of the frames in a window that the start decoder sees, oldest first.
    """

    def __init__(self, queue: SegmentQueue, ages: list[int]) -> None:
        super().__init__()
        self.queue = queue
        self.ages = ages

    def init_state(self, lanes: int, device: torch.device | None = None) -> MemoryState:
        """Return empty queues."""
        return self.queue.init_state(lanes, device=device)

    def reset(self, state: MemoryState, rows: Bool[Tensor, " lane"]) -> MemoryState:
        """Return the state with empty queues at the given lanes."""
        return self.queue.reset(cast(Any, state), rows)

    def read(
        self, window: Float[Tensor, "lane frame dim"], state: MemoryState, now: Int[Tensor, " lane"]
    ) -> tuple[Frames, MemoryState]:
        """Return the frames in the queue and those of the current window."""
        stored = self.queue.frames(cast(Any, state), now)
        ages = torch.tensor(self.ages, device=window.device)
        current = window[:, window.shape[1] - 1 - ages]
        frames = Frames(
            torch.cat([stored.frames.to(window.dtype), current], dim=1),
            torch.cat([stored.segment_age, stored.segment_age.new_zeros(current.shape[:2])], dim=1),
            ages.repeat(self.queue.capacity + 1),
        )
        return frames, self.queue.write(cast(Any, state), window, now=now)


class RecalledWindow(PastWindows):
    """Any other memory: each frame of the current window recalls from it, and the start decoder sees the window.

    Args:
        memory: memory in a residual branch.
        ages: ages of the frames in the window that the start decoder sees.
    """

    def __init__(self, memory: ResidualMemory, ages: list[int]) -> None:
        super().__init__()
        self.memory = memory
        self.ages = ages

    def init_state(self, lanes: int, device: torch.device | None = None) -> MemoryState:
        """Return empty memories."""
        return self.memory.init_state(lanes, device=device)

    def reset(self, state: MemoryState, rows: Bool[Tensor, " lane"]) -> MemoryState:
        """Return the state with empty memories at the given lanes."""
        return self.memory.reset(state, rows)

    def read(
        self, window: Float[Tensor, "lane frame dim"], state: MemoryState, now: Int[Tensor, " lane"]
    ) -> tuple[Frames, MemoryState]:
        """Return the frames of the current window, each with what it recalls."""
        recalled, state = self.memory(window, state)
        ages = torch.tensor(self.ages, device=window.device)
        seen = recalled[:, window.shape[1] - 1 - ages]
        return Frames(seen, now.new_zeros(seen.shape[:2]), ages), state


def build_past_windows(config: MatrConfig) -> PastWindows:
    """Return the memory of a configuration."""
    memory = config.sized_memory
    ages = sampled_ages(config.window, config.memory_stride, is_newest_kept=config.keeps_newest)
    if memory.name == QUEUE:
        return QueuedWindows(cast(SegmentQueue, memory.build(config.dim)), ages)
    return RecalledWindow(ResidualMemory(config.dim, memory, dropout=config.dropout), ages)


def sampled_ages(window: int, stride: int, *, is_newest_kept: bool) -> list[int]:
    """Return the ages of the frames of a window that are seen, oldest first.

    Example:
        >>> sampled_ages(6, 2, is_newest_kept=False)
        [5, 3, 1]
    """
    oldest = window - stride if is_newest_kept else window - 1
    return list(range(oldest, -1, -stride))
