import json
import multiprocessing
import shutil
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_retrieval.store import Eq, Item, LanceStore, StoreSettings, lance_store

DIM = 4
SETTINGS = StoreSettings(DIM, "encoder-1", {"year": "int"})
WRITER = """
import torch
from mnemic_retrieval.store import Item, LanceStore
store, batch = LanceStore.open(folder), 0
def items(batch):
    return [Item(f"{batch} {number}", torch.ones(4), metadata={"year": batch}) for number in range(7)]
while True:
    store.upsert(items(batch))
    if batch % 3 == 2:
        store.upsert(items(batch - 1))
    if batch % 5 == 4:
        store.delete([item.id for item in items(batch - 1)])
    report.send(batch)
    if batch % 4 == 3:
        store.optimize()
    batch += 1
"""
"""Adds batches of 7 items, replaces some, removes some, merges files, and reports each batch."""


def make(folder: Path) -> LanceStore:
    store = LanceStore.create(folder, SETTINGS)
    store.upsert([Item(f"{number}", torch.randn(DIM), metadata={"year": number}) for number in range(20)])
    return store


def test_a_memory_is_there_for_the_next_process(tmp_path: Path) -> None:
    make(tmp_path / "memory").close()
    with LanceStore.open(tmp_path / "memory", encoder="encoder-1") as store:
        assert store.settings == SETTINGS
        assert store.count() == 20
        assert store.get(["7"])[0].metadata == {"year": 7}


def test_a_memory_of_another_encoder_is_refused_with_both_names(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match="made by the encoder encoder-1, but is to be searched by encoder-2"):
        LanceStore.open(tmp_path, encoder="encoder-2")


def test_a_reader_sees_what_was_committed_when_it_looks(tmp_path: Path) -> None:
    writer, reader = make(tmp_path), LanceStore.open(tmp_path)
    writer.upsert([Item("fresh", torch.full((DIM,), 100.0))])
    writer.delete(["3"])
    assert (reader.count(), writer.count()) == (20, 20)
    reader.refresh()
    assert reader.get(["3"]) == [None]
    assert reader.search(torch.ones(1, DIM), 1)[0][0].item.id == "fresh"


def test_thousands_of_items_are_changed_at_once(tmp_path: Path) -> None:
    store, reader = LanceStore.create(tmp_path, SETTINGS), LanceStore.open(tmp_path)
    names = [f"it's {number}" for number in range(2500)]
    for _ in range(2):
        store.upsert([Item(name, torch.ones(DIM)) for name in names])
    assert [item.version for item in store.get(names)] == [2] * 2500
    version = store._table.version
    assert store.delete([*names[:2400], "unknown"]) == 2400
    assert store._table.version == version + 1  # one commit
    reader.refresh()
    assert reader.count() == 100


def test_an_index_finds_what_a_scan_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "INDEXED_FROM", 1000)
    store = LanceStore.create(tmp_path, SETTINGS)
    vectors = torch.nn.functional.normalize(torch.randn(2000, DIM), dim=1)
    store.upsert([Item(f"{number}", vector, metadata={"year": number % 50}) for number, vector in enumerate(vectors)])
    store.optimize()
    queries = torch.randn(5, DIM)
    few = [[hit.item.id for hit in hits] for hits in store.search(queries, 50, Eq("year", 3))]
    assert few == [[hit.item.id for hit in hits] for hits in store.search(queries, 50, Eq("year", 3), exact=True)]
    monkeypatch.setattr(lance_store, "EXACT_UP_TO", 0)
    for where in (None, Eq("year", 3)):
        found, expected = (store.search(queries, 10, where, exact=exact) for exact in (False, True))
        agree = [
            len({hit.item.id for hit in one} & {hit.item.id for hit in other})
            for one, other in zip(found, expected, strict=True)
        ]
        assert sum(agree) >= 45
        assert all(len(hits) == 10 for hits in found)
    store.upsert([Item("fresh", torch.full((DIM,), 9.0))])  # not in the index yet
    assert store.search(torch.ones(1, DIM), 1)[0][0].item.id == "fresh"


