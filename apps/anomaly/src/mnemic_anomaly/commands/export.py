"""``mnemic-anomaly export``: a detector as one ONNX graph."""

from pathlib import Path


def export(
    checkpoint: Path,
    out: Path = Path("runs/detector.onnx"),
    images: Path | None = None,
) -> None:
    """Write a detector as one ONNX graph, from pictures of any size to scores, labels and maps.

    The graph takes ``image``, RGB in [0, 1] with axes batch, 3, height, width (grey is repeated), and returns
    ``pred_score`` (0 to 1, threshold at 0.5), ``pred_label``, ``anomaly_map`` and ``pred_mask``. It is run on 20
    pictures and written only if it finds what the network finds.

    Args:
        checkpoint: weights with thresholds, as fit writes them.
        out: file to write.
        images: image or folder of images to compare graph and network on; generated textures by default.
    """
    from tempfile import TemporaryDirectory

    from mnemic_anomaly.graph_check import check_graph
    from mnemic_kit.atomic_files import atomic_write
    from mnemic_kit.made_files import check_outputs
    from mnemic_kit.output import show
    from mnemic_vision.memmc_mae import DetectorCheckpoint, export_detector

    check_outputs(out)
    detector = DetectorCheckpoint.load(checkpoint).detector()
    with TemporaryDirectory() as folder:
        made = Path(folder, "detector.onnx")
        export_detector(detector, made)
        count, difference = check_graph(detector, made, images)
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out, "wb") as file:
            file.write(made.read_bytes())
    show(f"{out}: equal to the network on {count} pictures, largest difference {difference:.1e} of scores and maps")
