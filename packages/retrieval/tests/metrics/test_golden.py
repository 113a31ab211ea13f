"""Metrics of the official scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from golden_files import golden_folder

from mnemic_retrieval.metrics import (
    average_precision,
    exact_match,
    hit_at,
    list_exact_match,
    list_f1,
    ndcg_at,
    normalize_answer,
    precision_at,
    rank,
    recall_at,
    reciprocal_rank,
    score_sets,
    score_webqa,
)
from mnemic_retrieval.metrics.webqa import COLORS, SHAPES

FOLDER = golden_folder("retrieval", Path(__file__).parents[1] / "golden")
FILES = [] if FOLDER is None else sorted(FOLDER.glob("metrics*.json"))
GOLDEN = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
pytestmark = pytest.mark.golden


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{name}-{number}")
        for name, content in GOLDEN.items()
        for number, case in enumerate(content.get(kind, {}).get("cases", []))
    ]


@pytest.mark.parametrize("content", GOLDEN.values(), ids=GOLDEN)
def test_closed_lists_of_words(content: dict[str, Any]) -> None:
    assert set(content["webqa_accuracy"]["color_words"]) == COLORS
    assert set(content["webqa_accuracy"]["shape_words"]) == SHAPES


@pytest.mark.parametrize("case", cases("webqa_accuracy"))
def test_webqa(case: dict[str, Any]) -> None:
    scores = score_webqa(case["candidate"], case["keywords"], case["qcate"])
    for name in ("f1", "recall", "precision", "accuracy"):
        assert getattr(scores, name) == pytest.approx(case[name], abs=1e-6), name
    assert scores.exact == case["em"]


@pytest.mark.parametrize("case", cases("mmqa"))
def test_multimodalqa(case: dict[str, Any]) -> None:
    assert list_exact_match(case["prediction"], case["gold"]) == case["em"]
    assert list_f1(case["prediction"], case["gold"]) == pytest.approx(case["f1"], abs=1e-6)


@pytest.mark.parametrize("case", cases("squad_em"))
def test_squad(case: dict[str, Any]) -> None:
    assert exact_match(case["prediction"], case["gold"]) == case["em"]
    if "normalized_prediction" in case:
        assert normalize_answer(case["prediction"]) == case["normalized_prediction"]


@pytest.mark.parametrize("case", cases("retrieval_set_f1"))
def test_sets(case: dict[str, Any]) -> None:
    scores = score_sets(case["predicted"], case["gold"])
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx(
        (case["precision"], case["recall"], case["f1"]), abs=1e-6
    )


@pytest.mark.parametrize("case", cases("ranking"))
def test_ranking(case: dict[str, Any]) -> None:
    names = [f"{number:05d}" for number in range(len(case["scores"]))]
    ranked = rank(dict(zip(names, case["scores"], strict=True)))
    relevant = [name for name, is_relevant in zip(names, case["relevance"], strict=True) if is_relevant]
    binary, grades = dict.fromkeys(relevant, 1), dict(zip(names, case["graded"], strict=True))
    by_name = {
        "recall": lambda k: recall_at(ranked, relevant, k),
        "precision": lambda k: precision_at(ranked, relevant, k),
        "hit": lambda k: hit_at(ranked, relevant, k),
        "ndcg": lambda k: ndcg_at(ranked, binary, k),
        "ndcg_graded_linear": lambda k: ndcg_at(ranked, grades, k),
        "ndcg_graded_exp": lambda k: ndcg_at(ranked, grades, k, "exponential"),
    }
    for name, expected in case.items():
        metric, _, k = name.partition("@")
        if k and expected is not None:
            assert by_name[metric](int(k)) == pytest.approx(expected, abs=1e-5), name
    assert reciprocal_rank(ranked, relevant) == pytest.approx(case["mrr"], abs=1e-5)
    assert average_precision(ranked, relevant) == pytest.approx(case["map"], abs=1e-5)
