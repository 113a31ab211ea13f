from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.testing import assert_close
from torchvision.ops import box_iou

from mnemic_core import MemoryConfig
from mnemic_vision.boxes import cxcywh_to_xyxy
from mnemic_vision.matching import matching_cost
from mnemic_vision.memotr import (
    ClipBatch,
    ClipCriterion,
    FrameOutput,
    Memotr,
    MemotrConfig,
    Target,
    build_criterion,
    build_memotr,
    clip_loss,
)
from mnemic_vision.memotr.aids.criteria import AloneCriterion
from mnemic_vision.memotr.criterion import (
    AugmentedSelection,
    ConfidentSelection,
    Criterion,
    LabeledSlots,
    LabeledTracks,
)
from mnemic_vision.memotr.losses import pad_targets
from mnemic_vision.memotr.output import LayerPrediction, observe
from mnemic_vision.memotr.queries import DetectQueries
from mnemic_vision.memotr.tracks import empty_slots

Build = Callable[[MemotrConfig], Memotr]
MakeClip = Callable[..., ClipBatch]
DETECT, CAPACITY, CLASSES = 5, 4, 3
VARIANTS: list[dict[str, Any]] = [
    {"detector": "dab"},
    {"detector": "deformable"},
    {"detector": "dab", "two_stage": True, "denoising_groups": 2},
    {"detector": "dab", "two_stage": True, "denoising_groups": 2, "detect_alone": True},
    {"detector": "dab", "memory": MemoryConfig("window")},
    {"detector": "dab", "memory": MemoryConfig()},
]


def boxes(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 4) * 0.4 + 0.2


def random_scene(seed: int = 0) -> tuple[Memotr, FrameOutput, LabeledTracks, list[Target]]:
    """Return an answer for two streams; some tracks are of objects that are there, of absent ones and of none."""
    torch.manual_seed(seed)
    sizes = {"dim": 32, "num_heads": 4, "memory_heads": 4, "ffn_dim": 32, "num_levels": 1, "backbone_levels": 1}
    config = MemotrConfig(
        **sizes,
        encoder_layers=1,
        decoder_layers=2,
        num_classes=CLASSES,
        capacity=CAPACITY,
        backbone="test_efficientnet",
    )
    model = build_memotr(config)
    queries = DETECT + CAPACITY
    layers = tuple(LayerPrediction(torch.randn(2, queries, CLASSES), boxes(2, queries)) for _ in range(3))
    tracks = LabeledTracks.start(model.init_tracks(2))
    tracks.valid[0, :3], tracks.valid[1, :2] = True, True
    tracks.ids[0, :3], tracks.ids[1, :2] = torch.tensor([12, 99, -1]), torch.tensor([21, 20])
    output = FrameOutput(
        layers=layers,
        hidden=torch.randn(2, queries, 32),
        newborn=torch.randn(2, queries, 32),
        reference=torch.randn(2, queries, 4),
        padding=torch.cat([torch.zeros(2, DETECT, dtype=torch.bool), ~tracks.valid], dim=1),
        detect=DetectQueries(torch.randn(2, DETECT, 32), torch.randn(2, DETECT, 4)),
    )
    targets = [
        Target(boxes(count), torch.randint(CLASSES, (count,)), torch.arange(count) + first)
        for count, first in ((4, 10), (3, 20))
    ]
    return model, output, tracks, targets


