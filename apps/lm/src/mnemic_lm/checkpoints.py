"""One file with everything that a language model needs: weights, sizes, tokens and the segment of training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from mnemic_core.checkpoint import Checkpoint
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_range
from mnemic_lm.model import LanguageModel
from mnemic_lm.tokens import Codec, restore_codec


@dataclass(frozen=True)
class LanguageSettings:
    """How a trained language model is to be run.

    Args:
        segment_length: tokens of a segment in training.
    """

    segment_length: int

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "segment_length")


@dataclass(frozen=True)
class LanguageCheckpoint(Checkpoint[LanguageModel, LanguageSettings], kind="language_model"):
    """A trained language model with what turns text into its tokens.

    Attributes:
        codec: text to tokens and back.

    Raises:
        UserError: if model and codec differ in the number of tokens.
    """

    codec: Codec

    def __post_init__(self) -> None:
        tokens, outputs = self.codec.num_tokens + 1, self.model.config.vocab_size
        if tokens != outputs:
            raise UserError(f"the parts do not fit together: {tokens} tokens in the codec, {outputs} in the network")

    def describe_parts(self) -> dict[str, Any]:
        """Return the content of the tokenizer file; None for bytes."""
        return {"tokenizer": self.codec.source}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return the codec."""
        return {"codec": restore_codec(deserialize(str | None, header.get("tokenizer"), source, "tokenizer"))}


def with_memory_size(model: LanguageModel, size: int) -> LanguageModel:
    """Return a network with the same weights whose memory holds another number of items.

    Raises:
        UserError: if the weights depend on the size, or the memory refuses it.
    """
    transformer = model.config.transformer
    resized = replace(transformer, memory=transformer.memory.resized(size))
    changed = LanguageModel(replace(model.config, transformer=resized))
    changed.load_state_dict(model.state_dict())
    return changed.eval().to(model.embedding.weight.device)
