"""What is stored with the entries of an index, read from a file when it is asked for."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from mnemic_core.errors import UserError

_TEXT, _ENDS = "payload_text", "payload_ends"  # in files


class Payloads:
    """A list of mappings of JSON types, of which those of a file stay there as text.

    A million of them are opened without being read, in files that are memory-mapped.

    Args:
        text: JSON of the stored ones, one after the other in UTF-8; empty for ``{}``.
        ends: place in the text behind each of them.
    """

    def __init__(self, text: Shaped[Tensor, " byte"] | None = None, ends: Int[Tensor, " entry"] | None = None) -> None:
        self._text = np.empty(0, np.uint8) if text is None else text.numpy()
        stops = np.empty(0, np.int64) if ends is None else ends.numpy()
        self._spans = np.stack([np.concatenate([[0], stops[:-1]])[: len(stops)], stops], axis=1)
        self._added: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Return the number of mappings."""
        return len(self._spans) + len(self._added)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a mapping, which is not to be changed."""
        if row >= len(self._spans):
            return self._added[row - len(self._spans)]
        try:
            found: dict[str, Any] = json.loads(self._stored(*self._spans[row].tolist()) or b"{}")
        except ValueError as error:
            raise UserError(f"the payload of an entry is damaged ({error}); save the index again") from error
        return found

    def extend(self, contents: Sequence[dict[str, Any]]) -> None:
        """Add mappings."""
        self._added += contents

    def forget(self, rows: Int[Tensor, " entry"]) -> None:
        """Empty some of them."""
        for row in rows.tolist():
            if row < len(self._spans):
                self._spans[row] = 0
            else:
                self._added[row - len(self._spans)] = {}

    def keep(self, rows: Int[Tensor, " entry"]) -> None:
        """Drop all others; rows ascend."""
        kept = rows.cpu().numpy()
        self._added = [self._added[row] for row in (kept[kept >= len(self._spans)] - len(self._spans)).tolist()]
        self._spans = self._spans[kept[kept < len(self._spans)]]

    def tensors(self, rows: Int[Tensor, " entry"]) -> dict[str, Tensor]:
        """Return some of them for a file, from which `of_snapshot` makes them again."""
        spans = self._spans.tolist()
        texts = [
            self._stored(*spans[row]) if row < len(spans) else _encoded(self._added[row - len(spans)])
            for row in rows.tolist()
        ]
        ends = torch.tensor([len(text) for text in texts], dtype=torch.long).cumsum(0)
        # A copy, as bytes are read-only.
        return {_TEXT: torch.tensor(np.frombuffer(b"".join(texts), np.uint8)), _ENDS: ends}

    @staticmethod
    def of_snapshot(tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> "Payloads":
        """Return those of a file.

        Raises:
            UserError: they do not belong together.
        """
        if "payloads" in content:  # as in format 1
            found = Payloads()
            found.extend(list(content["payloads"]))
            return found
        text, ends = tensors[_TEXT], tensors[_ENDS]
        fits = text.ndim == ends.ndim == 1 and (text.dtype, ends.dtype) == (torch.uint8, torch.long)
        if not fits or bool((ends.diff(prepend=ends.new_zeros(1)) < 0).any()) or int(ends[-1:].sum()) != len(text):
            raise UserError(f"payloads end outside of their text of {len(text)} bytes")
        return Payloads(text, ends)

    def _stored(self, start: int, end: int) -> bytes:
        found: bytes = self._text[start:end].tobytes()
        return found


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass") if content else b""
