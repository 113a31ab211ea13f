"""``make train-demo-actions``: train the shipped checkpoints.

One run each of ``matr_generated``, for the demo, and of ``matr_utkinect`` and ``matr_watch`` where their data is. The
weights are those after the last step, averaged over the steps where the config says so. Run it again after an
interruption to resume.
"""

import sys
from pathlib import Path

from mnemic_actions.checkpoints import DEMO, SHIPPED
from mnemic_actions.commands import train
from mnemic_kit.output import show
from mnemic_kit.parse import call
from mnemic_kit.shipping import fit_and_ship
from mnemic_vision.matr import LocalizerCheckpoint

FILES = {
    "generated": DEMO,
    "utkinect": SHIPPED / "actions_utkinect.safetensors",
    "watch": SHIPPED / "actions_watch.safetensors",
}


def train_demo(
    out: Path = Path("runs/train_demo_actions"),
    data: Path = Path("../shared/data"),
    checkpoints: Path | None = None,
    options: tuple[str, ...] = (),
) -> None:
    """Train and write the shipped checkpoints.

    Args:
        out: folder of the runs.
        data: folder with ``actions_utkinect`` and ``actions_watch``; without one of them its network is left out.
        checkpoints: folder to write to; None: where the program looks for them.
        options: further options of fit.
    """
    for name, file in FILES.items():
        folder = data / f"actions_{name}"
        if name != "generated" and not folder.is_dir():
            show(f"{file.stem}: left out, there is no folder {folder}")
            continue
        own = [] if name == "generated" else _data_arguments(folder)
        target = file if checkpoints is None else checkpoints / file.name
        arguments = [f"--config=matr_{name}", *own, *options]
        fit_and_ship(train.main, arguments, out / name, LocalizerCheckpoint, target, "make train-demo-actions")


def _data_arguments(folder: Path) -> list[str]:
    return [f"--data.{split}=[{{name: folder, root: {folder}, subset: {split}}}]" for split in ("train", "val")]


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_actions.train_demo", sys.argv[1:])
