"""Initialization of a network from parts of another checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly
from mnemic_speech.conformer_ntm.checkpoint import Recognizer

Part = Literal["encoder", "memory", "ctc", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "memory", "ctc", "decoder")


def load_parts(own: Recognizer, path: Path, parts: Sequence[Part]) -> None:
    """Load parts of another recognizer with the same tokens and features, and its feature statistics.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        UserError: if it has other tokens or features, or a part does not fit.
    """
    given = Recognizer.load(path)
    if given.tokenizer.state() != own.tokenizer.state() or given.features.config != own.features.config:
        raise UserError(f"{path} has other tokens or features than this config: use its data.vocabulary")
    for part in parts:
        # An empty module for a branch that was not built.
        target, source = (getattr(each.model, part) or nn.Module() for each in (own, given))
        load_exactly(target, source.state_dict(), f"the {part} of {path}")
    own.normalizer.load_state_dict(given.normalizer.state_dict())
