"""Items as rows of a table, for engines with columns."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from mnemic_retrieval.store.filters import BUILT_IN
from mnemic_retrieval.store.items import FieldType, Item

TEXTS = ("id", "modality", "text", "image", "image_hash")
COLUMNS = (*TEXTS, "metadata", "version", "vector")
"""Of every item; declared fields have further ones."""


def column_of(field: str) -> str:
    """Return the column of a field: declared ones have a prefix, so that they may be called as words of SQL."""
    return field if field in BUILT_IN else f"field_{field}"


def to_row(item: Item, version: int, fields: Mapping[str, FieldType]) -> dict[str, Any]:
    """Return the values of an item by column, its metadata as JSON and its vector as an array of float32."""
    row: dict[str, Any] = {name: getattr(item, name) for name in TEXTS}
    row |= {"metadata": json.dumps(dict(item.metadata)), "version": version}
    return {
        **row,
        "vector": item.vector.detach().float().cpu().numpy(),
        **{column_of(name): item.metadata.get(name) for name in fields},
    }


def from_row(row: Mapping[str, Any]) -> Item:
    """Return the item of a row; the inverse of `to_row`."""
    given = {name: row[name] for name in (*TEXTS, "version")}
    return Item(vector=torch.tensor(row["vector"], dtype=torch.float32), metadata=json.loads(row["metadata"]), **given)
