from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_vision.matr import MatrCriterion, MatrOutput
from mnemic_vision.matr.criterion import diou_loss, hull_overlap
from mnemic_vision.matr.labels import NO_END, WindowTargets

WINDOW = 8


def output(seed: int = 0, lanes: int = 4) -> MatrOutput:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(lanes, 3, 5), (lanes, 3, 4), (lanes, 3, 4), (lanes, 3), (lanes,)]
    return MatrOutput(*(torch.randn(shape, generator=generator).requires_grad_() for shape in shapes))


def targets(lanes: int = 4, *, is_empty: bool = False) -> WindowTargets:
    classes = torch.full((lanes, 3), 4)
    regions, offsets = torch.zeros(lanes, 3, dtype=torch.long), torch.zeros(lanes, 3, 2)
    offsets[..., 1] = NO_END
    if not is_empty:
        classes[:, 0], regions[:, 0] = torch.arange(lanes) % 4, torch.arange(lanes) % 4
        offsets[:, 0] = torch.tensor([0.4, 0.1])
    return WindowTargets(classes, regions, offsets, torch.arange(lanes) % 2 == 0)


def losses(criterion: MatrCriterion, out: MatrOutput, wanted: WindowTargets) -> Tensor:
    return torch.stack(list(vars(criterion(out, wanted)).values()))


def test_the_order_of_targets_does_not_matter() -> None:
    wanted, order = targets(), torch.tensor([2, 0, 1])
    moved = replace(
        wanted, classes=wanted.classes[:, order], regions=wanted.regions[:, order], offsets=wanted.offsets[:, order]
    )
    criterion = MatrCriterion(WINDOW)
    assert_close(losses(criterion, output(), wanted), losses(criterion, output(), moved))


@pytest.mark.parametrize("is_focal", [True, False])
def test_a_batch_without_actions_has_finite_losses_and_gradients(is_focal: bool) -> None:
    out, criterion = output(), MatrCriterion(WINDOW, is_focal=is_focal)
    found = criterion(out, targets(is_empty=True))
    assert found.regions == found.l1 == found.diou == 0
    found.total().backward()
    assert out.classes.grad is not None
    assert out.classes.grad.isfinite().all()
    assert out.starts.grad is None or not out.starts.grad.any()


def test_the_true_region_is_trained_where_the_predicted_one_is_wrong() -> None:
    out, wanted = output(), targets(lanes=1)
    regions = torch.zeros(1, 3, 4)
    regions[..., 3] = 9.0  # all predict the last region, the true one is the first
    out = replace(out.rows(1), regions=regions.requires_grad_())
    for uses_true_region, region in ((False, 3), (True, 0)):
        out.starts.retain_grad()
        found = MatrCriterion(WINDOW, uses_true_region=uses_true_region)(out, wanted)
        (gradient,) = torch.autograd.grad(found.l1, out.starts)
        assert gradient.abs().sum((0, 1)).nonzero().flatten().tolist() == [region]


def test_equal_segments_have_no_diou_loss_and_disjoint_ones_more_than_1() -> None:
    segment = torch.tensor([[-5.0, -1.0]])
    assert diou_loss(segment, segment).item() == 0
    assert diou_loss(segment, torch.tensor([[3.0, 4.0]])).item() > 1


def test_the_overlap_of_disjoint_segments_is_negative() -> None:
    first, second = torch.tensor([0.0, 2.0]), torch.tensor([4.0, 8.0])
    assert hull_overlap(first, second).item() == -2 / 8
    assert hull_overlap(first, torch.tensor([1.0, 4.0])).item() == 1 / 4
