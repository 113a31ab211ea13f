import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.data import MultimodalQa, Query, Source

TEXT = {"id": "t1", "title": "Ada", "url": "u", "text": "Ada sang."}
IMAGE = {"id": "i1", "title": "A horse", "url": "v", "path": "i1.jpg"}


def question(number: int, kind: str = "ImageQ", modality: str = "image") -> dict[str, Any]:
    return {
        "qid": f"q{number}",
        "question": "What is it?",
        "answers": [{"answer": 3, "type": "number"}, {"answer": "horse", "type": "string"}],
        "metadata": {"type": kind, "modalities": [modality], "image_doc_ids": ["i1"], "text_doc_ids": ["t1"]},
        "supporting_context": [{"doc_id": "i1", "doc_part": "image"}],
    }


def write(folder: Path, name: str, *lines: Any) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / f"MMQA_{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def data(tmp_path: Path) -> MultimodalQa:
    write(tmp_path, "texts", TEXT)
    write(tmp_path, "images", IMAGE)
    write(tmp_path, "dev", question(0), question(1, "TableQ", "table"), question(2, "Compose(TableQ,TextQ)", "text"))
    without = {name: value for name, value in question(3).items() if name not in {"answers", "supporting_context"}}
    write(tmp_path, "test", without)
    return MultimodalQa(tmp_path)


def test_questions_without_tables(data: MultimodalQa) -> None:
    expected = Query(
        "q0", "What is it?", ("3", "horse"), category="ImageQ", relevant={"i1": 1}, candidates=("t1", "i1")
    )
    assert list(data.queries("dev")) == [expected]
    everything = MultimodalQa(data.root, with_tables=True)
    assert [query.id for query in everything.queries("dev")] == ["q0", "q1", "q2"]
    (hidden,) = data.queries("test")
    assert (hidden.answers, hidden.relevant) == ((), {})


def test_sources_are_texts_and_pictures(data: MultimodalQa) -> None:
    picture = str(data.root / "final_dataset_images" / "i1.jpg")
    assert list(data.sources()) == [
        Source("t1", "text", "Ada sang.", metadata={"title": "Ada", "url": "u"}),
        Source("i1", "image_text", "A horse", picture, {"title": "A horse", "url": "v"}),
    ]
    elsewhere = MultimodalQa(data.root, Path("pictures"))
    assert [source.image for source in elsewhere.sources()] == [None, "pictures/i1.jpg"]


def test_unpacked_files_are_read_too(data: MultimodalQa) -> None:
    (data.root / "MMQA_dev.jsonl").write_text(json.dumps(question(7)))
    assert [query.id for query in data.queries("dev")] == ["q7"]


def test_missing_and_damaged_files_are_named(data: MultimodalQa) -> None:
    with pytest.raises(FileNotFoundError, match=r"MMQA_train\.jsonl\.gz"):
        list(data.queries("train"))
    write(data.root, "train", question(1), {"qid": "x"})
    with pytest.raises(UserError, match=r"MMQA_train\.jsonl\.gz, line 2 lacks something"):
        list(data.queries("train"))
