from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_retrieval.data import Source
from mnemic_retrieval.murag import Assistant, Murag, MuragCheckpoint, MuragSettings, Question, murag_tiny
from mnemic_retrieval.murag.config import ReaderForm
from mnemic_retrieval.murag.searching import find
from mnemic_retrieval.store import Eq, ExactStore, LanceStore, StoreSettings
from mnemic_retrieval.tokenizers import ByteTokenizer

SETTINGS = MuragSettings(max_answer_tokens=6)


def checkpoint(settings: MuragSettings = SETTINGS, form: ReaderForm = "fid", seed: int = 0) -> MuragCheckpoint:
    torch.manual_seed(seed)
    return MuragCheckpoint(Murag(replace(murag_tiny(), reader=form)), settings, {}, ByteTokenizer())


def assistant(settings: MuragSettings = SETTINGS, form: ReaderForm = "fid") -> Assistant:
    network = checkpoint(settings, form)
    return Assistant(network, ExactStore(Assistant.settings_of(network)), batch_size=2)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    for name, color in {"red": (255, 0, 0), "blue": (0, 0, 255)}.items():
        Image.new("RGB", (40, 30), color).save(tmp_path / f"{name}.png")
    return [
        Source("text", "text", "Frogs are amphibians.", metadata={"year": 2001}),
        Source("both", "image_text", "A red square.", str(tmp_path / "red.png")),
        Source("picture", "image", "", str(tmp_path / "blue.png")),
    ]


def test_items_of_all_modalities_are_found_by_themselves(sources: list[Source]) -> None:
    filled = assistant()
    filled.add(sources)
    images = [None if each.image is None else Image.open(each.image).convert("RGB") for each in sources]
    questions = [Question(each.text, image) for each, image in zip(sources, images, strict=True)]
    found = filled.search(questions, k=10)  # more than there are
    assert [row[0].item.id for row in found] == ["text", "both", "picture"]
    assert [len(row) for row in found] == [3, 3, 3]
    assert [hit.item.modality for hit in sorted(found[0], key=lambda hit: hit.item.id)] == [
        "image_text",
        "image",
        "text",
    ]
    assert found[0][0].item.metadata == {"year": 2001}
    assert len(found[1][0].item.image_hash or "") == 64


@pytest.mark.parametrize("form", ["fid", "fid_cached", "concat"])
def test_an_answer_cites_what_is_in_the_memory_at_that_time(sources: list[Source], form: ReaderForm) -> None:
    asked, question = assistant(form=form), [Question("What are frogs?"), Question("A square?"), Question("blue")]
    nothing = asked.ask(question)
    assert [answer.citations for answer in nothing] == [(), (), ()]
    asked.add(sources)
    answers = asked.ask(question)
    for answer in answers:
        assert {citation.item.id for citation in answer.citations} == {"text", "both", "picture"}
        assert sum(citation.share for citation in answer.citations) == pytest.approx(1, abs=1e-4)
        assert set(answer.cited) <= {"text", "both", "picture"}
        assert set(answer.seconds) == {"encode", "search", "fetch", "read"}
    regions = {citation.item.id: citation.region for citation in answers[0].citations}
    assert regions["text"] is None
    assert regions["both"] is not None
    assert asked.store.delete(["both", "picture"]) == 2
    assert [citation.item.id for citation in asked.ask(question)[0].citations] == ["text"]
    asked.store.delete(["text"])
    assert [answer.text for answer in asked.ask(question)] == [answer.text for answer in nothing]


def test_one_question_is_answered_as_several_are(sources: list[Source]) -> None:
    asked = assistant()
    asked.add(sources)
    questions = [Question("What are frogs?"), Question("Is it a red square?"), Question("b")]
    together = asked.ask(questions)
    alone = [asked.ask([question])[0] for question in questions]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for one, other in zip(together, alone, strict=True):
        assert [each.item.id for each in one.citations] == [each.item.id for each in other.citations]


def test_given_items_are_read_in_their_order(sources: list[Source]) -> None:
    asked = assistant()
    asked.add(sources)
    answers = asked.read([Question("a"), Question("b")], [["picture", "gone", "text"], []])
    assert [citation.item.id for citation in answers[0].citations] == ["picture", "text"]
    assert answers[1].citations == ()
    ranked = asked.rank([Question("Frogs are amphibians.")], [["both", "text", "gone"]])
    assert [hit.item.id for hit in ranked[0]] == ["text", "both"]


