import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torchvision.ops import box_iou, generalized_box_iou

from mnemic_vision.boxes import cxcywh_to_xyxy
from mnemic_vision.memotr import Target
from mnemic_vision.memotr.aids.criteria import TOKENS_PER_OBJECT, proposal_losses
from mnemic_vision.memotr.aids.proposals import DenseProposals
from mnemic_vision.memotr.losses import Losses, Objects, matched_iou, pad_targets, set_losses


def random_targets(counts: list[int], num_classes: int = 3) -> list[Target]:
    return [
        Target(torch.rand(count, 4) * 0.4 + 0.1, torch.randint(num_classes, (count,)), torch.arange(count))
        for count in counts
    ]


def test_padding_targets_keeps_them_in_front() -> None:
    targets = random_targets([2, 0, 3])
    objects = pad_targets(targets)
    assert objects.valid.sum(dim=1).tolist() == [2, 0, 3]
    for row, target in enumerate(targets):
        for name in ("boxes", "labels", "ids"):
            assert torch.equal(getattr(objects, name)[row][objects.valid[row]], getattr(target, name))
    assert objects.ids[1].tolist() == [-1, -1, -1]


def test_targets_without_objects_have_one_column() -> None:
    objects = pad_targets(random_targets([0]))
    assert objects.boxes.shape == (1, 1, 4)
    assert not objects.valid.any()


def naive_focal(logit: float, is_class: bool) -> float:
    p = torch.tensor(logit).sigmoid().item()
    if is_class:
        return 0.25 * (1 - p) ** 2 * -torch.tensor(p).log().item()
    return 0.75 * p**2 * -torch.tensor(1 - p).log().item()


@pytest.mark.parametrize("average_classes", [True, False])
def test_set_losses_equal_a_loop_over_queries(average_classes: bool) -> None:
    torch.manual_seed(0)
    targets, logits, boxes = random_targets([3, 1]), torch.randn(2, 5, 3), torch.rand(2, 5, 4) * 0.4 + 0.1
    matched = torch.tensor([[2, -1, 0, -1, 1], [-1, -1, -1, 0, -1]])
    ignored = torch.tensor([[False, True, False, False, False], [False, False, False, False, True]])
    label, l1, giou = 0.0, 0.0, 0.0
    for row, target in enumerate(targets):
        for query, item in enumerate(matched[row].tolist()):
            if not ignored[row, query]:
                own = target.labels[item].item() if item >= 0 else None
                terms = [naive_focal(logits[row, query, k].item(), k == own) for k in range(3)]
                label += sum(terms) / (3 if average_classes else 1)
            if item >= 0:
                box, truth = boxes[row, query], target.boxes[item]
                l1 += (box - truth).abs().sum().item()
                giou += 1 - generalized_box_iou(cxcywh_to_xyxy(box[None]), cxcywh_to_xyxy(truth[None])).item()
    losses = set_losses(logits, boxes, matched, ignored, pad_targets(targets), average_classes)
    assert_close(torch.stack([losses.label, losses.l1, losses.giou]), torch.tensor([label, l1, giou]))


def test_a_batch_has_the_losses_of_its_samples() -> None:
    targets, logits, boxes = random_targets([3, 1]), torch.randn(2, 5, 3), torch.rand(2, 5, 4) * 0.4 + 0.1
    matched, ignored = torch.tensor([[2, -1, 0, -1, 1], [-1, -1, -1, 0, -1]]), torch.zeros(2, 5, dtype=torch.bool)
    both = set_losses(logits, boxes, matched, ignored, pad_targets(targets))
    alone = [
        set_losses(*(part[row : row + 1] for part in (logits, boxes, matched, ignored)), pad_targets([targets[row]]))
        for row in range(2)
    ]
    assert_close(both.weighted((1.0, 2.0, 3.0)), (alone[0] + alone[1]).weighted((1.0, 2.0, 3.0)))


def test_overlap_with_the_own_object_is_the_diagonal_of_all_overlaps() -> None:
    targets, boxes = random_targets([4]), torch.rand(1, 5, 4) * 0.4 + 0.1
    matched = torch.tensor([[3, -1, 0, 2, 2]])
    overlap = box_iou(cxcywh_to_xyxy(boxes[0]), cxcywh_to_xyxy(targets[0].boxes))
    expected = [overlap[query, item].item() if item >= 0 else 0.0 for query, item in enumerate(matched[0].tolist())]
    assert_close(matched_iou(boxes, matched, pad_targets(targets))[0], torch.tensor(expected))


def grid_proposals(side: int = 8) -> DenseProposals:
    """Return proposals of a square feature map; boxes lie around their token."""
    place = (torch.arange(side) + 0.5) / side
    centers = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1).reshape(1, -1, 2)
    boxes = torch.cat([centers, torch.full_like(centers, 0.2)], dim=-1).requires_grad_()
    logits = torch.randn(1, side * side, 2, requires_grad=True)
    return DenseProposals(logits, boxes, centers, torch.zeros(1, side * side, dtype=torch.bool))


def one_object(box: list[float]) -> Objects:
    return pad_targets([Target(torch.tensor([box]), torch.tensor([1]), torch.tensor([0]))])


def taken(proposals: DenseProposals, losses: Losses) -> Tensor:
    """Return which tokens have a box loss."""
    (gradient,) = torch.autograd.grad(losses.l1, proposals.boxes)
    return gradient[0].abs().sum(dim=-1) > 0


def test_proposals_inside_an_object_are_taken_for_it() -> None:
    proposals, box = grid_proposals(), [0.5, 0.4, 0.55, 0.6]
    chosen = taken(proposals, proposal_losses(proposals, one_object(box)))
    inside = ((proposals.centers[0] - torch.tensor(box[:2])).abs() <= torch.tensor(box[2:]) / 2).all(dim=-1)
    assert chosen.sum() == TOKENS_PER_OBJECT < inside.sum()
    assert (inside | ~chosen).all()


def test_an_object_smaller_than_a_cell_is_taken_by_the_tokens_around_it() -> None:
    proposals = grid_proposals()
    assert taken(proposals, proposal_losses(proposals, one_object([0.5, 0.5, 0.01, 0.01]))).any()


def test_proposals_at_padding_have_no_loss() -> None:
    proposals = grid_proposals()
    proposals.padding[0, ::2] = True
    objects = one_object([0.5, 0.4, 0.55, 0.6])
    losses = proposal_losses(proposals, objects)
    gradients = torch.autograd.grad(losses.weighted((1.0, 1.0, 1.0)), (proposals.logits, proposals.boxes))
    assert all(gradient[0, ::2].eq(0).all() for gradient in gradients)
    assert all(gradient[0, 1::2].ne(0).any() for gradient in gradients)


def test_proposals_without_objects_learn_low_scores() -> None:
    proposals = grid_proposals()
    losses = proposal_losses(proposals, pad_targets(random_targets([0])))
    gradient, boxes = torch.autograd.grad(losses.weighted((1.0, 1.0, 1.0)), (proposals.logits, proposals.boxes))
    assert (gradient > 0).all()
    assert boxes.eq(0).all()
