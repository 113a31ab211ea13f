"""The server of a memory under load: many clients on this machine, each with its next request after an answer.

The server is a process of its own; the clients share one, on the same cores. Clients search, ask, put items in and take
them out. Memory of the server is compared between the tenth second, when everything has been used once, and the end.

    python benchmarks/ask_server.py --memory runs/memory --checkpoint runs/ask.safetensors --write
"""

import asyncio
import json
import multiprocessing
import os
import random
import socket
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from common.report import resident_bytes, run

from mnemic_ask.opening import open_assistant, open_or_create
from mnemic_ask.service.server import run_server
from mnemic_ask.service.settings import ServerSettings
from mnemic_core.errors import check_at_least
from mnemic_retrieval.murag import Murag, MuragCheckpoint, MuragSettings, murag_tiny
from mnemic_retrieval.tokenizers import ByteTokenizer

SHARES = {"search": 60, "ask": 30, "upsert": 7, "delete": 3}
WORDS = ["a", "red", "green", "blue", "car", "sea", "tree", "house", "bird", "on", "under", "large", "small"]
IDS = 500
SETTLED = 10
"""Seconds until the server has its size."""

START_SECONDS = 300


@dataclass
class Tally:
    """What clients saw.

    Attributes:
        seconds: of each request, by kind.
        statuses: number of answers by status; 0 for a lost connection.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)


def make_network(folder: Path) -> Path:
    """Return the file of a small network with random weights."""
    torch.manual_seed(0)
    path = folder / "network.safetensors"
    MuragCheckpoint(Murag(murag_tiny()), MuragSettings(max_answer_tokens=16), {}, ByteTokenizer()).save(path)
    return path


def serve(memory: str, checkpoint: Path | None, pictures: Path, port: int, threads: int) -> None:
    """Run the server, as a process."""
    torch.set_num_threads(threads)
    run_server(open_assistant(memory, checkpoint, "cpu"), ServerSettings(pictures, port=port))


def make_request(choose: random.Random) -> tuple[str, bytes]:
    """Return the kind of a request and its bytes."""
    (kind,) = choose.choices(list(SHARES), list(SHARES.values()))
    text, name = " ".join(choose.choices(WORDS, k=6)), f"benchmark {choose.randrange(IDS)}"
    content: dict[str, Any] = {
        "search": {"question": text, "k": 10},
        "ask": {"question": text},
        "upsert": {"items": [{"id": name, "text": text}]},
        "delete": {"ids": [name]},
    }[kind]
    body = json.dumps(content).encode()
    head = f"POST /{kind} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return kind, head.encode() + body


async def read_status(reader: asyncio.StreamReader) -> int:
    """Return the status of an answer after its last byte."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split()[1])


async def be_client(port: int, number: int, end: float, tally: Tally) -> None:
    """Send requests until the end, each after the answer to the one before."""
    choose = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        kind, request = make_request(choose)
        begun = time.perf_counter()
        try:
            writer.write(request)
            status = await read_status(reader)
        except (OSError, asyncio.IncompleteReadError):
            tally.statuses[0] += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        tally.statuses[status] += 1
        tally.seconds[kind].append(time.perf_counter() - begun)
    writer.close()


async def load(port: int, process: int, clients: int, seconds: float) -> tuple[Tally, list[int]]:
    """Return what the clients saw, and the memory of the server once it is settled and at the end."""
    tally, begun = Tally(), time.perf_counter()
    running = [asyncio.create_task(be_client(port, each, begun + seconds, tally)) for each in range(clients)]
    await asyncio.sleep(min(SETTLED, seconds / 2))
    settled = resident_bytes(process)
    await asyncio.gather(*running)
    return tally, [settled, resident_bytes(process)]


def wait_until_ready(port: int) -> None:
    """Return when the server accepts connections."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def latencies(seconds: list[float]) -> dict[str, Any]:
    """Return number and percentiles of requests."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return {"requests": len(seconds), "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


def ask_server(
    memory: str | None = None,
    checkpoint: Path | None = None,
    clients: int = 50,
    seconds: float = 60.0,
    threads: int = os.cpu_count() or 1,
) -> dict[str, Any]:
    """Load a server.

    Args:
        memory: folder or URL; items called "benchmark ..." are put in and taken out. Default: a new one on disk.
        checkpoint: weights; default: a small network with random ones.
        clients: that send requests at once.
        seconds: how long.
        threads: CPU threads of the network.
    """
    check_at_least(1, clients=clients, seconds=seconds, threads=threads)
    port = free_port()
    with TemporaryDirectory() as folder:
        place = memory or str(Path(folder, "memory"))
        if memory is None:
            checkpoint = checkpoint or make_network(Path(folder))
            open_or_create(place, checkpoint, "cpu").store.close()
        arguments = (place, checkpoint, Path(folder, "pictures"), port, threads)
        server = multiprocessing.get_context("spawn").Process(target=serve, args=arguments)
        server.start()
        wait_until_ready(port)
        tally, (settled, end) = asyncio.run(load(port, server.pid or 0, clients, seconds))
        server.terminate()
        server.join()
    everything = [each for kind in tally.seconds.values() for each in kind]
    return {
        "config": {
            "clients": clients,
            "seconds": seconds,
            "threads": threads,
            "shares": SHARES,
            "memory": "a new one" if memory is None else "given",
        },
        "requests_per_s": round(len(everything) / seconds, 1),
        "all": latencies(everything),
        **{kind: latencies(found) for kind, found in sorted(tally.seconds.items())},
        "errors": {str(status): number for status, number in tally.statuses.items() if status != 200},
        "server": {
            "exit_code": server.exitcode,
            "resident_mb_settled": settled >> 20,
            "resident_mb_end": end >> 20,
        },
    }


if __name__ == "__main__":
    run(ask_server, packages=("fastapi", "uvicorn"))
