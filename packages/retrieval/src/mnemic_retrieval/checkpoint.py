"""Checkpoint of a system from text to text: weights, tokenizer and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnemic_core.checkpoint import Checkpoint, Model, Settings
from mnemic_core.deserialize import deserialize
from mnemic_retrieval.tokenizers import ByteTokenizer, Tokenizer, tokenizer_from_state


@dataclass(frozen=True)
class TextCheckpoint(Checkpoint[Model, Settings], kind="text"):
    """A trained network with its tokenizer.

    Attributes:
        tokenizer: of its tokens.
    """

    tokenizer: Tokenizer = field(default_factory=ByteTokenizer)

    def describe_parts(self) -> dict[str, Any]:
        """Return the tokenizer."""
        return {"tokenizer": self.tokenizer.state()}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return the tokenizer."""
        state = deserialize(dict[str, Any], header.get("tokenizer"), source, "tokenizer")
        return {"tokenizer": tokenizer_from_state(state)}
