"""``mnemic-anomaly run``: score images."""

from pathlib import Path

from mnemic_kit.devices import Device


def run(
    source: Path,
    /,
    out: Path = Path("runs/run"),
    checkpoint: Path | None = None,
    device: Device = "auto",
) -> None:
    """Score images and write scores.csv, a picture of each in overlays, and a page sorted by score.

    Images that cannot be read are listed at the end, with exit code 2; the others are scored.

    Args:
        source: image (PNG, JPEG, TIFF; DICOM and NIfTI with their extras) or folder of images, at any depth.
        out: folder for the results; made when absent.
        checkpoint: weights; by default the shipped ones whose training images resemble these most.
        device: where to run; auto takes a GPU where there is one.
    """
    from mnemic_anomaly.running import RunRequest, run_images
    from mnemic_kit.devices import find_device

    run_images(RunRequest(source, out, checkpoint, find_device(device)))
