"""Which windows each lane of a stream has in memory, as rows of a frame store."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray

EMPTY = -1


class StoredWindows:
    """The queues of all lanes, which hold rows instead of frames.

    Args:
        streams: number of streams.
        lanes: lanes of a stream, one for each frame of a window.
        capacity: windows in a queue.
        num_frames: frames kept of a window.
    """

    def __init__(self, streams: int, lanes: int, capacity: int, num_frames: int) -> None:
        self.rows = np.zeros((streams, lanes, capacity, num_frames), dtype=np.int64)
        self.newest = np.full((streams, lanes, capacity), EMPTY, dtype=np.int64)  # frame index; EMPTY: no window
        self._next = np.zeros((streams, lanes), dtype=np.int64)  # place of the oldest window, or an unused one

    def append(
        self, stream: int, lane: int, rows: Int64[np.ndarray, " frame"], newest: int
    ) -> Int64[np.ndarray, " dropped"]:
        """Store a window in place of the oldest one, whose rows are returned."""
        place = self._next[stream, lane]
        is_used = self.newest[stream, lane, place] != EMPTY
        dropped = self.rows[stream, lane, place].copy() if is_used else rows[:0]
        self.rows[stream, lane, place] = rows
        self.newest[stream, lane, place] = newest
        self._next[stream, lane] = (place + 1) % self.newest.shape[2]
        return dropped

    def clear(self, stream: int) -> Int64[np.ndarray, " dropped"]:
        """Forget the windows of a stream, whose rows are returned."""
        dropped: NDArray[np.int64] = self.rows[stream][self.newest[stream] != EMPTY].ravel()
        self.newest[stream], self._next[stream] = EMPTY, 0
        return dropped

    def state_dict(self) -> dict[str, Any]:
        """Return the queues as tensors."""
        arrays = {"rows": self.rows, "newest": self.newest, "next": self._next}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the queues."""
        self.rows, self.newest, self._next = (state[name].numpy().copy() for name in ("rows", "newest", "next"))
