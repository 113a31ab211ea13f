"""Opening a checkpoint as the options of the commands say."""

from dataclasses import replace
from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_transcribe.checkpoints import open_recognizer


def open_transcriber(
    checkpoint: Path | None = None,
    *,
    decoding: Decoding | None = None,
    beam: int | None = None,
    device: Device = "auto",
) -> Transcriber:
    """Return a transcriber that runs a checkpoint.

    Args:
        checkpoint: an exported file or a checkpoint of training; None: the shipped one, which knows digits.
        decoding: how to decode; None: as the checkpoint says.
        beam: hypotheses that a search keeps; None: as the checkpoint says.
        device: where to run; ``auto`` takes a GPU where there is one.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: the checkpoint cannot be used, or cannot decode in that way.
    """
    recognizer = open_recognizer(checkpoint, device=device)
    settings = recognizer.settings
    if decoding is not None:
        settings = replace(settings, decoding=decoding)
    if beam is not None:
        settings = replace(settings, search=replace(settings.search, beam=beam))
    return Transcriber(recognizer, settings)
