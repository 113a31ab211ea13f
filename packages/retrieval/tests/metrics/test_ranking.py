from random import Random

import pytest

from mnemic_core.errors import UserError
from mnemic_retrieval.metrics import average_precision, ndcg_at, rank, reciprocal_rank, score_rankings


def test_equal_scores_are_ordered_as_in_trec_eval() -> None:
    ranked = rank(dict.fromkeys("amz", 0.5))
    assert ranked == ["z", "m", "a"]
    assert reciprocal_rank(ranked, {"a"}) == pytest.approx(1 / 3)
    assert reciprocal_rank(ranked, {"z"}) == 1
    assert rank({"x": 0.9876543219, "y": 0.9876543210}) == ["x", "y"]


def test_values_of_the_literature() -> None:
    relevant = [f"r{number}" for number in range(8)]
    assert average_precision([*relevant[:3], "x", "y"], relevant, 5) == 0.375
    grades = {"b": 1, "a": 3, "c": 2}
    assert ndcg_at("bac", grades) == pytest.approx(0.8175, abs=5e-5)
    assert ndcg_at("bac", grades, gain="exponential") == pytest.approx(0.7364, abs=5e-5)


def test_metrics_do_not_depend_on_the_sign_of_scores() -> None:
    shifted, negative = (
        {name: score - shift for name, score in zip("abcd", (4, 1, 3, 2), strict=True)} for shift in (0, 9)
    )
    assert rank(shifted) == rank(negative)


def test_judged_queries_without_results_count_as_zero() -> None:
    scores = score_rankings({"q1": {"a": 1.0}, "other": {"b": 1.0}}, {"q1": {"a": 1}, "q2": {"b": 2}})
    assert (scores.num_queries, scores.num_missing) == (2, 1)
    assert scores.recall[1] == scores.mrr == scores.map == scores.ndcg[10] == 0.5


def test_scores_that_are_not_finite_and_missing_judgments_are_refused() -> None:
    with pytest.raises(UserError, match="score of 'b' is nan"):
        rank({"a": 1.0, "b": float("nan")})
    with pytest.raises(UserError, match="no judgments"):
        score_rankings({}, {})


def test_equals_trec_eval_with_ties_and_missing_queries() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    random = Random(0)
    results, judgments = {}, {}
    for query in map(str, range(40)):
        names = [f"d{number}" for number in range(random.randint(1, 15))]
        # Few distinct scores, which both programs hold exactly.
        results[query] = {name: random.randint(0, 4) / 4 for name in names if random.random() < 0.8}
        judgments[query] = {name: random.randint(0, 3) for name in [*names, "never found"] if random.random() < 0.5}
    results.pop("7")
    judgments = {query: grades for query, grades in judgments.items() if grades}
    measures = {"recall.1,5,10", "success.1,5,10", "recip_rank", "map", "ndcg_cut.1,5,10"}
    answered = {query: scores for query, scores in results.items() if scores}
    expected = pytrec_eval.RelevanceEvaluator(judgments, measures).evaluate(answered)
    ours = score_rankings(results, judgments)
    total = len(judgments)

    def mean(name: str) -> float:
        return sum(found[name] for found in expected.values()) / total

    assert ours.mrr == pytest.approx(mean("recip_rank"))
    assert ours.map == pytest.approx(mean("map"))
    for k in (1, 5, 10):
        assert ours.recall[k] == pytest.approx(mean(f"recall_{k}"))
        assert ours.hit[k] == pytest.approx(mean(f"success_{k}"))
        assert ours.ndcg[k] == pytest.approx(mean(f"ndcg_cut_{k}"))
