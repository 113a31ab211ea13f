from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.loading import load_exactly
from mnemic_vision.memotr import Memotr, MemotrConfig, build_memotr, import_detector, load_official
from mnemic_vision.memotr.embeddings import sine_boxes
from mnemic_vision.memotr.weights import convert_official

Build = Callable[[MemotrConfig], Memotr]
Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, inner: int) -> Shapes:
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def ffn(name: str, config: MemotrConfig) -> Shapes:
    dim, hidden = config.dim, config.ffn_dim
    return linear(f"{name}linear1", hidden, dim) | linear(f"{name}linear2", dim, hidden)


def attention(name: str, dim: int) -> Shapes:
    inner = {f"{name}.in_proj_weight": (3 * dim, dim), f"{name}.in_proj_bias": (3 * dim,)}
    return inner | linear(f"{name}.out_proj", dim, dim)


def deformable(name: str, config: MemotrConfig, points: int) -> Shapes:
    dim, samples = config.dim, config.num_heads * config.num_levels * points
    shapes = linear(f"{name}.sampling_offsets", 2 * samples, dim) | linear(f"{name}.attention_weights", samples, dim)
    return shapes | linear(f"{name}.value_proj", dim, dim) | linear(f"{name}.output_proj", dim, dim)


def official_queries(config: MemotrConfig) -> Shapes:
    dim, queries = config.dim, config.num_queries
    if config.detector == "dab":
        decoder = "transformer.decoder."
        heads = linear(f"{decoder}ref_point_head.layers.0", dim, 2 * dim)
        heads |= linear(f"{decoder}ref_point_head.layers.1", dim, dim)
        heads |= linear(f"{decoder}query_scale.layers.0", dim, dim) | linear(f"{decoder}query_scale.layers.1", dim, dim)
        return heads | {"det_anchor": (queries, 4), "det_query_embed": (queries, dim)}
    return {"det_query_embed": (queries, 2 * dim)} | linear("transformer.reference_points", 2, dim)


def official_heads(config: MemotrConfig) -> Shapes:
    dim, shapes = config.dim, {}
    for layer in range(config.decoder_layers):
        for alias in ("bbox_embed", "transformer.decoder.bbox_embed"):
            for index, width in enumerate((dim, dim, 4)):
                shapes |= linear(f"{alias}.{layer}.layers.{index}", width, dim)
        shapes |= linear(f"class_embed.{layer}", config.num_classes, dim)
    return shapes


def official_transformer(config: MemotrConfig) -> Shapes:
    dim, shapes = config.dim, {"transformer.level_embed": (config.num_levels, config.dim)}
    for layer in range(config.encoder_layers):
        name = f"transformer.encoder.layers.{layer}."
        shapes |= deformable(f"{name}self_attn", config, config.encoder_points) | ffn(name, config)
        shapes |= norm(f"{name}norm1", dim) | norm(f"{name}norm2", dim)
    for layer in range(config.decoder_layers):
        name = f"transformer.decoder.layers.{layer}."
        shapes |= attention(f"{name}self_attn", dim) | deformable(f"{name}cross_attn", config, config.decoder_points)
        shapes |= ffn(name, config)
        for index in (1, 2, 3):
            shapes |= norm(f"{name}norm{index}", dim)
    return shapes


def official_updater(config: MemotrConfig) -> Shapes:
    dim, name = config.dim, "query_updater."
    shapes = attention(f"{name}memory_attn", dim)
    for index, (out, inner) in enumerate(((2 * dim, 2 * dim), (dim, 2 * dim))):
        shapes |= linear(f"{name}short_memory_fusion.layers.{index}", out, inner)
    for index, inner in enumerate((2 * dim, dim)):
        shapes |= linear(f"{name}confidence_weight_net.0.layers.{index}", dim, dim)
        shapes |= linear(f"{name}query_pos_head.layers.{index}", dim, inner)
    for part in ("memory", "query_feat"):
        shapes |= (
            norm(f"{name}{part}_norm", dim) | ffn(f"{name}{part}_ffn.", config) | norm(f"{name}{part}_ffn.norm", dim)
        )
    if config.detector == "deformable":
        shapes |= linear(f"{name}linear_pos1", dim, dim) | linear(f"{name}linear_pos2", dim, dim)
        shapes |= norm(f"{name}norm_pos", dim)
    return shapes


