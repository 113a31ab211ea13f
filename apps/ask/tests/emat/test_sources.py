import json
from pathlib import Path

import pytest

from mnemic_ask.emat.neighbors import read_neighbors
from mnemic_ask.emat.sources import QuestionSource, part_of
from mnemic_ask.emat.vocabulary import Vocabulary, learn_pieces
from mnemic_ask.emat.wordnet import KNOWN, TESTED, TRAINED, read_nouns
from mnemic_core.errors import UserError

# In the format of wndb(5), with made-up senses.
DATA_NOUN = """  1 A licence.
00000001 05 n 02 water_frog 0 Rana_aquae 0 002 @ 00000002 n 0000 ~ 00000003 n 0000 | a frog (fat) that swims; "it swims"
00000002 05 n 01 amphibian 0 000 | lives on land and in water
00000003 05 n 01 water_frog 1 001 @i 00000004 n 0000 | a toy
00000004 06 n 01 toy 0 000 | something to play with
"""


def test_both_files_give_the_same_nouns(tmp_path: Path) -> None:
    """A word with two senses is one noun, of two kinds."""
    (tmp_path / "data.noun").write_text(DATA_NOUN)
    facts = [
        {"words": ["water frog", "Rana aquae"], "gloss": 'a frog that swims; "it swims"', "hypernyms": ["amphibian"]},
        {"words": ["amphibian"], "gloss": "lives on land and in water", "hypernyms": []},
        {"words": ["water frog"], "gloss": "a toy", "hypernyms": ["toy"]},
        {"words": ["toy"], "gloss": "something to play with", "hypernyms": []},
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, facts)))
    nouns = read_nouns(tmp_path / "data.noun")
    assert nouns == read_nouns(tmp_path / "facts.jsonl")
    assert (nouns[0].words, nouns[0].kinds) == (("water frog", "Rana aquae"), ("amphibian", "toy"))
    assert nouns[0].known()["kind"].question == "what kind of thing is water frog?"
    assert nouns[0].known()["word"].question == "which word means a frog that swims?"
    assert "kind" not in nouns[1].known()


@pytest.mark.parametrize(
    "content", ["", "no WordNet", "00000001 05 n 02 frog 0 | cut off", "00000001 05 n zz a 0 000 | x"]
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(content)
    with pytest.raises(UserError, match=r"data\.noun"):
        read_nouns(tmp_path / "data.noun")
    with pytest.raises(FileNotFoundError):
        read_nouns(tmp_path / "none")


def test_words_of_a_test_never_occur_in_training(facts: Path) -> None:
    parts = {part: QuestionSource("wordnet", facts, part).open() for part in ("train", "val", "test", "all")}
    words = {part: {each.known.source["word"] for each in found} for part, found in parts.items()}
    assert all(words.values())
    assert words["train"] <= words["all"] - words["val"] - words["test"]
    assert not words["val"] & words["test"]
    for each in parts["train"]:
        assert part_of(each.answers[0]) == "train"
        assert not any(word in form for word in words["test"] for form in each.forms)


def test_tests_are_phrased_as_neither_memory_nor_training() -> None:
    for relation, known in KNOWN.items():
        assert TESTED[relation] not in {known, *TRAINED[relation]}
        assert known not in TRAINED[relation]


def test_a_file_of_questions_is_asked_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "who?", "answer": ["Ada", "A"]}\n{"question": "where?", "answer": ["here"]}\n')
    first, *others = QuestionSource("questions", path).open()
    assert (first.forms, first.answers, first.known.question, len(others)) == (("who?",), ("Ada", "A"), "who?", 1)
    assert len(QuestionSource("questions", path, limit=1).open()) == 1
    path.write_text("")
    with pytest.raises(UserError, match="has no questions"):
        QuestionSource("questions", path).open()


def test_pieces_follow_from_the_texts(facts: Path) -> None:
    """A run that is resumed learns them again, and must get the same ones."""
    texts = [each.known.question for each in QuestionSource("wordnet", facts).open()]
    first, second = (learn_pieces(texts, 330) for _ in range(2))
    assert first.state() == second.state()
    assert first.vocab_size == 330
    text = "what kind of thing is Çorba?"
    assert first.decode(first.encode(text)) == text.lower()
    assert len(first.encode(texts[0])) < len(texts[0]) / 2


def test_a_vocabulary_has_a_file_exactly_if_it_is_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a file for kind file alone"):
        Vocabulary("file")
    with pytest.raises(UserError, match="give a file for kind file alone"):
        Vocabulary("bytes", tmp_path)


def test_neighbors_are_numbers_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    path.write_text("1 2\n[0, 2]\n")
    assert read_neighbors(path, 2, 3).tolist() == [[1, 2], [0, 2]]
    for content, message in {
        "1 x\n0 1\n": "line 1: expected numbers",
        "1 2\n0\n": "line 2 has 1 neighbors",
        "1 3\n0 1\n": "line 1: numbers must be from 0 to 2",
        "1 2\n": "has neighbors of 1 questions, expected 2",
    }.items():
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_neighbors(path, 2, 3)
