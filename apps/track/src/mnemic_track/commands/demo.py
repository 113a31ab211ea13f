"""``mnemic-track demo``: everything at once, without any input."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mnemic_kit.devices import Device
from mnemic_track.options import MemoryName, Switch


def demo(
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    num_frames: int = 120,
    size: tuple[int, int] = (288, 384),
    people: int = 6,
    obstacles: bool = False,
    seed: int = 7,
    device: Device = "auto",
    memory: MemoryName | None = None,
    appearance: Switch | None = None,
) -> None:
    """Generate a video of people who cross each other, track it, and score the result against its ground truth.

    Args:
        out: folder for the mp4, MOT text, JSON lines and the plot of the memory.
        checkpoint: weights to run; the shipped ones by default.
        num_frames: length of the video.
        size: height and width of the video in pixels.
        people: approximate number of people at the same time.
        obstacles: add pillars, kiosks and billboards, behind which people turn around; the shipped weights, trained on
            one open place, lose many of them there.
        seed: another number makes another video; the shipped weights have seen neither in training.
        device: where to run; auto takes a GPU where there is one.
        memory: another long-term memory with the same weights.
        appearance: on or off: give lost objects their identity back by how they look; default: as the checkpoint says.
    """
    from mnemic_kit.output import show
    from mnemic_track.checkpoints import open_tracker
    from mnemic_track.metrics import SequenceResult, evaluate_sequences, scores_table
    from mnemic_track.results import read_mot
    from mnemic_track.running import run_frames
    from mnemic_track.sequences import ground_truth
    from mnemic_vision.memotr.data import GeneratedSequences
    from mnemic_vision.video import open_frames

    tracker, _ = open_tracker(checkpoint, memory=memory, appearance=appearance, device=device)
    generated = GeneratedSequences(
        seed=seed, num_sequences=1, num_frames=num_frames, size=size, num_objects=people, has_obstacles=obstacles
    )
    sequence = generated.sequences[0]
    with TemporaryDirectory() as folder:  # through files, as users have them
        generated.write_mot_layout(folder)
        with open_frames(Path(folder, sequence.name)) as frames:
            outcome = run_frames(tracker, frames, out)
    result = SequenceResult(sequence.name, ground_truth(sequence), read_mot(outcome.paths["MOT text"]))
    show(f"against the generated ground truth\n\n{scores_table(evaluate_sequences([result]))}")
