from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.matr import Matr, MatrConfig, load_official

Build = Callable[[MatrConfig], Matr]
Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, inner: int) -> Shapes:
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def head(name: str, inner: int, dim: int, out: int) -> Shapes:
    return linear(f"{name}.0", dim, inner) | linear(f"{name}.2", out, dim)


def stack(name: str, config: MatrConfig, layers: int, *, is_decoder: bool) -> Shapes:
    dim, shapes = config.dim, norm(f"{name}.norm", config.dim)
    for layer in (f"{name}.layers.{index}" for index in range(layers)):
        for attention in ("self_attn", "multihead_attn")[: 1 + is_decoder]:
            shapes |= {f"{layer}.{attention}.in_proj_weight": (3 * dim, dim)}
            shapes |= {f"{layer}.{attention}.in_proj_bias": (3 * dim,)} | linear(
                f"{layer}.{attention}.out_proj", dim, dim
            )
        shapes |= linear(f"{layer}.linear1", config.ffn_dim, dim) | linear(f"{layer}.linear2", dim, config.ffn_dim)
        for index in range(1, 3 + is_decoder):
            shapes |= norm(f"{layer}.norm{index}", dim)
    return shapes


def official_shapes(config: MatrConfig) -> Shapes:
    """Return names and shapes of the official state dict for a configuration."""
    dim, queries, regions = config.dim, config.num_queries, config.num_regions
    shapes: Shapes = {
        "flag_token": (1, 1, dim),
        "decoder_token": (2 * queries, 1, dim),
        "pos_token": (queries, 1, dim),
        "segment_pos_encoding.pos_embedding": (400, 1, dim),
        "segment_pos_encoding.position_ids": (1, 400),
        "memory_pos_encoding.pos_embedding": (400, dim // 2),
        "memory_pos_encoding.position_ids": (400,),
    }
    for kind, width in zip(("rgb", "flow"), config.modalities, strict=True):
        shapes |= linear(f"feature_reduction_{kind}", dim // 2, width)
    for name in ("segment_encoder", "memory_encoder"):
        shapes |= stack(name, config, config.encoder_layers, is_decoder=False)
    for name in ("segment_decoder", "memory_decoder"):
        shapes |= stack(name, config, config.decoder_layers, is_decoder=True)
    outputs = {"stcls_head": regions, "streg_head": regions, "edreg_head": 1, "edcls_head": 1, "segment_flag_head": 1}
    for name, out in outputs.items():
        shapes |= head(name, dim, dim, out)
    return shapes | head("classification_head", 2 * dim, dim, config.num_classes + 1)


def official_weights(config: MatrConfig) -> dict[str, Tensor]:
    return {f"module.{name}": torch.randn(shape) for name, shape in official_shapes(config).items()}


def save(weights: dict[str, Tensor], path: Path) -> Path:
    torch.save({"epoch": 3, "state_dict": weights, "criterion_dict": {}}, path)
    return path


def test_the_official_network_has_295_entries_of_which_ours_uses_most() -> None:
    shapes = official_shapes(MatrConfig())
    # Reference counts of the released checkpoint, the tables of positions not among the parameters.
    assert len(shapes) == 295
    tables = sum(torch.Size(shape).numel() for name, shape in shapes.items() if "pos_encoding" in name)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) - tables == 185_929_770
    with torch.device("meta"):
        assert sum(each.numel() for each in Matr(MatrConfig()).parameters()) == 159_677_481


def test_an_official_checkpoint_loads_and_its_unused_weights_are_named(
    config: MatrConfig, build: Build, tmp_path: Path
) -> None:
    weights, model = official_weights(config), build(config)
    unused = load_official(model, save(weights, tmp_path / "best.pth"))
    assert {name.split(".")[1] for name in unused} == {
        "memory_encoder",
        "edcls_head",
        "segment_pos_encoding",
        "memory_pos_encoding",
    }
    query = weights["module.memory_decoder.layers.1.multihead_attn.in_proj_weight"][: config.dim]
    assert_close(model.start_decoder.decoder_layers[1].cross_attention.query.weight, query)
    assert_close(model.flag_token, weights["module.flag_token"].flatten())


def test_weights_that_are_missing_or_left_over_are_named(config: MatrConfig, build: Build, tmp_path: Path) -> None:
    weights = official_weights(config)
    del weights["module.edreg_head.2.bias"]
    with pytest.raises(UserError, match=r"end_head\.2\.bias"):
        load_official(build(config), save(weights, tmp_path / "missing.pth"))
    extra = official_weights(config) | {"module.other_head.weight": torch.zeros(2)}
    with pytest.raises(UserError, match="other_head"):
        load_official(build(config), save(extra, tmp_path / "extra.pth"))
