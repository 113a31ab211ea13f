"""``mnemic-track ablate``: what is the memory worth? Every memory, several seeds, one budget."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from rich.console import Console

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.training import fit_or_resume
from mnemic_track.commands import train
from mnemic_track.options import CONFIGS, MemoryName
from mnemic_track.plots import plot_scores

Scores = dict[str, float]
FEATURES = ("backbone", "projections", "encoder")  # without their gradients a step takes half the time on a CPU
SCORES = ("hota", "deta", "assa", "mota", "idf1", "id_switches")


def ablate(
    config: str = "memotr_generated",
    memories: Sequence[MemoryName] = ("exponential", "none", "window"),
    seeds: Sequence[int] = (0, 1, 2),
    out: Path = Path("runs/ablation"),
    options: Sequence[str] = (),
    clip_options: Sequence[str] = (),
) -> None:
    """Train and validate each memory with each seed, all else equal, and write a table.

    As long as clips have one frame, no memory is read: those epochs of the config make a detector, once a seed. Each
    memory starts from it and trains the epochs of clips with features that stay the detector's. The last third of
    either stage has a tenth of the learning rate. A network with a memory is scored a second time with its memory
    switched off. Runs that are finished are not repeated, and one that was killed goes on where it was: call it again.

    Args:
        config: config of the runs.
        memories: long-term memories to compare.
        seeds: seeds of each.
        out: folder for the runs, ``ablation.json``, ``ablation.md`` and ``ablation.png``.
        options: further options of fit, such as ``["--data.batch_size=2"]``.
        clip_options: further options of fit for the clips, such as ``["--trainer.limit_train_batches=900"]``.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = {"config": config, "options": [*options], "clip_options": [*clip_options], "seeds": [*seeds]}
    table: dict[str, list[Scores]] = {}
    for seed in seeds:
        common = [f"--config={config}", f"--seed_everything={seed}"]
        detector = train_detector(config, common, options, out / f"detector-{seed}")
        clips = [*common, *clip_stage(config, detector), *options, *clip_options]
        for memory in memories:
            arguments, folder = [*clips, *memory_arguments(config, memory)], out / f"{memory}-{seed}"
            table.setdefault(memory, []).append(run_once(arguments, folder))
            if memory != "none":
                switched_off = [*clips, *memory_arguments(config, "none")]
                table.setdefault(f"{memory}, switched off", []).append(score(switched_off, folder, "switched_off"))
            with atomic_write(out / "ablation.json") as file:
                json.dump(made | {"scores": table}, file, indent=1)
    with atomic_write(out / "ablation.md") as file:
        file.write(markdown(table))
    plot_scores(table, out / "ablation.png")
    Console().print(markdown(table), markup=False, highlight=False)


def memory_arguments(config: str, memory: str) -> list[str]:
    """Return the options of fit that choose a memory; options in the config are for its own memory."""
    chosen = [f"--model.config.memory={memory}"]
    is_own = _section(config, "model", "config").get("memory", "exponential") == memory
    return chosen if is_own else [*chosen, "--model.config.memory_options=null"]


def single_frame_epochs(config: str) -> int:
    """Return in how many epochs at the start of training the clips of a config have one frame."""
    return min((epoch for epoch, length in _clip_lengths(config).items() if length > 1), default=0)


def train_detector(config: str, common: list[str], options: Sequence[str], folder: Path) -> Path | None:
    """Train a config's epochs of single frames; return the checkpoint to go on from, None without such epochs."""
    epochs = single_frame_epochs(config)
    if not epochs:
        return None
    stage = [*schedule(epochs), "--data.clip_lengths={0: 1}"]
    fit_or_resume(train.main, [*common, *stage, *options, "--trainer.limit_val_batches=0"], folder)
    return folder / "checkpoints" / "last.ckpt"


def clip_stage(config: str, detector: Path | None) -> list[str]:
    """Return the options of fit for what follows the detector."""
    if detector is None:
        return []
    epochs, total = single_frame_epochs(config), _section(config, "trainer").get("max_epochs")
    if total is None:
        raise UserError(f"{config} does not say trainer.max_epochs")
    lengths = {epoch - epochs: length for epoch, length in _clip_lengths(config).items() if epoch >= epochs}
    return [
        *schedule(total - epochs),
        f"--data.clip_lengths={lengths}",
        f"--model.init_checkpoint={detector}",
        f"--model.frozen=[{', '.join(FEATURES)}]",
    ]


def schedule(epochs: int) -> list[str]:
    """Return the options of a stage of so many epochs."""
    return [f"--trainer.max_epochs={epochs}", f"--model.lr_drops=[{max(1, epochs * 2 // 3)}]"]


def run_once(arguments: list[str], folder: Path) -> Scores:
    """Train one network, or take what an earlier call found; return the scores of its last state."""
    if not (folder / "scores.json").exists():
        fit_or_resume(train.main, [*arguments, "--trainer.limit_val_batches=0"], folder)
    return score(arguments, folder, "scores")


def score(arguments: list[str], folder: Path, name: str) -> Scores:
    """Validate the last state of a run, or read what an earlier call found."""
    result = folder / f"{name}.json"
    if not result.exists():
        here = [f"--trainer.default_root_dir={folder}", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"]
        metrics = train.main("validate", [*arguments, *here]).trainer.callback_metrics
        with atomic_write(result) as file:
            json.dump({part: float(metrics[f"val/{part}"]) for part in SCORES}, file)
    scores: Scores = json.loads(result.read_text())
    return scores


def markdown(table: dict[str, list[Scores]]) -> str:
    """Return mean and standard deviation of each score, in percent, and the HOTA of each seed."""
    lines = [
        "| memory | HOTA | DetA | AssA | MOTA | IDF1 | switches | HOTA of each seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for memory, seeds in table.items():
        cells = [_spread([(1 if name == "id_switches" else 100) * one[name] for one in seeds]) for name in SCORES]
        singles = ", ".join(f"{100 * one['hota']:.1f}" for one in seeds)
        lines.append(f"| {memory} | {' | '.join(cells)} | {singles} |")
    return "\n".join(lines) + "\n"


def _clip_lengths(config: str) -> dict[int, int]:
    return _section(config, "data", "clip_lengths") or {0: 2}


def _section(config: str, *names: str) -> dict[Any, Any]:
    section: dict[Any, Any] = yaml.safe_load(find_config(config, CONFIGS).read_text())
    for name in names:
        section = section.get(name, {})
    return section


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
