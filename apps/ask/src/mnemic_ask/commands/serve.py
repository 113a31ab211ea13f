"""``mnemic-ask serve``: answer requests over HTTP."""

import os
from importlib.util import find_spec
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device

TOKEN = "MNEMIC_ASK_TOKEN"
LIBRARIES = ("fastapi", "uvicorn")


def serve(
    memory: str,
    checkpoint: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    pictures: Path | None = None,
    timeout: float = 30.0,
    max_waiting: int = 128,
    max_megabytes: int = 16,
    device: Device = "auto",
) -> None:
    """Serve a memory over HTTP, such as: serve --memory runs/memory.

    POST /search, /ask, /upsert and /delete take JSON, GET /health, /stats and /pictures/HASH need none; /openapi.json
    describes them. Errors are {"error": "one line"}. SIGTERM or Ctrl-C lets running requests finish. There is no
    encryption; where others can listen, put a server with TLS before it. If the environment variable MNEMIC_ASK_TOKEN
    is set, clients must send it as "Authorization: Bearer TOKEN".

    Args:
        memory: folder of the memory, or URL of a database.
        checkpoint: weights; default: the shipped ones.
        host: address to listen on; others than 127.0.0.1 are open to other machines.
        port: port to listen on; 0 takes a free one.
        pictures: folder for uploaded pictures; default: beside the memory, NAME-pictures.
        timeout: seconds until a request is given up.
        max_waiting: requests at once; more are told to come again.
        max_megabytes: size of a request.
        device: auto uses a GPU if available.
    """
    check_libraries()

    from mnemic_ask.opening import open_assistant
    from mnemic_ask.service.server import run_server
    from mnemic_ask.service.settings import ServerSettings

    settings = ServerSettings(
        find_folder(memory, pictures),
        host,
        port,
        timeout,
        max_waiting,
        max_bytes=max_megabytes * 2**20,
        token=os.environ.get(TOKEN),
    )
    run_server(open_assistant(memory, checkpoint, device), settings)


def check_libraries() -> None:
    """Raise ``UserError`` if what the server needs is not installed."""
    if absent := [name for name in LIBRARIES if find_spec(name) is None]:
        raise UserError(f"serve needs {' and '.join(absent)}; install with: pip install 'mnemic-ask[serve]'")


def find_folder(memory: str, pictures: Path | None) -> Path:
    """Return the folder for uploaded pictures.

    Raises:
        UserError: none was given for a memory in a database.
    """
    if pictures is not None:
        return pictures
    if "://" in memory:
        raise UserError("a memory in a database has no folder beside it: give --pictures")
    folder = Path(memory).resolve()
    return folder.with_name(f"{folder.name}-pictures")
