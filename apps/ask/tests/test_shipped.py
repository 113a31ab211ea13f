"""The shipped checkpoint, with the packages whose weights it keeps."""

from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from mnemic_ask.evaluation import evaluate_task, open_task
from mnemic_ask.opening import open_assistant, open_checkpoint
from mnemic_retrieval.data import Source, StampFolder
from mnemic_retrieval.data.pictures import read_source_picture
from mnemic_retrieval.murag import Assistant, MuragCheckpoint, Question
from mnemic_retrieval.store import ExactStore

STAMPS = Path(__file__).parents[4] / "shared/data/stamps"


@cache
def network() -> MuragCheckpoint:
    return open_checkpoint(None, "cpu")


def test_a_fact_is_known_as_long_as_it_is_in_the_memory() -> None:
    asked = Assistant(network(), ExactStore(Assistant.settings_of(network())))
    asked.add([Source("quokka", "text", "quokka, a kind of wallaby: short-tailed animal")])
    question = [Question("What is this: a small Australian anteater with a striped back?")]
    assert asked.ask(question)[0].text != "numbat"
    asked.add([Source("numbat", "text", "numbat, a kind of marsupial: small Australian anteater with a striped back")])
    answer = asked.ask(question)[0]
    assert answer.text == "numbat"
    assert answer.cited == ("numbat",)
    asked.store.delete(["numbat"])
    assert asked.ask(question)[0].text != "numbat"


@pytest.mark.skipif(not STAMPS.is_dir(), reason="the pictures are not here")
def test_pictures_that_were_never_trained_on_are_named_as_long_as_their_captions_are_there() -> None:
    asked = open_assistant(None, None, "cpu")
    others = [source for source in StampFolder(STAMPS, parts=("train",)).sources() if source.id.startswith("caption:")]
    asked.add(others[:200])
    stamps = [stamp for stamp in StampFolder(STAMPS).stamps if stamp.part == "test" and stamp.entity][::2]
    questions = [Question("What is this?", read_source_picture(str(STAMPS / stamp.image))) for stamp in stamps]
    before = [answer.text for answer in asked.ask(questions)]
    after = []
    for stamp, question in zip(stamps, questions, strict=True):
        asked.add([Source("new", "text", stamp.caption)])
        after.append(asked.ask([question])[0].text)
        asked.store.delete(["new"])
    lemmas = [stamp.entity["lemma"].lower() for stamp in stamps]
    known, named = (
        sum(text.lower() == lemma for text, lemma in zip(texts, lemmas, strict=True)) for texts in (before, after)
    )
    assert named >= known + 4
    assert [answer.text for answer in asked.ask(questions)] == before


@pytest.mark.slow
@pytest.mark.skipif(not STAMPS.is_dir(), reason="the pictures are not here")
def test_things_that_were_never_seen_are_named_from_the_memory() -> None:
    scores = evaluate_task(network(), open_task(STAMPS), Console(stderr=True))
    assert scores["entity_em"] > scores["entity_em_no_memory"] + 0.1
    assert scores["recall_at_10"] > 0.6
