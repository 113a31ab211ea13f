"""Parity with the official implementation, through the public classes and the converter of official checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_vision.matching import hungarian, matching_cost
from mnemic_vision.memotr import ClipCriterion, Memotr, MemotrConfig, Thresholds, advance, build_memotr, visible
from mnemic_vision.memotr.build import build_decoder, build_encoder, build_track_memory
from mnemic_vision.memotr.criterion import ConfidentSelection, LabeledSlots, LabeledTracks
from mnemic_vision.memotr.embeddings import logit, sine_boxes, sine_image
from mnemic_vision.memotr.encoder import EncodedImage, cell_centers
from mnemic_vision.memotr.losses import pad_targets
from mnemic_vision.memotr.model import project_levels
from mnemic_vision.memotr.output import FrameOutput, LayerPrediction, observe
from mnemic_vision.memotr.queries import DetectQueries, Queries
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.track_memory import TrackMemory
from mnemic_vision.memotr.tracks import TrackState, empty_slots
from mnemic_vision.memotr.weights import convert_official

pytestmark = pytest.mark.golden
FOLDER = Path(__file__).parent.parent / "golden"


def cases(prefix: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in golden_cases("memotr", FOLDER / "memotr", prefix=prefix)]


def config_of(case: GoldenCase, **changes: object) -> MemotrConfig:
    sizes = case.config
    return MemotrConfig(
        detector="deformable" if "ddetr" in case.name else "dab",
        dim=sizes["d"],
        num_heads=sizes["heads"],
        memory_heads=sizes["num_memory_attention_heads"],
        ffn_dim=sizes["ffn"],
        num_levels=sizes["levels"],
        encoder_points=sizes["enc_points"],
        decoder_points=sizes["dec_points"],
        encoder_layers=sizes["enc_layers"],
        decoder_layers=sizes["dec_layers"],
        merge_layer=sizes["merge"],
        num_queries=sizes["nd"],
        num_classes=sizes["nc"],
        update_threshold=sizes["upd"],
        memory=MemoryConfig("exponential", {"decay": sizes["lam"]}),
        **changes,  # type: ignore[arg-type]
    )


def part(state: dict[str, Tensor], prefix: str, inner: str) -> dict[str, Tensor]:
    """Convert the official weights of a part, whose keys lack ``prefix``, and return those of ``inner``."""
    converted = convert_official({prefix + key: value for key, value in state.items()})
    return {key.removeprefix(inner): value for key, value in converted.items() if key.startswith(inner)}


def close(actual: Tensor, expected: Tensor, case: GoldenCase, factor: float = 1.0) -> None:
    if expected.is_floating_point():
        assert_close(actual, expected, atol=case.tolerance * factor, rtol=1e-4 * factor)
    else:
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("case", cases("embeddings"))
def test_embeddings_and_logit(case: GoldenCase) -> None:
    close(sine_image(case.inputs["mask"], case.config["d"]), case.outputs["sine_image"], case)
    close(sine_boxes(case.inputs["boxes"], case.config["d"]), case.outputs["sine_box"], case)
    close(logit(case.inputs["probs"]), case.outputs["inverse_sigmoid"], case)


@pytest.mark.parametrize("case", cases("layers"))
def test_encoder_and_decoder_layer(case: GoldenCase) -> None:
    config, given, expected = config_of(case), case.inputs, case.outputs
    shapes = [tuple(shape) for shape in given["spatial_shapes"].tolist()]
    encoder, decoder = build_encoder(config).layers[0], build_decoder(config).layers[0]
    encoder.load_state_dict(part(_strip(case, "encoder_layer."), "transformer.encoder.layers.0.", "encoder.layers.0."))
    decoder.load_state_dict(part(_strip(case, "decoder_layer."), "transformer.decoder.layers.0.", "decoder.layers.0."))
    ratios = given["valid_ratios"]
    reference = cell_centers(ratios, shapes)[:, :, None] * ratios[:, None]
    close(reference, expected["encoder_reference_points"], case)
    tokens = encoder(given["src"], given["src_pos"], reference, shapes, given["padding_mask"])
    close(tokens, expected["encoder_layer"], case)
    image = EncodedImage(given["src"], given["padding_mask"], ratios, shapes)
    joint = decoder(given["tgt"], given["query_pos"], given["ref4"], image, given["query_mask"])
    close(joint, expected["decoder_layer_merge_true"], case)
    count = config.num_queries
    alone = [given[name][:, :count] for name in ("tgt", "query_pos", "ref4", "query_mask")]
    first = decoder(*alone[:3], image, alone[3])
    close(torch.cat([first, given["tgt"][:, count:]], dim=1), expected["decoder_layer_merge_false"], case)


def _strip(case: GoldenCase, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in case.state.items() if key.startswith(prefix)}


@pytest.mark.parametrize("case", cases("transformer"))
def test_transformer(case: GoldenCase) -> None:
    config, given = config_of(case), case.inputs
    encoder, decoder = build_encoder(config), build_decoder(config)
    encoder.load_state_dict(part(case.state, "transformer.", "encoder."))
    decoder.load_state_dict(part(case.state, "transformer.", "decoder."))
    levels = range(config.num_levels)
    image = encoder(*[[given[f"{name}{level}"] for level in levels] for name in ("src", "mask", "pos")])
    queries = Queries(given["query_embed"], given["ref_pts"], given["query_mask"], config.num_queries)
    decoded = decoder(queries, image)
    keep = ~given["query_mask"]
    for name, layers in (("hidden", decoded.hidden), ("inter_queries", decoded.inputs)):
        close(torch.stack(layers)[:, keep], case.outputs[name][:, keep], case, factor=5)
    close(decoded.references[0], case.outputs["init_reference"], case)
    refined = torch.stack(decoded.references[1:])
    close(refined[:, keep], case.outputs["inter_references"][:-1, keep], case, factor=5)


def slots_of(fields: dict[str, Tensor], config: MemotrConfig) -> dict[str, Tensor]:
    """Return `LabeledSlots` fields from the official fields of one sample."""
    count = len(fields["ids"])
    slots = empty_slots(1, count, config.query_dim, config.dim, config.num_classes)
    slots |= {"matched": torch.full((1, count), -1), "iou": torch.zeros(1, count)}
    names = {
        "ids": "ids",
        "labels": "labels",
        "disappear_time": "missed",
        "query_embed": "query",
        "ref_pts": "reference",
        "output_embed": "output",
        "last_output": "last_output",
        "boxes": "boxes",
        "logits": "logits",
        "matched_idx": "matched",
        "iou": "iou",
    }
    given = {ours: fields[theirs][None] for theirs, ours in names.items() if theirs in fields}
    return slots | given | {"valid": torch.ones(1, count, dtype=torch.bool)}


def state_of(fields: dict[str, Tensor], config: MemotrConfig, memory: TrackMemory, capacity: int) -> LabeledTracks:
    """Return a buffer that holds the official tracks of one sample, their long-term memory included."""
    blank = TrackState(
        **empty_slots(1, capacity, config.query_dim, config.dim, config.num_classes),
        memory=memory.init_memory(capacity),
        next_id=torch.zeros(1, dtype=torch.long),
    )
    state, added = LabeledTracks.start(blank).append(LabeledSlots(**slots_of(fields, config)))
    if "long_memory" not in fields:
        return state
    count = len(fields["long_memory"])
    values = torch.nn.functional.pad(fields["long_memory"], (0, 0, 0, capacity - count))
    long_term = memory.memory.write(memory.init_memory(capacity), values[:, None], padding=~added[0][:, None])
    return replace(state, memory=long_term)


def fields(case: GoldenCase, prefix: str, source: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in source.items() if key.startswith(prefix)}


def track_memory(case: GoldenCase, config: MemotrConfig) -> TrackMemory:
    module = build_track_memory(config)
    module.load_state_dict(part(case.state, "query_updater.", "track_memory."))
    return module


def compare_tracks(tracks: LabeledTracks, expected: dict[str, Tensor], case: GoldenCase, factor: float = 1.0) -> None:
    count = int(tracks.valid.sum())
    ours = {
        "ids": tracks.ids,
        "labels": tracks.labels,
        "disappear_time": tracks.missed,
        "query_embed": tracks.query,
        "ref_pts": tracks.reference,
        "output_embed": tracks.output,
        "last_output": tracks.last_output,
        "boxes": tracks.boxes,
        "logits": tracks.logits,
        "matched_idx": tracks.matched,
        "iou": tracks.iou,
        "long_memory": tracks.memory.to_dict()["long"].unflatten(0, tracks.valid.shape),
    }
    for name, value in ours.items():
        if name in expected:
            close(value[0, :count], expected[name], case, factor)


@pytest.mark.parametrize("case", cases("query_updater"))
def test_memory_update_at_inference(case: GoldenCase) -> None:
    config = config_of(case)
    module = track_memory(case, config)
    before = fields(case, "eval.prev.", case.inputs)
    newborn = LabeledSlots(**slots_of(fields(case, "eval.new.", case.inputs), config))
    state = state_of(before, config, module, capacity=len(before["ids"]) + newborn.valid.shape[1])
    carried, added = state.compact(state.valid & (state.ids >= 0)).append(newborn)
    compare_tracks(module(module.start(carried, added)), fields(case, "eval.tracks.", case.outputs), case)


@pytest.mark.parametrize("case", cases("query_updater"))
def test_memory_update_in_training(case: GoldenCase) -> None:
    config = config_of(case)
    module = track_memory(case, config)
    given = {key: value.clone().requires_grad_(value.is_floating_point()) for key, value in case.inputs.items()}
    before = fields(case, "train.prev.", given)
    parts = [slots_of(fields(case, f"train.{name}.", given), config) for name in ("new", "unmatched")]
    detections = LabeledSlots(**{key: torch.cat([part[key] for part in parts], dim=1) for key in parts[0]})
    state = state_of(before, config, module, capacity=len(before["ids"]) + detections.valid.shape[1])
    criterion = ClipCriterion(config.merge_layer, selection=ConfidentSelection(config.update_threshold))
    tracks = module(module.start(*criterion.carry(state, detections)))
    compare_tracks(tracks, fields(case, "train.tracks.", case.outputs), case)

    count = int(tracks.valid.sum())
    total = (tracks.query[0, :count] * case.inputs["train.grad_weight"][:count]).sum()
    expected = fields(case, "train.grad.", case.outputs)
    leaves = [given[f"train.{name}"] for name in expected]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True, retain_graph=True)
    for gradient, value in zip(gradients, expected.values(), strict=True):
        close(gradient, value, case)
    expected = fields(case, "train.paramgrad.", case.outputs)
    parameters = dict(module.named_parameters())
    names = [next(iter(part({name: torch.zeros(1)}, "query_updater.", "track_memory."))) for name in expected]
    gradients = torch.autograd.grad(total, [parameters[name] for name in names])
    for gradient, value in zip(gradients, expected.values(), strict=True):
        close(gradient, value, case, factor=5)


def targets_of(case: GoldenCase, frame: int | None = None) -> list[Target]:
    """Return the ground truth of every sample of the batch."""
    infix, gt = ("", "") if frame is None else (f"frame{frame}.", "gt_")
    samples = sorted({key.split(".")[0] for key in case.inputs if key.startswith("b") and key[1].isdigit()})
    found = []
    for sample in samples:
        boxes, labels = (case.inputs[f"{sample}.{infix}{gt}{name}"] for name in ("boxes", "labels"))
        ids = case.inputs.get(f"{sample}.{infix}{gt}ids", torch.arange(len(labels)))
        found.append(Target(boxes, labels, ids))
    return found


@pytest.mark.parametrize("case", cases("matcher"))
def test_matcher(case: GoldenCase) -> None:
    targets, weights = targets_of(case), case.config["matcher_costs"]
    objects = pad_targets(targets)
    for row, target in enumerate(targets):
        logits, boxes = case.inputs["pred_logits"][row], case.inputs["pred_boxes"][row]
        cost = matching_cost(
            logits, boxes, target.labels, target.boxes, tuple(float(weights[key]) for key in ("focal", "l1", "giou"))
        )
        close(cost, case.outputs[f"b{row}.cost"], case)
        matched = hungarian(cost[None], objects.valid[row : row + 1, : len(target.ids)])[0]
        (queries,) = (matched >= 0).nonzero(as_tuple=True)
        assert queries.tolist() == case.outputs[f"b{row}.query_idx"].tolist()
        assert matched[queries].tolist() == case.outputs[f"b{row}.gt_idx"].tolist()


def frame_output(case: GoldenCase, frame: int, padding: Tensor) -> FrameOutput:
    """Return the fixed predictions of a frame; they are leaves that ask for gradients."""
    given = fields(case, f"frame{frame}.", case.inputs)
    aux = sorted({key.split(".")[0] for key in given if key.startswith("aux")}, key=lambda name: int(name[3:]))
    names = [f"{name}." for name in aux] + [""]
    leaves = [[given[f"{name}pred_{kind}"].requires_grad_() for kind in ("logits", "bboxes")] for name in names]
    return FrameOutput(
        layers=tuple(LayerPrediction(*pair) for pair in leaves),
        hidden=given["outputs"],
        newborn=given[f"{aux[-1]}.queries"],
        reference=given["last_ref_pts"],
        padding=padding,
        detect=DetectQueries(*(given[name][:, : case.config["nd"]] for name in ("outputs", "init_ref_pts"))),
    )


@pytest.mark.parametrize("case", cases("criterion"))
def test_clip_criterion(case: GoldenCase) -> None:
    weights = [
        tuple(float(case.config[name][key]) for key in ("focal", "l1", "giou"))
        for name in ("loss_weights", "matcher_costs")
    ]
    criterion = ClipCriterion(case.config["merge"], weights[0], weights[1], ConfidentSelection(case.config["upd"]))
    config = config_of(case)
    model = build_memotr(_tiny(config))
    frames = sorted(
        {key.split(".")[0] for key in case.inputs if key.startswith("frame")}, key=lambda name: int(name[5:])
    )
    batch = case.inputs["frame0.pred_logits"].shape[0]
    capacity = max(case.inputs[f"{name}.pred_logits"].shape[1] for name in frames) - config.num_queries
    tracks, losses, outputs = LabeledTracks.start(model.init_tracks(batch, capacity)), [], []
    for index in range(len(frames)):
        # The official code has as many track queries as the longest sample; ours are cut to that number.
        count = case.inputs[f"frame{index}.pred_logits"].shape[1] - config.num_queries
        tracks = tracks.take(torch.arange(count).expand(batch, -1))
        padding = torch.cat([torch.zeros(batch, config.num_queries, dtype=torch.bool), ~tracks.valid], dim=1)
        assert torch.equal(padding, case.outputs[f"frame{index}.query_mask"])
        output = frame_output(case, index, padding)
        outputs.append(output)
        frame, assignment, objects = criterion.frame(output, tracks, targets_of(case, index))
        losses.append(frame)
        seen, detections = criterion.label(*observe(tracks, output), assignment, objects)
        _compare_roles(case, index, seen, detections)
        blank = LabeledTracks.start(model.init_tracks(batch, capacity + config.num_queries))
        grown = blank.append(LabeledSlots(**{name: getattr(seen, name) for name in LabeledSlots.slot_fields()}))[0]
        tracks, _ = criterion.carry(grown, detections)
        for row in range(batch):
            compare_tracks(_row(tracks, row), fields(case, f"b{row}.tracks_into_frame{index + 1}.", case.outputs), case)
        tracks = tracks.compact(tracks.valid)
    _compare_losses(case, criterion, losses, outputs)


def _tiny(config: MemotrConfig) -> MemotrConfig:
    return replace(config, backbone="resnet18", backbone_levels=1)


def _row(tracks: LabeledTracks, row: int) -> LabeledTracks:
    return tracks.index_select(torch.tensor([row]))


def _compare_roles(case: GoldenCase, frame: int, seen: LabeledTracks, detections: LabeledSlots) -> None:
    for row in range(len(seen.valid)):
        is_new = detections.ids[row] >= 0
        roles = {"prev": (seen, seen.valid[row]), "new": (detections, is_new), "unmatched": (detections, ~is_new)}
        for role, (slots, chosen) in roles.items():
            expected = fields(case, f"b{row}.frame{frame}.{role}.", case.outputs)
            ours = {"boxes": slots.boxes, "ids": slots.ids, "iou": slots.iou, "matched_idx": slots.matched}
            for name, value in ours.items():
                close(value[row][chosen], expected[name], case)


def _compare_losses(
    case: GoldenCase, criterion: ClipCriterion, losses: list[object], outputs: list[FrameOutput]
) -> None:
    names = {"label": "label_focal", "l1": "box_l1", "giou": "box_giou"}
    num_objects = float(case.outputs["n_gts"].sum())
    for layer, prefix in (("last", ""), ("aux", "aux_")):
        for ours, theirs in names.items():
            sums = torch.stack([getattr(getattr(frame, layer), ours) for frame in losses]).cumsum(0)
            for index, value in enumerate(sums):
                close(value, case.outputs[f"frame{index}.cumulative_{prefix}{theirs}_loss"], case, factor=10)
            close(sums[-1] / num_objects, case.outputs[f"normalised_{prefix}{theirs}_loss"], case)
    total = criterion.total(losses, num_objects)
    close(total, case.outputs["total_loss"], case)
    total.backward()
    for index, output in enumerate(outputs):
        for layer, prediction in enumerate(output.layers):
            name = f"grad.frame{index}." + ("" if layer == len(output.layers) - 1 else f"aux{layer}.")
            close(prediction.logits.grad, case.outputs[f"{name}pred_logits"], case)
            close(prediction.boxes.grad, case.outputs[f"{name}pred_bboxes"], case)


@pytest.mark.parametrize("case", cases("sequence"))
def test_whole_model_and_tracker_over_a_sequence(case: GoldenCase) -> None:
    sizes, config = case.config, config_of(case, capacity=64)
    model = build_memotr(_tiny(config)).eval()
    model.projections = project_levels(sizes["chans"], config.dim, config.num_levels)
    model.load_state_dict(_without_backbone(model) | convert_official(case.state))
    thresholds = Thresholds(sizes["det_t"], sizes["trk_t"], sizes["res_t"], sizes["miss"])
    padding = torch.ones(1, *sizes["pad"], dtype=torch.bool)
    padding[:, : sizes["img"][0], : sizes["img"][1]] = False
    tracks, original = model.init_tracks(1), torch.tensor([sizes["orig"]], dtype=torch.float32)
    for frame in range(sizes["frames"]):
        features = [case.inputs[f"frame{frame}.feat{level}"] for level in range(len(sizes["chans"]))]
        with torch.no_grad():
            output = model.detect(features, padding, tracks)
            _compare_output(case, frame, output, used=config.num_queries + int(tracks.valid.sum()))
            tracks = advance(model, tracks, output, thresholds)
        labeled = LabeledTracks.start(tracks)  # the official tracks have these fields at inference too
        compare_tracks(labeled, fields(case, f"frame{frame}.tracks.", case.outputs), case, factor=5)
        shown, boxes = visible(tracks, original, thresholds)
        assert tracks.ids[shown].tolist() == case.outputs[f"frame{frame}.result_ids"].tolist()
        assert_close(boxes[shown], case.outputs[f"frame{frame}.result_tlwh"], atol=0.05, rtol=1e-4)  # pixels


def _without_backbone(model: Memotr) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if key.startswith("backbone.")}


def _compare_output(case: GoldenCase, frame: int, output: FrameOutput, used: int) -> None:
    expected = fields(case, f"frame{frame}.", case.outputs)
    close(output.logits[:, :used], expected["pred_logits"], case, factor=5)
    close(output.boxes[:, :used], expected["pred_bboxes"], case, factor=5)
    close(output.hidden[:, :used], expected["outputs"], case, factor=5)
    close(output.reference[:, :used], expected["last_ref_pts"], case, factor=5)
    close(output.newborn[:, :used], expected["newborn_query"], case, factor=5)
    for index, layer in enumerate(output.layers[:-1]):
        close(layer.logits[:, :used], expected[f"aux{index}.pred_logits"], case, factor=5)
        close(layer.boxes[:, :used], expected[f"aux{index}.pred_bboxes"], case, factor=5)
