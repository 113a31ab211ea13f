"""``mnemic-transcribe average``: the mean of several checkpoints of one run."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.made_files import check_outputs


def average(checkpoints: tuple[Path, ...], out: Path) -> None:
    """Write the mean weights of several checkpoints of one run, usable by every command.

    Args:
        checkpoints: checkpoints of fit, such as those in checkpoints/candidates.
        out: file to write, .ckpt.
    """
    from mnemic_kit.averaging import average_checkpoints
    from mnemic_speech.conformer_ntm import Recognizer

    if out.suffix != ".ckpt":
        raise UserError(f"the average is a .ckpt file as fit writes it, got {out}")
    check_outputs(out)
    average_checkpoints(checkpoints, out, Recognizer)
