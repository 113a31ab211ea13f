"""``make train-demo-actions``: train the shipped checkpoints.

One run each of ``matr_generated``, for the demo, and of ``matr_utkinect`` and ``matr_watch`` where their data is. The
weights are those after the last step, averaged over the steps where the config says so. Run it again after an
interruption to resume.
"""

import sys
from dataclasses import replace
from pathlib import Path

from mnemic_actions.checkpoints import DEMO, SHIPPED
from mnemic_actions.commands import train
from mnemic_kit.output import show
from mnemic_kit.parse import call
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
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
        fit_or_resume(train.main, [f"--config=matr_{name}", *own, *options], out / name)
        trained = LocalizerCheckpoint.load(checkpoint_path(out / name))
        made = {**trained.provenance, "command": "make train-demo-actions"}
        target = file if checkpoints is None else checkpoints / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        replace(trained, provenance=made).save(target, half=True)


def _data_arguments(folder: Path) -> list[str]:
    return [f"--data.{split}=[{{name: folder, root: {folder}, subset: {split}}}]" for split in ("train", "val")]


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_actions.train_demo", sys.argv[1:])
