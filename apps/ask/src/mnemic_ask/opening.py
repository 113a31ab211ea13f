"""Opening a checkpoint with its memory, in a folder or in a database."""

from collections.abc import Mapping
from pathlib import Path

from mnemic_core.checkpoint import read_model
from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_retrieval.emat import EmatCheckpoint
from mnemic_retrieval.murag import Assistant, MuragCheckpoint, fingerprint
from mnemic_retrieval.store import ExactStore, FieldType, LanceStore, MemoryStore, PostgresStore
from mnemic_retrieval.store.manifest import MANIFEST

SHIPPED = Path(__file__).parent / "checkpoints" / "stamps.safetensors"


def open_checkpoint(checkpoint: Path | None, device: Device) -> MuragCheckpoint:
    """Return a network.

    Args:
        checkpoint: an exported file or a checkpoint of training; None: the shipped one.
        device: ``auto`` uses a GPU if available.

    Raises:
        FileNotFoundError: there is no such checkpoint, or an encoder that it keeps is not installed.
        UserError: it cannot be used.
    """
    if checkpoint is None and not SHIPPED.is_file():
        raise FileNotFoundError(f"the shipped checkpoint {SHIPPED} is absent: give --checkpoint, or train one with fit")
    return MuragCheckpoint.load(checkpoint or SHIPPED).to(find_device(device))


def is_emat(checkpoint: Path) -> bool:
    """Return whether a checkpoint is that of an EMAT; errors as of `open_checkpoint`."""
    return read_model(checkpoint)[0].get("kind") == EmatCheckpoint.kind


def open_assistant(memory: str | None, checkpoint: Path | None, device: Device) -> Assistant:
    """Return a network with a memory that was made for it.

    Args:
        memory: folder, or URL of a database; None: an empty one that ends with the process.
        checkpoint: as for `open_checkpoint`.
        device: likewise.

    Raises:
        FileNotFoundError: there is no such memory.
        UserError: it was made by another network, or is damaged.
    """
    network = open_checkpoint(checkpoint, device)
    if memory is None:
        return Assistant(network, ExactStore(Assistant.settings_of(network)))
    return Assistant(network, _open(memory, fingerprint(network.model)))


def open_or_create(
    memory: str, checkpoint: Path | None, device: Device, fields: Mapping[str, FieldType] | None = None
) -> Assistant:
    """Return a network with a memory, which is made where there is none.

    Args:
        memory: folder, or URL of a database.
        checkpoint: as for `open_checkpoint`.
        device: likewise.
        fields: type of each metadata field to filter by; None: those of the memory, or none.

    Raises:
        UserError: the memory was made by another network or with other fields, or is damaged.
    """
    network = open_checkpoint(checkpoint, device)
    settings = Assistant.settings_of(network, fields)
    try:
        store = _open(memory, settings.encoder)
    except FileNotFoundError:
        kind = PostgresStore if is_url(memory) else LanceStore
        return Assistant(network, kind.create(memory, settings))
    if fields is not None and dict(store.settings.fields) != dict(fields):
        raise UserError(
            f"the memory {memory} has the fields {dict(store.settings.fields)}: leave out --fields, or make another one"
        )
    return Assistant(network, store)


def is_url(memory: str) -> bool:
    """Return whether a memory is in a database."""
    return "://" in memory


def _open(memory: str, encoder: str) -> MemoryStore:
    if is_url(memory):
        return PostgresStore.open(memory, encoder=encoder)
    folder = Path(memory)
    if folder.is_file():
        raise UserError(f"{folder} is a file, expected the folder of a memory")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} holds other files, or a memory that was not completed: give another folder, or delete it"
        )
    return LanceStore.open(folder, encoder=encoder)
