import json
from pathlib import Path
from typing import Any

import pytest
from command_lines import mistake
from PIL import Image

from mnemic_ask.cli import main
from mnemic_retrieval.murag import Assistant, MuragCheckpoint
from mnemic_retrieval.store import LanceStore


def call(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, dict[str, Any]]:
    """Run the program; return what it prints, and its last line as JSON."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    shown = capsys.readouterr()
    assert end.value.code == code, shown.err
    return shown.out + shown.err, json.loads(shown.out.splitlines()[-1])


def ids(memory: Path) -> set[str]:
    network = LanceStore.open(memory)
    return {hit.item.id for hit in network.search(_any_vector(network.settings.dim), k=50)[0]}


def _any_vector(dim: int) -> Any:
    import torch

    return torch.ones(1, dim)


def test_a_folder_is_indexed_and_only_what_changed_is_indexed_again(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = tmp_path / "memory"
    common = ["index", str(photos), "--memory", str(memory), "--checkpoint", str(checkpoint)]
    _, found = call(common, capsys)
    assert (found["added"], found["items"]) == (4, 4)
    assert ids(memory) == {"red.png", "deep/blue.jpg", "notes.md#1", "notes.md#2"}
    item = LanceStore.open(memory).get(["red.png"])[0]
    assert item is not None
    assert (item.modality, item.text, item.image) == ("image_text", "A red square.", str(photos / "red.png"))
    (photos / "red.txt").write_text("A crimson square.")
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    shown, found = call(common, capsys)
    assert (found["added"], found["unchanged"], found["duplicates"]) == (2, 3, 1)
    assert "the same content: red.png and copy.png" in shown
    item = LanceStore.open(memory).get(["red.png"])[0]
    assert item is not None
    assert (item.text, item.version) == ("A crimson square.", 2)


def test_what_cannot_be_read_is_left_out_and_listed(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    common = ["index", str(photos), "--memory", str(tmp_path / "memory"), "--checkpoint", str(checkpoint)]
    shown, found = call(common, capsys, code=2)
    assert (found["added"], found["unreadable"]) == (4, 1)
    assert "left out: broken.png: " in shown


def test_a_file_of_items_is_indexed_with_fields(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [
        {"id": "a", "text": "Frogs are amphibians.", "meta": {"year": 2001, "tags": ["animals"]}},
        {"id": "b", "text": "Rome is in Italy.", "meta": {"year": 1990}},
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    memory = ["--memory", str(tmp_path / "memory"), "--checkpoint", str(checkpoint)]
    call(["index", str(tmp_path / "items.jsonl"), *memory, "--fields", "year:int", "tags:tags"], capsys)
    _, answer = call(["run", "What are frogs?", *memory, "--where", "year >= 2000"], capsys)
    assert [source["id"] for source in answer["sources"]] == ["a"]
    assert answer["sources"][0]["metadata"]["tags"] == ["animals"]


def test_an_answer_has_its_sources_and_a_page(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = ["--memory", str(tmp_path / "memory"), "--checkpoint", str(checkpoint)]
    call(["index", str(photos), *memory], capsys)
    out = tmp_path / "out"
    picture = str(photos / "red.png")
    shown, answer = call(["run", "What is <this>?", *memory, "--image", picture, "--out", str(out)], capsys)
    assert {source["id"] for source in answer["sources"]} == {"red.png", "deep/blue.jpg", "notes.md#1", "notes.md#2"}
    assert sum(source["share"] for source in answer["sources"]) == pytest.approx(1, abs=1e-3)
    assert {*answer["seconds"]} == {"encode", "search", "fetch", "read"}
    assert "red.png" in shown
    page = (out / "answer.html").read_text()
    assert "What is &lt;this&gt;?" in page
    assert page.count("data:image/jpeg") == 3  # that of the question and two of the memory
    call(["run", "What is this?", *memory, "--out", str(out)], capsys)  # its own page may be replaced


def test_a_data_set_is_evaluated_with_memory_and_without(
    stamps: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores"
    _, scores = call(["evaluate", "--data", str(stamps), "--checkpoint", str(checkpoint), "--out", str(out)], capsys)
    # Three captions and a picture with its caption more than the facts: the asked pictures are left out.
    assert (scores["questions"], scores["items"]) == (6, 4 + 1 + 4)
    for name in ("em", "f1", "em_no_memory", "em_text_only", "em_oracle", "recall_at_1", "mrr", "citation_f1"):
        assert 0 <= scores[name] <= 1
    assert scores["recall_at_10"] == 1  # of three pictures
    assert {"entity_em", "hypernym_em", "entity_em_no_memory", "recall_at_10_all_pictures"} <= scores.keys()
    assert scores["latency_ms"]["p95"].keys() == {"encode", "search", "fetch", "read", "total"}
    assert json.loads((out / "scores.json").read_text())["em"] == scores["em"]


def test_the_demo_writes_a_page_of_three_answers(stamps: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with pytest.raises(SystemExit) as end:
        main(["demo", "--data", str(stamps), "--checkpoint", str(checkpoint), "--out", str(out)])
    assert end.value.code == 0
    page = (out / "page.html").read_text()
    assert page.count("<section>") == 3
    assert "What kind of thing is this?" in page
    assert str(stamps / "images" / "crow.jpg") not in {
        item.image for item in LanceStore.open(out / "memory").get(["picture:crow", "picture:frog"]) if item is not None
    }


def test_mistakes_end_in_one_line(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, weights = ["--memory", str(tmp_path / "memory")], ["--checkpoint", str(checkpoint)]
    call(["index", str(photos), *memory, *weights], capsys)
    (tmp_path / "empty").mkdir()
    (tmp_path / "twice.jsonl").write_text('{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}\n')
    (tmp_path / "note.txt").write_text("no picture")
    cases = {
        "no memory at": ["run", "What?", "--memory", str(tmp_path / "absent"), *weights],
        "the question is empty": ["run", " ", *memory, *weights],
        "is no expression": ["run", "What?", *memory, *weights, "--where", "year ="],
        "no field 'year' to filter by": ["run", "What?", *memory, *weights, "--where", "year > 1"],
        "no picture of a known format": ["run", "What?", *memory, *weights, "--image", str(tmp_path / "note.txt")],
        "nothing at": ["index", str(tmp_path / "absent"), *memory, *weights],
        "has neither pictures": ["index", str(tmp_path / "empty"), *memory, *weights],
        "is there already": ["index", str(tmp_path / "twice.jsonl"), *memory, *weights],
        "--fields takes NAME:TYPE": ["index", str(photos), *memory, *weights, "--fields", "year"],
        "has the fields {}": ["index", str(photos), *memory, *weights, "--fields", "year:int"],
        "holds other files": ["index", str(photos), "--memory", str(photos), *weights],
        "no checkpoint at": ["run", "What?", *memory, "--checkpoint", str(tmp_path / "absent.safetensors")],
        "is no data set": ["evaluate", "--data", str(tmp_path / "empty"), *weights],
        "Connection refused": ["run", "What?", "--memory", "postgresql://127.0.0.1:1/none", *weights],
    }
    for message, arguments in cases.items():
        assert message in mistake(main, arguments, capsys), message
    assert len(ids(tmp_path / "memory")) == 4


def test_a_memory_of_another_network_is_refused(
    photos: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(["index", str(photos), "--memory", str(tmp_path / "memory"), "--checkpoint", str(checkpoint)], capsys)
    network = MuragCheckpoint.load(checkpoint)
    network.model.encoder.pool.data += 1
    network.save(tmp_path / "other.safetensors")
    other = ["run", "What?", "--memory", str(tmp_path / "memory"), "--checkpoint", str(tmp_path / "other.safetensors")]
    line = mistake(main, other, capsys)
    assert Assistant.settings_of(network).encoder in line
    assert "was made by the encoder" in line


def test_huge_pictures_are_refused_before_they_are_decoded(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("1", (9000, 9000)).save(tmp_path / "photos" / "huge.png")
    arguments = [
        "index",
        str(tmp_path / "photos"),
        "--memory",
        str(tmp_path / "memory"),
        "--checkpoint",
        str(checkpoint),
    ]
    assert "9000 x 9000 pixels, more than" in mistake(main, arguments, capsys)
