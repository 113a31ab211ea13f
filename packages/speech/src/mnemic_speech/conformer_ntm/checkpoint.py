"""One file with everything that recognition needs: weights, features, their normalisation, vocabulary and settings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mnemic_core.loading import read_checkpoint, read_tensors
from mnemic_speech.conformer import ConformerConfig
from mnemic_speech.conformer_ntm.config import ConformerNtmConfig
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.conformer_ntm.weights import load_exactly
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import Tokenizer, tokenizer_from_state

FORMAT_VERSION = 1
KIND = "conformer_ntm"

Config = TypeVar("Config")


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
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "config": asdict(model.config),
        "features": asdict(features.config),
        "normalizer": {"kind": normalizer.kind},
        "tokenizer": tokenizer.state(),
        "settings": dict(settings),
        "provenance": dict(provenance),
    }


def save_recognizer(path: str | Path, recognizer: Recognizer, *, half: bool = False) -> None:
    """Write a recogniser as safetensors, under a temporary name until complete.

    Args:
        path: file to write, ``.safetensors``.
        recognizer: what to write.
        half: store parameters in float16; they are computed with in float32 all the same.
    """
    path = Path(path)
    model, features, normalizer = recognizer.model, recognizer.features, recognizer.normalizer
    header = recognizer_header(
        model, features, normalizer, recognizer.tokenizer, recognizer.settings, recognizer.provenance
    )
    weights = _weights(model, normalizer)
    if half:
        # Statistics stay exact: the variance of a channel may lie beyond the range of float16.
        weights |= {f"model.{name}": parameter.detach().cpu().half() for name, parameter in model.named_parameters()}
    temporary = path.with_name(f".{path.name}.part")
    try:
        save_file(weights, temporary, metadata={"mnemic": json.dumps(header)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_recognizer(path: str | Path) -> Recognizer:
    """Return the recogniser of a file of `save_recognizer` or of a Lightning checkpoint of training, ready to run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, of another kind of model, of a newer format, or does not fit together.
    """
    path = Path(path)
    header, weights = _read(path)
    _check(header, path)
    given = dict(header["config"])
    encoder = _from_values(ConformerConfig, given.pop("encoder", {}), path)
    model = ConformerNtm(_from_values(ConformerNtmConfig, {**given, "encoder": encoder}, path))
    features = Features(_from_values(FeatureConfig, header["features"], path))
    normalizer = Normalizer(header["normalizer"]["kind"], features.config.num_mels)
    tokenizer = tokenizer_from_state(header["tokenizer"])
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"{path} does not fit together: {tokenizer.vocab_size} tokens in the tokenizer, "
            f"{model.config.vocab_size} in the network; export it again"
        )
    for name, module in (("model", model), ("normalizer", normalizer)):
        _load(module, weights, f"{name}.", path)
    return Recognizer(model.eval(), features, normalizer, tokenizer, header["settings"], header["provenance"])


def _weights(model: nn.Module, normalizer: nn.Module) -> dict[str, Tensor]:
    modules = {"model": model, "normalizer": normalizer}
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def _load(module: nn.Module, weights: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    """Load weights, stored in any precision, into a module."""
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    exact = {key: value.float() if value.is_floating_point() else value for key, value in own.items()}
    load_exactly(module, exact, str(path))


def _check(header: Mapping[str, Any], path: Path) -> None:
    if header.get("kind") != KIND:
        raise ValueError(
            f"{path} is not a Conformer-NTM checkpoint (kind {header.get('kind')!r}): "
            "give one that fit or save_recognizer wrote"
        )
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {header['format_version']}, newer than {FORMAT_VERSION}: update mnemic-speech"
        )


def _from_values(kind: type[Config], values: Mapping[str, Any], path: Path) -> Config:
    unknown = sorted(values.keys() - {item.name for item in fields(kind)})  # type: ignore[arg-type]  # a dataclass
    if unknown:
        raise ValueError(
            f"{path} has settings that this version does not know ({', '.join(unknown)}): update mnemic-speech"
        )
    return kind(**values)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the file says about itself and its weights, of a safetensors file or a Lightning checkpoint."""
    if path.suffix == ".safetensors":
        weights = read_tensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata.get("mnemic", "{}")), weights
    content = read_checkpoint(path)
    return content.get("mnemic", {}), content.get("state_dict", {})
