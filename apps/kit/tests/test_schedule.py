import math

import pytest

from mnemic_kit.schedule import warmup_share


def test_the_schedule_is_that_of_the_published_recipe() -> None:
    peak, warmup = 2e-3, 15000
    for step in (0, 100, 14999, 15000, 60000):
        number = step + 1
        published = peak * warmup**0.5 * min(number**-0.5, number * warmup**-1.5)
        assert peak * warmup_share(step, warmup) == pytest.approx(published)


def test_a_schedule_with_an_end_falls_to_zero_along_a_cosine() -> None:
    shares = [warmup_share(step, 5, total=25) for step in range(30)]
    assert max(shares) == shares[4] == 1.0
    assert shares[14] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)
    assert shares[24:] == pytest.approx([0.0] * 6)
    assert shares[4:25] == sorted(shares[4:25], reverse=True)


def test_warm_up_may_begin_above_zero() -> None:
    shares = [warmup_share(step, warmup=4, start=0.2) for step in range(4)]
    assert shares == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert warmup_share(7, warmup=4, start=0.2) == warmup_share(7, warmup=4)
