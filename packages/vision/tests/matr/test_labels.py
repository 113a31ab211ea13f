import math

import pytest
import torch

from mnemic_vision.matr import LabelRule, MatrConfig
from mnemic_vision.matr.labels import FrameActions, window_targets

ACTIONS = [(3.2, 9.7, 0), (8.0, 30.5, 1), (31.0, 33.0, 2), (32.0, 34.5, 0), (33.0, 34.0, 1), (70.0, 71.0, 2)]
RULE = LabelRule(detect=4, anticipate=3)


def naive(config: MatrConfig, now: int) -> tuple[list[tuple[int, int, float, float]], bool]:
    """Return class, region and offsets of the actions to find at a frame, and its flag, as the reference says it."""
    window, found, flag = config.window, [], False
    for start, end, label in ACTIONS:
        if now - RULE.detect + 1 < end < now + RULE.anticipate:
            region = min(max(math.floor((now - start) / window), 0), config.capacity + 1)
            found.append((label, region, (now - start) / window - region, (now - end) / window))
        shared = min(now, end) - max(now - window, start)
        union = window + end - start - shared
        flag |= shared / max(union, 1) > RULE.min_overlap
    nearest = sorted(found, key=lambda each: abs(each[3]))[: config.num_queries]
    return [each for each in found if each in nearest], flag


@pytest.mark.parametrize("now", range(0, 80))
def test_targets_equal_the_rule_written_as_a_loop(config: MatrConfig, now: int) -> None:
    expected, flag = naive(config, now)
    columns = [list(column) for column in zip(*ACTIONS, strict=True)]
    found = window_targets(FrameActions.from_lists(*columns), torch.tensor([now]), config, RULE)
    rows = zip(found.classes[0].tolist(), found.regions[0].tolist(), *found.offsets[0].T.tolist(), strict=True)
    actions = [row for row in rows if row[0] < config.num_classes]
    assert [row[:2] for row in actions] == [row[:2] for row in expected]
    for row, wanted in zip(actions, expected, strict=True):
        assert row[2:] == pytest.approx(wanted[2:], abs=1e-6)
    assert bool(found.flag[0]) == flag


def test_of_too_many_actions_those_that_end_nearest_are_kept(config: MatrConfig) -> None:
    actions = FrameActions.from_lists([0.0] * 5, [9.0, 11.5, 10.2, 9.8, 8.0], [0, 1, 2, 0, 1])
    found = window_targets(actions, torch.tensor([10]), config, LabelRule(4, 4))
    ends = 10 - config.window * found.offsets[0, :, 1]
    assert ends.tolist() == pytest.approx([9.0, 10.2, 9.8], abs=1e-4)


def test_a_stream_without_actions_has_background_only(config: MatrConfig) -> None:
    found = window_targets(FrameActions.from_lists([], [], []), torch.arange(5), config)
    assert (found.classes == config.num_classes).all()
    assert not found.flag.any()
