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
from mnemic_kit.shipping import fit_and_ship, packaged_weights
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
        backbone_weights: ImageNet weights of tf_efficientnet_lite0; None: those of the package that
            ``make train-demo-anomaly`` installs.
        checkpoints: folder to write to; None: where the program looks for them.
        options: further options of fit.
    """
    for name, file in FILES.items():
        if name != "generated" and not (data / name).is_dir():
            show(f"{file.stem}: left out, there is no folder {data / name}")
            continue
        own = []
        if name != "generated":
            weights = backbone_weights or packaged_weights()
            own = [f"--data.images=[{{name: index, root: {data / name}}}]", f"--model.backbone_weights={weights}"]
        target = file if checkpoints is None else checkpoints / file.name
        arguments = [f"--config=memmc_mae_{name}", *own, *options]
        fit_and_ship(train.main, arguments, out / name, DetectorCheckpoint, target, "make train-demo-anomaly")


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_anomaly.train_demo", sys.argv[1:])
