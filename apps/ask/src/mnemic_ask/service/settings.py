"""Settings and limits of the server."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from mnemic_core.errors import UserError, check_range

MAX_K = 100
MAX_TEXT = 10_000
MAX_ID = 500
MAX_ITEMS = 256
"""Items of one upsert; of a request to delete there may be `MAX_IDS`."""

MAX_IDS = 10_000
MAX_FILTER = 3000
"""Letters of a filter: Python refuses to show numbers of more than 4300 digits, also in the message of an error."""

MAX_DEPTH = 16
"""Levels of a filter and of metadata: LanceDB takes minutes for a filter of 60 levels."""

MAX_PIXELS = 16_000_000
"""Fewer than a file may have: a batch of pictures is in memory at once."""

MAX_PICTURE_BYTES = 64 * 2**20
"""Larger files are not sent."""


@dataclass(frozen=True)
class ServerSettings:
    """How the server is reached and what it endures.

    Attributes:
        pictures: folder for uploaded pictures; created when the first one comes.
        host: address to listen on.
        port: 0 takes a free one.
        timeout: seconds until a request is given up.
        max_waiting: requests that are in progress at most, and that wait for the network at most.
        max_batch: requests that are answered together at most.
        max_bytes: size of a request.
        token: what clients must send; None: anybody is served.
    """

    pictures: Path
    host: str = "127.0.0.1"
    port: int = 8000
    timeout: float = 30.0
    max_waiting: int = 128
    max_batch: int = 16
    max_bytes: int = 16 * 2**20
    token: str | None = None

    def __post_init__(self) -> None:
        check_range(self, 0, 65535, "port")
        check_range(self, 0.01, 86_400, "timeout")
        check_range(self, 1, inf, "max_waiting", "max_batch", "max_bytes")
        if self.token == "":
            raise UserError("the token is empty, which would let nobody in: give it a value, or unset it")
