"""Opening a checkpoint with the options of the commands."""

from dataclasses import replace
from pathlib import Path

from mnemic_kit.devices import Device, find_device
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.inference import Transcriber

SHIPPED = Path(__file__).parent / "checkpoints" / "digits.safetensors"


def open_transcriber(
    checkpoint: Path | None = None,
    *,
    decoding: Decoding | None = None,
    beam: int | None = None,
    device: Device = "auto",
) -> Transcriber:
    """Return a transcriber for a checkpoint.

    Args:
        checkpoint: an exported file or a checkpoint of training; None: the shipped one, for digits.
        decoding: method; None: that of the checkpoint.
        beam: hypotheses kept in a search; None: that of the checkpoint.
        device: ``auto`` uses a GPU if available.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: the checkpoint cannot be used, or lacks the branch for the decoding.
    """
    if checkpoint is None and not SHIPPED.is_file():
        raise FileNotFoundError(
            f"the shipped checkpoint {SHIPPED} is absent: run make train-demo-transcribe, or give --checkpoint"
        )
    recognizer = Recognizer.load(checkpoint or SHIPPED).to(find_device(device))
    settings = recognizer.settings
    if decoding is not None:
        settings = replace(settings, decoding=decoding)
    if beam is not None:
        settings = replace(settings, search=replace(settings.search, beam=beam))
    return Transcriber(recognizer, settings)
