"""``mnemic-track generate``: generated sequences as files, to look at or to feed to other programs."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mnemic_kit.atomic_files import replace_folder
from mnemic_kit.made_files import check_outputs


def generate(
    out: Path,
    num_sequences: int = 4,
    num_frames: int = 60,
    size: tuple[int, int] = (144, 192),
    seed: int = 0,
) -> None:
    """Write moving sprites with occlusions, crossings and appearance twins as folders of the MOT layout.

    Args:
        out: folder to write to; one folder a sequence.
        num_sequences: how many.
        num_frames: frames of each.
        size: height and width in pixels.
        seed: the same seed gives the same sequences.
    """
    from mnemic_vision.memotr.data import GeneratedSequences

    generated = GeneratedSequences(seed=seed, num_sequences=num_sequences, num_frames=num_frames, size=size)
    folders = [out / sequence.name for sequence in generated.sequences]
    check_outputs(*folders)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".") as temporary:  # so that no folder is incomplete after a kill
        generated.write_mot_layout(temporary)
        for folder in folders:
            replace_folder(folder, Path(temporary, folder.name))
