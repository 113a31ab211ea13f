import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.calibration import ScoreScale

NUMBERS = st.floats(-100, 100, width=32)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), st.lists(NUMBERS, min_size=1, max_size=9))
def test_scaled_scores_are_half_at_the_threshold_and_keep_their_order(ends: list[float], scores: list[float]) -> None:
    scale = ScoreScale(*ends)
    raw = torch.tensor([*scores, *ends]).sort().values
    scaled = scale.scale(raw)
    assert (scaled.diff() >= 0).all()
    assert ((scaled >= 0.5) == scale.is_anomalous(raw)).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1


@pytest.mark.parametrize("ends", [(1.0, 0.5, 2.0), (0.0, 3.0, 2.0), (0.0, float("nan"), 1.0), (0.0, 1.0, float("inf"))])
def test_ends_that_do_not_rise_are_refused(ends: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="low <= threshold <= high"):
        ScoreScale(*ends)


def test_score_just_below_the_threshold_is_below_one_half() -> None:
    threshold = torch.tensor(0.7)
    below = torch.nextafter(threshold, torch.tensor(0.0))
    assert ScoreScale(-1000.0, threshold.item(), 5.0).scale(below) < 0.5
