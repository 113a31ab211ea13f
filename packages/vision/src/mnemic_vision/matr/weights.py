"""Import of the official weights of MATR."""

from pathlib import Path

from torch import Tensor

from mnemic_core.loading import load_exactly, read_state_dict, rename
from mnemic_vision.matr.model import Matr

# From official names to ours; all matching patterns are applied, in order.
RENAMES = (
    (r"^module\.", ""),
    (r"^decoder_token$", "queries"),
    (r"^pos_token$", "query_position"),
    (r"^feature_reduction(_rgb)?\.", "projections.0."),
    (r"^feature_reduction_flow\.", "projections.1."),  # of both kinds of features; alone it is the first
    (r"^segment_encoder\.", "encoder."),
    (r"^segment_decoder\.", "end_decoder."),
    (r"^memory_decoder\.", "start_decoder."),
    (r"^classification_head\.", "class_head."),
    (r"^stcls_head\.", "region_head."),
    (r"^streg_head\.", "start_head."),
    (r"^edreg_head\.", "end_head."),
    (r"^segment_flag_head\.", "flag_head."),
    (r"^(encoder\.layers\.\d+\.)self_attn\.", r"\1attention."),
    (r"^(encoder\.layers\.\d+\.)norm1\.", r"\1attention_norm."),
    (r"^(encoder\.layers\.\d+\.)norm2\.", r"\1ffn_norm."),
    (r"^(\w+_decoder\.layers\.\d+\.)self_attn\.", r"\1self_attention."),
    (r"^(\w+_decoder\.layers\.\d+\.)multihead_attn\.", r"\1cross_attention."),
    (r"^(\w+_decoder\.layers\.\d+\.)norm1\.", r"\1self_attention_norm."),
    (r"^(\w+_decoder\.layers\.\d+\.)norm2\.", r"\1cross_attention_norm."),
    (r"^(\w+_decoder\.layers\.\d+\.)norm3\.", r"\1ffn_norm."),
    (r"\.linear1\.", ".ffn.expand."),
    (r"\.linear2\.", ".ffn.contract."),
    (r"\.out_proj\.", ".output."),
)
# Parameters without a gradient and tables of positions, which the official network holds but does not use.
UNUSED = ("memory_encoder.", "edcls_head.", "segment_pos_encoding.", "memory_pos_encoding.")


def convert_official(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return official weights under our names, and the official names of those that are not used."""
    converted: dict[str, Tensor] = {}
    unused = []
    for official, value in weights.items():
        name = rename(official, RENAMES)
        if name.startswith(UNUSED):
            unused.append(official)
        elif ".in_proj_" in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                converted[name.replace("in_proj_", f"{part}.")] = third
        else:
            converted[name] = _without_batch_axis(name, value)
    if "projections.0.weight" not in converted:
        converted = {name.replace("projections.1.", "projections.0."): value for name, value in converted.items()}
    return converted, unused


def load_official(model: Matr, path: str | Path) -> list[str]:
    """Load a released checkpoint (``torch.save`` with ``state_dict``, names with or without ``module.``).

    For the official behavior the network also needs ``masks_empty=False``.

    Returns:
        The official names of parameters that no forward pass uses.

    Raises:
        UserError: weights are missing, left over or of another shape; the message names them.
    """
    converted, unused = convert_official(read_state_dict(path))
    own = model.state_dict()
    # The official network does not normalize features.
    neutral = {name: own[name] for name in ("feature_mean", "feature_scale")}
    load_exactly(model, {**neutral, **converted}, path)
    return unused


def _without_batch_axis(name: str, value: Tensor) -> Tensor:
    """Return a learned token without the official axis of the batch."""
    if name == "flag_token":
        return value.flatten()
    return value[:, 0] if name in {"queries", "query_position"} else value
