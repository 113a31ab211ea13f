import pytest
import torch

from mnemic_ask.options import CONFIGS
from mnemic_ask.scoring import means, memory_sources, score_answer
from mnemic_ask.systems import find_system
from mnemic_core.errors import UserError
from mnemic_retrieval.data import Query, Source
from mnemic_retrieval.murag import Answer, Citation
from mnemic_retrieval.store import Item


def answer(text: str, **shares: float) -> Answer:
    return Answer(text, tuple(Citation(1.0, Item(name, torch.zeros(1)), share) for name, share in shares.items()))


def test_answers_are_compared_as_their_data_set_does() -> None:
    query = Query("q", "what?", ("red fox", "fox"), category="color", keywords="red", relevant={"a": 1, "b": 1})
    scores = score_answer(query, answer("a fox", a=0.6, c=0.3, b=0.1), "squad")
    assert (scores["em"], scores["citation_precision"], scores["citation_recall"]) == (1.0, 0.5, 0.5)
    assert score_answer(query, answer("fox, red fox"), "multimodalqa")["em"] == 1.0
    assert score_answer(query, answer("fox"), "multimodalqa")["em"] == 0.0
    assert score_answer(query, answer("it is red"), "webqa")["accuracy"] == pytest.approx(1.0, abs=1e-4)


def test_a_question_without_judged_items_has_no_citation_scores() -> None:
    assert score_answer(Query("q", "what?", ("fox",)), answer("fox", a=1.0), "squad").keys() == {"em", "f1"}
    assert means([{"em": 1.0}, {"em": 0.0, "citation_f1": 0.5}]) == {"em": 0.5, "citation_f1": 0.5}


def test_a_memory_does_not_show_the_asked_pictures() -> None:
    sources = [Source("a", "image", "", "1.jpg"), Source("b", "text", "b"), Source("c", "image", "", "2.jpg")]
    kept = memory_sources(sources, [Query("q", "what?", ("x",), image="1.jpg"), Query("r", "what?", ("x",))])
    assert [source.id for source in kept] == ["b", "c"]


def test_configs_say_which_system_they_train() -> None:
    assert find_system(["--config", "murag_generated"], CONFIGS).task.__name__ == "MuragTask"
    assert find_system(["--config=murag_generated", "--system=emat"], CONFIGS).task.__name__ == "EmatTask"
    with pytest.raises(UserError, match="system must be one of murag, emat"):
        find_system(["--system", "other"], CONFIGS)
