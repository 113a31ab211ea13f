"""Running the server until a signal ends it."""

import signal
import socket
import sys
from ipaddress import ip_address

from mnemic_ask.service.app import Service
from mnemic_ask.service.interface import Answering
from mnemic_ask.service.settings import ServerSettings
from mnemic_core.errors import UserError
from mnemic_kit.output import show

SPARE_SECONDS = 5
"""At the end, after the time that requests have, before connections are cut."""


def run_server(assistant: Answering, settings: ServerSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, finish what is running, and close the memory.

    Args:
        assistant: the network and its memory.
        settings: where to listen, and the limits.

    Raises:
        UserError: the address cannot be listened on.
        KeyboardInterrupt: Ctrl-C ended it.
    """
    import uvicorn

    with assistant.store, listen(settings) as listener:
        service = Service(assistant, settings)
        config = uvicorn.Config(
            service.make_app(),
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=int(settings.timeout) + SPARE_SECONDS,
        )
        # After its end uvicorn sends itself the signal once more, for the handler that was there before.
        signal.signal(signal.SIGTERM, lambda *_: None)
        announce(settings, listener)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            service.worker.close()
    show(f"stopped after {service.counts.total} requests")


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: the address is taken or none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"cannot listen on {settings.host}, port {settings.port} ({error}): give another --host or --port"
        ) from error


def announce(settings: ServerSettings, listener: socket.socket) -> None:
    """Say where the server is, after a warning if others can reach it."""
    if not is_loopback(settings.host):
        lack = "authentication" if settings.token is None else "encryption"
        risk = (
            "whoever reaches it can read and change the memory" if settings.token is None else "the token can be read"
        )
        sys.stderr.write(f"warning: {settings.host} is open to other machines without {lack}: {risk}\n")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    show(f"serving http://{host}:{listener.getsockname()[1]}, Ctrl-C ends")


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
