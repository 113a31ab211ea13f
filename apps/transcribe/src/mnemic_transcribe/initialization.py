"""Initializing parts of a recognizer from another one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly
from mnemic_speech.conformer_ntm.checkpoint import Recognizer

Part = Literal["encoder", "memory", "ctc", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "memory", "ctc", "decoder")


def load_parts(recognizer: Recognizer, path: Path, parts: Sequence[Part]) -> None:
    """Load parts of another recognizer of the same tokens, and its feature statistics.

    Args:
        recognizer: what is initialized.
        path: checkpoint of the other one.
        parts: which of its modules are taken.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is damaged, has other tokens or features, or a part does not fit.
    """
    given = Recognizer.load(path)
    tokens = given.tokenizer.state() == recognizer.tokenizer.state()
    if not tokens or given.features.config != recognizer.features.config:
        raise UserError(f"{path} has other tokens or features than this config: use its data.vocabulary")
    for part in parts:
        # An empty module for a branch that was not built.
        own, others = (getattr(each.model, part) or nn.Module() for each in (recognizer, given))
        load_exactly(own, others.state_dict(), f"the {part} of {path}")
    recognizer.normalizer.load_state_dict(given.normalizer.state_dict())