def test_batched_assignment_equals_a_loop_over_samples_tracks_and_layers() -> None:
    _, output, tracks, targets = random_scene()
    assignment = ClipCriterion(merge_layer=1).assign(output, tracks, pad_targets(targets))
    for row, target in enumerate(targets):
        place = {identity: index for index, identity in enumerate(target.ids.tolist())}
        carried = [
            place.get(int(tracks.ids[row, slot]), -1) if tracks.valid[row, slot] else -1 for slot in range(CAPACITY)
        ]
        assert assignment.track[row].tolist() == carried
        for index, layer in enumerate(output.layers):
            free = [item for item in range(len(place)) if index < 1 or item not in carried]
            cost = matching_cost(layer.logits[row, :DETECT], layer.boxes[row, :DETECT], target.labels, target.boxes)
            detect = [-1] * DETECT
            for query, column in zip(*linear_sum_assignment(cost[:, free].numpy()), strict=True):
                detect[query] = free[column]
            passive = [-1] * CAPACITY if index < 1 else carried
            assert assignment.layers[index][row].tolist() == detect + passive
        assert assignment.detect[row].tolist() == detect


def test_labels_equal_a_loop_and_an_absent_object_keeps_its_overlap() -> None:
    _, output, tracks, targets = random_scene()
    tracks.iou[:] = 0.7
    objects = pad_targets(targets)
    criterion = ClipCriterion()
    assignment = criterion.assign(output, tracks, objects)
    seen, detections = criterion.label(*observe(tracks, output), assignment, objects)
    for row, target in enumerate(targets):
        overlap = box_iou(cxcywh_to_xyxy(output.boxes[row]), cxcywh_to_xyxy(target.boxes))
        for query, item in enumerate(assignment.detect[row].tolist()):
            assert detections.ids[row, query] == (target.ids[item] if item >= 0 else -1)
            assert_close(detections.iou[row, query], overlap[query, item] if item >= 0 else torch.tensor(0.0))
        for slot, item in enumerate(assignment.track[row].tolist()):
            assert_close(seen.iou[row, slot], overlap[DETECT + slot, item] if item >= 0 else torch.tensor(0.7))


def candidates(
    track: list[tuple[int, float, float]], detect: list[tuple[int, float, float]]
) -> tuple[LabeledTracks, LabeledSlots]:
    """Return one stream's tracks and detections from (identity, overlap, score)."""
    model, *_ = random_scene()
    parts = []
    for rows, size in ((track, CAPACITY), (detect, len(detect))):
        slots = empty_slots(1, size, 32, 32, CLASSES)
        slots |= {"matched": torch.full((1, size), -1), "iou": torch.zeros(1, size)}
        slots["boxes"] = boxes(1, size)
        for slot, (identity, overlap, score) in enumerate(rows):
            slots["ids"][0, slot], slots["iou"][0, slot] = identity, overlap
            slots["logits"][0, slot] = torch.tensor(score).logit()
            slots["valid"][0, slot] = rows is track
        parts.append(slots)
    blank = LabeledTracks.start(model.init_tracks(1))
    return blank.append(LabeledSlots(**parts[0]))[0], LabeledSlots(**parts[1])


def ids_of(tracks: LabeledTracks) -> list[int]:
    return tracks.ids[tracks.valid].tolist()


def test_objects_and_confident_false_positives_are_carried_on() -> None:
    seen, detections = candidates(
        [(1, 0.9, 0.1), (2, 0.3, 0.9), (-1, 0.9, 0.2)], [(-1, 0.0, 0.4), (-1, 0.0, 0.6), (5, 0.8, 0.1)]
    )
    carried, newborn = ClipCriterion().carry(seen, detections)
    assert ids_of(carried) == [1, -1, 5, -1]  # the second overlaps too little; objects come before false positives
    assert newborn[0].tolist() == [False, False, True, True]


def augmented(**rates: float) -> ClipCriterion:
    return ClipCriterion(selection=AugmentedSelection(**rates))


def test_augmentation_drops_good_tracks_and_carries_no_other_false_positive() -> None:
    seen, detections = candidates([(1, 0.9, 0.9), (2, 0.3, 0.9), (-1, 0.9, 0.9)], [(-1, 0.0, 0.9), (5, 0.8, 0.9)])
    rare = 1e-9
    assert ids_of(augmented(drop_rate=rare).carry(seen, detections)[0]) == [1, 5]
    assert ids_of(augmented(drop_rate=1.0).carry(seen, detections)[0]) == []
    assert ids_of(augmented(drop_rate=1.0, insert_rate=1.0).carry(seen, detections)[0]) == []


