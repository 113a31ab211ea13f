import json
from pathlib import Path
from typing import Any

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.data import Query, StampFolder

FROG, HAT = (
    {"lemma": "frog", "synset": "1", "hypernym": "amphibian"},
    {"lemma": "hat", "synset": "2", "hypernym": "cap"},
)
RECORDS: list[dict[str, Any]] = [
    {"id": "a", "split": "train", "text": {"en": "A frog."}, "entity": FROG},
    {"id": "b", "split": "train", "text": {"en": "A frog."}, "entity": FROG},
    {"id": "c", "split": "test", "text": {"en": "A green frog!"}, "entity": FROG},
    {"id": "d", "split": "test", "text": {"en": "A hat."}, "entity": HAT},
    {"id": "e", "split": "train", "text": {"en": "A heart."}},
]
NAMES = ("synset", "words", "lexname", "gloss", "hypernyms")
FACTS = [
    dict(zip(NAMES, values, strict=True))
    for values in (
        ("1", ["frog", "toad"], "animal", "tailless; leaps", ["amphibian"]),
        ("2", ["hat"], "artifact", "headdress", ["cap"]),
        ("3", ["rhea"], "animal", "a bird", ["ratite"]),
    )
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = [{"category": "things", "image": f"images/{each['id']}.jpg", **each} for each in RECORDS]
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in FACTS))
    return tmp_path


def by_id(queries: list[Query]) -> dict[str, Query]:
    return {query.id: query for query in queries}


def test_captions_pictures_and_facts_are_sources(folder: Path) -> None:
    sources = {source.id: source for source in StampFolder(folder).sources()}
    assert len(sources) == 2 * 5 + 3
    assert (sources["caption:c"].text, sources["caption:c"].image) == ("A green frog!", None)
    assert sources["picture:c"].image == str(folder / "images/c.jpg")
    assert sources["fact:1"].text == "frog, toad, a kind of amphibian: tailless"
    train = [source.id for source in StampFolder(folder, parts=("train",), has_views=True).sources()]
    assert "view:a" in train
    assert not {"caption:c", "picture:c", "view:c"} & {*train}


def test_pictures_are_asked_what_they_show(folder: Path) -> None:
    queries = by_id([*StampFolder(folder).queries("test")])
    what, kind, which = queries["what:c"], queries["kind:c"], queries["which:c"]
    assert (what.answers, what.image) == (("frog",), str(folder / "images/c.jpg"))
    assert {*what.relevant} == {"caption:a", "caption:b", "caption:c", "picture:a", "picture:b"}
    assert kind.answers == ("amphibian",)
    assert [*kind.relevant][:2] == ["caption:c", "fact:1"]  # what is enough comes first
    assert (kind.relevant["caption:c"], kind.relevant["fact:1"]) == (1, 2)
    assert (which.question, which.answers, {*which.relevant}) == ("Which picture shows a green frog?", (), {"view:c"})


def test_training_knows_nothing_of_other_parts(folder: Path) -> None:
    queries = by_id([*StampFolder(folder).queries("train")])
    assert {*queries["what:a"].relevant} == {"caption:a", "caption:b", "picture:b"}
    assert {*queries["which:a"].relevant} == {"view:a", "view:b"}
    assert "what:e" not in queries  # it shows no known entity
    facts = {name for name in queries if name.startswith(("word:", "kind:"))} - {"kind:a", "kind:b"}
    assert facts == {"word:3", "kind:3"}  # not of a frog or a hat, which test pictures show


def test_facts_may_be_elsewhere_or_absent(folder: Path, tmp_path: Path) -> None:
    moved = (folder / "facts.jsonl").rename(tmp_path / "other.jsonl")
    assert sum(source.id.startswith("fact:") for source in StampFolder(folder).sources()) == 0
    assert sum(source.id.startswith("fact:") for source in StampFolder(folder, moved).sources()) == 3
    with pytest.raises(FileNotFoundError):
        list(StampFolder(folder, folder / "absent.jsonl").sources())


def test_a_damaged_line_is_named(folder: Path) -> None:
    (folder / "index.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(UserError, match=r"index.jsonl, line 1 lacks something"):
        list(StampFolder(folder).sources())
