from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.data import CorpusFolder, Query, Source, write_corpus

SOURCES = [
    Source("t", "text", "Größe", metadata={"title": "x", "n": 3}),
    Source("i", "image", image="/pictures/a.png"),
    Source("b", "image_text", "A frog.", "/pictures/b.png"),
]
QUERIES = {
    "train": [
        Query("q1", "What is it?", ("frog", "a frog"), "/pictures/b.png", "what", "frog", {"b": 2, "t": 1}, ("b", "t"))
    ],
    "test": [Query("q2", "Who?")],
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_corpus(tmp_path / "set", SOURCES, QUERIES)
    data = CorpusFolder(tmp_path / "set")
    assert list(data.sources()) == SOURCES
    for split, queries in QUERIES.items():
        assert list(data.queries(split)) == queries
    assert list(data.queries("val")) == []


def test_pictures_are_named_from_the_folder_and_questions_may_be_in_every_part(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "i", "modality": "image", "image": "pictures/a.png"}\n')
    (tmp_path / "queries.jsonl").write_text('{"qid": "q", "question": "What?", "image": "b.png"}\n')
    data = CorpusFolder(tmp_path)
    assert [source.image for source in data.sources()] == [str(tmp_path / "pictures/a.png")]
    for split in ("train", "test"):
        assert [query.image for query in data.queries(split)] == [str(tmp_path / "b.png")]


def test_grades_of_nothing_are_not_relevant(tmp_path: Path) -> None:
    write_corpus(tmp_path, SOURCES, QUERIES)
    (tmp_path / "qrels.tsv").write_text("q1\tb\t0\nq1\tt\t3\n\n")
    assert [query.relevant for query in CorpusFolder(tmp_path).queries("train")] == [{"t": 3}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", '{"id": "a", "modality": "sound"}', "line 1: modality must be one of"),
        ("corpus.jsonl", '{"text": "a"}', "line 1 lacks something"),
        ("corpus.jsonl", '{"id": 7, "text": "a"}', "must be strings, got 7"),
        (
            "corpus.jsonl",
            '{"id": "a", "modality": "text"}\n{"id": "a", "modality": "text"}',
            "line 2: the id 'a' is there already, in .*line 1",
        ),
        ("queries.jsonl", '{"qid": "q"}', "line 1 lacks something"),
        ("qrels.tsv", "q1\tb", "line 1: expected query, source and grade"),
        ("qrels.tsv", "q1\tb\thigh", "line 1: expected query, source and grade"),
    ],
)
def test_wrong_lines_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    write_corpus(tmp_path, SOURCES, QUERIES)
    (tmp_path / name).write_text(content)
    data = CorpusFolder(tmp_path)
    with pytest.raises(UserError, match=message):
        list(data.sources()), list(data.queries("train"))
