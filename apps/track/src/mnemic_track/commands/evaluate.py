"""``mnemic-track evaluate``: score a tracker on sequences with ground truth."""

from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_track.options import MemoryName, Switch


def evaluate(
    data: Path,
    checkpoint: Path | None = None,
    classes: tuple[int, ...] = (1,),
    memory: MemoryName | None = None,
    appearance: Switch | None = None,
    max_size: int | None = None,
    device: Device = "auto",
    baseline: bool = False,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Track sequences of the MOT layout and print HOTA, MOTA, IDF1 and their parts.

    Args:
        data: one sequence (a folder with img1/ and gt/gt.txt) or a folder of sequences.
        checkpoint: weights to evaluate; the shipped ones by default.
        classes: class numbers of gt.txt that are scored, in the order of the network's labels; 1 is a pedestrian.
        memory: another long-term memory with the same weights; none shows what the memory contributes.
        appearance: on or off: give lost objects their identity back by how they look; default: as the checkpoint says.
        max_size: longer side of the network's input in pixels.
        device: where to run; auto takes a GPU where there is one.
        baseline: evaluate instead the plain overlap tracker on the detections in det/det.txt.
        out: folder for scores.json and, with a network, a MOT text file of each sequence.
        json: print one JSON object as the last line.
    """
    from mnemic_kit.output import show
    from mnemic_kit.record import open_record
    from mnemic_track.checkpoints import SHIPPED, open_tracker
    from mnemic_track.evaluation import check_classes, evaluate_baseline, evaluate_tracker, show_scores
    from mnemic_vision.memotr.data import MotSequences

    sequences = MotSequences(data, classes=classes, require_ground_truth=True).sequences
    if out is not None:
        check_outputs(out / "scores.json", *(out / f"{sequence.name}.txt" for sequence in sequences))
    # Wrong options are refused before the folder of results is made.
    opened = (
        None
        if baseline
        else open_tracker(checkpoint, memory=memory, appearance=appearance, max_size=max_size, device=device)
    )
    check_classes(classes, num_labels=1 if opened is None else len(opened[1].classes))
    record = None
    if out is not None:
        options = {
            "classes": classes,
            "memory": memory,
            "max_size": max_size,
            "device": device,
            "baseline": baseline,
        }
        files = {"data": data, "checkpoint": None if baseline else checkpoint or SHIPPED}
        record = open_record(out / "scores.json", "mnemic-track", options, files)
    if opened is None:
        (summary, scores), report = evaluate_baseline(data, sequences), None
    else:
        tracker, names = opened[0], [f"class {number}" for number in classes]
        summary, scores, report = evaluate_tracker(tracker, sequences, names, out)
        summary |= {"checkpoint": str(checkpoint or SHIPPED.name), "memory": tracker.model.config.memory.name}
    summary["data"] = str(data)
    if record is not None:
        record.write(summary)
    if not any(sequence.has_objects for sequence in sequences):
        show(f"no sequence has an object of class {', '.join(map(str, classes))}: --classes chooses others")
    show_scores(summary, scores, report, as_json=json)
