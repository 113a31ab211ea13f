"""Features of pictures and texts that come again, kept by encoders that do not learn."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch

from mnemic_retrieval.encoders.features import Features, stack_features


class FeatureCache:
    """Keeps the features that were used last, in half precision.

    Args:
        max_bytes: of all features together.
        is_alone: encode each text and picture alone, so that the last bits of its features do not depend on the others
            of a batch: a training that was killed then goes on with the same ones.

    Example:
        >>> def encode(rows):
        ...     print("encoding", rows)
        ...     ids = torch.zeros(len(rows), 2).long()
        ...     return Features(torch.ones(len(rows), 2, 3), ids > 0, torch.ones(len(rows), 1), ids)
        >>> cache = FeatureCache()
        >>> _ = cache.get(["a", "b", "a"], encode)
        encoding [0, 1]
        >>> _ = cache.get(["b"], encode)
    """

    def __init__(self, max_bytes: int = 2**30, *, is_alone: bool = False) -> None:
        self.max_bytes, self.is_alone, self._bytes = max_bytes, is_alone, 0
        self._rows: OrderedDict[Hashable, Features] = OrderedDict()

    def get(self, keys: Sequence[Hashable], encode: Callable[[list[int]], Features]) -> Features:
        """Return the features of all keys, filled with padding to the longest.

        Args:
            keys: what tells pictures or texts apart.
            encode: returns the features of the given places of ``keys``; called for those that are not there.
        """
        places = {key: place for place, key in reversed([*enumerate(keys)]) if key not in self._rows}
        missing = sorted(places.values())
        rows: dict[Hashable, Features] = {key: self._rows[key] for key in keys if key in self._rows}
        for part in [[place] for place in missing] if self.is_alone else [missing] if missing else []:
            made = encode(part)
            rows |= {keys[place]: _row(made, row) for row, place in enumerate(part)}
        for key, row_features in rows.items():
            self._keep(key, row_features)
        # One by one: autocast on a CPU concatenates no half precision.
        return stack_features([rows[key].to(dtype=torch.float32) for key in keys])

    def _keep(self, key: Hashable, row: Features) -> None:
        if key not in self._rows:
            self._bytes += row.nbytes
            self._rows[key] = row
        self._rows.move_to_end(key)
        while self._bytes > self.max_bytes and len(self._rows) > 1:
            _, dropped = self._rows.popitem(last=False)
            self._bytes -= dropped.nbytes


def _row(features: Features, row: int) -> Features:
    """Return one row without the padding behind it."""
    length = max(1, int((~features.padding[row]).sum()))
    one = features.map(lambda part: part[row : row + 1])
    return Features(one.tokens[:, :length].half(), one.padding[:, :length], one.summary, one.ids[:, :length])
