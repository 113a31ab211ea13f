"""The memory of streams in frame-by-frame inference: the paper's queue with cached keys, or any other memory."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_core.state import SlotView
from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.output import MatrOutput
from mnemic_vision.matr.past_windows import Frames, QueuedWindows
from mnemic_vision.matr.streaming.frame_store import FrameStore
from mnemic_vision.matr.streaming.queue_reader import QueueReader
from mnemic_vision.matr.streaming.stored_windows import EMPTY, StoredWindows

PAD, BLANK = 0, 1  # rows of the store: a frame before the stream, and memory without content


@dataclass(frozen=True)
class StoredSlots(MemoryState):
    """The windows in memory, for reports.

    Attributes:
        values: mean token of each window.
        newest: index of its newest frame; -1 where there is none.
    """

    values: Float[Tensor, "stream slot dim"]
    newest: Int[Tensor, "stream slot"]

    def slots(self) -> SlotView:
        """Return one slot for each window, with the number of windows stored later as its age."""
        later = (self.newest[:, None] > self.newest[:, :, None]).sum(-1)
        return SlotView(self.values, self.newest >= 0, torch.where(self.newest >= 0, later, -1))


@dataclass(frozen=True)
class CurrentWindows:
    """The windows that end with the newest frame of each stream.

    Attributes:
        store: holds their frames.
        rows: places of the frames in the store, oldest first.
        now: index of the newest frame in its stream.
    """

    store: FrameStore
    rows: Int64[np.ndarray, "stream window"]
    now: Int64[np.ndarray, " stream"]

    def read(self, part: int) -> Float[Tensor, "stream window _"]:
        """Return what is stored of the frames."""
        return self.store.read(part, torch.from_numpy(self.rows).to(self.store.parts[part].device))


class StreamMemory(ABC):
    """What streams remember of earlier windows."""

    @abstractmethod
    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame _"]:
        """Return what is to be stored of frames for the memory."""

    @abstractmethod
    def predict(
        self, ends: Float[Tensor, "stream query dim"], flag: Float[Tensor, " stream"], current: CurrentWindows
    ) -> MatrOutput:
        """Return the instances of the current windows."""

    @abstractmethod
    def write(self, stream: int, current: CurrentWindows) -> None:
        """Store the current window of a stream."""

    @abstractmethod
    def clear(self, stream: int, store: FrameStore) -> None:
        """Forget what a stream remembers."""

    @abstractmethod
    def num_windows(self) -> Int64[np.ndarray, " stream"]:
        """Return how many windows each stream has in memory, over all of its lanes."""

    @abstractmethod
    def state(self, store: FrameStore) -> MemoryState:
        """Return a state with slots for a report of the memory."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the memory as nested plain values and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory."""


