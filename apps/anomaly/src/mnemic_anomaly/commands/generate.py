"""``mnemic-anomaly generate``: images with known anomalies as files, to look at or to train on."""

from pathlib import Path

from mnemic_kit.atomic_files import atomic_path


def generate(
    out: Path,
    data: Path | None = None,
    num_train: int = 256,
    num_val: int = 64,
    num_test: int = 128,
    size: int = 64,
    seed: int = 0,
) -> None:
    """Write textures with defects, or your own normal images with pasted lesions, as a tree of MVTec with masks.

    Args:
        out: folder to write; one that this program made is replaced.
        data: data set whose normal images of val and test get a lesion each, beside the image as it is; by default
            textures are drawn.
        num_train: normal textures for training.
        num_val: textures for validation, half of them with a defect.
        num_test: textures for testing, half of them with a defect.
        size: side of a texture in pixels.
        seed: the same seed gives the same images.
    """
    from mnemic_anomaly.lesion_set import with_lesions_as_mvtec
    from mnemic_vision.memmc_mae.data import GeneratedTextures, open_images, write_mvtec

    if data is None:
        samples = GeneratedTextures(num_train, num_val, num_test, size, seed).open()
    else:
        samples = with_lesions_as_mvtec(open_images("auto", data), seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as made:
        write_mvtec(samples, made)
