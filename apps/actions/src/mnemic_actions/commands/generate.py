"""``mnemic-actions generate``: generated streams as files, to look at or to train on."""

from pathlib import Path

from mnemic_kit.atomic_files import atomic_path

VAL_SEEDS = 1_000_000  # validation streams are never those that another seed gives for training


def generate(
    out: Path,
    num_streams: int = 16,
    num_val_streams: int = 4,
    num_frames: int = 1000,
    num_classes: int = 4,
    num_channels: int = 16,
    window: int = 16,
    noise: float = 0.15,
    hide_class: bool = False,
    seed: int = 0,
) -> None:
    """Write streams of features whose actions begin with one sign and end with another, with annotations.json.

    Args:
        out: folder to write, with train and val streams; one that this program made is replaced.
        num_streams: streams for training.
        num_val_streams: streams for validation, at least 1.
        num_frames: frames of each, 5 per second.
        num_classes: different actions.
        num_channels: width of a frame, at least two for a class.
        window: frames that a model is to see at a time; actions last 4 to 4 window frames.
        noise: standard deviation of the background, of a sign's strength.
        hide_class: only the beginning of an action tells its class, so that it must be remembered.
        seed: the same seed gives the same streams.
    """
    from mnemic_vision.matr.data import GeneratedActions, write_annotated_streams

    sizes = {"num_frames": num_frames, "num_classes": num_classes, "num_channels": num_channels, "window": window}
    train, val = (
        GeneratedActions(num_streams=number, seed=start, noise=noise, hide_class=hide_class, **sizes).open()
        for number, start in ((num_streams, seed), (num_val_streams, seed + VAL_SEEDS))
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as made:
        write_annotated_streams({"train": train, "val": val}, made)
