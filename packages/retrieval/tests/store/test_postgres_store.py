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
        shared = ["0", "1"] if number % 2 else ["1", "0"]  # in both orders, by which writers could wait for each other
        with PostgresStore.open(database) as store:
            for place in range(20):
                store.upsert([Item(name, torch.ones(DIM)) for name in (*shared, f"{number} {place}")])

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with PostgresStore.open(database) as store:
        assert store.count() == 82
        assert [item.version for item in store.get(["0", "1"])] == [81, 80]


def test_threads_may_share_a_connection(database: str) -> None:
    store, counts = make(database), []

    def work(number: int) -> None:
        for place in range(10):
            store.upsert([Item(f"{number} {place}", torch.ones(DIM))])
            counts.append(store.count())

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(counts) == store.count() == 60


def test_a_server_that_cannot_be_reached_is_named_without_its_password() -> None:
    with pytest.raises(UserError, match=r"database 'd' at 127\.0\.0\.1: ") as refused:
        PostgresStore.open("postgresql://someone:secret@127.0.0.1:1/d")
    assert "secret" not in str(refused.value)
    with pytest.raises(UserError, match="invalid integer value"):
        PostgresStore.open("postgresql://:::")
