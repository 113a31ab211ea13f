"""``mnemic-lm generate``: continue a text, in one or several sessions."""

import sys
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device


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
        tokens: number of tokens to write; bytes for a byte-level model.
        session: file to resume the session from, if it exists, and to save it to.
        temperature: of the softmax; 0: always the likeliest token.
        top_k: draw only from this many likeliest tokens; 0: from all.
        seed: of sampling; a text written in two sessions equals one written at once.
        device: auto uses a GPU if available.
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
    _show(text.prompt(prompt))
    for piece in text.text(tokens, sampling):
        _show(piece)
    # A session keeps half a character for its continuation to complete.
    _show("\n" if session is not None else text.finish() + "\n")
    if session is not None:
        text.save(session)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
