"""Stores on disk: a folder with a readable JSON file and a safetensors file of vectors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
from mnemic_core.tensor_file import checksum, read_tensors, write_tensors

FORMAT_VERSION = 2
_READABLE = (1, 2)  # in the first one, payloads were in the JSON file
MANIFEST = "index.json"


def write_snapshot(
    folder: str | Path, kind: str, tensors: Mapping[str, Shaped[Tensor, "..."]], content: Mapping[str, Any]
) -> None:
    """Write a store of a class to a folder atomically.

    The vectors go to a file named by their checksum; the JSON file, which names it, is replaced last.

    Args:
        folder: created if absent.
        kind: name of the class.
        tensors: by name.
        content: other content, of JSON types.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digest = checksum(stored)
    vectors = folder / f"vectors-{digest[:16]}.safetensors"
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "vectors": vectors.name,
        "checksum": digest,
        "content": content,
    }
    text = json.dumps(manifest, ensure_ascii=False)
    with replacing(folder / MANIFEST) as new_manifest:
        new_manifest.write_text(text, encoding="utf-8")
        write_tensors(vectors, stored)
    for outdated in set(folder.glob("vectors-*.safetensors")) - {vectors}:
        outdated.unlink()


def read_snapshot(
    folder: str | Path, kind: str, *, mapped: bool = False
) -> tuple[dict[str, Shaped[Tensor, "..."]], dict[str, Any]]:
    """Read a store that :func:`write_snapshot` wrote.

    Args:
        folder: of the store.
        kind: name of the class that reads it.
        mapped: memory-map the vectors without verifying their checksum.

    Raises:
        FileNotFoundError: if there is no store in the folder.
        UserError: if it is damaged, of another format version or of another kind.
    """
    folder = Path(folder)
    manifest = _manifest(folder, kind)
    vectors = folder / manifest["vectors"]
    try:
        tensors, _ = read_tensors(vectors, mapped=True)
    except (UserError, OSError) as error:
        raise UserError(f"the store at {folder} is not complete ({error}); save it again") from error
    if not mapped:
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        if checksum(tensors) != manifest.get("checksum"):
            raise UserError(f"{vectors} was changed or damaged since it was saved; save the store again")
    return tensors, manifest["content"]


def json_copies(mappings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return copies after a round trip through JSON, so that saving cannot fail later."""
    try:
        copies: list[dict[str, Any]] = json.loads(json.dumps([dict(mapping) for mapping in mappings]))
    except (TypeError, ValueError) as error:
        raise TypeError(f"what is stored with a vector must be a mapping that json can write ({error})") from error
    return copies


def _manifest(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no store at {folder}: it has no {MANIFEST}; write one with {kind}.save")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = (manifest["kind"], manifest["format_version"])
        complete = Path(manifest["vectors"]).name == manifest["vectors"] and isinstance(manifest["content"], dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); save the store again") from error
    if found[0] != kind or found[1] not in _READABLE:
        raise UserError(
            f"{path} holds {found[0]} in format {found[1]}, expected {kind} in format {FORMAT_VERSION}; "
            "load it with the class that saved it"
        )
    if not complete:
        raise UserError(f"{path} is damaged (its vectors or content); save the store again")
    result: dict[str, Any] = manifest
    return result
