"""Opening a checkpoint on a device."""

from pathlib import Path

from mnemic_kit.devices import Device, find_device
from mnemic_speech.conformer_ntm.checkpoint import Recognizer

SHIPPED = Path(__file__).parent / "checkpoints" / "digits.safetensors"


def open_recognizer(checkpoint: Path | None = None, *, device: Device = "auto") -> Recognizer:
    """Return the recognizer of a checkpoint.

    Args:
        checkpoint: an exported file or a checkpoint of training; None: the shipped one, for digits.
        device: ``auto`` uses a GPU if available.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: the checkpoint cannot be used.
    """
    if checkpoint is None and not SHIPPED.is_file():
        raise FileNotFoundError(
            f"the shipped checkpoint {SHIPPED} is absent: run make train-demo-transcribe, or give --checkpoint"
        )
    return Recognizer.load(checkpoint or SHIPPED).to(find_device(device))
