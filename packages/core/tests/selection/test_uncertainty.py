import os
import re
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.selection.uncertainty import normalized_entropy, select_certain_tokens, select_positions
from mnemic_core.testing import unchecked_annotations

FOLDER = Path(__file__).parent.parent / "golden" / "core"


def cases() -> list[object]:
    found = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith("GEMFormer")]
    assert found or "MNEMIC_GOLDEN_DIR" in os.environ
    return [pytest.param(case, id=case.name) for case in found]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases())
def test_selection_is_that_of_the_official_rules(case: GoldenCase) -> None:
    config, expected = case.config, case.outputs
    rtol = float(re.search(r"rtol ([\d.e+-]+)", case.info["tolerance"])[1])
    entropy = normalized_entropy(case.inputs["logits"])
    assert_close(entropy, expected["entropy"], rtol=rtol, atol=1e-14)  # that of a certain prediction is itself rounding

    start, limit = config["question_tokens"], config["max_mem_len"]
    logits, ids = case.inputs["logits"][None, start:], case.inputs["ids"][None, start:]
    is_marker, is_plain = (
        case.inputs[key][None, start:] != 0 for key in ("is_marker_or_punctuation", "is_non_content_word")
    )
    percentile = entropy[start:].quantile(config["dynamic_percentile"] / 100)
    assert_close(percentile[None], expected["dynamic_threshold"], rtol=rtol, atol=0)
    for rule, threshold, candidates, name, order in (
        ("low", config["low_threshold"], ~is_marker & ~is_plain, "low", ("ids", "positions")),
        ("percentile", float(config["dynamic_percentile"]), ~is_marker & ~is_plain, "dynamic", ("ids", "positions")),
        ("highest", None, ~is_marker, "highest", ("ids_in_position_order", "positions_sorted")),
    ):
        settings = {"rule": rule, "threshold": threshold, "limit": limit}
        (chosen,) = select_certain_tokens(logits, ids, candidates, **settings)
        assert chosen.tolist() == expected[f"{name}_{order[0]}"].tolist(), rule
        positions = select_positions(entropy[None, start:], candidates, **settings)[0].nonzero()[:, 0]
        assert positions.tolist() == expected[f"{name}_{order[1]}"].tolist(), rule
        if rule == "low":
            augmented = torch.cat([case.inputs["ids"][:start], chosen, ids[0]])
            assert augmented.tolist() == expected["augmented_low_ids"].tolist()


def test_entropy_is_one_without_and_zero_with_a_clear_favourite() -> None:
    favourite = torch.tensor([0.0, 200.0, 0.0, -torch.inf])
    assert_close(normalized_entropy(torch.stack([torch.full((4,), 3.0), favourite])), torch.tensor([1.0, 0.0]))


def test_entropy_of_half_precision_is_computed_in_single_precision() -> None:
    logits = torch.randn(3, 50).bfloat16()
    assert_close(normalized_entropy(logits), normalized_entropy(logits.float()))


ENTROPY = torch.tensor([[0.2, 0.9, 0.1, 0.9, 0.25, 0.29, 0.3]])
EVERY = torch.ones_like(ENTROPY, dtype=torch.bool)


def positions(chosen: Tensor) -> list[int]:
    return chosen[0].nonzero()[:, 0].tolist()


def test_low_takes_the_first_tokens_below_the_threshold() -> None:
    assert positions(select_positions(ENTROPY, EVERY)) == [0, 2, 4, 5]
    assert positions(select_positions(ENTROPY, EVERY, limit=2)) == [0, 2]
    assert positions(select_positions(ENTROPY, EVERY & (ENTROPY != 0.1), threshold=0.25)) == [0]


def test_highest_takes_the_earlier_of_equals() -> None:
    assert positions(select_positions(ENTROPY, EVERY, rule="highest", limit=1)) == [1]
    assert positions(select_positions(ENTROPY, EVERY, rule="highest", limit=3)) == [1, 3, 6]
    assert positions(select_positions(ENTROPY, ENTROPY < 0.2, rule="highest", limit=3)) == [2]


def test_the_percentile_is_that_of_each_document_and_of_all_its_tokens() -> None:
    documents = torch.stack([torch.arange(1, 11) / 20, torch.arange(1, 11) / 10])
    chosen = select_positions(documents, documents != 0.1, rule="percentile", threshold=30.0)
    # Of each document's ten tokens three are below its own percentile; the second of one and first of other drop out.
    assert [row.nonzero()[:, 0].tolist() for row in chosen] == [[0, 2], [1, 2]]


@pytest.mark.parametrize("rule", ["low", "percentile", "highest"])
def test_padding_is_neither_chosen_nor_counted(rule: str) -> None:
    settings = {"rule": rule, "threshold": None if rule == "highest" else {"low": 0.5, "percentile": 40.0}[rule]}
    torch.manual_seed(0)
    logits, ids = 3 * torch.randn(1, 9, 6, dtype=torch.float64), torch.arange(9)[None]
    candidates = torch.ones(1, 9, dtype=torch.bool)
    expected = select_certain_tokens(logits, ids, candidates, **settings, limit=3)
    padded = torch.cat([logits, torch.full((1, 4, 6), torch.nan, dtype=torch.float64)], dim=1)
    padding = torch.arange(13)[None] >= 9
    chosen = select_certain_tokens(
        padded, torch.arange(13)[None], torch.ones_like(padding), **settings, limit=3, padding=padding
    )
    assert len(chosen[0]) > 0
    assert torch.equal(chosen[0], expected[0])


@pytest.mark.parametrize("rule", ["low", "percentile", "highest"])
def test_predictions_that_are_not_numbers_are_never_chosen(rule: str) -> None:
    entropy = torch.full((1, 4), torch.nan)
    assert not select_positions(entropy, entropy.isnan(), rule=rule).any()


@pytest.mark.parametrize("rule", ["low", "percentile", "highest"])
def test_a_document_may_be_empty(rule: str) -> None:
    nothing = torch.zeros(1, 0)
    (chosen,) = select_certain_tokens(torch.zeros(1, 0, 4), nothing.long(), nothing.bool(), rule=rule)
    assert chosen.tolist() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "lowest"}, "rule must be one of low, percentile, highest, got 'lowest'"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"rule": "highest", "threshold": 0.3}, "has no threshold, got 0.3"),
        ({"threshold": 30.0}, "rule 'low' must be between 0 and 1, got 30.0"),
        ({"rule": "percentile", "threshold": 101.0}, "rule 'percentile' must be between 0 and 100, got 101.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    # Checked annotations would refuse an unknown rule first.
    with unchecked_annotations(), pytest.raises(ValueError, match=re.escape(message)):
        select_positions(ENTROPY, EVERY, **settings)


def test_a_vocabulary_of_one_word_has_no_entropy() -> None:
    with pytest.raises(ValueError, match="at least 2 words, got 1"):
        normalized_entropy(torch.zeros(2, 1))
