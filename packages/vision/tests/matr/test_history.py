import pytest

from mnemic_core.errors import UserError
from mnemic_vision.matr.history import History, Moment


def filled(count: int, limit: int = 8) -> History:
    history = History(limit)
    for index in range(count):
        history.add(Moment(float(index), flag=(index * 7 % 10) / 10, stored=index // 3))
    return history


@pytest.mark.parametrize("count", range(1, 70))
def test_entries_cover_the_stream_evenly_with_their_highest_flags(count: int) -> None:
    moments, every = filled(count, limit=1000).moments, filled(count).moments
    size = next(size for size in (1, 2, 4, 8, 16) if -(-count // size) <= 8)
    groups = [moments[start : start + size] for start in range(0, count, size)]
    assert every == [Moment(group[-1].time, max(each.flag for each in group), group[-1].stored) for group in groups]


def test_a_short_stream_is_kept_completely() -> None:
    assert [moment.time for moment in filled(8).moments] == [float(index) for index in range(8)]


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_a_limit_that_cannot_be_halved_is_refused(limit: int) -> None:
    with pytest.raises(UserError, match=f"limit must be an even number of moments, at least 2, got {limit}"):
        History(limit)
