import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_retrieval.emat import Emat, EmatConfig, KnownAnswer, mining
from mnemic_retrieval.emat.lookup import NOTHING, look_up_mined, look_up_neighbors
from mnemic_retrieval.emat.mining import DrawnPairs, MiningConfig, draw_pairs, encode_vectors, nearest_pairs
from mnemic_retrieval.emat.pair_tokens import PairTokens
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.t5.model import IGNORED
from mnemic_retrieval.tokenizers import ByteTokenizer

KNOWN = [KnownAnswer(f"{'long ' * place}question {place}?", (f"Answer {place % 3}",)) for place in range(7)]
SMALL = MiningConfig(local_size=8, positive_top=4, negative_top=6, num_positives=2, num_negatives=3)


def test_tokens_of_pairs_are_those_of_their_texts() -> None:
    tokenizer, rows = ByteTokenizer(), torch.tensor([6, 0, 3])
    pairs = PairTokens(KNOWN, tokenizer, max_tokens=30)
    texts = [f"question: {KNOWN[row].question}" for row in rows.tolist()]
    assert torch.equal(pairs.questions(rows), tokenizer.batch(texts, 30))
    answers = [f"answer: {KNOWN[row].answers[0]}" for row in rows.tolist()]
    assert torch.equal(pairs.answers(rows), tokenizer.batch(answers, 30))
    assert pairs.answer_ids.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_blocks_find_what_all_pairs_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    queries, vectors = torch.randn(11, 4), torch.randn(50, 4)
    whole = (queries @ vectors.mT).topk(6).indices
    assert torch.equal(nearest_pairs(queries, vectors, 6), whole)
    monkeypatch.setattr(mining, "_KEYS", 7)
    monkeypatch.setattr(mining, "_QUESTIONS", 4)
    assert torch.equal(nearest_pairs(queries, vectors, 6), whole)
    assert nearest_pairs(queries, vectors[:5], 6).shape == (11, 5)


def test_vectors_are_those_of_the_pairs_whatever_the_batch() -> None:
    torch.manual_seed(0)
    t5 = T5Config(259, dim=8, num_heads=2, head_dim=4, ffn_dim=8, encoder_layers=3, decoder_layers=1)
    model = Emat(EmatConfig(t5, key_layer=0, insert_layer=0, value_layer=1)).eval()
    pairs = PairTokens(KNOWN, ByteTokenizer(), 30)
    expected = model.search_vectors(model.encode_keys(pairs.questions(torch.arange(7)))).detach()
    assert_close(encode_vectors(model, pairs, 2).float(), expected, atol=1e-2, rtol=1e-2)


def test_positives_have_a_right_answer_and_negatives_none() -> None:
    torch.manual_seed(0)
    local = torch.arange(16).view(2, 8)
    answers = torch.tensor([[7, 1, 7, 2, 7, 3, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]])
    right = torch.tensor([[7, NOTHING], [5, 9]])
    seen: set[int] = set()
    for _ in range(50):
        drawn = draw_pairs(local, answers, right, SMALL)
        positives, negatives = drawn.rows[:, :2], drawn.rows[:, 2:]
        assert drawn.valid.tolist() == [[True, True, True, True, True], [False, False, True, True, True]]
        assert set(positives[0].tolist()) == {0, 2}  # not 4: only the best four count
        assert set(negatives[0].tolist()) == {1, 3, 5}
        seen |= set(negatives[1].tolist())
    assert seen == {8, 9, 10, 11, 12, 13}


def test_neighbors_follow_their_question_as_often_as_wanted() -> None:
    scores = torch.tensor([[9.0, 3.0, 5.0], [1.0, 9.0, 2.0], [4.0, 3.0, 9.0]])
    rows = torch.tensor([4, 5, 6])
    never, always = (look_up_neighbors(scores, rows, 2, share) for share in (0.0, 1.0))
    assert never.memory.tolist() == [[2, 1], [2, 0], [0, 1]]
    assert always.memory.tolist() == [[0, 2], [1, 2], [2, 0]]
    assert always.targets.tolist() == [0, 1, 2]
    torch.manual_seed(0)
    many = torch.randn(1000, 1000)
    share = (look_up_neighbors(many, torch.arange(1000), 1, 0.1).memory[:, 0] == torch.arange(1000)).float().mean()
    assert 0.07 < share < 0.13


def test_a_pair_that_occurs_twice_is_neither_neighbor_nor_negative() -> None:
    found = look_up_neighbors(torch.ones(3, 3), torch.tensor([4, 4, 6]), 2, 0.0)
    assert found.memory.tolist()[:2] == [[2, NOTHING], [2, NOTHING]]
    assert found.allowed.tolist() == [[False, False, True], [False, False, True], [True, True, False]]


def test_neighbors_found_before_keep_their_order() -> None:
    scores, rows = torch.randn(2, 6), torch.arange(6)
    neighbors = torch.tensor([[2, 3], [4, 5]])
    assert torch.equal(look_up_neighbors(scores, rows, 2, 0.0, neighbors).memory, neighbors)
    assert look_up_neighbors(scores, rows, 2, 1.0, neighbors).memory.tolist() == [[0, 2], [1, 4]]


def test_mined_pairs_enter_by_score_and_one_positive_is_to_be_found() -> None:
    valid = torch.tensor([[True, False, True, True], [False, False, True, False]])
    drawn = DrawnPairs(torch.arange(8).view(2, 4), valid, num_positives=2)
    scores = torch.tensor([[1.0, 9, 5, 3, 0, 0, 0, 0], [0.0, 0, 0, 0, 9, 9, 1, 9]])
    for _ in range(20):  # the place that is not used would nearly always be drawn by its score
        found = look_up_mined(scores, drawn, k=3)
        assert found.memory.tolist() == [[2, 3, 0], [6, NOTHING, NOTHING]]
        assert found.candidates.tolist()[0] == 0
        assert found.candidates.tolist()[2:] == [2, 3, 6, 7]
        assert found.targets.tolist() == [0, IGNORED]
        assert found.allowed.tolist() == [[True, False, True, True, True, False]] * 2


@pytest.mark.parametrize("name", ["positive_top", "negative_top"])
def test_more_than_the_kept_pairs_cannot_count(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be between 1 and 384"):
        MiningConfig(**{name: 385})
