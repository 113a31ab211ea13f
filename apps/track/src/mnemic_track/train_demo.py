"""``make train-demo``: train the checkpoint that the demo ships.

Two stages with the network and data of ``memotr_pets``: a detector on single frames, then a tracker on clips. Both
train on generated sequences and, where it lies beside the repository, on the real training clip. Call it again after an
interruption: it goes on where it was.
"""

from pathlib import Path

from jsonargparse import auto_cli

from mnemic_track.checkpoints import SHIPPED
from mnemic_track.commands import train
from mnemic_vision.memotr.checkpoint import load_model, save_model

GENERATED = "{name: generated, world: {num_sequences: 24, num_frames: 40, size: [288, 384], seed: %d}}"


def train_demo(
    out: Path = Path("runs/train_demo"),
    real: Path = Path("../shared/data/tracking"),
    backbone_weights: Path | None = None,
    detector_epochs: int = 20,
    clip_epochs: int = 12,
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> None:
    """Train and write the shipped checkpoint.

    Args:
        out: folder of the runs.
        real: folder with ``train`` and ``val`` sequences to use besides generated ones, if it exists.
        backbone_weights: ImageNet weights of tf_efficientnet_lite0.
        detector_epochs: epochs of the first stage.
        clip_epochs: epochs of the second stage.
        checkpoint: file to write.
        options: further options of fit for both stages.
    """
    sources, held_out = [GENERATED % 1], [GENERATED.replace("24", "2") % 2]
    if (real / "train").is_dir():
        sources.append(f"{{name: mot, root: {real / 'train'}}}")
        held_out = [f"{{name: mot, root: {real / 'val'}}}"]
    shared = ["--config", "memotr_pets", f"--data.train=[{', '.join(sources)}]", f"--data.val=[{', '.join(held_out)}]"]
    first = ["--data.clip_lengths={0: 1}", "--data.batch_size=4", "--trainer.check_val_every_n_epoch=5"]
    first += [f"--model.lr_drops=[{detector_epochs * 4 // 5}]"]
    if backbone_weights is not None:
        first.append(f"--model.backbone_weights={backbone_weights}")
    last = _stage(out / "detector", detector_epochs, [*shared, *first, *options])
    second = [f"--model.init_checkpoint={last}", f"--model.lr_drops=[{clip_epochs * 3 // 4}]"]
    last = _stage(out / "clips", clip_epochs, [*shared, *second, *options])
    best = last.with_name("best.ckpt")
    model, settings, made = load_model(best if best.exists() else last)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    facts = {"command": "make train-demo", "stages": {"detector": detector_epochs, "clips": clip_epochs}}
    save_model(checkpoint, model, settings, made | facts, half=True)


def _stage(folder: Path, epochs: int, arguments: list[str]) -> Path:
    """Train one stage, or go on with it, and return its last checkpoint."""
    where = [f"--trainer.default_root_dir={folder}", f"--trainer.max_epochs={epochs}"]
    train.main("fit", [*arguments, *where, "--resume"])
    return folder / "checkpoints" / "last.ckpt"


if __name__ == "__main__":
    auto_cli(train_demo, as_positional=False)
