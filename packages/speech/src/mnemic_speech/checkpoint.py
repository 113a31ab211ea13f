"""Checkpoint of a system that reads speech: weights, features, their normalization, vocabulary and settings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mnemic_core.checkpoint import Checkpoint, Model, Settings
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_speech.features import FeatureConfig, Features, Normalizer, NormalizerKind
from mnemic_speech.text import Tokenizer, tokenizer_from_state


@dataclass(frozen=True)
class SpeechCheckpoint(Checkpoint[Model, Settings], kind="speech"):
    """A trained network with features, normalizer and tokenizer, from waveform to text.

    Attributes:
        features: filter-bank features of waveforms.
        normalizer: of the features.
        tokenizer: between tokens and text.

    Raises:
        UserError: if network and tokenizer differ in the number of tokens.
    """

    features: Features
    normalizer: Normalizer
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        tokens, outputs = self.tokenizer.vocab_size, self.model.config.vocab_size
        if tokens != outputs:
            raise UserError(
                f"the parts do not fit together: {tokens} tokens in the tokenizer, {outputs} in the network"
            )

    def modules(self) -> dict[str, nn.Module]:
        """Return network, features and normalizer; the features have no weights."""
        return {"model": self.model, "features": self.features, "normalizer": self.normalizer}

    def describe_parts(self) -> dict[str, Any]:
        """Return the settings of features and normalizer, and the content of the tokenizer."""
        return {
            "features": asdict(self.features.config),
            "normalizer": {"kind": self.normalizer.kind},
            "tokenizer": self.tokenizer.state(),
        }

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return features, normalizer and tokenizer."""
        config = deserialize(FeatureConfig, header.get("features"), source, "features")
        normalizer = deserialize(dict[str, NormalizerKind], header.get("normalizer"), source, "normalizer")
        tokenizer = deserialize(dict[str, Any], header.get("tokenizer"), source, "tokenizer")
        return {
            "features": Features(config),
            "normalizer": Normalizer(normalizer.get("kind", "global"), config.num_mels),
            "tokenizer": tokenizer_from_state(tokenizer, source),
        }
