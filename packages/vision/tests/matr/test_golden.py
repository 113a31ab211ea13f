"""Parity with the official code on every case of the golden folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.nn.functional import one_hot
from torch.testing import assert_close

from mnemic_core.loading import load_exactly
from mnemic_core.state import MemoryState
from mnemic_vision.matr import Clock, Matr, MatrConfig, MatrOutput
from mnemic_vision.matr.criterion import MatrCriterion, matched_targets, matching_cost
from mnemic_vision.matr.emission import EmissionRule, Emitter, find_candidates
from mnemic_vision.matr.labels import FrameActions, LabelRule, WindowTargets, window_targets
from mnemic_vision.matr.schedule import CyclicSchedule
from mnemic_vision.matr.weights import convert_official

pytestmark = pytest.mark.golden

FOLDER = Path(__file__).parents[1] / "golden"
CASES = golden_cases("matr", FOLDER, "stream")


def official_config(given: dict[str, Any], masks_empty: bool = False) -> MatrConfig:
    """Return our settings for those of the official code."""
    kinds = given["rgb"] + given["flow"]
    return MatrConfig(
        modalities=(given["feat_dim"] // kinds,) * kinds,
        num_classes=given["num_of_class"] - 1,
        dim=given["hidden_dim"],
        ffn_dim=given["ffn_dim"],
        encoder_layers=given["enc_layers"],
        encoder_heads=given["e_nheads"],
        decoder_layers=given["dec_layers"],
        decoder_heads=given["d_nheads"],
        window=given["num_frame"],
        num_queries=given["num_queries"],
        capacity=given["max_memory_len"],
        memory_stride=int(given["memory_sampler"].removeprefix("gap")),
        masks_empty=masks_empty,
        dropout=given["drop_rate"],
    )


def official_model(case: GoldenCase) -> Matr:
    model = Matr(official_config(case.config))
    converted, _ = convert_official(case.state)
    neutral = {name: getattr(model, name) for name in ("feature_mean", "feature_scale")}
    load_exactly(model, neutral | converted, case.name)
    return model.eval()


def check_queue(case: GoldenCase, name: str, model: Matr, state: MemoryState) -> None:
    """Compare the stored frames; of a window the memory holds those that are read."""
    ages = torch.tensor(model.past_windows.ages)
    window = model.config.window
    expected = case.outputs[f"{name}.memory_queue"].unflatten(0, (-1, window))[:, window - 1 - ages]
    queue = state.segments.ordered()  # lane segment frame dim, the unused ones last
    empty = state.segments.capacity - state.segments.count
    for lane, number in enumerate(empty.tolist()):
        ours = queue[lane].roll(number, dims=0)
        assert_close(ours, expected[..., lane, :], atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("rule", ["pred", "gt"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stream(case: GoldenCase, rule: str) -> None:
    model, video = official_model(case), None
    for index in range(case.info["segments"]):
        tokens = model.project(case.inputs[f"{index}.inputs"])
        now = case.inputs[f"{index}.current_frame"]
        if case.info["videos"][index] != video:
            state, video = model.init_state(len(tokens)), case.info["videos"][index]
        store = case.inputs[f"{index}.segment_flag"].bool() if rule == "gt" else None
        case.assert_output(f"{index}.projected", tokens.transpose(0, 1))
        case.assert_output(f"{index}.encoded", model.encode(tokens).transpose(0, 1))
        output, state = model(tokens, state, now, store, case.config["flag_threshold"])
        name = f"{index}.{rule}"
        case.assert_output(f"{name}.pred_cls", output.classes)
        case.assert_output(f"{name}.pred_stcls", output.regions)
        case.assert_output(f"{name}.pred_reg", torch.cat([output.starts, output.ends[..., None]], dim=-1))
        case.assert_output(f"{name}.pred_flag", output.flag.sigmoid()[:, None])
        check_queue(case, name, model, state)


@pytest.mark.parametrize("case", golden_cases("matr", FOLDER, "labels"), ids=lambda case: case.name)
def test_labels(case: GoldenCase) -> None:
    config, names = official_config(case.config), case.info["label_names"]
    rule = LabelRule(case.config["detect_len"], case.config["anti_len"])
    videos, ends = case.info["video_per_window"], case.outputs["window_end"]
    for video in dict.fromkeys(videos):
        rows = torch.tensor([index for index, name in enumerate(videos) if name == video])
        given = case.info["annotation"]["database"][video]
        rate = case.info["feature_lengths"][video] / given["duration"]
        starts, stops = ([rate * each["segment"][side] for each in given["annotations"]] for side in (0, 1))
        labels = [names.index(each["label"]) for each in given["annotations"]]
        actions = FrameActions.from_lists(starts, stops, labels)
        found = window_targets(actions, ends[rows].long() - 1, config, rule)
        check_labels(case, rows, found, config)


def check_labels(case: GoldenCase, rows: Tensor, found: WindowTargets, config: MatrConfig) -> None:
    expected = {name: case.outputs[name][rows] for name in ("cls_label", "reg_label", "stcls_label", "flag_label")}
    has_action = found.classes < config.num_classes
    regions = one_hot(found.regions, config.num_regions) * has_action[..., None]
    assert_close(one_hot(found.classes, config.num_classes + 1).to(expected["cls_label"]), expected["cls_label"])
    assert_close(regions.to(expected["stcls_label"]), expected["stcls_label"])
    assert_close(found.offsets.to(expected["reg_label"]), expected["reg_label"], atol=1e-5, rtol=1e-4)
    assert_close(found.flag.to(expected["flag_label"]).flatten(), expected["flag_label"].flatten())


def criterion_inputs(case: GoldenCase, kind: str) -> tuple[dict[str, Tensor], MatrOutput, WindowTargets]:
    given = {name.removeprefix(f"{kind}."): value for name, value in case.inputs.items() if name.startswith(kind)}
    leaves = {name: given[f"pred_{name}"].clone().requires_grad_() for name in ("cls", "reg", "stcls", "flag")}
    output = MatrOutput(
        leaves["cls"],
        leaves["stcls"],
        leaves["reg"][..., :-1],
        leaves["reg"][..., -1],
        leaves["flag"][:, 0].logit(),
    )
    targets = WindowTargets(
        given["cls_label"].argmax(-1),
        given["stcls_label"].argmax(-1),
        given["reg_label"].float(),
        given["segment_flag"].bool(),
    )
    return leaves, output, targets


@pytest.mark.parametrize("is_focal", [True, False])
@pytest.mark.parametrize("kind", ["mixed", "no_action"])
@pytest.mark.parametrize("case", golden_cases("matr", FOLDER, "criterion"), ids=lambda case: case.name)
def test_criterion(case: GoldenCase, kind: str, is_focal: bool) -> None:
    window = case.config["num_frame"]
    leaves, output, targets = criterion_inputs(case, kind)
    case.assert_output(f"{kind}.cost", matching_cost(output, targets, window))
    losses = MatrCriterion(window, is_focal=is_focal)(output, targets)
    name = f"{kind}.{'focal' if is_focal else 'ce'}"
    official = {"cls": losses.classes, "reg_stcls": losses.regions, "reg_l1": losses.l1, "reg_diou": losses.diou}
    for part, loss in {**official, "flag": losses.flag}.items():
        case.assert_output(f"{name}.loss_{part}", loss.reshape(case.outputs[f"{name}.loss_{part}"].shape))
    case.assert_output(f"{name}.total", losses.total().reshape(case.outputs[f"{name}.total"].shape))
    losses.total().backward()
    for leaf, value in leaves.items():
        if (expected := case.outputs.get(f"{name}.grad_pred_{leaf}")) is not None:
            case.assert_output(f"{name}.grad_pred_{leaf}", value.grad.reshape(expected.shape))


@pytest.mark.parametrize("kind", ["mixed", "no_action"])
@pytest.mark.parametrize("case", golden_cases("matr", FOLDER, "criterion"), ids=lambda case: case.name)
def test_matching(case: GoldenCase, kind: str) -> None:
    _, output, targets = criterion_inputs(case, kind)
    predictions, wanted = (case.outputs[f"{kind}.match_{side}"].long() for side in ("pred", "tgt"))
    found = matched_targets(output, targets, case.config["num_frame"])
    for row in range(len(predictions)):  # background slots are equal, so contents are compared
        order = wanted[row][predictions[row].argsort()]
        assert_close(found.classes[row], targets.classes[row][order])
        assert_close(found.offsets[row], targets.offsets[row][order])


@pytest.mark.parametrize("case", golden_cases("matr", FOLDER, "postprocess"), ids=lambda case: case.name)
def test_postprocess(case: GoldenCase) -> None:
    rule = EmissionRule(
        score=case.config["cls_threshold"], overlap=case.config["nms_threshold"], min_length=None, horizon=None
    )
    names, detections = case.info["label_names"], []
    for video, frame_time in case.info["frame_to_time"].items():
        given = {name: case.inputs[f"{video}.{name}"] for name in ("pred_cls", "pred_stcls", "pred_reg")}
        starts, ends = given["pred_reg"][..., :-1], given["pred_reg"][..., -1]
        output = MatrOutput(given["pred_cls"], given["pred_stcls"], starts, ends, torch.zeros(len(ends)))
        now, emitter, instances = case.inputs[f"{video}.current_frame"].long(), Emitter(rule), []
        for candidates in find_candidates(output, now, Clock(frame_time), case.config["num_frame"], rule):
            detections += [
                [video, each.seen, each.start, each.end, names[each.label], each.score] for each in candidates
            ]
            instances += emitter.push(candidates, candidates[0].seen) if candidates else []
        assert [
            {"segment": [each.start, each.end], "score": each.score, "label": names[each.label], "gentime": each.seen}
            for each in instances
        ] == case.info["instances"][video]
    assert detections == case.info["per_frame_detections"]


@pytest.mark.parametrize("case", golden_cases("matr", FOLDER, "lr_schedule"), ids=lambda case: case.name)
def test_learning_rates(case: GoldenCase) -> None:
    schedule = CyclicSchedule()
    found = [schedule.learning_rate(epoch) for epoch in range(len(case.info["lr"]))]
    assert found == pytest.approx(case.info["lr"], rel=1e-6)
