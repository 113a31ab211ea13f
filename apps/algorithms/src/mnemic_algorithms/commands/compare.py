"""``mnemic-algorithms compare``: which machine solves a task? Several machines and seeds, one budget."""

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from mnemic_algorithms.commands import train
from mnemic_algorithms.evaluation import evaluate_checkpoint
from mnemic_algorithms.machines import MachineConfig
from mnemic_algorithms.output import dumps, markdown_table, show, write_json, write_text
from mnemic_algorithms.plots import can_plot, plot_accuracy
from mnemic_core.errors import UserError
from mnemic_core.tasks import create_task
from mnemic_kit.training import fit_or_resume

SOLVED = 0.9  # the study calls a task solved from this score on, the mean accuracy beyond the training lengths


def compare(
    task: str = "reverse_string",
    machines: Sequence[str] = ("stack_rnn", "rnn"),
    seeds: Sequence[int] = (0, 1, 2),
    config: str = "proof",
    lengths: Sequence[int] = (),
    strings: int = 64,
    out: Path = Path("runs/compare"),
    options: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Train each machine with each seed on the same steps, and score all at lengths that training never saw.

    Runs that are finished are not repeated, and one that was killed goes on where it was: call it again.

    Args:
        task: task to learn.
        machines: machines to compare.
        seeds: seeds of each.
        config: config of the runs.
        lengths: lengths to score; 1, 2, 5 and 10 times the largest training length by default.
        strings: strings of each length.
        out: folder for the runs and for compare.json, compare.md and compare.png; the last needs matplotlib.
        options: further options of fit, such as ["--trainer.max_epochs=2"].
        json: print one JSON object as the last line.
    """
    _check(task, machines, seeds)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {machine: [] for machine in machines}
    for seed in seeds:
        for machine in machines:
            arguments = [f"--config={config}", f"--data.task={task}", f"--model.config.machine={machine}"]
            checkpoint = train_once(
                [*arguments, f"--seed_everything={seed}", *options], out / f"{task}-{machine}-{seed}"
            )
            results[machine].append(evaluate_checkpoint(checkpoint, lengths, strings=strings, device="cpu"))
    summary = summarise(task, results) | {"config": config, "seeds": list(seeds), "options": list(options)}
    table = compare_table(summary["machines"])
    show(f"{task}, share of right outputs in percent\n\n{table}")
    write_json(out / "compare.json", summary)
    write_text(out / "compare.md", table)
    if can_plot():
        _plot(summary, results, out / "compare.png")
    if json:
        show(dumps(summary))


def train_once(arguments: list[str], folder: Path) -> Path:
    """Train one machine, go on with it, or take what an earlier call made; return its last checkpoint.

    Raises:
        UserError: if the folder holds a run with other arguments.
    """
    checkpoint, record, done = folder / "checkpoints" / "last.ckpt", folder / "arguments.json", folder / "finished"
    folder.mkdir(parents=True, exist_ok=True)
    if not record.exists():
        write_json(record, {"arguments": arguments})
    elif (before := jsonlib.loads(record.read_text())["arguments"]) != arguments:
        raise UserError(f"{folder} holds a run with the options {' '.join(before)}; give another --out")
    if not done.exists():
        fit_or_resume(train.main, arguments, folder)
        done.touch()
    return checkpoint


def summarise(task: str, results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return accuracy by length, scores and share of solved seeds of each machine."""
    machines = {
        machine: {
            "accuracy": {length: mean(run["accuracy"][length] for run in runs) for length in runs[0]["accuracy"]},
            "score_of_each_seed": [run["score"] for run in runs],
            "solved": sum(run["score"] >= SOLVED for run in runs) / len(runs),
        }
        for machine, runs in results.items()
    }
    return {"task": task, "solved_from": SOLVED, "machines": machines}


def compare_table(machines: dict[str, dict[str, Any]]) -> str:
    """Return the machines as a Markdown table: mean accuracy at each length, solved seeds, score of each seed."""
    lengths = list(next(iter(machines.values()))["accuracy"])
    rows = []
    for machine, result in machines.items():
        singles = result["score_of_each_seed"]
        cells = [f"{100 * result['accuracy'][length]:.1f}" for length in lengths]
        solved = f"{round(result['solved'] * len(singles))} of {len(singles)}"
        rows.append([machine, *cells, solved, ", ".join(f"{100 * value:.1f}" for value in singles)])
    return markdown_table(["machine", *lengths, "solved", "score of each seed"], rows)


def _check(task: str, machines: Sequence[str], seeds: Sequence[int]) -> None:
    """Refuse mistakes before hours of training."""
    create_task(task)
    for machine in machines:
        MachineConfig(machine)
    if not machines or not seeds:
        raise UserError("compare needs at least one of --machines and one of --seeds, got none")


def _plot(summary: dict[str, Any], results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    curves = {
        machine: [{int(length): value for length, value in run["accuracy"].items()} for run in runs]
        for machine, runs in results.items()
    }
    first = next(iter(results.values()))[0]
    plot_accuracy(curves, path, title=summary["task"], chance=first["chance"], max_length=first["max_length"])