def test_augmentation_inserts_the_unmatched_detection_that_overlaps_most() -> None:
    seen, detections = candidates([(1, 0.9, 0.9)], [(-1, 0.0, 0.9)] * 3)
    expected = box_iou(cxcywh_to_xyxy(seen.boxes[0, :1]), cxcywh_to_xyxy(detections.boxes[0]))[0].argmax()
    carried, newborn = augmented(insert_rate=1.0).carry(seen, detections)
    assert ids_of(carried) == [1, -1]
    assert torch.equal(carried.boxes[newborn][0], detections.boxes[0, expected])


def test_augmentation_inserts_all_unmatched_detections_where_there_are_few() -> None:
    seen, detections = candidates([(1, 0.9, 0.9), (2, 0.9, 0.9)], [(-1, 0.0, 0.1)] * 2)
    detections = replace(detections, boxes=detections.boxes[:, :1].expand(-1, 2, -1))
    assert ids_of(augmented(insert_rate=1.0).carry(seen, detections)[0]) == [1, 2, -1, -1]


def test_augmentation_happens_at_its_rates() -> None:
    torch.manual_seed(0)
    seen, detections = candidates([(1, 0.9, 0.9)], [(-1, 0.0, 0.9)] * 2)
    rows = torch.zeros(2000, dtype=torch.long)
    many = augmented(drop_rate=0.25, insert_rate=0.5)
    carried, _ = many.carry(seen.index_select(rows), detections.index_select(rows))
    assert_close((carried.ids == 1).any(dim=1).float().mean(), torch.tensor(0.75), atol=0.05, rtol=0.0)
    inserted = (carried.valid & (carried.ids < 0)).any(dim=1)
    assert_close(inserted.float().mean(), torch.tensor(0.375), atol=0.05, rtol=0.0)


def test_alone_detect_queries_are_matched_to_all_objects_and_those_of_a_good_track_are_not_born_again() -> None:
    _, output, tracks, targets = random_scene()
    objects = pad_targets(targets)
    criterion = AloneCriterion()
    assignment = criterion.assign(output, tracks, objects)
    for layer in assignment.layers:
        for row, target in enumerate(targets):
            assert {*layer[row, :DETECT].tolist()} >= {*range(len(target.ids))}
    # Of the objects with identities 12 and 21, a track covers the first well and the second badly.
    for row, item in ((0, 2), (1, 1)):
        output.boxes[row, DETECT] = objects.boxes[row, item] + (0.0 if row == 0 else 0.5)
    _, detections = criterion.label(*observe(tracks, output), assignment, objects)
    assert 12 not in detections.ids[0]
    assert {10, 11, 13} <= {*detections.ids[0].tolist()}
    assert {21, 22} <= {*detections.ids[1].tolist()}


def test_alone_a_detection_on_a_track_or_on_a_better_detection_is_not_born() -> None:
    seen, detections = candidates(
        [(1, 0.9, 0.9)], [(-1, 0.0, 0.9), (-1, 0.0, 0.8), (5, 0.8, 0.2), (-1, 0.0, 0.9), (6, 0.9, 0.9)]
    )
    place = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]])
    seen.boxes[0, 0], detections.boxes[0] = place[0], torch.tensor([0.5, 0.5, 0.1, 0.1])
    detections.boxes[0, 0], detections.boxes[0, 1] = place[0] + 0.01, place[1]
    detections.boxes[0, 4] = torch.tensor([0.2, 0.8, 0.1, 0.1])
    # One false positive lies on the track, one on the matched detection 5, one is alone: only that one is a negative.
    assert ids_of(AloneCriterion().carry(seen, detections)[0]) == [1, 5, 6, -1]


