"""``mnemic-track ablate``: what is the memory worth? Every memory, several seeds, one budget."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from rich.console import Console

from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.parse import call, join_lists
from mnemic_kit.training import find_config
from mnemic_track.checkpoints import MemoryName
from mnemic_track.commands import train
from mnemic_track.plots import plot_scores

Scores = dict[str, float]
SCORES = ("hota", "deta", "assa", "mota", "idf1", "id_switches")


def ablate(
    config: str = "memotr_generated",
    memories: Sequence[MemoryName] = ("exponential", "none", "window"),
    seeds: Sequence[int] = (0, 1, 2),
    out: Path = Path("runs/ablation"),
    options: Sequence[str] = (),
) -> None:
    """Train and validate each memory with each seed, all else equal, and write a table.

    As long as clips have one frame, no memory is read: those epochs are the same for all memories and are trained
    once a seed. Runs that are finished are not repeated, and one that was killed goes on where it was: call it again.

    Args:
        config: config of the runs.
        memories: long-term memories to compare.
        seeds: seeds of each.
        out: folder for the runs, ``ablation.json``, ``ablation.md`` and ``ablation.png``.
        options: further options of fit, such as ``["--trainer.max_epochs=2"]``.
    """
    out.mkdir(parents=True, exist_ok=True)
    table: dict[str, list[Scores]] = {memory: [] for memory in memories}
    for seed in seeds:
        common = [f"--config={config}", f"--seed_everything={seed}", *options]
        start = train_without_memory(common, single_frame_epochs(config), out / f"start-{seed}")
        for memory in memories:
            folder = out / f"{memory}-{seed}"
            table[memory].append(run_once([*common, *memory_arguments(config, memory)], folder, start))
            with atomic_write(out / "ablation.json") as file:
                json.dump({"config": config, "seeds": list(seeds), "scores": table}, file, indent=1)
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
    lengths = _section(config, "data", "clip_lengths") or {0: 2}
    return min((epoch for epoch, length in lengths.items() if length > 1), default=0)


def train_without_memory(arguments: list[str], epochs: int, folder: Path) -> Path | None:
    """Train the epochs that all memories share; return the checkpoint to go on from, None without such epochs."""
    if not epochs:
        return None
    here = [f"--trainer.default_root_dir={folder}", f"--trainer.max_epochs={epochs}", "--trainer.limit_val_batches=0"]
    train.main("fit", [*arguments, *here, "--resume"])
    return folder / "checkpoints" / "last.ckpt"


def run_once(arguments: list[str], folder: Path, start: Path | None = None) -> Scores:
    """Train one network, or take what an earlier call found; return the scores of its last validation."""
    result, last = folder / "scores.json", folder / "checkpoints" / "last.ckpt"
    if not result.exists():
        if start is not None and not last.exists():
            last.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(last, "wb") as file:
                file.write(start.read_bytes())
        arguments = [*arguments, f"--trainer.default_root_dir={folder}"]
        metrics = train.main("fit", [*arguments, "--resume"]).trainer.callback_metrics
        if "val/hota" not in metrics:
            # A finished run whose scores were not written yet: validate its last state.
            metrics = train.main("validate", [*arguments, f"--ckpt_path={last}"]).trainer.callback_metrics
        with atomic_write(result) as file:
            json.dump({name: float(metrics[f"val/{name}"]) for name in SCORES}, file)
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


def _section(config: str, *names: str) -> dict[Any, Any]:
    section: dict[Any, Any] = yaml.safe_load(find_config(config, train.CONFIGS).read_text())
    for name in names:
        section = section.get(name, {})
    return section


def _spread(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(ablate, program, join_lists(arguments, {"--memories", "--seeds"}))