def official_image(model: Memotr) -> Shapes:
    """Return backbone and projections; the backbone's own names are those of its library in both."""
    config, channels = model.config, model.backbone.channels
    shapes = {
        f"backbone.backbone.backbone.{name}": tuple(t.shape) for name, t in model.backbone.body.state_dict().items()
    }
    for level in range(config.num_levels):
        inner, size = (channels[level], 1) if level < len(channels) else (channels[-1], 3)
        shapes |= {f"feature_projs.{level}.0.weight": (config.dim, inner, size, size)}
        shapes |= {f"feature_projs.{level}.0.bias": (config.dim,)} | norm(f"feature_projs.{level}.1", config.dim)
    return shapes


def official_layout(model: Memotr) -> Shapes:
    config = model.config
    parts = [part(config) for part in (official_queries, official_heads, official_transformer, official_updater)]
    return official_image(model) | parts[0] | parts[1] | parts[2] | parts[3]


def official_weights(model: Memotr) -> dict[str, Tensor]:
    """Return random weights; the two names of a box head hold the same."""
    torch.manual_seed(1)
    weights = {name: torch.rand(shape) for name, shape in official_layout(model).items()}
    for name in weights:
        if name.startswith("bbox_embed."):
            weights[f"transformer.decoder.{name}"] = weights[name]
    return weights


