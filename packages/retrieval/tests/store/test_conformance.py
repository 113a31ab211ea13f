"""What all stores do alike, with `ExactStore` as the reference."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.testing import unchecked_annotations
from mnemic_retrieval.store import (
    And,
    Between,
    Eq,
    ExactStore,
    Filter,
    HasTag,
    In,
    IsNull,
    Item,
    LanceStore,
    MemoryStore,
    Not,
    Or,
    PostgresStore,
    StoreSettings,
    matches,
)

DIM, NUMBER = 6, 300
SETTINGS = StoreSettings(
    DIM, "encoder-1", {"year": "int", "weight": "float", "source": "str", "tags": "tags", "is_checked": "bool"}
)
FILTERS: dict[str, Filter] = {
    "all": And(()),
    "none": Or(()),
    "nothing of a list": In("year", ()),
    "half": Eq("is_checked", True),
    "a percent": Eq("year", 1907),
    "one": Eq("id", "item 17"),
    "a modality": Eq("modality", "image"),
    "missing": IsNull("year"),
    "not missing": Not(IsNull("year")),
    "not equal, missing ones too": Not(Eq("year", 1907)),
    "a range": Between("weight", 10.0, 20.5),
    "from": Between("year", low=1950),
    "to": Between("source", high="b"),
    "no bounds": Between("year"),
    "in": In("source", ("it's", 'a "quoted" \\ one')),
    "a percent sign": Eq("source", "100 % ärger"),
    "tag": HasTag("tags", "red"),
    "tag with quotes": HasTag("tags", "o'clock"),
    "nested": And((Or((Eq("source", "it's"), HasTag("tags", "red"))), Not(Between("year", 1900, 1950)))),
    "never unknown": Not(And((Eq("year", 1907), Eq("weight", -1.0)))),
}


def make_items(number: int = NUMBER, seed: int = 0) -> list[Item]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randint(-2, 3, (number, DIM), generator=generator).float()  # many equal scores
    items = []
    for place, vector in enumerate(vectors):
        metadata = {
            "year": None if place % 7 == 0 else 1900 + place % 100,
            "weight": place / 4,
            "source": ("web", "it's", 'a "quoted" \\ one', "100 % ärger")[place % 4],
            "tags": [["red"], ["red", "o'clock"], []][place % 3],
            "is_checked": place % 2 == 0,
            "anything": {"nested": [place, None]},
        }
        if place % 11 == 0:
            del metadata["weight"], metadata["tags"]
        modality = ("text", "image", "image_text")[place % 3]
        image = None if modality == "text" else f"pictures/{place}.png"
        items.append(Item(f"item {place}", vector, modality, f"text of {place}", image, None, metadata))
    return items


Make = Callable[[], MemoryStore]


ENGINES = ("exact", "lance", "postgres")


def make_store(engine: str, folder: Path, database: Callable[[], str]) -> MemoryStore:
    if engine == "exact":
        return ExactStore(SETTINGS)
    if engine == "lance":
        return LanceStore.create(folder / "memory", SETTINGS)
    return PostgresStore.create(database(), SETTINGS)


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda: make_store(request.param, tmp_path, lambda: request.getfixturevalue("database"))


@pytest.fixture
def store(make: Make) -> MemoryStore:
    made = make()
    made.upsert(make_items())
    return made


@pytest.fixture(scope="module", params=ENGINES)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """A filled memory that tests only read."""
    folder = tmp_path_factory.mktemp("kept")
    made = make_store(request.param, folder, lambda: request.getfixturevalue("kept_database"))
    made.upsert(make_items())
    return made


def by_hand(items: list[Item], query: Tensor, k: int, where: Filter | None) -> list[tuple[float, str]]:
    chosen = [item for item in items if where is None or matches(where, item)]
    scored = [(float((item.vector * query).sum()), item.id) for item in chosen]
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:k]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("exact", [False, True])
def test_searches_and_counts_with_filters(kept: MemoryStore, name: str, exact: bool) -> None:
    where, queries = FILTERS[name], torch.randint(-2, 3, (2, DIM)).float()
    items = make_items()
    for k in (1, 10, NUMBER + 5):
        for query, hits in zip(queries, kept.search(queries, k, where, exact=exact), strict=True):
            assert [(hit.score, hit.item.id) for hit in hits] == by_hand(items, query, k, where)
    assert kept.count(where) == sum(matches(where, item) for item in items)


def test_items_come_back_as_they_were(kept: MemoryStore) -> None:
    given = {item.id: item for item in make_items()}
    ids = ["item 11", "unknown", "item 0", "item 299", "item 0"]
    found = kept.get(ids)
    assert found[1] is None
    for name, item in zip(ids, found, strict=True):
        if item is not None:
            assert torch.equal(item.vector, given[name].vector)
            for field in ("id", "modality", "text", "image", "image_hash", "metadata", "version"):
                assert getattr(item, field) == getattr(given[name], field), field
    assert kept.get([]) == []


def test_changes_count_versions_and_replace_everything(store: MemoryStore) -> None:
    changed = Item("item 3", torch.full((DIM,), 9.0), "image", "new", "b.png", "abc", {"year": 7})
    store.upsert([Item("item 3", torch.zeros(DIM)), changed, Item("fresh", torch.full((DIM,), 8.0))])
    assert store.count() == NUMBER + 1
    (found,) = store.get(["item 3"])
    assert found is not None
    assert (found.version, found.text, found.metadata, found.image_hash) == (2, "new", {"year": 7}, "abc")
    hits = store.search(torch.ones(1, DIM), 2)[0]
    assert [hit.item.id for hit in hits] == ["item 3", "fresh"]
    assert store.count(Eq("year", 7)) == 1


def test_removed_items_are_gone_and_may_come_back(store: MemoryStore) -> None:
    assert store.delete(["item 3", "unknown", "item 3", "item 4"]) == 2
    assert store.delete([]) == store.delete(["item 3"]) == 0
    assert store.count() == NUMBER - 2
    assert store.get(["item 3"]) == [None]
    everything = {hit.item.id for hit in store.search(torch.ones(1, DIM), NUMBER)[0]}
    assert not {"item 3", "item 4"} & everything
    assert len(everything) == NUMBER - 2
    store.upsert([Item("item 3", torch.zeros(DIM))])
    assert store.get(["item 3"])[0].version == 1


def test_a_filter_sees_every_change(make: Make) -> None:
    store, where, query = make(), Eq("year", 1), torch.ones(1, DIM)
    for names, year in (("ab", 1), ("c", 2), ("cd", 1), ("a", 3)):
        store.upsert([Item(name, torch.ones(DIM), metadata={"year": year}) for name in names])
        expected = sorted(item.id for item in store.get([*"abcd"]) if item and item.metadata["year"] == 1)
        assert [hit.item.id for hit in store.search(query, 5, where)[0]] == expected
    store.delete(["b"])
    assert [hit.item.id for hit in store.search(query, 5, where)[0]] == ["c", "d"]


def test_many_equal_items_are_ordered_by_id(make: Make) -> None:
    store = make()
    store.upsert([Item(f"{number:03d}", torch.ones(DIM)) for number in reversed(range(100))])
    assert [hit.item.id for hit in store.search(torch.ones(1, DIM), 5)[0]] == [f"{number:03d}" for number in range(5)]


def test_an_empty_memory_answers(make: Make) -> None:
    store = make()
    assert store.search(torch.ones(2, DIM), 3) == [[], []]
    assert store.search(torch.ones(0, DIM), 3) == []
    assert store.count() == 0
    store.upsert([])
    store.optimize()


def test_what_the_caller_changes_later_does_not_change_the_memory(make: Make) -> None:
    store, vector, metadata = make(), torch.ones(DIM), {"year": 1}
    store.upsert([Item("a", vector, metadata=metadata)])
    vector.zero_()
    metadata["year"] = 2
    assert store.search(torch.ones(1, DIM), 1)[0][0].score == DIM
    assert store.count(Eq("year", 1)) == 1


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item("", torch.ones(DIM)), "needs an id"),
        (Item("a", torch.ones(DIM + 1)), r"finite \[6\], got \(7,\)"),
        (Item("a", torch.full((DIM,), torch.nan)), "finite"),
        (Item("a", torch.ones(DIM), metadata={"year": "1907"}), "year of 'a' must be of type int"),
        (Item("a", torch.ones(DIM), metadata={"year": True}), "year of 'a' must be of type int"),
        (Item("a", torch.ones(DIM), metadata={"year": 2**64}), "year of 'a'"),
        (Item("a", torch.ones(DIM), metadata={"tags": [1]}), "tags of 'a' must be of type tags"),
        (Item("a", torch.ones(DIM), metadata={"x": object()}), "metadata of 'a'"),
    ],
)
def test_wrong_items_are_refused_and_nothing_is_changed(store: MemoryStore, item: Item, message: str) -> None:
    with pytest.raises(UserError, match=message):
        store.upsert([Item("fresh", torch.ones(DIM)), item])
    assert store.count() == NUMBER
    assert store.get(["fresh"]) == [None]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (Eq("colour", 1), "no field 'colour' to filter by: the memory has"),
        (And((Not(Eq("anything", 1)),)), "no field 'anything'"),
        (Eq("year", "1907"), "type int, which '1907' is not"),
        (Eq("year", True), "type int, which True is not"),
        (Eq("year", 2**64), "year"),
        (Eq("weight", float("nan")), "weight"),
        (Eq("tags", "red"), "ask for a tag"),
        (HasTag("source", "red"), "ask for a tag"),
        (In("year", (1, "2")), "'2' is not"),
    ],
)
def test_wrong_filters_are_refused(kept: MemoryStore, where: Filter, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kept.search(torch.ones(1, DIM), 3, where)
    with pytest.raises(UserError, match=message):
        kept.count(where)


def test_an_unknown_modality_is_refused(store: MemoryStore) -> None:
    with unchecked_annotations():
        item = Item("a", torch.ones(DIM), "sound")
        with pytest.raises(UserError, match="modality of 'a' must be one of text, image, image_text, got 'sound'"):
            store.upsert([item])


def test_wrong_queries_are_refused(kept: MemoryStore) -> None:
    for queries in (torch.ones(1, DIM + 1), torch.ones(DIM), torch.full((1, DIM), torch.inf)):
        with unchecked_annotations(), pytest.raises(UserError, match="queries must be finite"):
            kept.search(queries, 1)
    with pytest.raises(UserError, match="k must be at least 1"):
        kept.search(torch.ones(1, DIM), 0)


def test_a_field_needs_a_plain_name_that_is_free() -> None:
    for name in ("id", "Year", "a b", "", "vector", "x" * 41):
        with pytest.raises(UserError, match="cannot be called"):
            StoreSettings(DIM, fields={name: "int"})
