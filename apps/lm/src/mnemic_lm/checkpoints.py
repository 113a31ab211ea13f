"""Checkpoints of language models: weights, config, tokenizer and segment length."""

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
    """How to run a trained language model.

    Args:
        segment_length: tokens per segment in training.
    """

    segment_length: int

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "segment_length")


@dataclass(frozen=True)
class LanguageCheckpoint(Checkpoint[LanguageModel, LanguageSettings], kind="language_model"):
    """A trained language model with its tokenizer.

    Attributes:
        codec: text to tokens and back.

    Raises:
        UserError: if the vocabularies of model and codec differ in size.
    """

    codec: Codec

    def __post_init__(self) -> None:
        # One more than the codec has, for the start of documents.
        tokens, outputs = self.codec.num_tokens + 1, self.model.config.vocab_size
        if tokens != outputs:
            raise UserError(f"the parts do not fit together: {tokens} tokens in the codec, {outputs} in the network")

    def describe_parts(self) -> dict[str, Any]:
        """Return the content of the tokenizer file, None for bytes."""
        return {"tokenizer": self.codec.source}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return the codec."""
        return {"codec": restore_codec(deserialize(str | None, header.get("tokenizer"), source, "tokenizer"))}


def with_memory_size(model: LanguageModel, size: int) -> LanguageModel:
    """Return a copy of the network whose memory has another capacity.

    Raises:
        UserError: if the weights depend on the size, or the memory refuses it.
    """
    transformer = model.config.transformer
    resized = replace(transformer, memory=transformer.memory.resized(size))
    changed = LanguageModel(replace(model.config, transformer=resized))
    changed.load_state_dict(model.state_dict())
    return changed.eval().to(model.embedding.weight.device)
