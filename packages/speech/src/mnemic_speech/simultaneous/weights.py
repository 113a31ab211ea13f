"""Weights of the released code (OSU-STARLAB/ShiftableContext, a fork of fairseq)."""

import re
from collections.abc import Mapping

from torch import Tensor

from mnemic_core.buffers.summary_bank import summary_bank_from_official
from mnemic_core.errors import UserError

_UNUSED = ("embed_positions._float_tensor", "layer_norm.weight", "layer_norm.bias")  # the last norm is never applied
_ENCODER = {
    "conv.0": "subsampling.first",
    "conv.2": "subsampling.second",
    "out": "subsampling.output",
}
_LAYER = {
    "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "ffn_norm",
    "fc1": "ffn.expand",
    "fc2": "ffn.contract",
}


def encoder_from_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a `SegmentEncoder` from those of the released one.

    Args:
        weights: the encoder's, without ``encoder.`` before their names.

    Raises:
        UserError: if a weight is missing or unknown.
    """
    converted: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for given, value in weights.items():
        name = given.removeprefix("module.")
        if name in _UNUSED:
            continue
        layer = re.fullmatch(r"transformer_layers\.(\d+)\.(.+?)\.(.+)", name)
        if layer is None:
            part, _, kind = name.rpartition(".")
            if part not in _ENCODER:
                raise UserError(f"unknown weight {given} of the encoder")
            converted[f"{_ENCODER[part]}.{kind}"] = value
        elif layer[2] == "self_attn":
            attention.setdefault(layer[1], {})[layer[3]] = value
        elif layer[2] in _LAYER:
            converted[f"layers.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"] = value
        else:
            raise UserError(f"unknown weight {given} of the encoder")
    for index, parts in attention.items():
        bank = summary_bank_from_official(parts)
        converted |= {f"layers.{index}.bank.{name}": value for name, value in bank.items()}
    return converted
