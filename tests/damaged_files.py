"""Damaged files for tests of readers, reproducible by seed."""

import json
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from safetensors.torch import load, save
from torch import Tensor

from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError

WRONG_VALUES: tuple[Any, ...] = (None, True, -1, 0, 0.5, "x", [], [1, "a"], {}, {"a": 1}, float("nan"))
FOREIGN: tuple[Any, ...] = (None, 3, "text", [1, "a"], {}, {1: 2}, {"a": "b"}, {"state_dict": [1]}, {"model": {"a": 1}})
HEADERS = (b"[]", b"3", b"null", b"{", b'{"a": 1}', b'{"__metadata__": []}', b'{"a": {"dtype": "F32"}}', b"[" * 5000)


def check_refusals(read: Callable[[Path], object], good: Path, folder: Path, *, count: int = 40, seed: int = 0) -> None:
    """Check that a reader reads damaged copies of a file or refuses them in one line.

    Args:
        read: reads a path; it may raise `OSError`, and `UserError` of one line.
        good: an intact file; in safetensors and files of ``torch.save`` single values are changed as well.
        folder: for the copies, which have the name of the intact file.
        count: number of random copies of each kind.
        seed: of the random copies.

    Raises:
        AssertionError: for any other error, with the kind of damage.
    """
    read(good)
    path = folder / good.name
    for name, content in damaged_copies(good, count, seed):
        path.write_bytes(content)
        _check_refusal(read, path, name)
    path.unlink()
    path.mkdir()
    _check_refusal(read, path, "a folder")
    path.rmdir()


def _check_refusal(read: Callable[[Path], object], path: Path, name: str) -> None:
    try:
        read(path)
    except UserError as error:
        if "\n" in str(error) or "weights_only" in str(error):
            raise AssertionError(f"{name}: not one plain line: {error}") from error
    except OSError:
        return
    except Exception as error:  # which users would see as a traceback
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


def damaged_copies(good: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield kind of damage and content of each copy."""
    content, dice = good.read_bytes(), random.Random(seed)
    yield from _fixed(content)
    for _ in range(count):
        yield _cut_or_flipped(content, dice, len(content))
        yield _cut_or_flipped(content, dice, min(len(content), 2000))  # where headers are
    if content[8:9] == b"{":  # safetensors
        yield from _other_headers(content, count, dice)
    elif zipfile.is_zipfile(good) and good.suffix != ".npz":  # of torch.save
        yield from _other_pickles(content, count, dice)


def _fixed(content: bytes) -> Iterator[tuple[str, bytes]]:
    for kept in (0, 1, 7, 8, 9, 64, len(content) // 2, len(content) - 1):
        yield f"first {kept} bytes", content[:kept]
    yield "text", b"to be or not to be\n" * 20
    yield "huge header", b"\xff" * 8 + content[8:]
    yield "zeros", bytes(300)
    for header in HEADERS:
        yield f"header {header[:30]!r}", len(header).to_bytes(8, "little") + header + content[-64:]
    for foreign in FOREIGN:
        yield f"torch.save of {foreign!r}", _saved(foreign)
        yield f"pickle of {foreign!r}", pickle.dumps(foreign, protocol=2)
    yield "torch.save in the old form", _saved({"a": torch.zeros(2)}, _use_new_zipfile_serialization=False)
    empty = BytesIO()
    zipfile.ZipFile(empty, "w").close()
    yield "zip without data", empty.getvalue()


def _cut_or_flipped(content: bytes, dice: random.Random, end: int) -> tuple[str, bytes]:
    place = dice.randrange(end)
    if dice.random() < 0.3:
        return f"first {place} bytes", content[:place]
    changed = bytearray(content)
    changed[place] ^= 1 << dice.randrange(8)
    return f"byte {place} is {changed[place]:#x}", bytes(changed)


def _other_headers(content: bytes, count: int, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield safetensors files with one change in header or tensors."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    tensors = load(content)
    for name, changed in _changed_tensors(tensors, dice):
        yield name, save(changed, metadata)
    for name in metadata:
        yield f"without {name}", save(tensors, {key: text for key, text in metadata.items() if key != name})
        for text in ("", "{", "[]", "3", "null", "{}"):
            yield f"{name} {text!r}", save(tensors, {**metadata, name: text})
    for _ in range(count if KEY in metadata else 0):
        name, header = _changed_value(json.loads(metadata[KEY]), dice)
        yield name, save(tensors, {**metadata, KEY: json.dumps(header)})


def _other_pickles(content: bytes, count: int, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield files of ``torch.save`` with one change in the content."""
    original = torch.load(BytesIO(content), weights_only=True)
    for _ in range(count):
        part = dice.choice([key for key in original if isinstance(original[key], dict)] or [None])
        if part is None:
            return
        name, changed = _changed_value(original[part], dice)
        yield f"{part}: {name}", _saved({**original, part: changed})
    weights = original.get("state_dict", original.get("model", {}))
    for name, changed in _changed_tensors(weights, dice):
        key = "state_dict" if "state_dict" in original else "model"
        yield name, _saved({**original, key: changed})


def _changed_tensors(tensors: Mapping[str, Shaped[Tensor, "..."]], dice: random.Random) -> Iterator[tuple[str, Any]]:
    for name in dice.sample(sorted(tensors), min(len(tensors), 4)):
        value = tensors[name]
        rest = {key: each for key, each in tensors.items() if key != name}
        yield f"without {name}", rest
        yield f"{name} renamed", {**rest, f"{name}.x": value}
        yield f"{name} with one more axis", {**rest, name: value[None].clone()}
        yield f"{name} empty", {**rest, name: value.new_zeros(0)}
        yield f"{name} one number", {**rest, name: value.new_zeros(())}
        for dtype in (torch.bool, torch.int64, torch.bfloat16):
            yield f"{name} as {dtype}", {**rest, name: value.to(dtype)}
    yield "no tensors", {}


def _changed_value(tree: Any, dice: random.Random) -> tuple[str, Any]:
    """Return a copy of nested mappings with one value, at any depth, absent or wrong."""
    changed = dict(tree)
    if not changed:
        return "{}", changed
    key = dice.choice(sorted(changed, key=str))
    if isinstance(changed[key], dict) and changed[key] and dice.random() < 0.8:
        name, changed[key] = _changed_value(changed[key], dice)
        return f"{key}.{name}", changed
    if dice.random() < 0.2:
        del changed[key]
        return f"{key} absent", changed
    changed[key] = dice.choice(WRONG_VALUES)
    return f"{key} {changed[key]!r}", changed


def _saved(content: object, **options: Any) -> bytes:
    file = BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()
