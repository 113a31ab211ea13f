import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.data import Query, Source, WebQa

RECORDS: dict[str, Any] = {
    "g1": {
        "Guid": "g1",
        "split": "train",
        "Qcate": "color",
        "Q": '"What color is the roof?"',
        "A": ['"It is red."'],
        "Keywords_A": '"red"',
        "img_posFacts": [{"image_id": 30000001, "caption": '"A house"', "title": "House", "url": "u"}],
        "img_negFacts": [{"image_id": 30000002, "caption": "A boat"}],
        "txt_negFacts": [{"snippet_id": "g1_1", "fact": "Roofs are on top."}],
    },
    "g2": {
        "split": "val",
        "Qcate": "text",
        "Q": "Who was it?",
        "A": ["Ada", "Ada L."],
        "txt_posFacts": [{"snippet_id": "g2_0", "fact": "It was Ada."}],
        "img_negFacts": [{"image_id": 30000001, "caption": "A house"}],
    },
}


def write(folder: Path, content: Any = RECORDS) -> WebQa:
    (folder / "WebQA.json").write_text(json.dumps(content))
    pictures = {"30000001": b"\x89PNG one", "30000002": b"two\xff"}
    lines = [f"{name}\t{base64.b64encode(data).decode()}\n" for name, data in pictures.items()]
    (folder / "imgs.tsv").write_text("".join(lines))
    (folder / "imgs.lineidx").write_text(f"0\n{len(lines[0])}\n")
    return WebQa(folder / "WebQA.json", folder / "imgs.tsv")


def test_questions_have_their_facts(tmp_path: Path) -> None:
    data = write(tmp_path)
    assert list(data.queries("train")) == [
        Query(
            "g1",
            "What color is the roof?",
            ("It is red.",),
            category="color",
            keywords="red",
            relevant={"30000001": 1},
            candidates=("30000001", "g1_1", "30000002"),
        )
    ]
    (query,) = data.queries("val")
    assert (query.answers, query.keywords, query.relevant) == (("Ada", "Ada L."), "", {"g2_0": 1})
    assert list(data.queries("test")) == []


def test_facts_are_sources_once(tmp_path: Path) -> None:
    data = write(tmp_path)
    found = {source.id: source for source in data.sources()}
    assert list(found) == ["30000001", "g1_1", "30000002", "g2_0"]
    image = f"{tmp_path / 'imgs.tsv'}#30000001"
    assert found["30000001"] == Source("30000001", "image_text", "A house", image, {"title": "House", "url": "u"})
    assert found["g1_1"] == Source("g1_1", "text", "Roofs are on top.")
    captions = {source.modality for source in WebQa(data.path).sources()}
    assert captions == {"text"}


def test_pictures_are_found_by_their_lines(tmp_path: Path) -> None:
    data = write(tmp_path)
    assert data.picture("30000002") == b"two\xff"
    assert data.picture("30000001") == b"\x89PNG one"
    with pytest.raises(FileNotFoundError, match="no picture 5"):
        data.picture("5")
    with pytest.raises(FileNotFoundError, match="no file of pictures"):
        WebQa(data.path).picture("30000001")
    (tmp_path / "imgs.tsv").write_text("30000001\t%%%\n")
    (tmp_path / "imgs.lineidx").write_text("0\n")
    with pytest.raises(UserError, match="picture 30000001 is damaged"):
        WebQa(data.path, data.images).picture("30000001")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is not WebQA"),
        ({"g": 1}, "is not WebQA"),
        ({"g": {}}, r"WebQA\.json, g lacks something"),
        ({"g": {"Q": "x", "txt_posFacts": [{}]}}, "g lacks something"),
        ({"g": {"Q": 3}}, "g lacks something"),
    ],
)
def test_damaged_records_are_named(content: Any, message: str, tmp_path: Path) -> None:
    data = write(tmp_path, content)
    with pytest.raises(UserError, match=message):
        list(data.queries("train"))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(WebQa(tmp_path / "none.json").queries("train"))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="is no JSON"):
        list(WebQa(tmp_path / "x.json").sources())
