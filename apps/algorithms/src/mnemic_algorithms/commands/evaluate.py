"""``mnemic-algorithms evaluate``: accuracy of a trained machine against string length."""

from collections.abc import Sequence
from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def evaluate(
    checkpoint: Path,
    lengths: Sequence[int] = (),
    strings: int = 64,
    seed: int = 0,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print the accuracy at each string length, within and beyond the training lengths.

    Stacks and tapes are as large as the strings need.

    Args:
        checkpoint: file of mnemic-algorithms fit, or an export.
        lengths: lengths of the strings; 1, 2, 5 and 10 times the largest training length by default.
        strings: strings per length.
        seed: of the strings.
        device: auto uses a GPU if available.
        out: folder for accuracy.json, accuracy.md and accuracy.png, if matplotlib is installed.
        json: print one JSON object as the last line.
    """
    from mnemic_algorithms.evaluation import accuracy_table, evaluate_checkpoint
    from mnemic_algorithms.plots import plot_accuracy
    from mnemic_kit.figures import can_plot
    from mnemic_kit.output import show, show_json, write_text
    from mnemic_kit.record import open_record

    record = None
    if out is not None:
        check_outputs(*(out / f"accuracy.{kind}" for kind in ("json", "md", "png")))
        options = {"lengths": sorted(set(lengths)), "strings": strings, "seed": seed, "device": device}
        record = open_record(out / "accuracy.json", "mnemic-algorithms", options, {"checkpoint": checkpoint})
    summary = evaluate_checkpoint(checkpoint, lengths, strings=strings, seed=seed, device=device)
    curve = {int(length): value for length, value in summary["accuracy"].items()}
    table = accuracy_table(curve, summary["max_length"])
    show(f"{summary['task']}, {summary['machine']}, accuracy in percent\n\n{table}")
    if record is not None:
        record.write(summary)
        write_text(record.path.with_suffix(".md"), table)
        if can_plot():
            plot_accuracy(
                {summary["machine"]: [curve]},
                record.path.with_suffix(".png"),
                title=summary["task"],
                chance=summary["chance"],
                max_length=summary["max_length"],
            )
    if json:
        show_json(summary)
