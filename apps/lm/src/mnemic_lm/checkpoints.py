"""Reading a checkpoint of training as a language model that runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError
from mnemic_core.loading import read_checkpoint
from mnemic_kit.devices import Device, find_device
from mnemic_lm.model import LanguageModel, ProductKeyConfig
from mnemic_lm.tokens import Codec, restore_codec

KIND, FORMAT_VERSION = "language_model", 1


@dataclass(frozen=True)
class Checkpoint:
    """A language model with what belongs to it.

    Attributes:
        model: in evaluation mode.
        codec: text to tokens and back.
        segment_length: tokens of a segment in training.
        provenance: what made it.
    """

    model: LanguageModel
    codec: Codec
    segment_length: int
    provenance: dict[str, Any]


def load_checkpoint(path: Path, device: Device = "auto") -> Checkpoint:
    """Read a checkpoint of ``mnemic-lm fit``.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is damaged, of another program or of another version.
    """
    content = read_checkpoint(path)
    found = content.get(KEY, {})
    if (found.get("kind"), found.get("format_version")) != (KIND, FORMAT_VERSION):
        raise UserError(
            f"{path} is no checkpoint of mnemic-lm in format {FORMAT_VERSION}: train one with mnemic-lm fit"
        )
    product_keys = found["product_keys"]
    model = LanguageModel(
        TransformerConfig(**{**found["transformer"], "memory": MemoryConfig(**found["transformer"]["memory"])}),
        found["vocab_size"],
        None if product_keys is None else ProductKeyConfig(**product_keys),
    )
    prefix = "model."
    weights = {name.removeprefix(prefix): value for name, value in content["state_dict"].items()}
    model.load_state_dict(weights)
    codec = restore_codec(found["tokenizer"])
    return Checkpoint(model.eval().to(find_device(device)), codec, found["segment_length"], found["provenance"])


def with_memory_size(model: LanguageModel, size: int) -> LanguageModel:
    """Return a network with the same weights whose memory holds another number of items.

    Raises:
        UserError: if the weights depend on the size, or the memory refuses it.
    """
    config = replace(model.config, memory=model.config.memory.resized(size))
    changed = LanguageModel(config, model.vocab_size, model.product_keys)
    changed.load_state_dict(model.state_dict())
    return changed.eval().to(model.embedding.weight.device)
