"""``mnemic-track run``: track a video, an image folder or a camera."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_track.options import MemoryName, Switch


def run(
    source: str,
    /,
    out: Path = Path("runs/run"),
    checkpoint: Path | None = None,
    every: int = 1,
    track: int | None = None,
    max_size: int | None = None,
    score: float | None = None,
    device: Device = "auto",
    memory: MemoryName | None = None,
    appearance: Switch | None = None,
) -> None:
    """Track everything in a video and write an annotated mp4, MOT text, JSON lines and a plot of the memory.

    Args:
        source: video file, folder of images, MOT sequence folder, or number of a camera (stop it with Ctrl-C).
        out: folder for the results; made when absent, and earlier results stay until the new ones are complete.
        checkpoint: weights to run; the shipped ones by default.
        every: use every N-th frame; results count the frames used.
        track: number of the video track of files that have several, from 1; default: the one marked as default.
        max_size: longer side of the network's input in pixels; smaller is faster and finds fewer small objects.
        score: show tracks above this score, 0 to 1.
        device: where to run; auto takes a GPU where there is one.
        memory: another long-term memory with the same weights, to see what it does.
        appearance: on or off: give lost objects their identity back by how they look; default: as the checkpoint says.
    """
    from mnemic_track.checkpoints import open_tracker
    from mnemic_track.running import run_frames
    from mnemic_vision.video import open_frames

    if every < 1:
        raise UserError(f"--every must be at least 1, got {every}")
    tracker, settings = open_tracker(
        checkpoint, memory=memory, appearance=appearance, max_size=max_size, score=score, device=device
    )
    with open_frames(source, track) as frames:
        names = settings.classes if len(settings.classes) > 1 else None
        run_frames(tracker, frames, out, every=every, names=names)
