"""``make train-demo-anomaly``: train the shipped checkpoints.

One run each of ``memmc_mae_generated``, for the demo, and of ``memmc_mae_brain_mri`` and ``memmc_mae_xray`` where their
data is. The weights are those after the last step. Run it again after an interruption to resume.
"""

import sys
from pathlib import Path

from mnemic_anomaly.checkpoints import DEMO, SHIPPED
from mnemic_anomaly.commands import train
from mnemic_kit.output import show
from mnemic_kit.parse import call
from mnemic_kit.shipping import fit_and_ship
from mnemic_vision.memmc_mae import DetectorCheckpoint

FILES = {
    "generated": DEMO,
    "brain_mri": SHIPPED / "anomaly_brain_mri.safetensors",
    "xray": SHIPPED / "anomaly_xray.safetensors",
}


def train_demo(
    out: Path = Path("runs/train_demo_anomaly"),
    data: Path = Path("../shared/data"),
    backbone_weights: Path | None = None,
    checkpoints: Path | None = None,
    options: tuple[str, ...] = (),
) -> None:
    """Train and write the shipped checkpoints.

    Args:
        out: folder of the runs.
        data: folder with ``brain_mri`` and ``xray``; without one of them its network is left out.
        backbone_weights: file with the weights of EfficientNet-Lite0, which ``brain_mri`` and ``xray`` need.
        checkpoints: folder to write to; None: where the program looks for them.
        options: further options of fit.
    """
    weights = [] if backbone_weights is None else [f"--model.backbone_weights={backbone_weights}"]
    for name, file in FILES.items():
        if name != "generated" and not (data / name).is_dir():
            show(f"{file.stem}: left out, there is no folder {data / name}")
            continue
        own = [] if name == "generated" else [f"--data.images=[{{name: index, root: {data / name}}}]", *weights]
        target = file if checkpoints is None else checkpoints / file.name
        arguments = [f"--config=memmc_mae_{name}", *own, *options]
        fit_and_ship(train.main, arguments, out / name, DetectorCheckpoint, target, "make train-demo-anomaly")


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_anomaly.train_demo", sys.argv[1:])
