"""Conversion of official checkpoints: released Conformer-NTM and ESPnet Conformer."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from mnemic_core.loading import load_exactly, read_state_dict, rename
from mnemic_core.machines.turing_memory import convert_official_turing
from mnemic_speech.conformer_ntm.model import ConformerNtm

# From official names to ours; all matching patterns are applied, in order.
RENAMES = (
    (r"^ctc\.ctc_lo\.", "ctc."),
    (r"^encoder\.after_norm\.", "encoder.norm."),
    (r"^encoder\.embed\.conv\.", "encoder.subsampling.conv."),
    (r"^encoder\.embed\.out\.0\.", "encoder.subsampling.output."),
    (r"^encoder\.encoders\.", "encoder.blocks."),
    (r"^decoder\.embed\.0\.", "decoder.embedding."),
    (r"^decoder\.after_norm\.", "decoder.norm."),
    (r"^decoder\.output_layer\.", "decoder.output."),
    (r"^decoder\.decoders\.", "decoder.blocks."),
    (r"\.src_attn\.", ".source_attention."),
    (r"\.self_attn\.", ".attention."),
    (r"attention\.linear_q\.", "attention.query."),
    (r"attention\.linear_k\.", "attention.key."),
    (r"attention\.linear_v\.", "attention.value."),
    (r"attention\.linear_out\.", "attention.output."),
    (r"attention\.linear_pos\.", "attention.position."),
    (r"attention\.pos_bias_u$", "attention.content_bias"),
    (r"attention\.pos_bias_v$", "attention.position_bias"),
    (r"^(decoder\.blocks\.\d+)\.feed_forward\.w_1\.", r"\1.ffn.expand."),
    (r"^(decoder\.blocks\.\d+)\.feed_forward\.w_2\.", r"\1.ffn.contract."),
    (r"^(decoder\.blocks\.\d+)\.norm1\.", r"\1.attention_norm."),
    (r"^(decoder\.blocks\.\d+)\.norm2\.", r"\1.source_norm."),
    (r"^(decoder\.blocks\.\d+)\.norm3\.", r"\1.ffn_norm."),
    (r"\.feed_forward_macaron\.w_1\.", ".first_ffn.expand."),
    (r"\.feed_forward_macaron\.w_2\.", ".first_ffn.contract."),
    (r"\.feed_forward\.w_1\.", ".second_ffn.expand."),
    (r"\.feed_forward\.w_2\.", ".second_ffn.contract."),
    (r"\.conv_module\.pointwise_conv1\.", ".convolution.expand."),
    (r"\.conv_module\.depthwise_conv\.", ".convolution.depthwise."),
    (r"\.conv_module\.norm\.", ".convolution.norm."),
    (r"\.conv_module\.pointwise_conv2\.", ".convolution.contract."),
    (r"\.norm_ff_macaron\.", ".first_ffn_norm."),
    (r"\.norm_mha\.", ".attention_norm."),
    (r"\.norm_conv\.", ".convolution_norm."),
    (r"\.norm_ff\.", ".second_ffn_norm."),
    (r"\.norm_final\.", ".final_norm."),
)
FRONT = ("frontend.", "normalize.")
"""Front end of an official checkpoint: mel matrix, mean and deviation of the training set."""


def convert_official(weights: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Tensor]:
    """Return official weights of the network under our names; without those of :data:`FRONT`."""
    machine = {name.removeprefix("ntm."): value for name, value in weights.items() if name.startswith("ntm.")}
    ours_of_machine = convert_official_turing(machine) if machine else {}
    converted = {f"memory.mechanism.{name}": value for name, value in ours_of_machine.items()}
    for name, value in weights.items():
        if not name.startswith(("ntm.", *FRONT)):
            ours = rename(name, RENAMES)
            converted[ours] = _reshaped(ours, value)
    return converted


def load_official(model: ConformerNtm, source: str | Path | Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Tensor]:
    """Load an ESPnet checkpoint, the released Conformer-NTM or a Conformer without memory, into a network of its size.

    The results are the released ones with the memory ``turing_release`` and ``ConformerConfig(mask_conv=False)``.

    Args:
        model: the network; ``none`` is the memory of a checkpoint that has no ``ntm``.
        source: a file for ``torch.load(weights_only=True)``, or its weights by their official names.

    Returns:
        The front end, under its official names: ``frontend.logmel.melmat``, ``normalize.mean`` and
        ``normalize.std``, where present.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if weights are missing, left over or of another shape; the message names them.
    """
    weights = source if isinstance(source, Mapping) else read_state_dict(source)
    name = "the given checkpoint" if isinstance(source, Mapping) else str(source)
    load_exactly(model, convert_official(weights), name)
    return {key: value for key, value in weights.items() if key.startswith(FRONT)}


def _reshaped(name: str, value: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    if value.ndim == 3 and re.search(r"convolution\.(expand|contract)\.weight$", name):
        return value.squeeze(-1)  # convolutions of width 1 are linear layers here
    if value.ndim == 2 and name.endswith("attention.position.weight"):
        # Official sinusoids interleave sines and cosines; here all sines come first.
        return torch.cat([value[:, 0::2], value[:, 1::2]], 1)
    return value
