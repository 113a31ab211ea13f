from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mnemic_ask.murag.batching import Choice, Collate, Examples, MuragBatch, epoch_questions
from mnemic_ask.murag.choosing import choose, hide_pictures, search_batch
from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.data import Query, Source
from mnemic_retrieval.murag import Assistant, EntryEncoder, MuragCheckpoint, MuragSettings, Question
from mnemic_retrieval.murag.searching import find
from mnemic_retrieval.store import ExactStore
from mnemic_retrieval.t5.model import IGNORED

QUERIES = [
    Query("q0", "what?", ("red", "rot"), "0.png", relevant={"a": 1, "b": 1}, candidates=("a", "c", "d")),
    Query("q1", "why?", (), relevant={"c": 1}),
]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    for number in range(2):
        Image.new("RGB", (32, 32), (90 * number, 0, 200)).save(tmp_path / f"{number}.png")
    found = {name: Source(name, "text", f"text of {name}") for name in "abcdefgh"}
    found["b"] = Source("b", "image_text", "a picture", str(tmp_path / "0.png"))
    found["h"] = Source("h", "image", "", str(tmp_path / "1.png"))
    return found


def examples(sources: dict[str, Source], queries: list[Query], **given: object) -> Examples:
    settings: dict[str, object] = {"choice": Choice(1, 3), "hard": {}, "found": {}, "seed": (0, 0)} | given
    return Examples(sources, queries, **settings)


def test_items_of_a_question_follow_from_its_number(sources: dict[str, Source]) -> None:
    first, again = examples(sources, QUERIES), examples(sources, QUERIES)
    assert [first[place] for place in (0, 1)] == [again[place] for place in (0, 1)]
    other = [examples(sources, QUERIES, seed=(0, epoch))[0].items for epoch in range(5)]
    assert len({tuple(item.id for item in items) for items in other}) > 1


def test_hard_negatives_come_first_and_are_no_answers(sources: dict[str, Source]) -> None:
    for epoch in range(10):
        items = [item.id for item in examples(sources, QUERIES, seed=(0, epoch))[0].items]
        assert items[0] in {"a", "b"}
        assert {*items[1:3]} == {"c", "d"}  # the candidates that do not answer
        mined = examples(sources, QUERIES, seed=(0, epoch), hard={"q0": ("e", "f", "g", "a")})[0].items
        assert {item.id for item in mined[1:]} == {"e", "f", "g"}


def batch_of(sources: dict[str, Source], network: MuragCheckpoint) -> MuragBatch:
    queries = [replace(QUERIES[0], image=sources["b"].image), QUERIES[1]]
    chosen = examples(sources, queries, choice=Choice(2, 3))
    return Collate(network.tokenizer, 8, None)([chosen[0], chosen[1]])


def test_a_batch_knows_what_answers_and_what_shows_the_question_s_picture(
    sources: dict[str, Source], checkpoint: Path
) -> None:
    batch = batch_of(sources, MuragCheckpoint.load(checkpoint))
    texts = [item.text for item in batch.items]
    assert len({*texts}) == len(texts)
    for row, text in enumerate(texts):
        assert bool(batch.grades[0, row]) == (text in {"text of a", "a picture"})
        assert bool(batch.grades[1, row]) == (text == "text of c")
        assert batch.is_allowed[:, row].tolist() == [text != "a picture", True]
    assert (batch.labels[0] != IGNORED).any()
    assert (batch.labels[1] == IGNORED).all()


def test_items_with_the_highest_grade_come_into_the_batch_first(sources: dict[str, Source]) -> None:
    query = Query("q", "what kind?", ("red",), relevant={"a": 1, "b": 1, "c": 2, "d": 1})
    for epoch in range(10):
        assert examples(sources, [query], choice=Choice(1, 0), seed=(0, epoch))[0].items == (sources["c"],)


