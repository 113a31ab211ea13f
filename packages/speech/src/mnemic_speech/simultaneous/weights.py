"""Weights of the released code (OSU-STARLAB/ShiftableContext, a fork of fairseq)."""

import re
from collections.abc import Mapping

import torch
from jaxtyping import Float
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
_DECODER_LAYER = {
    "self_attn_layer_norm": "attention_norm",
    "encoder_attn_layer_norm": "source_norm",
    "final_layer_norm": "ffn_norm",
    "fc1": "ffn.expand",
    "fc2": "ffn.contract",
}
_ATTENTION = {"self_attn": "attention", "encoder_attn": "source_attention"}
_PROJECTION = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
_SOFT = ("q_proj_soft", "k_proj_soft")  # in the checkpoint, but wait-k uses the monotonic ones for both


def model_from_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an `AugmentedMemoryTransformer` from those of the released network.

    Tokens come in our order: start (unused, our blank), unknown, the pieces, end. fairseq has one more, its padding.

    Args:
        weights: ``model`` of a checkpoint of fairseq, with the prefixes ``encoder.`` and ``decoder.``.

    Raises:
        UserError: if a weight is unknown.
    """
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise UserError(f"unknown weight {name}; give the model of a checkpoint of the released code")
        parts[part][rest] = value
    found = {f"encoder.{name}": value for name, value in encoder_from_official(parts["encoder"]).items()}
    return found | {f"decoder.{name}": value for name, value in _decoder(parts["decoder"]).items()}


def _decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted: dict[str, Tensor] = {}
    for name, value in weights.items():
        part, _, kind = name.rpartition(".")
        layer = re.fullmatch(r"layers\.(\d+)\.(.+)", part)
        if name in {"version", *_UNUSED[:1]} or part.rpartition(".")[2] in _SOFT:
            continue
        if part == "layer_norm":
            converted[f"norm.{kind}"] = value
        elif part in {"embed_tokens", "output_projection"}:
            converted[f"{'embedding' if part == 'embed_tokens' else 'output'}.{kind}"] = _reordered(value)
        elif layer is not None and layer[2] in _DECODER_LAYER:
            converted[f"blocks.{layer[1]}.{_DECODER_LAYER[layer[2]]}.{kind}"] = value
        elif layer is not None and (place := layer[2].split("."))[0] in _ATTENTION and place[-1] in _PROJECTION:
            converted[f"blocks.{layer[1]}.{_ATTENTION[place[0]]}.{_PROJECTION[place[1]]}.{kind}"] = value
        else:
            raise UserError(f"unknown weight {name} of the decoder")
    return converted


def _reordered(rows: Float[Tensor, "token dim"]) -> Float[Tensor, "fewer dim"]:
    """Return rows of fairseq's tokens (start, padding, end, unknown, pieces) in our order."""
    start, end, unknown = rows[:1], rows[2:3], rows[3:4]
    return torch.cat([start, unknown, rows[4:], end])


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
