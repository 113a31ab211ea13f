"""``make train-demo``: train the checkpoint that the demo ships.

Four stages with the network and data of ``memotr_pets``: a detector on single frames; then, with the backbone fixed,
all the rest on clips; then everything on clips, more of them enlarged; then, from the best epoch so far and with the
backbone fixed again, clips of three times as many generated people. What is shipped is the mean of the weights before
and after the last stage. All train on generated sequences and, where it is next to the repository, on the real
training clip. Another call continues an interrupted one.
"""

import sys
from dataclasses import replace
from pathlib import Path

from mnemic_kit.parse import call
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_kit.shipping import packaged_weights
from mnemic_track.checkpoints import SHIPPED
from mnemic_track.commands import train
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint

GENERATED = "{name: generated, world: {num_sequences: %d, num_frames: 20, size: [288, 384], seed: %d}}"
VALIDATED = "--trainer.check_val_every_n_epoch=1"
# Without gradients of the backbone a step takes half the time on a CPU: twice as many steps.
CLIPS = ["--model.frozen=[backbone]", VALIDATED]
# People who come near the camera are larger than nearly all in the training clip.
TUNE = ["--model.lr=1e-4", "--model.lr_backbone=5e-5", "--data.augmentation.crop_prob=0.8", VALIDATED]
# An epoch of 250 steps sees half of the clips there are now.
VARIETY = [*CLIPS, "--model.lr=1e-4", "--trainer.limit_train_batches=250"]


def train_demo(
    out: Path = Path("runs/train_demo"),
    real: Path = Path("../shared/data/tracking"),
    backbone_weights: Path | None = None,
    epochs: tuple[int, int, int, int] = (10, 5, 2, 2),
    checkpoint: Path = SHIPPED,
    options: tuple[str, ...] = (),
) -> None:
    """Train and write the shipped checkpoint.

    Args:
        out: folder of the runs.
        real: folder with ``train`` and ``val`` sequences to use besides generated ones, if it exists.
        backbone_weights: ImageNet weights of tf_efficientnet_lite0; None: those of the package that
            ``make train-demo`` installs.
        epochs: of the four stages.
        checkpoint: file to write.
        options: further options of fit for all stages.
    """
    held_out = f"{{name: mot, root: {real / 'val'}}}" if (real / "train").is_dir() else GENERATED % (4, 2)
    shared = ["--config", "memotr_pets", f"--data.val=[{held_out}]"]
    few, many = _training_data(real, 10, seed=1), _training_data(real, 30, seed=3)
    images = ["--data.clip_lengths={0: 1}", "--data.batch_size=4"]
    images.append(f"--model.backbone_weights={backbone_weights or packaged_weights()}")
    detector = _stage(out / "detector", epochs[0], [*shared, few, *images, *options])
    clips = _stage(out / "clips", epochs[1], [*shared, few, *CLIPS, _start(detector), *options])
    tuned = _best(_stage(out / "tune", epochs[2], [*shared, few, *TUNE, _start(clips), *options]))
    varied = _best(_stage(out / "variety", epochs[3], [*shared, many, *VARIETY, _start(tuned), *options]))
    averaged = average(tuned, varied)
    made = {**averaged.provenance, "command": "make train-demo", "epochs": list(epochs)}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    replace(averaged, provenance=made).save(checkpoint, half=True)


def average(before: Path, after: Path) -> TrackerCheckpoint:
    """Return a network with the mean of the weights before and after a stage, and what made the latter.

    On the real clip and on drawn people it is better than either but in one figure (see the model card). Source of the
    idea: WiSE-FT, "Robust fine-tuning of zero-shot models", arXiv 2109.01903.
    """
    averaged, first = TrackerCheckpoint.load(after), TrackerCheckpoint.load(before).model.state_dict()
    # Equal tensors, such as counts and what was frozen, stay as they are.
    mean = {
        name: last if last.equal(first[name]) else (last + first[name]) / 2
        for name, last in averaged.model.state_dict().items()
    }
    averaged.model.load_state_dict(mean)
    made = {name: value for name, value in averaged.provenance.items() if name != "metrics"}
    return replace(averaged, provenance=made)


def _training_data(real: Path, num_sequences: int, seed: int) -> str:
    """Return the option for generated sequences and, where there is one, the real clip."""
    sources = [GENERATED % (num_sequences, seed)]
    if (real / "train").is_dir():
        sources.append(f"{{name: mot, root: {real / 'train'}}}")
    return f"--data.train=[{', '.join(sources)}]"


def _start(checkpoint: Path) -> str:
    return f"--model.init_checkpoint={checkpoint}"


def _best(last: Path) -> Path:
    """Return the checkpoint of the epoch that validated best, the last one where none was validated."""
    best = last.with_name("best.ckpt")
    return best if best.exists() else last


def _stage(folder: Path, epochs: int, arguments: list[str]) -> Path:
    """Train one stage, or continue it, and return its last checkpoint."""
    drops = f"--model.lr_drops={sorted({epochs * 3 // 5, epochs * 17 // 20})}"
    fit_or_resume(train.main, [*arguments, f"--trainer.max_epochs={epochs}", drops], folder)
    return checkpoint_path(folder)


if __name__ == "__main__":
    call(train_demo, "python -m mnemic_track.train_demo", sys.argv[1:])
