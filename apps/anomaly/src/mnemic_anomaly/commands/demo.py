"""``mnemic-anomaly demo``: everything at once, without any input."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mnemic_kit.devices import Device


def demo(
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    num_images: int = 24,
    seed: int = 7,
    device: Device = "auto",
) -> None:
    """Draw textures, half of them with a defect, score them, write the page, and compare with the known defects.

    Args:
        out: folder for scores.csv, heat maps and the page.
        checkpoint: weights to run, trained on generated textures; the shipped ones by default.
        num_images: number of textures.
        seed: another number makes other textures.
        device: where to run; auto takes a GPU where there is one.
    """
    from mnemic_anomaly.checkpoints import DEMO
    from mnemic_anomaly.commands.evaluate import evaluate
    from mnemic_anomaly.running import RunRequest, run_images
    from mnemic_core.errors import check_at_least
    from mnemic_kit.devices import find_device
    from mnemic_vision.memmc_mae import DetectorCheckpoint
    from mnemic_vision.memmc_mae.data import GeneratedTextures

    check_at_least(2, **{"--num_images": num_images})
    path = checkpoint or DEMO
    size = DetectorCheckpoint.load(path).model.config.image_size
    with TemporaryDirectory() as folder:  # through files, as users have them
        made = Path(folder, "generated textures")
        GeneratedTextures(num_train=0, num_val=0, num_test=num_images, size=size, seed=seed).write(made)
        run_images(RunRequest(made / "test", out, path, find_device(device), title="Anomalies in generated textures"))
        evaluate(made, checkpoint=path, device=device)
