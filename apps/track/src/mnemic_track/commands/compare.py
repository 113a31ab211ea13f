"""``mnemic-track compare``: tracking scores of several memories at equal training budget."""

from collections.abc import Sequence
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.configs import find_config, read_section
from mnemic_kit.experiment import STAGE, Comparison, Metric, Run, Scores, Variant
from mnemic_track.options import CONFIGS, MemoryName

FEATURES = ("backbone", "projections", "encoder")  # without their gradients a step takes half the time on a CPU
METRICS = {
    "hota": Metric("HOTA (%)", scale=100.0),
    "deta": Metric("DetA (%)", scale=100.0),
    "assa": Metric("AssA (%)", scale=100.0),
    "mota": Metric("MOTA (%)", scale=100.0),
    "idf1": Metric("IDF1 (%)", scale=100.0),
    "id_switches": Metric("switches", "lower"),
}
MEMORY = "exponential"  # of a config that names none
ON, OFF = "with its memory", "memory switched off"
NO_VALIDATION = "--trainer.limit_val_batches=0"


def compare(
    config: str = "memotr_generated",
    memories: Sequence[MemoryName] = ("exponential", "none", "window"),
    seeds: Sequence[int] = (0, 1, 2),
    out: Path = Path("runs/compare"),
    options: Sequence[str] = (),
    clip_options: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Train and validate each memory with each seed, all else equal, and write a table.

    As long as clips have one frame, no memory is read: those epochs of the config make a detector, once a seed. Each
    memory starts from it and trains the epochs of clips with features that stay the detector's. The last third of
    either stage has a tenth of the learning rate. A network with a memory is scored a second time with its memory
    switched off. Finished runs are kept, a killed one is resumed, and another call with other memories or seeds adds
    to the table.

    Args:
        config: config of the runs.
        memories: long-term memories to compare; the baseline is none, or the first.
        seeds: seeds of each.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: further options of fit, such as ["--data.batch_size=2"]; those for one memory alone begin with its
            name, such as window:--model.lr=0.0001.
        clip_options: further options of fit for the clips, such as ["--trainer.limit_train_batches=900"].
        json: print one JSON object as the last line.
    """
    from mnemic_kit.memory_option import memory_argument
    from mnemic_track.commands import train

    path = find_config(config, CONFIGS)
    variants = [Variant(memory, (*clip_options, memory_argument(path, memory, MEMORY))) for memory in memories]
    comparison = Comparison("mnemic-track", out, variants, seeds, METRICS, path, options, (ON, OFF))

    def score(run: Run, conditions: Sequence[str]) -> Scores:
        # Without a memory there is none to switch off.
        wanted = conditions if run.variant.name != "none" else [name for name in conditions if name != OFF]
        if not wanted:
            return {}
        stage = clip_stage(path, train_detector(comparison, run.seed))
        run.fit(train.main, *stage, NO_VALIDATION)
        return {name: validate(run, path, stage, is_off=name == OFF) for name in wanted}

    comparison.run(score, as_json=json)


def single_frame_epochs(config: Path) -> int:
    """Return in how many epochs at the start of training the clips of a config have one frame."""
    return min((epoch for epoch, length in _clip_lengths(config).items() if length > 1), default=0)


def train_detector(comparison: Comparison, seed: int) -> Path | None:
    """Train the epochs of single frames; return their last checkpoint, None without such epochs."""
    from mnemic_track.commands import train

    epochs = single_frame_epochs(comparison.config) if comparison.config else 0
    if not epochs:
        return None
    run = comparison.plan(Variant("detector"), seed, STAGE)
    run.fit(train.main, *schedule(epochs), "--data.clip_lengths={0: 1}", NO_VALIDATION)
    return run.checkpoint


def clip_stage(config: Path, detector: Path | None) -> list[str]:
    """Return the options of fit for what follows the detector."""
    if detector is None:
        return []
    epochs, total = single_frame_epochs(config), read_section(config, "trainer").get("max_epochs")
    if total is None:
        raise UserError(f"{config} does not set trainer.max_epochs")
    lengths = {epoch - epochs: length for epoch, length in _clip_lengths(config).items() if epoch >= epochs}
    return [
        *schedule(total - epochs),
        f"--data.clip_lengths={lengths}",
        f"--model.init_checkpoint={detector}",
        f"--model.frozen=[{', '.join(FEATURES)}]",
    ]


def schedule(epochs: int) -> list[str]:
    """Return the options of a stage of the given number of epochs."""
    # The last third of a stage has a tenth of the learning rate.
    return [f"--trainer.max_epochs={epochs}", f"--model.lr_drops=[{max(1, epochs * 2 // 3)}]"]


def validate(run: Run, config: Path, stage: Sequence[str], *, is_off: bool) -> dict[str, float]:
    """Return the validation scores of a finished run's last state, with its memory or switched off."""
    from mnemic_kit.memory_option import memory_argument
    from mnemic_track.commands import train

    place = [f"--trainer.default_root_dir={run.folder}", f"--ckpt_path={run.checkpoint}"]
    off = [memory_argument(config, "none", MEMORY)] if is_off else []
    metrics = train.main("validate", [*run.arguments(*stage), *off, *place]).trainer.callback_metrics
    return {name: float(metrics[f"val/{name}"]) for name in METRICS}


def _clip_lengths(config: Path) -> dict[int, int]:
    return read_section(config, "data", "clip_lengths") or {0: 2}
