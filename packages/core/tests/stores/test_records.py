import json
from pathlib import Path

import pytest
import torch

from mnemic_core.stores import Record, RecordStore

KEYS = torch.eye(3)
PAGE = {"page": 1}


@pytest.fixture
def store() -> RecordStore:
    store = RecordStore(dim=3)
    store.put(["sky", "sea", "sun"], KEYS, [{"is": "blue"}, {"is": "green"}, {"is": "red"}], source=PAGE)
    return store


def test_putting_a_name_again_adds_a_version_and_moves_its_key(store: RecordStore) -> None:
    (record,) = store.put(["sky"], KEYS[2:], [{"is": "grey"}], source={"page": 9})
    assert record == store.get("sky") == Record("sky", 2, {"is": "grey"}, {"page": 9})
    assert store.get("sky", version=1) == Record("sky", 1, {"is": "blue"}, PAGE)
    assert [match.record.name for match in store.search(KEYS[2:], k=2)[0]] == ["sun", "sky"]
    assert len(store) == 3


def test_a_removed_record_is_not_found_and_its_history_has_the_source(store: RecordStore) -> None:
    last = store.remove("sky", source={"by": "editor"})
    assert last == store.history("sky")[-1] == Record("sky", 2, None, {"by": "editor"})
    assert "sky" not in store
    assert list(store) == ["sea", "sun"]
    assert len(store.search(KEYS, k=3)[0]) == 2
    assert store.put(["sky"], KEYS[:1], [{"is": "back"}], source=PAGE)[0].version == 3


def test_a_search_can_be_limited_to_some_records(store: RecordStore) -> None:
    matches = store.search(KEYS[:1], k=3, where=lambda record: record.name.startswith("se"))
    assert [(score, record.name) for score, record in matches[0]] == [(0.0, "sea")]
    assert RecordStore(dim=3).search(KEYS, k=1, where=bool) == [[], [], []]


@pytest.mark.parametrize("mapped", [False, True])
def test_a_loaded_store_equals_the_saved_one(store: RecordStore, tmp_path: Path, mapped: bool) -> None:
    store.remove("sea", source=PAGE)
    store.put(["sky"], KEYS[:1], [{"is": "grey"}], source={"page": 2})
    store.save(tmp_path)
    loaded = RecordStore.load(tmp_path, mapped=mapped)
    for each in (store, loaded):
        each.put(["sea"], KEYS[1:2], [{"is": "deep"}], source=PAGE)
    assert [loaded.history(name) for name in ("sky", "sea", "sun")] == [
        store.history(name) for name in ("sky", "sea", "sun")
    ]
    assert loaded.search(KEYS, k=3) == store.search(KEYS, k=3)
    assert (loaded.dim, sorted(loaded)) == (3, sorted(store))


@pytest.mark.parametrize("change", [{"identities": {}}, {"records": []}, {"index": {}}, {"records": [{"name": "sky"}]}])
def test_inconsistent_files_are_refused(store: RecordStore, tmp_path: Path, change: dict[str, object]) -> None:
    store.save(tmp_path)
    manifest = json.loads((tmp_path / "index.json").read_text())
    manifest["content"] |= change
    (tmp_path / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="inconsistent"):
        RecordStore.load(tmp_path)


def test_impossible_requests_are_refused_and_change_nothing(store: RecordStore) -> None:
    with pytest.raises(ValueError, match="got 1, 1 and 2"):
        store.put(["sky"], KEYS[:1], [{}, {}], source=PAGE)
    with pytest.raises(ValueError, match="once at a time"):
        store.put(["sky", "sky"], KEYS[:2], [{}, {}], source=PAGE)
    with pytest.raises(TypeError, match="json"):
        store.put(["sky"], KEYS[:1], [{"set": {1}}], source=PAGE)
    with pytest.raises(ValueError, match="keys must be"):
        store.put(["sky"], KEYS[:1, :2], [{}], source=PAGE)
    with pytest.raises(KeyError, match="no record is named 'moon'"):
        store.get("moon")
    with pytest.raises(KeyError, match="versions 1 to 1, not 2"):
        store.get("sky", version=2)
    with pytest.raises(KeyError, match="moon"):
        store.remove("moon", source=PAGE)
    assert store.history("moon") == ()
    assert store.get("sky").version == 1
