"""What `compare` scores: the actions found in validation streams, kept for paired intervals over streams."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnemic_actions.checkpoints import RunOptions
from mnemic_actions.evaluation import evaluate_streams
from mnemic_actions.options import Order
from mnemic_actions.results import as_record, read_found, read_truths
from mnemic_kit.experiment import Difference, Metric, Paired, keep_condition, read_conditions
from mnemic_kit.problems import Problems
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import ActionStream, ActionStreams
from mnemic_vision.matr.metrics import paired_interval

FOUND = "found.json"
METRICS = {
    "map_average": Metric("mAP (%)", scale=100.0),
    "map_0.3": Metric("mAP@0.3 (%)", scale=100.0),
    "map_0.5": Metric("mAP@0.5 (%)", scale=100.0),
    "map_0.7": Metric("mAP@0.7 (%)", scale=100.0),
    "mean_delay_s": Metric("delay (s)", "lower", digits=2),
    "parameters": Metric("parameters", None, digits=0),
}
CONDITIONS: dict[str, Order] = {"as recorded": "as_recorded", "shuffled": "shuffled"}


def score_condition(
    checkpoint: LocalizerCheckpoint, streams: Sequence[ActionStream], condition: str, folder: Path
) -> dict[str, float]:
    """Return the scores of a network on streams in one order, and keep what it found in ``found.json``."""
    inputs = checkpoint.settings.inputs
    data = ActionStreams(list(streams), checkpoint.settings.classes, inputs.channels, inputs.kind)
    found = evaluate_streams(checkpoint, data, CONDITIONS[condition], RunOptions(), Problems())
    records = {name: as_record(found.predictions[name], truths) for name, truths in found.truths.items()}
    keep_condition(folder / FOUND, condition, records)
    scores = {name: value for name, value in found.scores().as_dict().items() if name in METRICS}
    number = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    return {name: float("nan") if value is None else value for name, value in scores.items()} | {
        "parameters": float(number)
    }


def pair_streams(folder: Callable[[str, int], Path]) -> Paired:
    """Return a function for differences of the average mAP paired over streams, in place of those over seeds.

    Args:
        folder: from variant and seed to the folder of the run.
    """

    def paired(condition: str, metric: str, variant: str, baseline: str, seeds: Sequence[int]) -> Difference | None:
        if metric != "map_average":
            return None
        read = {
            name: [read_conditions(folder(name, seed) / FOUND)[condition] for seed in seeds]
            for name in (variant, baseline)
        }
        truths = read_truths(read[variant][0])
        if len(truths) < 2:
            return None
        own, other = ([read_found(run) for run in read[name]] for name in (variant, baseline))
        interval = paired_interval(truths, own, other)
        return Difference(interval.difference, interval.low, interval.high, interval.share_first_better, "streams")

    return paired