def test_passive_tracks_are_supervised_by_the_class_loss_of_early_layers_only() -> None:
    _, output, tracks, targets = random_scene()
    with_quirk, assignment, _ = ClipCriterion().frame(output, tracks, targets)
    without, other, _ = ClipCriterion(supervise_passive_tracks=False).frame(output, tracks, targets)
    assert all(torch.equal(*pair) for pair in zip(assignment.layers, other.layers, strict=True))
    for name in ("label", "l1", "giou"):
        assert torch.equal(getattr(with_quirk.last, name), getattr(without.last, name))
    assert torch.equal(with_quirk.aux.l1, without.aux.l1)
    logits = output.layers[0].logits[:, DETECT:][tracks.valid]
    passive = 0.75 * logits.sigmoid() ** 2 * torch.nn.functional.softplus(logits)
    assert_close(with_quirk.aux.label - without.aux.label, passive.mean(dim=-1).sum(), atol=1e-4, rtol=1e-4)


def test_a_clip_is_divided_by_its_objects_but_never_by_less_than_one() -> None:
    _, output, tracks, targets = random_scene()
    criterion = ClipCriterion(loss_weights=(1.0, 2.0, 3.0))
    frame, _, _ = criterion.frame(output, tracks, targets)
    parts = frame.last + frame.aux
    expected = parts.label + 2 * parts.l1 + 3 * parts.giou
    assert_close(criterion.total([frame, frame], 7.0), 2 * expected / 7)
    assert_close(criterion.total([frame], 0.0), expected)


def gradients(model: Memotr, clip: ClipBatch, criterion: Criterion) -> tuple[torch.Tensor, dict[str, Any]]:
    model.zero_grad()
    loss, _, _ = clip_loss(model, criterion, clip)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("counts", [[2, 1], [0, 0]], ids=["objects", "empty"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_parameter_gets_a_finite_gradient(
    config: MemotrConfig, build: Build, make_clip: MakeClip, variant: dict[str, Any], counts: list[int], frames: int
) -> None:
    model = build(replace(config, **variant)).train()
    loss, found = gradients(model, make_clip(counts, frames), build_criterion(model))
    assert loss.isfinite()
    assert [name for name, gradient in found.items() if gradient is None] == []
    assert [name for name, gradient in found.items() if not gradient.isfinite().all()] == []


def test_late_objects_and_frames_without_tracks_can_be_trained(
    config: MemotrConfig, build: Build, make_clip: MakeClip
) -> None:
    model, clip = build(config).train(), make_clip([3, 1], frames=3)
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    some = clip.targets[0]
    for frames in ([[nothing, nothing], some, some], [some, [nothing, nothing], [nothing, some[1]]]):
        loss, found = gradients(model, replace(clip, targets=frames), ClipCriterion(selection=ConfidentSelection(1.0)))
        assert loss.isfinite()
        assert all(gradient is not None and gradient.isfinite().all() for gradient in found.values())


def test_a_batch_of_clips_has_the_loss_of_its_clips(config: MemotrConfig, build: Build, make_clip: MakeClip) -> None:
    model, clip = build(config).train(), make_clip([3, 1], frames=3)
    together, _, _ = clip_loss(model, ClipCriterion(), clip, num_objects=1.0)
    alone = []
    for row in range(2):
        targets = [[frame[row]] for frame in clip.targets]
        part = ClipBatch(clip.images[row : row + 1], clip.padding[row : row + 1], targets)
        alone.append(clip_loss(model, ClipCriterion(), part, num_objects=1.0)[0])
    assert_close(together, alone[0] + alone[1], atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_few_steps_on_one_clip_lower_its_loss(
    config: MemotrConfig, build: Build, make_clip: MakeClip, variant: dict[str, Any]
) -> None:
    model, clip = build(replace(config, dropout=0.0, **variant)).train(), make_clip([2], frames=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(4):
        loss, _ = gradients(model, clip, build_criterion(model))
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