def test_an_epoch_has_a_share_of_a_category_drawn_anew() -> None:
    queries = [Query(str(number), "?", category="fact" if number < 20 else "what") for number in range(30)]
    first, again, other = (epoch_questions(queries, {"fact": 0.25}, (0, epoch)) for epoch in (0, 0, 1))
    assert first == again != other
    assert [query.category for query in first] == ["fact"] * 5 + ["what"] * 10
    assert len(epoch_questions(queries, {"fact": 0.001, "what": 1.0}, (0, 0))) == 11


def test_the_best_items_are_chosen_and_forced_ones_are_among_them() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.7]])
    allowed, none = torch.tensor([[False, True, True, True]]), torch.zeros(1, 4, dtype=torch.bool)
    chosen, is_found = choose(scores, allowed, none, 2)
    assert (chosen.tolist(), is_found.tolist()) == ([[3, 2]], [[True, True]])
    chosen, _ = choose(scores, allowed, torch.tensor([[False, True, False, False]]), 2)
    assert chosen.tolist() == [[3, 1]]
    _, is_found = choose(scores, allowed, none, 9)
    assert is_found.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("hops", [1, 2])
def test_training_finds_in_a_batch_what_a_memory_of_its_items_gives(
    hops: int, sources: dict[str, Source], checkpoint: Path
) -> None:
    network = replace(MuragCheckpoint.load(checkpoint), settings=MuragSettings(hops=hops))
    batch, encode = batch_of(sources, network), EntryEncoder(network.model.eval(), network.tokenizer)
    with torch.no_grad():
        asked, items = encode(batch.questions, 64), encode.items(batch.items, 128)
        no = torch.zeros(2, dtype=torch.bool)
        found_in_batch = search_batch(encode, batch, asked.vector, items.vector, network.settings, no)
    assistant = Assistant(network, ExactStore(Assistant.settings_of(network)))
    by_text = {source.text: source for source in sources.values()}
    assistant.add([by_text[item.text] for item in batch.items])
    image = Image.open(str(batch.questions[0].image)).convert("RGB")
    questions = [Question(batch.questions[0].text, image), Question(batch.questions[1].text)]
    own = [str(batch.questions[0].image), None]
    vectors = assistant.vectors(questions)
    found = find(assistant.store, questions, vectors, assistant.vectors, 4, hops, own=own)
    assert_close(found_in_batch.scores, torch.tensor([[hit.score for hit in row] for row in found]), tolerance=1e-5)


def test_the_second_search_is_forced_to_what_the_first_one_leads_to(
    sources: dict[str, Source], checkpoint: Path
) -> None:
    network = replace(MuragCheckpoint.load(checkpoint), settings=MuragSettings(hops=2))
    encode = EntryEncoder(network.model.eval(), network.tokenizer)
    batch = Collate(network.tokenizer, 8, None)([examples(sources, QUERIES[1:], choice=Choice(1, 7))[0]])
    with torch.no_grad():
        asked, items = encode(batch.questions, 64), encode.items(batch.items, 128)
        worst, step = (asked.vector @ items.vector.mT)[0].argsort()[:2].tolist()
        grades = torch.zeros_like(batch.grades)
        grades[0, worst], grades[0, step] = 2, 1
        graded = replace(batch, grades=grades)
        found = search_batch(encode, graded, asked.vector, items.vector, network.settings, torch.tensor([True]))
    assert step in found.rows[0, :2]
    assert worst in found.rows[0, 2:]


def test_hidden_pictures_do_not_reach_the_reader(sources: dict[str, Source], checkpoint: Path) -> None:
    network = MuragCheckpoint.load(checkpoint)
    batch, encode = batch_of(sources, network), EntryEncoder(network.model.eval(), network.tokenizer)
    with torch.no_grad():
        asked = encode(batch.questions, 64)
        other = encode([replace(batch.questions[0], image=sources["h"].image), batch.questions[1]], 64)
        rows = torch.tensor([True, False])
        hidden, as_other = (hide_pictures(network.model.encoder, each, rows) for each in (asked, other))
        outputs = torch.tensor([[0, 70]] * 2)
        answers = [network.model(network.model.read(each), outputs) for each in (hidden, as_other)]
    assert_close(answers[0], answers[1], tolerance=1e-5)
    assert torch.equal(hidden.vector, asked.vector)
