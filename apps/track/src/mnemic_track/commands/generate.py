"""``mnemic-track generate``: generated sequences as files, to look at or to feed to other programs."""

from pathlib import Path

from mnemic_kit.atomic_files import atomic_path


def generate(
    out: Path,
    num_sequences: int = 4,
    num_frames: int = 60,
    size: tuple[int, int] = (144, 192),
    seed: int = 0,
) -> None:
    """Write moving sprites with occlusions, crossings and appearance twins as folders of the MOT layout.

    Args:
        out: folder to write, with a folder for each sequence; one that this program made is replaced.
        num_sequences: how many.
        num_frames: frames of each.
        size: height and width in pixels.
        seed: the same seed gives the same sequences.
    """
    from mnemic_vision.memotr.data import GeneratedSequences

    generated = GeneratedSequences(seed=seed, num_sequences=num_sequences, num_frames=num_frames, size=size)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as made:
        generated.write_mot_layout(made)
