"""Running a video, an image folder or a camera: its frames through extractor and localizer.

Apart from the jobs of streams, which do without torchvision.
"""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from mnemic_actions.checkpoints import RunOptions
from mnemic_actions.jobs import show_rate
from mnemic_actions.running import Job, RunRequest, Step, observe, run_job
from mnemic_actions.streams import find_annotations
from mnemic_core.errors import UserError
from mnemic_vision.frame_features import FeatureExtractor
from mnemic_vision.matr import Action, Clock, LocalizerCheckpoint, VideoLocalizer
from mnemic_vision.matr.data.annotations import read_annotation_file
from mnemic_vision.video import FrameSource, open_frames


def run_video(source: str, request: RunRequest, weights: Path | None) -> None:
    """Run a video, an image folder or a camera.

    Args:
        source: see `open_frames`.
        request: what to do.
        weights: of the extractor.

    Raises:
        FileNotFoundError: there is no such source, checkpoint or file of weights.
        UserError: the checkpoint takes no video, or the source is damaged.
    """
    if request.checkpoint is None:
        raise UserError(
            f"{source} is not a feature stream (npy, npz, h5), and no checkpoint for videos is shipped: give one with "
            "--checkpoint"
        )
    trained = LocalizerCheckpoint.load(request.checkpoint)
    with open_frames(source) as frames:
        rate = frames.frame_rate / request.every
        video = open_video_localizer(trained, request.checkpoint, weights, rate, request.options)
        request.resume(video)
        show_rate(video.localizer.clock, trained)
        job = video_job(video, frames, source, every=request.every, in_parts=request.in_parts)
        run_job(video.localizer, job, request.out, Console())
    request.save(video)


def open_video_localizer(
    checkpoint: LocalizerCheckpoint, path: Path, weights: Path | None, frame_rate: float, options: RunOptions
) -> VideoLocalizer:
    """Return a localizer that takes the frames of a video.

    Args:
        checkpoint: trained on features of an extractor that its settings name.
        path: of the checkpoint, for messages.
        weights: of the extractor; None: random ones, which only a network trained on such features can use.
        frame_rate: frames of the video per second.
        options: how the network is run.

    Raises:
        FileNotFoundError: there is no file of weights.
        UserError: the checkpoint takes no video, or the weights are not those of its training.
    """
    extractor_config = checkpoint.settings.extractor
    if extractor_config is None:
        inputs = checkpoint.settings.inputs
        raise UserError(
            f"checkpoint {path.name} takes streams of {inputs.channels} channels ({inputs.kind}), no video: give a "
            "checkpoint that was trained on features of videos, or a feature stream (npy, npz, h5) as SOURCE"
        )
    extractor = FeatureExtractor(extractor_config, weights, options.device)
    return VideoLocalizer(extractor, options.localizer(checkpoint, Clock(extractor_config.stride / frame_rate)))


def video_job(video: VideoLocalizer, source: FrameSource, place: str, *, every: int = 1, in_parts: bool = False) -> Job:
    """Return the job of a video, an image folder or a camera.

    Args:
        video: starts with its present memory.
        source: frames.
        place: of the source; annotations may lie in its folder or the one above.
        every: use every N-th frame.
        in_parts: the video continues in another run.
    """
    rate = source.frame_rate / every

    def steps() -> Iterator[Step]:
        for index, image in enumerate(source):
            if index % every == 0:
                actions = video.push(image)
                moment = None if actions is None else observe(video.localizer)
                yield Step((video.extractor.state.count - 1) / rate, moment, actions or [], image)

    return Job(
        source.name,
        steps(),
        num_frames=None if source.num_frames is None else -(-source.num_frames // every),
        truth=None if in_parts else _truth_of_video(Path(place), source.name),
        video=(source.size, rate, source.pixel_shape),
        is_live=source.num_frames is None,
        finishes=not in_parts,
    )


def _truth_of_video(place: Path, name: str) -> tuple[Action, ...] | None:
    """Return the annotated actions of a video; None if no annotation file names it."""
    annotations = find_annotations(place) if place.exists() else None
    if annotations is None:
        return None
    entries = read_annotation_file(annotations, on_problem=lambda problem: None).videos
    return next((entry.actions for entry in entries if entry.name == name), None)
