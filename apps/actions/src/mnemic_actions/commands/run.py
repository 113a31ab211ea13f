"""``mnemic-actions run``: find the actions of a feature stream, a video or a camera."""

from pathlib import Path

from mnemic_kit.devices import Device


def run(
    source: str,
    /,
    out: Path = Path("runs/run"),
    checkpoint: Path | None = None,
    extractor_weights: Path | None = None,
    frame_rate: float | None = None,
    every: int = 1,
    delay: float | None = None,
    score: float | None = None,
    without_memory: bool = False,
    session: Path | None = None,
    device: Device = "auto",
) -> None:
    """Find the actions of a stream while it runs; write json, JSON lines, a timeline picture and, of a video, an mp4.

    Every action is printed as soon as it is known. Where annotations.json in the folder of SOURCE, or in the one above,
    names the stream, the picture shows its annotated actions too.

    Args:
        source: feature stream (npy, npz with joints, imu or features, h5 with one or several streams) or folder of
            them; or, with a checkpoint that was trained on videos, a video file, folder of images or number of a camera
            (stop it with Ctrl-C).
        out: folder for the results; made when absent, and earlier results stay until the new ones are complete.
        checkpoint: weights to run; by default the shipped ones that take such streams.
        extractor_weights: file with the weights of the network that turns frames of a video into features.
        frame_rate: rows of the stream per second; by default that of its annotation, of the manifest that extract
            wrote, or of the training data. Videos know theirs.
        every: use every N-th frame.
        delay: seconds to hold actions back, so that the best candidate of each is emitted; by default that of the
            checkpoint, 0 in the paper.
        score: least score of an action, 0 to 1; by default that of the checkpoint, 0.1 in the paper.
        without_memory: store no past window, to see what the memory contributes.
        session: file to continue the stream from, if it exists, and to save it to, for streams in several parts.
        device: where to run; auto takes a GPU where there is one.
    """
    from mnemic_actions.checkpoints import RunOptions
    from mnemic_actions.running import RunRequest
    from mnemic_actions.streams import is_stream_source
    from mnemic_kit.devices import find_device
    from mnemic_kit.made_files import check_outputs

    if session is not None:
        check_outputs(session)
    options = RunOptions(delay, score, without_memory, find_device(device))
    request = RunRequest(out, checkpoint, options, every, session)
    if is_stream_source(Path(source)):
        from mnemic_actions.jobs import run_streams

        run_streams(Path(source), request, frame_rate)
    else:
        from mnemic_actions.video_jobs import run_video

        run_video(source, request, extractor_weights)
