from itertools import permutations

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_vision.matching import focal_cost, hungarian, matching_cost


def test_assignment_has_the_smallest_cost_of_all_permutations() -> None:
    cost = torch.randn(4, 5, 3)
    matched = hungarian(cost, torch.ones(4, 3, dtype=torch.bool))
    for matrix, owner in zip(cost, matched, strict=True):
        found = sum(matrix[query, item] for query, item in enumerate(owner.tolist()) if item >= 0)
        totals = [sum(matrix[query, item] for item, query in enumerate(chosen)) for chosen in permutations(range(5), 3)]
        assert_close(found, min(totals))


def test_a_batch_is_matched_like_each_of_its_items() -> None:
    cost, allowed = torch.randn(6, 4, 5), torch.rand(6, 5) < 0.6
    alone = [hungarian(cost[row : row + 1], allowed[row : row + 1]) for row in range(6)]
    assert torch.equal(hungarian(cost, allowed), torch.cat(alone))


def test_objects_that_take_no_part_are_never_assigned() -> None:
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    matched = hungarian(torch.tensor([0.0, -9.0, 0.0]).expand(2, 4, 3), allowed)
    assert sorted(matched[0].tolist()) == [-1, -1, 0, 2]
    assert matched[1].tolist() == [-1] * 4


def test_costs_that_are_not_finite_are_chosen_last() -> None:
    cost = torch.tensor([[[float("nan"), 5.0], [1.0, float("inf")]]])
    assert hungarian(cost, torch.ones(1, 2, dtype=torch.bool)).tolist() == [[1, 0]]


def test_cost_equals_a_loop_over_pairs() -> None:
    logits, boxes, labels, objects = torch.randn(4, 3), torch.rand(4, 4), torch.tensor([2, 0]), torch.rand(2, 4)
    cost = matching_cost(logits, boxes, labels, objects, weights=(1.0, 10.0, 100.0))
    focal = focal_cost(logits, labels)
    for query in range(4):
        for item in range(2):
            distance = (boxes[query] - objects[item]).abs().sum()
            overlap = _generalized_iou(boxes[query].tolist(), objects[item].tolist())
            assert_close(cost[query, item], focal[query, item] + 10 * distance - 100 * overlap, atol=1e-3, rtol=1e-4)


def _generalized_iou(first: list[float], second: list[float]) -> float:
    edges = [[box[axis] + side * box[axis + 2] / 2 for side in (-1, 1)] for axis in (0, 1) for box in (first, second)]
    shared, hull = 1.0, 1.0
    for (low, high), (other_low, other_high) in (edges[:2], edges[2:]):
        shared *= max(0.0, min(high, other_high) - max(low, other_low))
        hull *= max(high, other_high) - min(low, other_low)
    union = first[2] * first[3] + second[2] * second[3] - shared
    return shared / union - (hull - union) / hull


def test_class_cost_is_what_the_focal_loss_would_change() -> None:
    logits = torch.randn(3, 2)
    p, zero = logits.sigmoid(), torch.zeros_like(logits)
    positive = 0.25 * (1 - p) ** 2 * F.binary_cross_entropy_with_logits(logits, zero + 1, reduction="none")
    negative = 0.75 * p**2 * F.binary_cross_entropy_with_logits(logits, zero, reduction="none")
    labels = torch.tensor([1, 0, 1])
    assert_close(focal_cost(logits, labels), (positive - negative)[:, labels], atol=1e-5, rtol=1e-5)