class QueueMemory(StreamMemory):
    """The paper's queue: lanes hold rows of the store, whose frames bring keys and values along.

    Args:
        model: trained network.
        past_windows: its memory.
        streams: number of streams.
    """

    def __init__(self, model: Matr, past_windows: QueuedWindows, streams: int) -> None:
        self.model = model
        self.reader = QueueReader(model, past_windows)
        self.seen = model.config.window - 1 - np.array(past_windows.ages)  # places in a window
        self.stored = StoredWindows(streams, model.config.window, model.config.capacity, len(self.seen))

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame keys_and_values"]:
        """Return the keys and values of frames."""
        return self.reader.project_frames(tokens)

    def predict(
        self, ends: Float[Tensor, "stream query dim"], flag: Float[Tensor, " stream"], current: CurrentWindows
    ) -> MatrOutput:
        """Return the instances of the current windows."""
        now = current.now
        lane = np.arange(len(now)), now % self.model.config.window
        newest = self.stored.newest[lane]  # stream window
        age = np.where(newest == EMPTY, -1, (now[:, None] - newest) // self.model.config.window)
        rows = np.where((newest == EMPTY)[..., None], BLANK, self.stored.rows[lane])
        rows = np.concatenate([rows, current.rows[:, None, self.seen]], axis=1)
        age = np.concatenate([age, np.zeros_like(age[:, :1])], axis=1)
        frames = current.store.read(1, torch.from_numpy(rows).to(ends.device))
        starts = self.reader.decode_starts(ends, frames, torch.from_numpy(age).to(ends.device))
        return self.model.apply_heads(ends, starts, flag)

    def write(self, stream: int, current: CurrentWindows) -> None:
        """Store the current window of a stream."""
        rows, newest = current.rows[stream, self.seen], int(current.now[stream])
        current.store.keep(rows)
        current.store.drop(self.stored.append(stream, newest % self.model.config.window, rows, newest))

    def clear(self, stream: int, store: FrameStore) -> None:
        """Forget what a stream remembers."""
        store.drop(self.stored.clear(stream))

    def num_windows(self) -> Int64[np.ndarray, " stream"]:
        """Return how many windows each stream has in memory, over all of its lanes."""
        number: Int64[np.ndarray, " stream"] = (self.stored.newest != EMPTY).sum((1, 2))
        return number

    def state(self, store: FrameStore) -> MemoryState:
        """Return the stored windows of each stream, as the means of their frames."""
        newest = torch.from_numpy(self.stored.newest).flatten(1)
        tokens = store.read(0, torch.from_numpy(self.stored.rows).to(store.parts[0].device))
        means = tokens[..., : self.model.config.dim].mean(3).flatten(1, 2)  # stream slot dim
        return StoredSlots(means, newest.to(means.device))

    def state_dict(self) -> dict[str, Any]:
        """Return the queues."""
        return self.stored.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the queues."""
        self.stored.load_state_dict(state)


class LaneMemory(StreamMemory):
    """Any other memory, one state for each lane; what a frame recalls changes with it, so nothing is kept of frames.

    Args:
        model: trained network.
        streams: number of streams.
    """

    def __init__(self, model: Matr, streams: int) -> None:
        self.model = model
        self.lanes = [self._empty() for _ in range(streams)]
        self.written = np.zeros((streams, model.config.window), dtype=np.int64)
        self._next: list[MemoryState] = []

    def project_frames(self, tokens: Float[Tensor, "frame dim"]) -> Float[Tensor, "frame 0"]:
        """Return nothing."""
        return tokens[:, :0]

    def predict(
        self, ends: Float[Tensor, "stream query dim"], flag: Float[Tensor, " stream"], current: CurrentWindows
    ) -> MatrOutput:
        """Return the instances of the current windows."""
        tokens = current.read(0)[..., : self.model.config.dim]
        read = []
        for stream, frame in enumerate(current.now):
            state = self.lanes[stream][frame % self.model.config.window]
            index = torch.tensor([frame], device=ends.device)
            read.append(self.model.past_windows(tokens[stream : stream + 1], state, index))
        self._next = [state for _, state in read]
        frames = Frames(
            torch.cat([found.tokens for found, _ in read]),
            torch.cat([found.window_age for found, _ in read]),
            read[0][0].frame_age,
        )
        return self.model.predict(ends, frames, flag)

    def write(self, stream: int, current: CurrentWindows) -> None:
        """Keep the state in which the current window was written, which reading it has made."""
        lane = current.now[stream] % self.model.config.window
        self.lanes[stream][lane] = self._next[stream]
        self.written[stream, lane] += 1

    def clear(self, stream: int, store: FrameStore) -> None:
        """Forget what a stream remembers."""
        self.lanes[stream], self.written[stream] = self._empty(), 0

    def num_windows(self) -> Int64[np.ndarray, " stream"]:
        """Return how many windows of each stream were written."""
        number: Int64[np.ndarray, " stream"] = self.written.sum(1)
        return number

    def state(self, store: FrameStore) -> MemoryState:
        """Return the memory of the first stream in the lane written last."""
        return self.lanes[0][int(self.written[0].argmax())]

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all lanes."""
        lanes = [[state.to_dict() for state in stream] for stream in self.lanes]
        return {"lanes": lanes, "written": torch.from_numpy(self.written.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the states of all lanes."""
        self.lanes = [
            [own.refill(given) for own, given in zip(stream, saved, strict=True)]
            for stream, saved in zip(self.lanes, state["lanes"], strict=True)
        ]
        self.written = state["written"].numpy().copy()

    def _empty(self) -> list[MemoryState]:
        return [self.model.init_state(1) for _ in range(self.model.config.window)]


def build_stream_memory(model: Matr, streams: int) -> StreamMemory:
    """Return the memory of streams for a network."""
    if isinstance(model.past_windows, QueuedWindows):
        return QueueMemory(model, model.past_windows, streams)
    return LaneMemory(model, streams)
