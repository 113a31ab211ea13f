"""What was computed for single frames, kept as long as a window refers to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

PERMANENT = 1 << 40  # references to a row that is never freed


class FrameStore:
    """Rows of tensors with a count of the windows that refer to each; a row without references is used again.

    Windows overlap, so that a frame is stored once however many windows hold it. The store doubles when it is full;
    the number of windows that a stream can hold bounds it.

    Args:
        permanent: for each part of a row, the values of the first rows, which stay for ever.
        capacity: rows at the beginning.
    """

    def __init__(self, permanent: Sequence[Float[Tensor, "row _"]], capacity: int) -> None:
        number = len(permanent[0])
        self.parts = [torch.cat([part, part.new_zeros(capacity, part.shape[1])]) for part in permanent]
        self.references = np.zeros(number + capacity, dtype=np.int64)
        self.references[:number] = PERMANENT
        self._free = list(range(number + capacity - 1, number - 1, -1))

    @property
    def num_used(self) -> int:
        """Rows in use."""
        return len(self.references) - len(self._free)

    def add(self, values: Sequence[Float[Tensor, "frame _"]]) -> NDArray[np.int64]:
        """Store frames with one reference to each, and return their rows."""
        number = len(values[0])
        while len(self._free) < number:
            self._double()
        rows = np.array([self._free.pop() for _ in range(number)], dtype=np.int64)
        index = torch.from_numpy(rows).to(self.parts[0].device)
        for part, value in zip(self.parts, values, strict=True):
            part[index] = value.to(part.dtype)
        self.references[rows] = 1
        return rows

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Count one more reference for every entry."""
        np.add.at(self.references, rows.ravel(), 1)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Count one reference less for every entry, and free the rows that have none."""
        np.subtract.at(self.references, rows.ravel(), 1)
        distinct = np.unique(rows)
        self._free += distinct[self.references[distinct] == 0].tolist()

    def read(self, part: int, rows: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape _"]:
        """Return a part of the given rows."""
        return self.parts[part][rows]

    def state_dict(self) -> dict[str, Any]:
        """Return values and counts as tensors."""
        return {"parts": list(self.parts), "references": torch.from_numpy(self.references.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore values and counts."""
        self.parts = [given.to(part).clone() for given, part in zip(state["parts"], self.parts, strict=True)]
        self.references = state["references"].numpy().copy()
        self._free = np.flatnonzero(self.references == 0)[::-1].tolist()

    def _double(self) -> None:
        size = len(self.references)
        self.parts = [torch.cat([part, torch.zeros_like(part)]) for part in self.parts]
        self.references = np.concatenate([self.references, np.zeros_like(self.references)])
        self._free = [*range(2 * size - 1, size - 1, -1), *self._free]
