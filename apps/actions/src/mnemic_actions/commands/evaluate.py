"""``mnemic-actions evaluate``: score a checkpoint on annotated streams."""

from pathlib import Path

from mnemic_actions.options import Order
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def evaluate(
    data: Path,
    split: str | None = None,
    checkpoint: Path | None = None,
    order: Order = "as_recorded",
    delay: float | None = None,
    score: float | None = None,
    without_memory: bool = False,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Find the actions of annotated streams and print average precision, detection delay and speed.

    Streams are computed in batches of windows, which gives what frame by frame gives; the real-time factor is measured
    frame by frame. Streams or annotations that cannot be used are listed at the end, with exit code 2; they do not
    count.

    Args:
        data: folder with annotations.json and a file (npy, npz, h5) of each stream, or of THUMOS14 or MUSES as in
            training.
        split: subset of the annotations, such as val, test or train, or all; by default every subset that is not for
            training, and all if there is no other.
        checkpoint: weights to evaluate; by default the shipped ones that take such streams.
        order: shuffled cuts each stream between its actions and joins the pieces in two other orders, in which a
            learned order of actions does not help.
        delay: seconds to hold actions back, so that the best candidate of each is emitted; by default that of the
            checkpoint, 0 in the paper.
        score: least score of an action, 0 to 1; by default that of the checkpoint, 0.1 in the paper.
        without_memory: store no past window, to see what the memory contributes.
        device: where to run; auto takes a GPU where there is one.
        out: folder for scores.json and predictions.json.
        json: print one JSON object as the last line.
    """
    from mnemic_actions.checkpoints import RunOptions, check_classes, find_checkpoint, load_for_streams
    from mnemic_actions.evaluation import (
        choose_subsets,
        describe,
        evaluate_streams,
        find_data,
        open_subsets,
        show_evaluation,
        summarize,
    )
    from mnemic_actions.results import write_predictions
    from mnemic_kit.devices import find_device
    from mnemic_kit.output import show_json
    from mnemic_kit.problems import Problems
    from mnemic_kit.record import open_record

    if out is not None:
        check_outputs(out / "scores.json", out / "predictions.json")
    problems = Problems()
    options = RunOptions(delay, score, without_memory, find_device(device))
    found = find_data(data)
    subsets = choose_subsets(found, split)
    streams = open_subsets(found, subsets, problems)
    path = find_checkpoint(checkpoint, streams.kind, streams.num_channels)
    trained = load_for_streams(path, streams.kind, streams.num_channels)
    check_classes(path, trained.settings.classes, streams.classes)
    names = ["all" if subset is None else subset or "(none)" for subset in subsets]
    used = {"split": names, "order": order, "without_memory": without_memory}
    record = None
    if out is not None:
        given = {**used, "delay": delay, "score": score, "device": device}
        record = open_record(out / "scores.json", "mnemic-actions", given, {"data": data, "checkpoint": path})
    evaluation = evaluate_streams(trained, streams, order, options, problems)
    scores = evaluation.scores()
    summary = summarize(scores, evaluation) | used | describe(trained, options)
    summary |= {"data": str(data), "checkpoint": path.name, "num_problems": len(problems.found)}
    if record is not None:
        write_predictions(record.path.with_name("predictions.json"), evaluation.predictions)
        record.write(summary)
    show_evaluation(summary, scores)
    problems.show("left out")
    if json:
        show_json(summary)
    problems.exit_on_any()
