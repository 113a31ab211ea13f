"""``mnemic-actions demo``: everything at once, without any input."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mnemic_kit.devices import Device


def demo(
    out: Path = Path("runs/demo"),
    checkpoint: Path | None = None,
    num_frames: int = 600,
    seed: int = 7,
    device: Device = "auto",
) -> None:
    """Generate a stream with known actions, find them while it runs, draw both, and score the result.

    Args:
        out: folder for json, JSON lines and the timeline picture.
        checkpoint: weights to run, trained on generated streams; the shipped ones by default.
        num_frames: length of the stream.
        seed: another number makes another stream.
        device: where to run; auto takes a GPU where there is one.
    """
    from rich.console import Console

    from mnemic_actions.checkpoints import DEMO, RunOptions, load_for_streams
    from mnemic_actions.jobs import stream_job
    from mnemic_actions.running import run_job
    from mnemic_actions.streams import open_source
    from mnemic_kit.devices import find_device
    from mnemic_kit.output import show
    from mnemic_vision.matr import Clock, LocalizerCheckpoint
    from mnemic_vision.matr.data import GeneratedActions
    from mnemic_vision.matr.metrics import evaluate_actions, scores_tables

    checkpoint = checkpoint or DEMO
    sizes = LocalizerCheckpoint.load(checkpoint)
    generated = GeneratedActions(
        num_streams=1,
        num_frames=num_frames,
        num_classes=len(sizes.settings.classes),
        num_channels=sizes.settings.inputs.channels,
        window=sizes.model.config.window,
        seed=seed,
    )
    with TemporaryDirectory() as folder:  # through files, as users have them
        generated.write(Path(folder, "generated"))
        opened = open_source(Path(folder, "generated"))
        trained = load_for_streams(checkpoint, opened.data.kind, opened.data.num_channels)
        (stream,) = opened.data
        localizer = RunOptions(device=find_device(device)).localizer(trained, Clock.of(stream))
        outcome = run_job(localizer, stream_job(localizer, stream, is_annotated=True), out, Console())
    scores = evaluate_actions({stream.name: stream.actions}, {stream.name: outcome.actions})
    show(f"against the annotated actions\n\n{scores_tables(scores)}")
