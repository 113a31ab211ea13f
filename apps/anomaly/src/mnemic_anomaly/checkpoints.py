"""Which checkpoint fits given images."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.output import show
from mnemic_vision.memmc_mae import DetectorCheckpoint, ImageDomain

SHIPPED = Path(__file__).parent / "checkpoints"
DEMO = SHIPPED / "demo" / "generated.safetensors"  # never chosen for images of a user
NUM_COMPARED = 32  # images that choose the checkpoint


def find_checkpoint(path: Path | None, images: Sequence[Float[Tensor, "_ _ _"]], folder: Path = SHIPPED) -> Path:
    """Return the checkpoint to score images with, and say which one it is where it was not given.

    Args:
        path: what the user gave; None: the one in the folder that was trained on images most like these.
        images: some of the images to score.
        folder: of the shipped checkpoints.

    Raises:
        UserError: none is shipped.
    """
    if path is not None:
        return path
    shipped = sorted(folder.glob("*.safetensors"))
    if not shipped:
        raise UserError("no checkpoint is shipped for such images: train one with fit, and give it with --checkpoint")
    domains = {file: DetectorCheckpoint.load(file).domain for file in shipped}
    distances = {file: typical_distance(domain, images) for file, domain in domains.items() if domain is not None}
    chosen = min(distances, key=lambda file: distances[file])
    show(f"checkpoint {chosen.stem}: its training images resemble these most")
    return chosen


def typical_distance(domain: ImageDomain, images: Sequence[Float[Tensor, "_ _ _"]]) -> float:
    """Return how far images are from the training images of a network, up to about 1 for images of their kind."""
    return median(domain.distance(image) for image in images[:NUM_COMPARED])


def note_domain(checkpoint: DetectorCheckpoint, images: Sequence[Float[Tensor, "_ _ _"]]) -> str:
    """Return a warning for images unlike those of the training; empty for others."""
    if checkpoint.domain is None:
        return ""
    distance = typical_distance(checkpoint.domain, images)
    if distance <= 1:
        return ""
    return (
        f"warning: these images do not resemble the training images (distance {distance:.1f}, usual up to 1): scores "
        "may mean nothing; train on normal images of this kind"
    )
