"""``mnemic-algorithms evaluate``: length against accuracy of a trained machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnemic_algorithms.checkpoints import load_model
from mnemic_algorithms.output import dumps, markdown_table, show, write_json, write_text
from mnemic_algorithms.plots import can_plot, plot_accuracy
from mnemic_core.tasks import task_accuracy
from mnemic_kit.devices import Device, find_device
from mnemic_kit.parse import call, join_lists

MULTIPLES = (1, 2, 5, 10)  # of the largest training length


def evaluate(
    checkpoint: Path,
    lengths: Sequence[int] = (),
    strings: int = 64,
    seed: int = 0,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print the share of right outputs at each length, inside and beyond the training lengths.

    Stacks and tapes get as much room as the strings need.

    Args:
        checkpoint: a checkpoint that fit wrote.
        lengths: lengths of the strings; 1, 2, 5 and 10 times the largest training length by default.
        strings: strings of each length.
        seed: of the strings.
        device: where to run; auto takes a GPU where there is one.
        out: folder for accuracy.json, accuracy.md and accuracy.png; the last needs matplotlib.
        json: print one JSON object as the last line.
    """
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    summary = evaluate_checkpoint(checkpoint, lengths, strings=strings, seed=seed, device=device)
    curve = {int(length): value for length, value in summary["accuracy"].items()}
    table = accuracy_table(curve, summary["max_length"])
    show(f"{summary['task']}, {summary['machine']}, share of right outputs in percent\n\n{table}")
    if out is not None:
        write_json(out / "accuracy.json", summary)
        write_text(out / "accuracy.md", table)
        if can_plot():
            plot_accuracy(
                {summary["machine"]: [curve]},
                out / "accuracy.png",
                title=summary["task"],
                chance=summary["chance"],
                max_length=summary["max_length"],
            )
    if json:
        show(dumps(summary))


def evaluate_checkpoint(
    checkpoint: Path, lengths: Sequence[int] = (), *, strings: int = 64, seed: int = 0, device: Device = "auto"
) -> dict[str, Any]:
    """Return accuracy by length with what is known of the machine.

    The score is the mean accuracy of the lengths beyond the training lengths; of all lengths if there are none.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        UserError: if it cannot be used, or a length or the number of strings is below 1.
    """
    model, provenance = load_model(checkpoint)
    place = find_device(device)
    max_length = (provenance["data"] or {}).get("max_length")
    chosen = sorted(set(lengths)) or [multiple * (max_length or 20) for multiple in MULTIPLES]
    curve = task_accuracy(model.to(place), model.task, chosen, batch=strings, seed=seed, device=place)
    beyond = [value for length, value in curve.items() if length > (max_length or 0)] or list(curve.values())
    return {
        "checkpoint": str(checkpoint),
        "task": model.task.name,
        "machine": model.config.machine,
        "max_length": max_length,
        "strings": strings,
        "seed": seed,
        "chance": 1 / model.task.output_size,
        "accuracy": {str(length): value for length, value in curve.items()},
        "score": sum(beyond) / len(beyond),
        "provenance": provenance,
    }


def accuracy_table(curve: dict[int, float], max_length: int | None) -> str:
    """Return the curve as a Markdown table with a mark at the lengths that training saw."""
    rows = [
        [str(length), f"{100 * value:.1f}", "yes" if max_length is not None and length <= max_length else "no"]
        for length, value in curve.items()
    ]
    return markdown_table(["length", "accuracy", "trained"], rows)


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(evaluate, program, join_lists(arguments, {"--lengths"}))
