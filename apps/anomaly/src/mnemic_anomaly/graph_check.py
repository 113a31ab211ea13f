"""Comparison of an exported graph with its network."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import AnomalyDetector, OnnxDetector, largest_difference
from mnemic_vision.memmc_mae.data import GeneratedTextures
from mnemic_vision.memmc_mae.export import TOLERANCE
from mnemic_vision.picture_files import find_pictures, read_pictures

NUM_PICTURES = 20


def check_graph(detector: AnomalyDetector, graph: Path, images: Path | None) -> tuple[int, float]:
    """Return the number of pictures on which graph and network were compared, and their largest difference.

    Args:
        detector: the network.
        graph: its file.
        images: image or folder of images; None: generated textures.

    Raises:
        UserError: they differ, or a picture cannot be read.
    """
    pictures = list(islice(_pictures(images), NUM_PICTURES))
    difference = largest_difference(detector, OnnxDetector(graph), pictures)
    if not difference <= TOLERANCE:  # also for NaN
        raise UserError(f"the exported graph differs from the network by {difference:.2g}: please report this")
    return len(pictures), difference


def _pictures(images: Path | None) -> Iterator[Float[Tensor, "channel height width"]]:
    if images is None:
        for sample in GeneratedTextures(num_train=0, num_val=0, num_test=NUM_PICTURES, size=96).open():
            yield sample.load()
        return
    for path in find_pictures(images) if images.is_dir() else [images]:
        for picture in read_pictures(path):
            yield picture.pixels
