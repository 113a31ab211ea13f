"""``mnemic-lm generate``: continue a text, and go on another day."""

import sys
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_kit.made_files import note_output


def generate(
    checkpoint: Path,
    prompt: str = "",
    tokens: int = 200,
    session: Path | None = None,
    temperature: float = 0.8,
    top_k: int = 0,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Write the continuation of a prompt to the standard output, token by token.

    Args:
        checkpoint: file of mnemic-lm fit.
        prompt: text to continue.
        tokens: how many to write; bytes for a model of bytes.
        session: file that the session is continued from, if it exists, and saved to.
        temperature: below 1 prefers likely tokens; 0 always takes the likeliest.
        top_k: draw from the so many likeliest tokens only; 0 from all.
        seed: of the draws; a text written in two sessions equals one written at once.
        device: where to run; auto takes a GPU where there is one.
    """
    from mnemic_lm.checkpoints import LanguageCheckpoint
    from mnemic_lm.generation import Sampling, TextSession

    sampling = Sampling(temperature, top_k, seed)
    if tokens < 0:
        raise UserError(f"--tokens must be at least 0, got {tokens}")
    if session is not None and not session.parent.is_dir():
        raise FileNotFoundError(f"cannot write {session}: the folder {session.parent} does not exist; create it first")
    loaded = LanguageCheckpoint.load(checkpoint).to(find_device(device))
    text = TextSession(loaded.model, loaded.settings.segment_length, loaded.codec)
    if session is not None and session.exists():
        text.load(session)
        note_output(session)  # read as a session of these weights, it may be replaced by its continuation
    _show(text.prompt(prompt))
    for piece in text.text(tokens, sampling):
        _show(piece)
    # What a session holds back, such as half a character, its continuation completes.
    _show("\n" if session is not None else text.finish() + "\n")
    if session is not None:
        text.save(session)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