@pytest.mark.parametrize(
    ("changes", "entries", "parameters"),
    [
        ({}, 636, 50_356_878),
        ({"detector": "deformable", "ffn_dim": 1024}, 635, 42_882_016),
        ({"num_classes": 8}, 636, 50_367_672),
    ],
    ids=["dancetrack", "deformable", "bdd100k"],
)
def test_released_models_have_their_published_size(changes: dict[str, Any], entries: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_memotr(MemotrConfig(**changes))
    layout = official_layout(model)
    assert len(layout) == entries
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    converted = convert_official({name: torch.zeros(()).expand(shape) for name, shape in layout.items()})
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == {
        name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
    }


@pytest.fixture(params=["dab", "deformable"])
def model(config: MemotrConfig, build: Build, request: pytest.FixtureRequest) -> Memotr:
    return build(replace(config, detector=request.param, backbone="test_convnext"))


def save_release(weights: dict[str, Tensor], path: Path) -> None:
    """Write what the official trainer writes."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [12])
    states = {"start_epoch": 20, "global_iters": 1000}
    contents = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "states": states}
    torch.save({"model": weights} | contents, path)


def test_a_release_is_loaded_bit_for_bit(model: Memotr, tmp_path: Path) -> None:
    weights = official_weights(model)
    save_release(weights, tmp_path / "release.pth")
    load_official(model, tmp_path / "release.pth")
    loaded, converted = model.state_dict(), convert_official(weights)
    assert loaded.keys() == converted.keys()
    assert all(torch.equal(loaded[name], converted[name]) for name in loaded)
    values = sorted(float(tensor.double().sum()) for tensor in loaded.values())
    aliases = {name for name in weights if name.startswith("transformer.decoder.bbox_embed.")}
    assert values == sorted(float(weights[name].double().sum()) for name in weights.keys() - aliases)


def test_weights_that_do_not_fit_are_refused_by_name(model: Memotr, tmp_path: Path) -> None:
    weights = official_weights(model)
    del weights["class_embed.0.bias"]
    weights["motion.weight"] = torch.zeros(2)
    weights["transformer.level_embed"] = torch.zeros(7, 32)
    save_release(weights, tmp_path / "release.pth")
    message = (
        r"release\.pth does not fit this model \(missing class_heads\.0\.bias; left over motion\.weight; "
        r"other shape: encoder\.level_embed is \(7, 32\), expected \(2, 32\)\): check its kind, parts and sizes$"
    )
    before = model.class_heads[0].weight.clone()
    with pytest.raises(ValueError, match=message):
        load_official(model, tmp_path / "release.pth")
    assert torch.equal(model.class_heads[0].weight, before)


def test_many_problems_are_counted(model: Memotr) -> None:
    with pytest.raises(ValueError, match=r"missing \S+, \S+, \S+, \S+ and \d+ more"):
        load_exactly(model, {"a": torch.zeros(1)}, "x.pth")


def test_two_copies_of_a_box_head_that_differ_are_refused(model: Memotr) -> None:
    weights = official_weights(model)
    weights["bbox_embed.0.layers.0.bias"] = weights["bbox_embed.0.layers.0.bias"] + 1
    with pytest.raises(ValueError, match=r"bbox_embed\.0\.layers\.0\.bias and its other copy in the checkpoint differ"):
        convert_official(weights)


def coco_detector(model: Memotr) -> dict[str, Tensor]:
    """Return the weights of a COCO detector of the same sizes under its own names."""
    names = {"backbone.backbone.backbone.": "backbone.0.body.", "feature_projs.": "input_proj."}
    names |= {"det_anchor": "refpoint_embed.weight"}
    is_dab = model.config.detector == "dab"
    names |= {"det_query_embed": "tgt_embed.weight" if is_dab else "query_embed.weight"}
    detector = {}
    for key, value in official_weights(model).items():
        if key.startswith("query_updater."):
            continue
        for ours, theirs in names.items():
            key = theirs + key.removeprefix(ours) if key.startswith(ours) else key  # noqa: PLW2901
        detector[key] = torch.rand(91, *value.shape[1:]) if key.startswith("class_embed.") else value
    return detector


@pytest.mark.parametrize(("num_classes", "rows"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3])])
def test_a_detector_gives_all_but_the_memory(
    config: MemotrConfig, build: Build, tmp_path: Path, num_classes: int, rows: list[int]
) -> None:
    model = build(replace(config, num_classes=num_classes))
    detector = coco_detector(model)
    torch.save({"model": detector}, tmp_path / "coco.pth")
    untouched = import_detector(model, tmp_path / "coco.pth")
    assert {name.split(".")[0] for name in untouched} == {"track_memory"}
    assert torch.equal(model.class_heads[1].weight, detector["class_embed.1.weight"][rows])
    assert torch.equal(model.detect_queries.anchors, detector["refpoint_embed.weight"])
    assert torch.equal(model.projections[0][0].weight, detector["input_proj.0.0.weight"])


def test_an_imported_dab_detector_has_its_box_embedding(config: MemotrConfig, build: Build, tmp_path: Path) -> None:
    model = build(config)
    detector = coco_detector(model)
    torch.save({"model": detector}, tmp_path / "coco.pth")
    import_detector(model, tmp_path / "coco.pth")
    boxes = torch.rand(5, 4)
    in_their_order = sine_boxes(boxes[:, [1, 0, 2, 3]], config.dim)
    prefix = "transformer.decoder.ref_point_head.layers."
    theirs = [detector[f"{prefix}{name}"] for name in ("0.weight", "0.bias", "1.weight", "1.bias")]
    expected = (in_their_order @ theirs[0].T + theirs[1]).relu() @ theirs[2].T + theirs[3]
    assert_close(model.decoder.positions.head(sine_boxes(boxes, config.dim)), expected)


def test_eight_classes_and_another_number_of_queries_start_at_random(
    config: MemotrConfig, build: Build, tmp_path: Path
) -> None:
    model = build(replace(config, num_classes=8))
    torch.save({"model": coco_detector(build(replace(config, num_queries=9)))}, tmp_path / "coco.pth")
    before = model.class_heads[0].weight.clone()
    untouched = import_detector(model, tmp_path / "coco.pth")
    assert {"detect_queries.anchors", "detect_queries.content", "class_heads.0.weight"} <= set(untouched)
    assert torch.equal(model.class_heads[0].weight, before)


def test_a_detector_of_another_kind_or_size_is_refused(config: MemotrConfig, build: Build, tmp_path: Path) -> None:
    torch.save({"model": coco_detector(build(replace(config, detector="deformable")))}, tmp_path / "points.pth")
    with pytest.raises(
        ValueError, match=r"points\.pth is not a detector of this kind \(left over detect_queries.reference_points"
    ):
        import_detector(build(config), tmp_path / "points.pth")
    torch.save({"model": coco_detector(build(replace(config, ffn_dim=64)))}, tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"wide\.pth has other sizes than this model \(.*linear1.*\): check dim"):
        import_detector(build(config), tmp_path / "wide.pth")