def test_filters_hold_for_answers(sources: list[Source]) -> None:
    asked = assistant()
    asked.add(sources)
    answer = asked.ask([Question("What are frogs?")], Eq("modality", "image"))[0]
    assert [citation.item.id for citation in answer.citations] == ["picture"]


def test_it_abstains_below_the_threshold(sources: list[Source]) -> None:
    asked = assistant(replace(SETTINGS, threshold=2.0))  # vectors have length 1
    asked.add(sources)
    answer = asked.ask([Question("What are frogs?")])[0]
    assert (answer.text, answer.is_sure, len(answer.citations)) == ("", False, 3)
    asked.abstain_below(-1.0)
    assert asked.ask([Question("What are frogs?")])[0].is_sure


def test_answers_may_be_limited_to_words_of_the_items(sources: list[Source]) -> None:
    asked = assistant(replace(SETTINGS, has_spans=True, max_answer_tokens=40))
    asked.add(sources[:1])
    assert asked.ask([Question("What are frogs?")])[0].text in {
        "Frogs", "are", "amphibians", "Frogs are", "are amphibians", "Frogs are amphibians"
    }  # fmt: skip


def test_a_second_search_uses_what_the_first_one_found(sources: list[Source]) -> None:
    store = ExactStore(StoreSettings(2))
    asked = assistant()
    texts: list[str] = []

    def vectors_of(questions: Sequence[Question]) -> torch.Tensor:
        texts.extend(question.text for question in questions)
        return torch.tensor([[0.0, 1.0]])

    items = [replace(item, vector=torch.tensor(vector)) for item, vector in zip(
        asked.items_of(sources), ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0]), strict=True)]  # fmt: skip
    store.upsert(items)
    found = find(store, [Question("why?")], torch.tensor([[1.0, 0.0]]), vectors_of, 3, hops=2)[0]
    assert texts == ["why? Frogs are amphibians."]
    assert [hit.item.id for hit in found] == ["text", "both", "picture"]
    own = find(store, [Question("why?")], torch.tensor([[1.0, 0.0]]), vectors_of, 2, 1, own=[sources[1].image])[0]
    assert [hit.item.id for hit in own] == ["text", "picture"]


def test_a_picture_that_is_gone_leaves_its_caption(sources: list[Source]) -> None:
    asked = assistant()
    asked.add(sources)
    before = asked.ask([Question("A red square?")])[0]
    Path(str(sources[1].image)).unlink()
    after = assistant()
    after.store = asked.store
    assert {each.item.id for each in after.ask([Question("A red square?")])[0].citations} == {
        each.item.id for each in before.citations
    }


def test_wrong_items_are_refused_and_nothing_is_added(sources: list[Source], tmp_path: Path) -> None:
    asked = assistant()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    wrong = {
        "has neither text nor picture": Source("empty", "text", "  "),
        "no picture of a known format": Source("broken", "image", "", str(tmp_path / "broken.png")),
    }
    for message, source in wrong.items():
        with pytest.raises(UserError, match=message):
            asked.add([sources[0], source])
    with pytest.raises(FileNotFoundError):
        asked.add([sources[0], Source("gone", "image", "", str(tmp_path / "gone.png"))])
    assert asked.store.count() == 0


def test_a_memory_of_another_network_is_refused(tmp_path: Path) -> None:
    own, other = checkpoint(), checkpoint(seed=1)
    LanceStore.create(tmp_path, Assistant.settings_of(own)).close()
    memory = LanceStore.open(tmp_path)
    assert Assistant(own, memory).store is memory
    with pytest.raises(UserError, match="was made by the encoder"):
        Assistant(other, memory)


def test_checkpoints_answer_as_before(sources: list[Source], tmp_path: Path) -> None:
    network = checkpoint(replace(SETTINGS, hops=2))
    network.save(tmp_path / "murag.safetensors")
    loaded = MuragCheckpoint.load(tmp_path / "murag.safetensors")
    assert loaded.settings == network.settings
    answers = []
    for each in (network, loaded):
        asked = Assistant(each, ExactStore(Assistant.settings_of(each)))
        asked.add(sources)
        answers.append([answer.text for answer in asked.ask([Question("What are frogs?"), Question("b")])])
    assert answers[0] == answers[1]
