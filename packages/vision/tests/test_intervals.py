import numpy as np

from mnemic_vision.intervals import Interval, PairedInterval, interval, paired


def test_interval_holds_the_middle_95_percent() -> None:
    assert interval(7.0, np.arange(1001) / 10) == Interval(7.0, 2.5, 97.5)


def test_undefined_samples_do_not_count() -> None:
    assert interval(1.0, np.array([np.nan, 2.0])) == Interval(1.0, 2.0, 2.0)
    assert paired(1.0, np.array([np.nan, 2.0])) == PairedInterval(1.0, 2.0, 2.0, 1.0)


def test_ties_count_half_of_a_win() -> None:
    assert paired(0.0, np.array([-1.0, 0.0, 0.0, 1.0])).share_first_better == 0.5
    assert paired(0.0, np.array([0.0, 0.0, 1.0, 1.0])).share_first_better == 0.75
