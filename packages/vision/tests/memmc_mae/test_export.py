import atexit
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_vision.memmc_mae import (
    AnomalyDetector,
    Calibration,
    DetectorSettings,
    DrawRule,
    EncoderMemory,
    ErrorStatistics,
    FeatureConfig,
    MemMcMae,
    MemMcMaeConfig,
    OnnxDetector,
    ScoreRule,
    ScoreScale,
    export_detector,
    largest_difference,
)
from mnemic_vision.memmc_mae.data import GeneratedTextures
from mnemic_vision.memmc_mae.export import DetectorGraph, DetectorOutput

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SMALL = {"dim": 16, "depth": 2, "num_heads": 2, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
PIXELS = MemMcMaeConfig(image_size=64, patch_size=16, channels=1, **SMALL)
FEATURES = MemMcMaeConfig(
    image_size=64,
    features=FeatureConfig("test_efficientnet", 2, 8),
    decoder_self_attention=False,
    gates="head",
    **SMALL,
)
CASES = {
    "pixels": (PIXELS, DetectorSettings(DrawRule(4))),
    "features": (FEATURES, DetectorSettings(DrawRule(4, "both"), ScoreRule("top_share", distance="cosine"))),
}
SLOW = {"product keys": (replace(PIXELS, memory=EncoderMemory("product_key")), DetectorSettings(DrawRule(4)))}


def pictures() -> list[Tensor]:
    textures = GeneratedTextures(num_train=0, num_val=0, num_test=18, size=72).open()
    return [*(sample.load() for sample in textures), torch.rand(3, 200, 131), torch.rand(1, 9, 300)]


def calibrated(config: MemMcMaeConfig, settings: DetectorSettings) -> AnomalyDetector:
    """Return an untrained detector whose thresholds are in the middle of what it finds."""
    torch.manual_seed(0)
    model = MemMcMae(config)
    statistics = ErrorStatistics((0.1,) * config.num_patches, (0.5,) * config.num_patches)
    found = AnomalyDetector(model, settings, statistics=statistics).detect(torch.rand(6, config.channels, 64, 64))
    scales = [
        ScoreScale(float(each.min()) - 0.1, float(each.median()), float(each.max()) + 0.1)
        for each in (found.score, found.map)
    ]
    return AnomalyDetector(model, settings, Calibration(*scales), statistics)


@cache  # exporting takes a quarter of a minute
def exported(name: str) -> tuple[AnomalyDetector, Path]:
    """Return a detector and its graph."""
    detector, path = calibrated(*(CASES | SLOW)[name]), Path(mkdtemp()) / "graph.onnx"
    with unchecked_annotations():
        export_detector(detector, path)
    atexit.register(rmtree, path.parent, ignore_errors=True)
    return detector, path


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_graph_finds_what_the_network_finds(name: str) -> None:
    detector, path = exported(name)
    with unchecked_annotations():
        graph = OnnxDetector(path)
        assert largest_difference(detector, graph, pictures()) < 1e-4  # 20 pictures, one at a time
        batch = torch.rand(3, 3, 50, 90)
        mine, other = DetectorGraph(detector)(batch)._asdict(), graph(batch)._asdict()
    for flags, values in {"pred_label": "pred_score", "pred_mask": "anomaly_map"}.items():
        torch.testing.assert_close(other[values], mine[values], rtol=0, atol=1e-4)
        is_clear = (mine[values] - 0.5).abs() > 1e-4  # nearer to the threshold, rounding decides
        assert torch.equal(other[flags][is_clear], mine[flags][is_clear])
    scores = torch.cat([graph(each.expand(3, -1, -1)[None].contiguous()).pred_score for each in pictures()[:18]])
    assert 0 < scores.min() < scores.max() < 1  # nothing hides at the ends of the scale


def test_the_graph_names_its_parts_and_holds_the_thresholds() -> None:
    import onnx

    detector, path = exported("pixels")
    assert detector.calibration is not None
    graph = onnx.load(path)
    assert [each.name for each in graph.graph.input] == ["image"]
    assert tuple(each.name for each in graph.graph.output) == DetectorOutput._fields
    metadata = json.loads({each.key: each.value for each in graph.metadata_props}["mnemic"])
    assert metadata["calibration"]["image"]["threshold"] == detector.calibration.image.threshold
    assert not {node.op_type for node in graph.graph.node} & {"RandomUniform", "RandomNormal", "Multinomial"}


def test_a_detector_without_thresholds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no thresholds"):
        export_detector(AnomalyDetector(MemMcMae(PIXELS)), tmp_path / "graph.onnx")
