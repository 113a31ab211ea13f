from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_retrieval.emat import Emat, EmatConfig, KnownAnswer, QuestionMemory
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.tokenizers import ByteTokenizer

T5 = T5Config(259, dim=16, num_heads=2, head_dim=8, ffn_dim=24, encoder_layers=4, decoder_layers=2, dropout=0.0)
KNOWN = [KnownAnswer(f"who is number {number}?", (f"name {number}", "x"), {"page": number}) for number in range(12)]


def model(seed: int = 0) -> Emat:
    torch.manual_seed(seed)
    return Emat(EmatConfig(T5, key_layer=1, insert_layer=1, value_layer=2, num_values=3))


def filled() -> QuestionMemory:
    memory = QuestionMemory(model(), ByteTokenizer(), precision="float32", max_tokens=40)
    memory.add(KNOWN, batch_size=5)
    return memory


def test_a_known_question_finds_itself_by_its_search_vector() -> None:
    """An untrained network gives every question another vector; its own key has the largest product with it."""
    memory = filled()
    vectors = memory.table._index.vectors(memory.table.identities)
    answers = memory.ask([each.question for each in KNOWN])
    for place, answer in enumerate(answers):
        scores = vectors @ vectors[place]
        assert answer.citations[0].score == pytest.approx(float(scores.max()), rel=1e-4)
        assert [citation.identity for citation in answer.citations] == scores.topk(3).indices.tolist()
        assert answer.citations[0].known in KNOWN


def test_batches_change_nothing() -> None:
    memory, questions = filled(), ["who?", "who is number 3?", "what is the longest of all questions?"]
    together, alone = memory.ask(questions), memory.ask(questions, batch_size=1)
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for one, other in zip(together, alone, strict=True):
        assert [each.identity for each in one.citations] == [each.identity for each in other.citations]


def test_what_is_forgotten_is_not_cited() -> None:
    memory = filled()
    memory.remove(torch.arange(2, 12))
    assert len(memory) == 2
    assert {citation.identity for citation in memory.ask(["who is number 5?"])[0].citations} == {0, 1}
    memory.remove(torch.tensor([0, 1]))
    assert memory.ask(["who?"])[0].citations == ()
    assert memory.add(KNOWN[:1]).tolist() == [12]


def test_it_abstains_below_a_threshold() -> None:
    memory = filled()
    score = memory.ask(["who?"])[0].citations[0].score
    assert memory.ask(["who?"], threshold=score - 1e-3)[0].is_sure
    unsure = memory.ask(["who?"], threshold=score + 1e-3)[0]
    assert (unsure.text, unsure.is_sure, len(unsure.citations)) == ("", False, 3)


def test_it_is_saved_and_refused_by_another_network(tmp_path: Path) -> None:
    memory = filled()
    memory.save(tmp_path)
    for mapped in (False, True):
        loaded = QuestionMemory.load(tmp_path, model(), ByteTokenizer(), mapped=mapped, max_tokens=40)
        assert [each.text for each in loaded.ask(["who?"])] == [each.text for each in memory.ask(["who?"])]
    with pytest.raises(UserError, match="was made by"):
        QuestionMemory.load(tmp_path, model(seed=1), ByteTokenizer())


def test_an_empty_memory_answers_by_heart() -> None:
    memory = QuestionMemory(model(), ByteTokenizer())
    assert memory.ask([]) == []
    (answer,) = memory.ask(["who?"])
    assert answer.citations == ()


def test_progress_counts_pairs() -> None:
    counts: list[int] = []
    QuestionMemory(model(), ByteTokenizer()).add(KNOWN, 5, counts.append)
    assert counts == [5, 5, 2]


def test_wrong_input_is_refused() -> None:
    for question, answers in (("", ("a",)), ("who?", ()), ("who?", (" ",))):
        with pytest.raises(UserError, match="needs a question and an answer"):
            KnownAnswer(question, answers)
    torch.manual_seed(0)
    small = Emat(EmatConfig(T5Config(100, 8, 2, 4, 16, 3, 1), 2, 0, 0, 1, 2))
    with pytest.raises(UserError, match="has 259 tokens, the network 100"):
        QuestionMemory(small, ByteTokenizer())
