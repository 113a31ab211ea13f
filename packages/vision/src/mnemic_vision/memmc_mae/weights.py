"""Import of the weights of a ViT of timm or of a masked autoencoder."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from mnemic_core.classifier_weights import IMAGENET_MEAN, IMAGENET_STD
from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly, read_state_dict, rename
from mnemic_vision.memmc_mae.model import MemMcMae
from mnemic_vision.memmc_mae.targets import PixelTarget

# From the names of timm and of the official masked autoencoder to ours; all matching patterns are applied, in order.
RENAMES = (
    (r"^cls_token$", "class_token"),
    (r"^pos_embed$", "positions"),
    (r"^patch_embed\.proj\.", "embed."),
    (r"^blocks\.", "encoder.blocks."),
    (r"^decoder_embed\.", "decoder.project."),
    (r"^mask_token$", "decoder.mask_token"),
    (r"^decoder_pos_embed$", "decoder.positions"),
    (r"^decoder_blocks\.", "decoder.blocks."),
    (r"^decoder_norm\.", "decoder.output_norm."),
    (r"^decoder_pred\.", "decoder.head."),
    (r"^(encoder\.blocks\.\d+\.)norm1\.", r"\1attention_norm."),
    (r"^(encoder\.blocks\.\d+\.)attn\.", r"\1attention.attention."),
    (r"^(decoder\.blocks\.\d+\.)norm1\.", r"\1self_norm."),
    (r"^(decoder\.blocks\.\d+\.)attn\.", r"\1self_attention."),
    (r"(\.blocks\.\d+\.)norm2\.", r"\1mlp_norm."),
    (r"\.proj\.", ".output."),
    (r"\.mlp\.fc1\.", ".mlp.expand."),
    (r"\.mlp\.fc2\.", ".mlp.contract."),
)
# What a plain encoder does not have, and starts from its initial values.
_OWN = re.compile(r"\.attention\.memory\.|\.recall\.")


def load_vit(model: MemMcMae, path: str | Path) -> list[str]:
    """Load the weights of a ViT, or of a masked autoencoder, into a network that reconstructs pixels.

    The encoder must have the width, depth and heads of the file; position embeddings and patch projection are resampled
    for another image or patch size, and color is folded for grey images. The decoder is loaded as well where the
    network is a plain masked autoencoder (``levels="none"``) of the file's sizes; memory keeps its initial values.

    Args:
        model: the network.
        path: file of timm, or of the official masked autoencoder.

    Returns:
        The names of weights in the file that are not used, sorted.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the network reconstructs features, or the file is no such encoder or one of other sizes.
    """
    if not isinstance(model.target, PixelTarget):
        raise UserError("weights of a ViT fit a network that reconstructs pixels, not one with `features`")
    official = read_state_dict(path)
    if not {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= official.keys():
        raise UserError(f"{path} does not have the weights of a ViT with a class token: give those of timm or of MAE")
    given = _convert(model, official, path)
    own = model.state_dict()
    with_decoder = model.config.levels == "none" and all(
        name in given and given[name].shape == own[name].shape for name in own if name.startswith("decoder.")
    )
    used = {name for name in given if name in own and (with_decoder or not _is_decoder(model, name))}
    kept = {name: value for name, value in own.items() if _OWN.search(name) or _is_decoder(model, name)}
    load_exactly(model, {**kept, **{name: given[name] for name in used}}, path)
    return sorted(name for name in official if not used & set(_targets(model, name)))


def _is_decoder(model: MemMcMae, name: str) -> bool:
    """Return whether a weight belongs to the decoder, except the norm after the encoder, which it holds."""
    return name.startswith("decoder.") and not name.startswith(_last_norm(model))


def _last_norm(model: MemMcMae) -> str:
    return f"decoder.norms.{len(model.decoder.norms) - 1}."


def _targets(model: MemMcMae, official: str) -> list[str]:
    """Return our names of an official weight, three for a joint projection of query, key and value."""
    name = rename(official, ((r"^norm\.", _last_norm(model)), *RENAMES))
    if ".qkv." in name:
        return [name.replace(".qkv.", f".{part}.") for part in ("query", "key", "value")]
    return [name]


def _convert(model: MemMcMae, official: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Return official weights under our names, in the shapes of the network."""
    converted: dict[str, Tensor] = {}
    for official_name, value in official.items():
        names = _targets(model, official_name)
        converted |= dict(zip(names, value.chunk(len(names)), strict=True))
    for name in {"class_token", "decoder.mask_token"} & converted.keys():
        converted[name] = converted[name].flatten()
    converted["positions"] = _resample_positions(converted["positions"], model.config.grid, path)
    if "decoder.positions" in converted:
        converted["decoder.positions"] = _resample_positions(converted["decoder.positions"], model.config.grid, path)
    weight, bias = _resample_embedding(model, converted["embed.weight"], converted["embed.bias"])
    return converted | {"embed.weight": weight, "embed.bias": bias}


def _resample_positions(
    positions: Float[Tensor, "1 old_token dim"], grid: int, path: str | Path
) -> Float[Tensor, "token dim"]:
    """Return the embeddings of class token and patches for another grid."""
    if positions.dim() != 3 or round((positions.shape[1] - 1) ** 0.5) ** 2 != positions.shape[1] - 1:
        raise UserError(
            f"{path} has position embeddings of shape {tuple(positions.shape)}, expected those of a class token and a "
            "square of patches"
        )
    resampled: Tensor = resample_abs_pos_embed(positions, [grid, grid], num_prefix_tokens=1)
    return resampled[0]


def _resample_embedding(
    model: MemMcMae, weight: Float[Tensor, "dim 3 row column"], bias: Float[Tensor, " dim"]
) -> tuple[Float[Tensor, "dim value"], Float[Tensor, " dim"]]:
    """Return the projection of patches of another size, and of grey ones."""
    size = model.config.patch_size
    weight = resample_patch_embed(weight, [size, size])
    if model.config.channels == 1:
        # A grey value v is normalized to (v - m) / s here and to (v - m_c) / s_c in each channel there.
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        shift = (mean.mean() - mean) / deviation
        bias = bias + torch.einsum("dcij,c->d", weight, shift)
        weight = torch.einsum("dcij,c->dij", weight, deviation.mean() / deviation)[:, None]
    return weight.permute(0, 2, 3, 1).flatten(1), bias
