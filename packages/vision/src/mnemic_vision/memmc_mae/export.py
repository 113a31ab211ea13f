"""Export of a detector as one ONNX graph: from pictures of any size to scores, labels and maps."""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.calibration import Calibration
from mnemic_vision.memmc_mae.detector import AnomalyDetector
from mnemic_vision.memmc_mae.preparation import to_square

OPSET = 18  # the first with anti-aliased resizing
INPUT = "image"
TOLERANCE = 1e-3
"""Largest difference of scaled scores and maps between graph and network that counts as equal."""
_EXTRA = "export needs onnx, onnxscript and onnxruntime: pip install 'mnemic-vision[onnx]'"


class DetectorOutput(NamedTuple):
    """What the graph returns, by these names.

    Attributes:
        pred_score: between 0 and 1, with the threshold at 0.5.
        pred_label: True for an anomalous picture.
        anomaly_map: likewise scaled, at the size of the network.
        pred_mask: True at anomalous pixels.
    """

    pred_score: Float[Tensor, " batch"]
    pred_label: Bool[Tensor, " batch"]
    anomaly_map: Float[Tensor, "batch height width"]
    pred_mask: Bool[Tensor, "batch height width"]


class DetectorGraph(nn.Module):
    """A detector as a module without options: resizing, masks, network, map and thresholds.

    Args:
        detector: with thresholds of images and pixels.

    Raises:
        UserError: it has none.
    """

    def __init__(self, detector: AnomalyDetector) -> None:
        super().__init__()
        if detector.calibration is None or detector.calibration.pixel is None:
            raise UserError(
                "the checkpoint has no thresholds, by which the graph labels: train it with normal images in val"
            )
        self.detector, self.model = detector, detector.model

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> DetectorOutput:
        """Return what the detector finds in RGB pictures in [0, 1], grey ones repeated."""
        config = self.model.config
        found = self.detector.detect(to_square(image, config.image_size, config.channels))
        return DetectorOutput(found.scaled, found.label, found.scaled_map, found.mask)  # type: ignore[arg-type]


def export_detector(detector: AnomalyDetector, path: str | Path) -> None:
    """Write a detector as an ONNX graph for any number of pictures of any size.

    The graph takes ``image``, RGB in [0, 1], and returns the fields of `DetectorOutput`. Resizing, normalization,
    masks, thresholds and statistics are in it; the metadata ``mnemic`` holds config, settings and thresholds as JSON.

    Args:
        detector: on the CPU, with thresholds.
        path: file to write.

    Raises:
        UserError: the detector has no thresholds, or ONNX is not installed.
    """
    _check_installed()
    graph = DetectorGraph(detector).eval()
    calibration = cast(Calibration, detector.calibration)
    example = torch.rand(2, 3, 96, 80)
    batch, height, width = (torch.export.Dim(name, min=1, max=2**16) for name in ("batch", "height", "width"))
    with _quiet():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=[INPUT],
            output_names=list(DetectorOutput._fields),
            dynamic_shapes=({0: batch, 2: height, 3: width},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # as dynamo is True
    described = {
        "config": asdict(detector.model.config),
        "settings": asdict(detector.settings),
        "calibration": asdict(calibration),
    }
    program.model.metadata_props["mnemic"] = json.dumps(described)
    program.save(str(path))


class OnnxDetector:
    """An exported graph in onnxruntime.

    Args:
        path: file of `export_detector`.

    Raises:
        UserError: onnxruntime is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        _check_installed()
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def __call__(self, image: Float[Tensor, "batch 3 height width"]) -> DetectorOutput:
        """Return what the graph finds in RGB pictures in [0, 1]."""
        found: list[np.ndarray[Any, Any]] = self._session.run(None, {INPUT: image.numpy()})
        return DetectorOutput(*(torch.from_numpy(each) for each in found))


def largest_difference(
    detector: AnomalyDetector, exported: OnnxDetector, pictures: Iterable[Float[Tensor, "_ _ _"]]
) -> float:
    """Return the largest difference of scaled scores and maps between graph and network, over pictures."""
    graph, largest = DetectorGraph(detector), 0.0
    for picture in pictures:
        image = picture.expand(3, -1, -1)[None].contiguous()
        own, other = graph(image), exported(image)
        for name in ("pred_score", "anomaly_map"):
            largest = max(largest, float((getattr(own, name) - getattr(other, name)).abs().max()))
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away what the exporter says about itself."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of each constant that it does not fold
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(_EXTRA) from error
