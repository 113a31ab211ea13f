"""``mnemic-algorithms compare``: accuracy of several machines on one task at equal training budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from mnemic_algorithms.options import machine_names
from mnemic_kit.configs import find_config, read_section
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Share, Variant
from mnemic_kit.parse import OneOf

SOLVED = 0.9  # smallest score of a solved task in the study: the mean accuracy beyond the training lengths
METRICS = {
    "score": Metric("score (%)", scale=100.0),
    "solved": Share("solved", None),
    "accuracy": Metric("accuracy (%)", scale=100.0),
}


def compare(
    task: str = "reverse_string",
    machines: Sequence[Annotated[str, OneOf(machine_names)]] = ("stack_rnn", "rnn"),
    seeds: Sequence[int] = (0, 1, 2),
    config: str = "proof",
    lengths: Sequence[int] = (),
    strings: int = 64,
    out: Path = Path("runs/compare"),
    options: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Train each machine with each seed for the same number of steps, and score all beyond the training lengths.

    Finished runs are kept, a killed one is resumed, and another call with other machines or seeds adds to the table.

    Args:
        task: task to learn.
        machines: machines to compare; the baseline is the first.
        seeds: seeds of each.
        config: config of the runs.
        lengths: lengths to score; 1, 2, 5 and 10 times the largest training length by default.
        strings: strings per length.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: further options of fit, such as ["--trainer.max_epochs=2"]; those for one machine alone begin with
            its name, such as rnn:--model.lr=0.001.
        json: print one JSON object as the last line.
    """
    from mnemic_algorithms.commands import train
    from mnemic_algorithms.evaluation import check_lengths, evaluate_checkpoint
    from mnemic_algorithms.machines import machine_arguments
    from mnemic_algorithms.plots import accuracy_metric
    from mnemic_core.tasks import create_task

    check_lengths(lengths, strings)
    chance = 1 / create_task(task).output_size  # before training, to refuse unknown tasks
    path = find_config(config, train.CONFIGS)
    accuracy = accuracy_metric(chance, training_length(path, options))
    variants = [Variant(machine, tuple(machine_arguments(machine))) for machine in machines]

    def score(run: Run, conditions: Sequence[str]) -> Scores:
        run.fit(train.main)
        found = evaluate_checkpoint(run.checkpoint, lengths, strings=strings, device="cpu")
        return dict.fromkeys(conditions, scores_of(found["score"], found["accuracy"]))

    Comparison(
        "mnemic-algorithms",
        out,
        variants,
        seeds,
        METRICS | {"accuracy": accuracy},
        path,
        options=[f"--data.task={task}", *options],
        conditions=[task],
        settings={"lengths": sorted(set(lengths)), "strings": strings},
    ).run(score, as_json=json)


def training_length(config: Path, options: Sequence[str]) -> int:
    """Return the length of the longest training strings."""
    data = read_section(config, "data")
    given = [option.partition("=")[2] for option in options if option.startswith("--data.max_length=")]
    return int([data.get("max_length", 20), *given][-1])  # 20: the default of `AlgorithmData`


def scores_of(score: float, accuracy: dict[str, float]) -> dict[str, float]:
    """Return the scores of a run from its score and its accuracy by length."""
    curve = {f"accuracy@length {length}": value for length, value in accuracy.items()}
    return {"score": score, "solved": float(score >= SOLVED), **curve}
