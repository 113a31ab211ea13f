from dataclasses import replace
from math import inf

import pytest

from mnemic_core.errors import UserError
from mnemic_vision.matr.emission import Candidate, EmissionRule, Emitter, overlaps, suppress

FIRST = Candidate(label=0, score=0.6, start=1.0, end=3.0, seen=3.2)
BETTER = replace(FIRST, score=0.9, start=1.2, end=3.1, seen=3.4)
OTHER = Candidate(label=0, score=0.5, start=5.0, end=7.0, seen=7.0)


def test_instances_of_other_classes_do_not_overlap() -> None:
    assert overlaps(FIRST, BETTER, 0.3)
    assert not overlaps(FIRST, replace(BETTER, label=1), 0.3)


def test_short_instances_are_compared_with_a_second() -> None:
    short = Candidate(label=0, score=0.6, start=1.0, end=1.2, seen=1.2)
    assert not overlaps(short, short, 0.3)  # 0.2 s shared of at least 1 s


def test_suppression_keeps_the_first_of_each_cluster() -> None:
    assert suppress([FIRST, BETTER, OTHER], (), 0.3) == [FIRST, OTHER]
    assert suppress([FIRST, OTHER], [BETTER], 0.3) == [OTHER]


def test_the_first_instance_counts_without_a_delay() -> None:
    emitter = Emitter(EmissionRule())
    assert emitter.push([FIRST], 3.2) == [FIRST]
    assert emitter.push([BETTER], 3.4) == []


def test_an_instance_waits_until_it_has_ended() -> None:
    emitter = Emitter(EmissionRule())
    assert emitter.push([FIRST], 2.9) == []
    assert emitter.push([FIRST], 3.0) == [FIRST]


def test_with_a_delay_the_best_instance_is_emitted_when_it_is_due() -> None:
    emitter = Emitter(EmissionRule(delay=0.5))
    assert emitter.push([FIRST], 3.2) == []
    assert emitter.push([BETTER], 3.4) == []
    assert emitter.push([], 3.7) == [replace(BETTER, seen=3.7)]
    assert emitter.push([FIRST], 3.8) == emitter.push([], 9.0) == []


def test_what_is_held_comes_out_at_the_end() -> None:
    emitter = Emitter(EmissionRule(delay=5.0))
    emitter.push([FIRST], 3.2)
    emitter.push([OTHER], 7.0)
    assert emitter.flush(7.0) == [replace(FIRST, seen=7.0), OTHER]
    assert emitter.flush(7.0) == []


def test_results_are_forgotten_after_the_horizon() -> None:
    emitter, endless = Emitter(EmissionRule(), horizon=10.0), Emitter(EmissionRule(), horizon=inf)
    for each in (emitter, endless):
        each.push([FIRST], 3.2)
        each.push([], 13.5)
    assert (len(emitter.recent), len(endless.recent)) == (0, 1)


def test_a_restored_emitter_continues() -> None:
    emitter, other = Emitter(EmissionRule(delay=1.0)), Emitter(EmissionRule(delay=1.0))
    emitter.push([FIRST], 3.2)
    other.load_state_dict(emitter.state_dict())
    assert other.push([BETTER], 4.5) == emitter.push([BETTER], 4.5) != []


def test_rules_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="delay must be at least 0"):
        EmissionRule(delay=-1.0)
