from collections.abc import Callable
from dataclasses import replace

import torch
from torch.testing import assert_close
from torchvision.ops import box_iou

from mnemic_vision.boxes import cxcywh_to_xyxy
from mnemic_vision.memotr import ClipBatch, Memotr, MemotrConfig, Target, build_criterion
from mnemic_vision.memotr.aids.criteria import DenoisingCriterion
from mnemic_vision.memotr.aids.denoising import Denoising, allowed_between, denoise
from mnemic_vision.memotr.aids.proposals import DISTINCT_IOU, DenseProposals, ProposalQueries
from mnemic_vision.memotr.criterion import LabeledTracks
from mnemic_vision.memotr.losses import pad_targets

Build = Callable[[MemotrConfig], Memotr]


def proposals(boxes: torch.Tensor, scores: list[float]) -> DenseProposals:
    logits = torch.tensor(scores).logit()[None, :, None]
    return DenseProposals(logits, boxes[None], boxes[None, :, :2], torch.zeros(1, len(scores), dtype=torch.bool))


def test_queries_start_at_the_best_proposals_that_are_distinct(config: MemotrConfig) -> None:
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.301, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.2, 0.8, 0.1, 0.1]])
    head = ProposalQueries(2, config.dim, 1)
    assert head._select(proposals(boxes, [0.8, 0.9, 0.5, 0.4]))[0].tolist() == [1, 2]
    assert head._select(proposals(boxes[:1].expand(4, 4), [0.4, 0.9, 0.5, 0.8]))[0].tolist() == [1, 3]


def test_distinct_queries_do_not_overlap_much(config: MemotrConfig) -> None:
    torch.manual_seed(0)
    count = 40
    boxes = torch.cat([torch.rand(count, 2), torch.full((count, 2), 0.2)], dim=-1)
    head = ProposalQueries(5, config.dim, 1)
    chosen = boxes[head._select(proposals(boxes, torch.rand(count).tolist()))[0]]
    overlap = box_iou(cxcywh_to_xyxy(chosen), cxcywh_to_xyxy(chosen)) - torch.eye(5)
    assert overlap.max() <= DISTINCT_IOU


def test_padding_gives_no_queries(config: MemotrConfig) -> None:
    given = proposals(torch.rand(8, 4), [0.1] * 4 + [0.9] * 4)
    given.padding[0, 4:] = True
    head = ProposalQueries(3, config.dim, 1)
    assert (head._select(given)[0] < 4).all()


def test_noised_queries_never_reach_the_others(
    config: MemotrConfig, build: Build, make_clip: Callable[..., ClipBatch]
) -> None:
    clip = make_clip([3, 1], frames=1)
    for two_stage in (False, True):
        model = build(replace(config, two_stage=two_stage, denoising_groups=2)).train()
        tracks = model.init_tracks(2)
        tracks.valid[0, :3] = True
        tracks.query[0, :3] = torch.randn(3, config.dim)
        plain = model(clip.images[:, 0], clip.padding, tracks)
        given = model.get_submodule("denoising")(pad_targets(clip.targets[0]))
        noised, denoised = denoise(model, given, clip.images[:, 0], clip.padding, tracks)
        assert len(denoised) == config.decoder_layers
        assert all(layer.boxes.shape[1] == given.content.shape[1] for layer in denoised)
        assert noised.num_detect == plain.num_detect
        assert noised.padding.shape == plain.padding.shape
        used = ~plain.padding
        for layer, expected in zip(noised.layers, plain.layers, strict=True):
            assert_close(layer.boxes[used], expected.boxes[used], atol=1e-5, rtol=1e-5)
            assert_close(layer.logits[used], expected.logits[used], atol=1e-5, rtol=1e-4)


def test_outside_training_nothing_is_noised(
    config: MemotrConfig, build: Build, make_clip: Callable[..., ClipBatch]
) -> None:
    clip, model = make_clip([3], frames=1), build(replace(config, denoising_groups=2))
    criterion = build_criterion(model)
    assert isinstance(criterion, DenoisingCriterion)
    given = (model, clip.images[:, 0], clip.padding, LabeledTracks.start(model.init_tracks(1)), clip.targets[0])
    noised, plain = criterion.step(*given)[0], criterion.criterion.step(*given)[0]
    assert torch.equal(noised.aux.label, plain.aux.label)
    model.train()
    assert not torch.equal(criterion.step(*given)[0].aux.label, criterion.criterion.step(*given)[0].aux.label)


def test_a_group_attends_to_itself_and_the_others_but_not_vice_versa() -> None:
    owner = torch.tensor([0, 0, 1, 1])
    allowed = allowed_between(owner, num_others=2)
    for query in range(6):
        for key in range(6):
            is_foreign = key < 4 and (query >= 4 or owner[query] != owner[key])
            assert allowed[query, key] == (not is_foreign)


def test_each_group_holds_every_object_once_to_restore_and_once_to_reject(config: MemotrConfig) -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.4, 0.6, 0.1, 0.3]])
    targets = [
        Target(boxes, torch.tensor([0, 1]), torch.tensor([0, 1])),
        Target(boxes[:1], torch.tensor([1]), torch.tensor([0])),
    ]
    noised = Denoising(3, config.num_classes, config.dim)(pad_targets(targets))
    assert noised.objects[0].tolist() == [0, 1, -1, -1] * 3
    assert noised.objects[1].tolist() == [0, -1, -1, -1] * 3
    assert noised.padding[1].tolist() == [False, True] * 6
    assert noised.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    moved = noised.reference.sigmoid()[0].reshape(3, 2, 2, 4) - boxes
    share = moved.abs() / torch.cat([boxes[:, 2:] / 2, boxes[:, 2:]], dim=-1)
    assert (share[:, 0] <= 0.5 + 1e-3).all()
    assert (share[:, 1] >= 0.5 - 1e-3).all()
    assert (share[:, 1] <= 1.0 + 1e-2).all()


def test_without_objects_there_is_one_padded_query_of_each_kind(config: MemotrConfig) -> None:
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    noised = Denoising(2, config.num_classes, config.dim)(pad_targets([none]))
    assert noised.padding.tolist() == [[True] * 4]
    assert noised.objects.tolist() == [[-1] * 4]