def test_with_an_index_items_change_as_in_a_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_store, "INDEXED_FROM", 300)
    random, store, expected = Random(0), LanceStore.create(tmp_path, SETTINGS), dict[str, tuple[int, float]]()
    store.upsert([Item(f"{number}", torch.zeros(DIM)) for number in range(400)])
    expected |= {f"{number}": (1, 0.0) for number in range(400)}
    store.optimize()
    assert [index.columns for index in store._table.list_indices()] == [["vector"]]
    for step in range(12):
        names = [f"{number}" for number in random.sample(range(500), 30)]
        if step % 3 == 2:
            assert store.delete(names) == sum(expected.pop(name, None) is not None for name in names)
        else:
            store.upsert([Item(name, torch.full((DIM,), float(step))) for name in names])
            expected |= {name: (expected.get(name, (0, 0.0))[0] + 1, float(step)) for name in names}
        if step % 5 == 4:
            store.optimize()
        found = {
            item.id: (item.version, float(item.vector[0])) for item in store.get([f"{n}" for n in range(500)]) if item
        }
        assert found == expected
        assert store.count() == len(expected)


def test_a_folder_with_a_memory_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=r"a memory at .* already"):
        LanceStore.create(tmp_path, SETTINGS)
    assert LanceStore.open(tmp_path).count() == 20


def test_a_folder_that_was_left_half_made_can_be_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "memory.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no memory.json"):
        LanceStore.open(tmp_path)
    assert LanceStore.create(tmp_path, SETTINGS).count() == 0


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"engine": "lance", "format_version": 2}'])
def test_a_damaged_manifest_is_refused(content: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "memory.json").write_text(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        LanceStore.open(tmp_path)


def test_a_table_that_is_gone_or_of_other_columns_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    manifest = json.loads((tmp_path / "memory.json").read_text())
    manifest["settings"]["dim"] = 5
    (tmp_path / "memory.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="other columns"):
        LanceStore.open(tmp_path)
    (tmp_path / "items.lance").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="damaged"):
        LanceStore.open(tmp_path)


def version_after(batch: int, reported: int) -> int:
    """Return the version of all items of a batch when a later one was reported, 0 for none."""
    if batch > reported or (batch % 5 == 3 and batch < reported):
        return 0
    return 2 if batch % 3 == 1 and batch < reported else 1


def check_after_kill(folder: Path, reported: int) -> int:
    """Return the number of committed items: all are there, and of the batch that was being written all or none."""
    store, committed = LanceStore.open(folder), 0
    for batch in range(reported + 2):
        items = [item for item in store.get([f"{batch} {number}" for number in range(7)]) if item]
        assert len(items) == store.count(Eq("year", batch))
        versions = {item.version for item in items} or {0}
        assert len(items) in {0, 7}
        assert versions <= {version_after(batch, each) for each in range(reported, reported + 2)} | (
            {2} if batch == reported and batch % 15 == 13 else set()  # replaced, but not removed yet
        )
        committed += len(items)
    assert store.count() == committed
    return committed


def kill_while_writing(folder: Path, seconds: float) -> int:
    """Return the last batch that a writer reported before it was killed."""
    # Writers are forked from a process that has only imported what they need, which takes seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lancedb", "mnemic_retrieval.store.lance_store"])
    reports, report = context.Pipe(duplex=False)
    process = context.Process(target=exec, args=(WRITER, {"folder": str(folder), "report": report}))
    process.start()
    report.close()
    last = reports.recv()
    time.sleep(seconds)
    process.kill()
    with suppress(EOFError):
        while True:
            last = reports.recv()
    process.join()
    return int(last)


def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    LanceStore.create(tmp_path, SETTINGS)
    assert check_after_kill(tmp_path, kill_while_writing(tmp_path, 0.3)) > 0


@pytest.mark.slow
def test_200_killed_writers_lose_nothing(tmp_path: Path) -> None:
    random, committed = Random(0), 0
    for number in range(200):
        folder = tmp_path / str(number)
        LanceStore.create(folder, SETTINGS)
        committed += check_after_kill(folder, kill_while_writing(folder, random.uniform(0, 0.6)))
        shutil.rmtree(folder)
    assert committed > 7 * 200
