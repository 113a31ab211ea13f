import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_vision.memotr import (
    ClipBatch,
    FrameOutput,
    Memotr,
    MemotrConfig,
    Thresholds,
    TrackState,
    advance,
    build_memotr,
)
from mnemic_vision.memotr.aids.proposals import DenseProposals, ProposedQueries
from mnemic_vision.memotr.decoder import DecodedQueries
from mnemic_vision.memotr.encoder import EncodedImage
from mnemic_vision.memotr.output import LayerPrediction
from mnemic_vision.memotr.queries import DetectQueries, Queries

Build = Callable[[MemotrConfig], Memotr]
VARIANTS: list[dict[str, Any]] = [
    {"detector": "dab"},
    {"detector": "dab", "merge_layer": 0},
    {"detector": "deformable"},
    {"detector": "dab", "two_stage": True},
    {"detector": "dab", "two_stage": True, "detect_alone": True},
]


def thresholds_of(model: Memotr) -> Thresholds:
    """Return thresholds in the midst of the scores of untrained networks, so that tracks come and go."""
    config = model.config
    detect = 0.8 if config.two_stage else {"dab": 0.88, "deformable": 0.65}[config.detector]
    return Thresholds(detect=detect, track=0.55, miss_tolerance=1)


def video(streams: int, frames: int, seed: int = 0) -> Tensor:
    return torch.randn(frames, streams, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def paddings(widths: list[int]) -> Tensor:
    """Return the padding of images of 64 pixels' height and the given widths in canvases of 64x64."""
    return (torch.arange(64) >= torch.tensor(widths)[:, None])[:, None].expand(-1, 64, -1)


@torch.no_grad()
def stream(model: Memotr, images: Tensor, padding: Tensor) -> list[tuple[FrameOutput, TrackState]]:
    tracks, found = model.init_tracks(images.shape[1]), []
    for frame in images:
        output = model(frame.masked_fill(padding[:, None], 0), padding, tracks)
        tracks = advance(model, tracks, output, thresholds_of(model))
        found.append((output, tracks))
    return found


def assert_same_tracks(actual: TrackState, expected: TrackState) -> None:
    assert torch.equal(actual.valid, expected.valid)
    for name, tensor in expected.tensors().items():
        chosen = expected.valid if tensor.shape[:2] == expected.valid.shape else slice(None)
        if name.startswith("memory."):
            chosen = expected.valid.flatten()
        found = actual.tensors()[name]
        assert_close(found[chosen], tensor[chosen], atol=5e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("memory", ["exponential", "window", "none"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_streams_in_one_batch_are_tracked_like_one_by_one(
    config: MemotrConfig, build: Build, variant: dict[str, Any], memory: str
) -> None:
    model = build(replace(config, memory=MemoryConfig(memory), **variant))
    images, padding = video(streams=3, frames=4), paddings([64, 32, 48])
    together = stream(model, images, padding)
    counts = [tuple(tracks.valid.sum(dim=1).tolist()) for _, tracks in together]
    assert max(len(set(count)) for count in counts) > 1, counts  # the streams differ in their number of tracks
    for row in range(3):
        alone = stream(model, images[:, row : row + 1], padding[row : row + 1])
        for (_, tracks), (_, single) in zip(together, alone, strict=True):
            assert_same_tracks(tracks.index_select(torch.tensor([row])), single)


@pytest.mark.parametrize("detector", ["dab", "deformable"])
def test_alone_detect_queries_do_not_depend_on_tracks(
    config: MemotrConfig, build: Build, detector: Literal["dab", "deformable"]
) -> None:
    model = build(replace(config, detector=detector, detect_alone=True))
    image, padding, tracks = video(streams=1, frames=1)[0], paddings([64]), model.init_tracks(1)
    expected = model(image, padding, tracks)
    tracks.valid[0, :3] = True
    tracks.query[0, :3] = torch.randn(3, model.config.query_dim)
    output = model(image, padding, tracks)
    for layer, without in zip(output.layers, expected.layers, strict=True):
        assert_close(layer.boxes[:, : output.num_detect], without.boxes[:, : output.num_detect])
        assert_close(layer.logits[:, : output.num_detect], without.logits[:, : output.num_detect])
    joint = build(replace(config, detector=detector))(image, padding, tracks)
    assert not torch.allclose(joint.logits[:, : output.num_detect], expected.logits[:, : output.num_detect])


def test_permuting_streams_permutes_results(config: MemotrConfig, build: Build) -> None:
    model, images, padding = build(config), video(streams=3, frames=3), paddings([64, 32, 48])
    order = torch.tensor([2, 0, 1])
    permuted = stream(model, images[:, order], padding[order])
    for (_, tracks), (_, expected) in zip(permuted, stream(model, images, padding), strict=True):
        assert_same_tracks(tracks, expected.index_select(order))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_unused_slots_never_influence_used_ones(config: MemotrConfig, build: Build, variant: dict[str, Any]) -> None:
    model = build(replace(config, **variant))
    images, padding = video(streams=2, frames=2), paddings([64, 64])
    _, tracks = stream(model, images[:1], padding)[-1]
    unused = ~tracks.valid

    def fill_unused(tensor: Tensor) -> Tensor:
        """Fill unused slots; the memory has one row a slot of any stream."""
        slots = unused if tensor.shape[:2] == unused.shape else unused.flatten()
        slots = slots.reshape(*slots.shape, *[1] * (tensor.dim() - slots.dim()))
        return torch.where(slots, 1e4, tensor) if tensor.is_floating_point() else tensor

    filled = tracks.map(fill_unused)
    with torch.no_grad():
        expected = advance(model, tracks, model(images[1], padding, tracks), thresholds_of(model))
        output = model(images[1], padding, filled)
        for part in (output.hidden, *output.layers[-1].__dict__.values()):
            part[:, output.num_detect :][unused] = torch.nan
        assert_same_tracks(advance(model, filled, output, thresholds_of(model)), expected)


def padded_features(config: MemotrConfig) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return feature maps, the same ones in a canvas of twice the size, and the padding of that."""
    torch.manual_seed(0)
    features = [torch.randn(1, config.dim, *size) for size in ((6, 8), (3, 4))]
    wide = [nn.functional.pad(level, (0, level.shape[3], 0, level.shape[2])) for level in features]
    padding = torch.ones(1, 192, 256, dtype=torch.bool)
    padding[:, :96, :128] = False
    return features, wide, padding


def without_projections(model: Memotr) -> Memotr:
    """Their group norm uses the complete canvas, as in the official code; later layers must not."""
    model.projections = nn.ModuleList([nn.Identity(), nn.Identity()])
    return model


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_the_features_hold_at_padding_changes_nothing(
    config: MemotrConfig, build: Build, variant: dict[str, Any]
) -> None:
    model = without_projections(build(replace(config, **variant)))
    _, wide, padding = padded_features(config)
    filled = [level.clone() for level in wide]
    for level in filled:
        level[:, :, level.shape[2] // 2 :] = 100.0
        level[:, :, :, level.shape[3] // 2 :] = -100.0
    tracks = model.init_tracks(1)
    with torch.no_grad():
        expected, output = model.detect(wide, padding, tracks), model.detect(filled, padding, tracks)
    assert_close(output.boxes, expected.boxes, atol=1e-4, rtol=1e-4)
    assert_close(output.logits, expected.logits, atol=1e-4, rtol=1e-4)


def test_a_larger_padded_canvas_gives_the_same_tokens(config: MemotrConfig, build: Build) -> None:
    model = without_projections(build(config))
    features, wide, padding = padded_features(config)
    with torch.no_grad():
        image, canvas = model.encode(features, padding[:, :96, :128]), model.encode(wide, padding)
    assert_close(canvas.tokens[~canvas.padding], image.tokens[~image.padding], atol=1e-4, rtol=1e-4)
    assert_close(canvas.valid_ratios, image.valid_ratios / 2)


def test_a_larger_padded_canvas_gives_the_same_boxes(config: MemotrConfig, build: Build) -> None:
    """Only with learned query positions: those of DAB embed the box in the canvas, as in the official code."""
    model = without_projections(build(replace(config, detector="deformable")))
    features, wide, padding = padded_features(config)
    tracks = model.init_tracks(1)
    with torch.no_grad():
        expected, output = model.detect(features, padding[:, :96, :128], tracks), model.detect(wide, padding, tracks)
    count = config.num_queries
    assert_close(output.boxes[:, :count], expected.boxes[:, :count], atol=1e-4, rtol=1e-4)
    assert_close(output.logits[:, :count], expected.logits[:, :count], atol=1e-4, rtol=1e-4)


def test_levels_beyond_the_backbone_halve_the_last_map(config: MemotrConfig, build: Build) -> None:
    model = build(replace(config, num_levels=3))
    padding = torch.zeros(1, 96, 96, dtype=torch.bool)
    output = model(torch.randn(1, 3, 96, 96), padding, model.init_tracks(1))
    assert output.boxes.shape == (1, config.num_queries + config.capacity, 4)
    with pytest.raises(ValueError, match="num_levels must be at least the backbone's 2 maps, got 1"):
        build_memotr(replace(config, num_levels=1))


def test_two_stage_needs_as_many_tokens_as_queries(config: MemotrConfig) -> None:
    model = build_memotr(replace(config, two_stage=True, num_queries=21))
    with pytest.raises(ValueError, match="got 20 tokens for 21 queries: give larger images or fewer queries"):
        model(video(1, 1)[0], paddings([64]), model.init_tracks(1))


def test_an_untrained_network_has_low_scores(config: MemotrConfig) -> None:
    model = build_memotr(config).eval()
    output = model(video(1, 1)[0], paddings([64]), model.init_tracks(1))
    assert output.logits.sigmoid().max() < 0.1


def test_recomputing_the_encoder_changes_no_gradient(
    config: MemotrConfig, build: Build, make_clip: Callable[..., ClipBatch]
) -> None:
    clip = make_clip([2], frames=1)
    gradients = []
    for recompute in (False, True):
        model = build(replace(config, activation_checkpointing=recompute)).train()
        model(clip.images[:, 0], clip.padding, model.init_tracks(1)).boxes.sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture
def traceable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave shapes unchecked, also of what the network makes inside: compilers cannot trace through the checker."""
    frames = (EncodedImage, Queries, DecodedQueries, LayerPrediction, FrameOutput)
    for made in (*frames, DetectQueries, DenseProposals, ProposedQueries):
        monkeypatch.setattr(made, "__init__", inspect.unwrap(made.__init__))
    with unchecked_annotations():
        yield


@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("detector", ["dab", pytest.param("deformable", marks=pytest.mark.slow)])
def test_one_compiled_graph_serves_every_frame(config: MemotrConfig, build: Build, detector: str) -> None:
    model = build(replace(config, detector=detector, decoder_layers=2))
    images, padding = video(streams=2, frames=3), paddings([64, 48])
    expected = stream(model, images, padding)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    tracks = model.init_tracks(2)
    with torch.no_grad():
        for index, frame in enumerate(images):
            stance = "default" if index == 0 else "fail_on_recompile"
            with torch.compiler.set_stance(stance):
                output = compiled(frame.masked_fill(padding[:, None], 0), padding, tracks)
            assert_close(output.boxes, expected[index][0].boxes)
            tracks = advance(model, tracks, output, thresholds_of(model))


class Frame(nn.Module):
    """The network with tensors as its only output, as an exported program needs it."""

    def __init__(self, model: Memotr) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, padding: Tensor, tracks: TrackState) -> tuple[Tensor, ...]:
        output = self.model(images, padding, tracks)
        return output.logits, output.boxes, output.hidden, output.newborn, output.reference


@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("two_stage", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_frame_network_can_be_exported(config: MemotrConfig, build: Build, two_stage: bool) -> None:
    model = build(replace(config, two_stage=two_stage, decoder_layers=2))
    images, padding = video(streams=1, frames=2), paddings([48])
    _, tracks = stream(model, images[:1], padding)[-1]
    with torch.no_grad():
        program = torch.export.export(Frame(model), (images[0], padding, model.init_tracks(1))).module()
        for found, expected in zip(
            program(images[1], padding, tracks), Frame(model)(images[1], padding, tracks), strict=True
        ):
            assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_bfloat16_stays_close_to_float32_and_keeps_geometry_in_it(config: MemotrConfig, build: Build) -> None:
    model, images, padding = build(config), video(streams=1, frames=1)[0], paddings([64])
    tracks = model.init_tracks(1)
    with torch.no_grad():
        expected = model(images, padding, tracks)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(images, padding, tracks)
            after = advance(model, tracks, output, thresholds_of(model))
    assert output.boxes.dtype == output.reference.dtype == output.logits.dtype == torch.float32
    assert after.query.dtype == after.tensors()["memory.long"].dtype == torch.float32
    assert_close(output.boxes, expected.boxes, atol=0.05, rtol=0.0)
    assert_close(output.logits, expected.logits, atol=0.3, rtol=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "num_heads must divide dim, got dim=32, num_heads=5"),
        ({"dim": 36}, "dim must be a multiple of 32.*got 36"),
        ({"merge_layer": 3}, "merge_layer must be in 0..decoder_layers-1, got 3 of 3"),
        ({"detector": "deformable", "merge_layer": 0}, "needs merge_layer >= 1"),
        ({"detector": "deformable", "two_stage": True}, "need detector='dab'"),
        ({"memory": MemoryConfig("turing")}, "memory must be one that is read and written .*, got 'turing'"),
    ],
)
def test_settings_that_cannot_work_are_refused(config: MemotrConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_memotr(replace(config, **changes))
