"""What a memory says of itself: format, engine, width, encoder and fields."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
from mnemic_retrieval.store.store import StoreSettings

FORMAT_VERSION = 1
MANIFEST = "memory.json"


def describe(settings: StoreSettings, engine: str) -> dict[str, Any]:
    """Return what a memory of these settings says of itself."""
    return {"format_version": FORMAT_VERSION, "engine": engine, "settings": asdict(settings)}


def restore(content: Any, engine: str, encoder: str | None, source: str | Path) -> StoreSettings:
    """Return the settings of a memory that is to be read with an encoder.

    Args:
        content: what it says of itself.
        engine: that opens it.
        encoder: what is going to make queries; None: not known.
        source: where it is, for messages.

    Raises:
        UserError: it is damaged, of another format or engine, or made by another encoder.
    """
    manifest = deserialize(dict[str, Any], content, source, "manifest")
    found = (manifest.get("engine"), manifest.get("format_version"))
    if found != (engine, FORMAT_VERSION):
        raise UserError(
            f"{source} is a memory of {found[0]!r} in format {found[1]!r}, expected {engine!r} in {FORMAT_VERSION}"
        )
    settings: StoreSettings = deserialize(StoreSettings, manifest.get("settings"), source, "settings")
    if encoder is not None and encoder != settings.encoder:
        raise UserError(
            f"the memory {source} was made by the encoder {settings.encoder}, but is to be searched by {encoder}: "
            "build it anew, or use its own encoder"
        )
    return settings


def write_manifest(folder: Path, settings: StoreSettings, engine: str) -> None:
    """Write it to a folder, last of all that is needed to open a memory."""
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(describe(settings, engine), indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path, engine: str, encoder: str | None) -> StoreSettings:
    """Return the settings in a folder; see `restore`.

    Raises:
        FileNotFoundError: there is no memory in the folder.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no memory at {folder}: it has no {MANIFEST}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): build the memory anew") from error
    return restore(content, engine, encoder, folder)
