"""One file with everything that recognition needs: weights, features, their normalisation, vocabulary and settings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnemic_core.errors import UserError
from mnemic_core.model_file import ModelFormat, write_model
from mnemic_speech.conformer import ConformerConfig
from mnemic_speech.conformer_ntm.config import ConformerNtmConfig
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.conformer_ntm.weights import load_exactly
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import Tokenizer, tokenizer_from_state

FORMAT = ModelFormat(
    "conformer_ntm", 1, title="Conformer-NTM", makers="fit or save_recognizer", package="mnemic-speech"
)


@dataclass
class Recognizer:
    """A trained network with what stands before and behind it.

    Attributes:
        model: the network.
        features: what it hears of a waveform.
        normalizer: what brings that to the scale of training.
        tokenizer: what its tokens mean.
        settings: how it is to be run: plain values that its users agree on.
        provenance: what made it: command, data, seed, step, validation figures, versions.
    """

    model: ConformerNtm
    features: Features
    normalizer: Normalizer
    tokenizer: Tokenizer
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def to(self, device: torch.device | str) -> "Recognizer":
        """Move the modules to a device and return the recogniser itself, as modules do."""
        for module in (self.model, self.features, self.normalizer):
            module.to(device)
        return self


def recognizer_header(
    model: ConformerNtm,
    features: Features,
    normalizer: Normalizer,
    tokenizer: Tokenizer,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a checkpoint says about itself, as plain values, beside the weights of network and normaliser.

    Training writes it under the key ``mnemic``; the weights there are those of a module that has the network as
    ``model`` and the normaliser as ``normalizer``.
    """
    return FORMAT.header(
        config=asdict(model.config),
        features=asdict(features.config),
        normalizer={"kind": normalizer.kind},
        tokenizer=tokenizer.state(),
        settings=dict(settings),
        provenance=dict(provenance),
    )


def save_recognizer(path: str | Path, recognizer: Recognizer, *, half: bool = False) -> None:
    """Write a recogniser as safetensors; a file of that name is replaced only once all is written.

    Args:
        path: file to write, ``.safetensors``.
        recognizer: what to write.
        half: store parameters in float16; they are computed with in float32 all the same.
    """
    model, features, normalizer = recognizer.model, recognizer.features, recognizer.normalizer
    header = recognizer_header(
        model, features, normalizer, recognizer.tokenizer, recognizer.settings, recognizer.provenance
    )
    weights = nn.ModuleDict({"model": model, "normalizer": normalizer}).state_dict()
    if half:
        # Statistics stay exact: the variance of a channel may lie beyond the range of float16.
        weights |= {f"model.{name}": parameter.half() for name, parameter in model.named_parameters()}
    write_model(path, weights, header)


def load_recognizer(path: str | Path) -> Recognizer:
    """Return the recogniser of a file of `save_recognizer` or of a Lightning checkpoint of training, ready to run.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, of another kind of model, of a newer format, or does not fit together.
    """
    header, weights = FORMAT.read(path)
    config = header["config"]
    encoder = FORMAT.restore(ConformerConfig, config.get("encoder", {}), path)
    model = ConformerNtm(FORMAT.restore(ConformerNtmConfig, {**config, "encoder": encoder}, path))
    features = Features(FORMAT.restore(FeatureConfig, header["features"], path))
    normalizer = Normalizer(header["normalizer"]["kind"], features.config.num_mels)
    tokenizer = tokenizer_from_state(header["tokenizer"])
    if tokenizer.vocab_size != model.config.vocab_size:
        raise UserError(
            f"{path} does not fit together: {tokenizer.vocab_size} tokens in the tokenizer, "
            f"{model.config.vocab_size} in the network; export it again"
        )
    for prefix, module in (("model.", model), ("normalizer.", normalizer)):
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        load_exactly(module, own, str(path))
    return Recognizer(model.eval(), features, normalizer, tokenizer, header["settings"], header["provenance"])
