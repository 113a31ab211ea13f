"""Weights of the released code (uclnlp/EMAT)."""

import re
from collections.abc import Mapping

from jaxtyping import Shaped
from torch import Tensor

from mnemic_core.loading import rename
from mnemic_retrieval.t5.weights import t5_from_official

# In the block after which keys are inserted; the code never reads it.
_DEAD = re.compile(r"(?:kv_)?encoder\.block\.[1-9]\d*\.layer\.0\.SelfAttention\.relative_attention_bias\.weight")
_RENAMES = (
    (r"^encoder\.prefix_embedding$", "encoder.prefix"),
    (r"^encoder\.key_layer_norm\.", "encoder.key_norm."),
    (r"^encoder\.key_encoder\.conv_layer\.", "encoder.key_head.convolution."),
    (r"^encoder\.key_encoder\.linear\.", "encoder.key_head.output."),
    (r"^encoder\.(blocks|relative_bias|norm)\.", r"encoder.stack.\1."),
    (r"^adapter\.out\.", "encoder.adapter."),
)


def emat_from_official(weights: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Shaped[Tensor, "..."]]:
    """Return the weights of an `Emat` with ``bias_after_insertion="zero"`` from those of a released file.

    The relative positions of the block after which keys are inserted are left out: they have no effect there.

    Example:
        >>> import torch
        >>> list(emat_from_official({"encoder.block.0.layer.0.layer_norm.weight": torch.ones(4)}))
        ['encoder.stack.blocks.0.attention_norm.weight']
    """
    live = {name: value for name, value in weights.items() if not _DEAD.fullmatch(name)}
    of_memory = {name.removeprefix("kv_"): value for name, value in live.items() if name.startswith("kv_encoder.")}
    own = {name: value for name, value in live.items() if not name.startswith("kv_encoder.")}
    converted = {rename(name, _RENAMES): value for name, value in t5_from_official(own).items()}
    for name, value in t5_from_official(of_memory).items():
        converted[f"own_memory_{rename(name, _RENAMES)}"] = value
    return converted
