import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.data import read_json_lines, read_questions
from mnemic_retrieval.emat import KnownAnswer


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_the_layouts_of_public_sets(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"question": "who sang?", "answer": ["Ada", "Ada L."]},
        "",
        {"question": "where?", "answers": ["here"]},
        {"question": "when?", "answer": "now"},
        {
            "question": "what?",
            "answer": [{"passage_id": "7", "offset": 3, "text": "that", "extractor": "x"}],
            "subsets": ["L1"],
        },
        {
            "id": "k",
            "input": "why?",
            "output": [{"answer": "so", "provenance": [{"wikipedia_id": "9"}]}, {"provenance": []}],
        },
    )
    assert list(read_questions(path)) == [
        KnownAnswer("who sang?", ("Ada", "Ada L.")),
        KnownAnswer("where?", ("here",)),
        KnownAnswer("when?", ("now",)),
        KnownAnswer("what?", ("that",), {"subsets": ["L1"], "passage_id": "7", "offset": 3, "extractor": "x"}),
        KnownAnswer("why?", ("so",), {"id": "k", "provenance": [{"wikipedia_id": "9"}]}),
    ]
    assert len(list(read_questions(path, limit=2))) == 2


def test_compressed_files_are_read_and_cut_ones_refused(tmp_path: Path) -> None:
    content = gzip.compress(b"".join(b'{"question": "q%d", "answer": ["a"]}\n' % number for number in range(5000)))
    (tmp_path / "whole.jsonl.gz").write_bytes(content)
    assert len(list(read_questions(tmp_path / "whole.jsonl.gz"))) == 5000
    (tmp_path / "cut.jsonl.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz is cut off or damaged after line \d+"):
        list(read_questions(tmp_path / "cut.jsonl.gz"))
    (tmp_path / "none.jsonl.gz").write_bytes(b"nothing compressed")
    with pytest.raises(UserError, match="damaged after line 0"):
        list(read_questions(tmp_path / "none.jsonl.gz"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no JSON"),
        ("[1]", "line 2: expected an object, got list"),
        ('{"question": "who?"}', "line 2 lacks something"),
        ('{"answer": ["a"]}', "line 2 lacks something"),
        ('{"question": "who?", "answer": []}', "line 2: a known answer needs"),
        ('{"question": "who?", "answer": [1]}', "line 2 lacks something"),
        ('{"question": 3, "answer": ["a"]}', "line 2 lacks something"),
        ('{"input": "who?", "output": []}', "line 2: a known answer needs"),
        ('{"input": "who?", "output": [1]}', "line 2 lacks something"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "who?", "answer": ["a"]}, line)
    with pytest.raises(UserError, match=message):
        list(read_questions(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_json_lines(tmp_path / "none.jsonl"))
