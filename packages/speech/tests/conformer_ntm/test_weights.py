from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from torch import Tensor

from mnemic_core import MemoryConfig
from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig, load_official
from mnemic_speech.conformer_ntm.weights import convert_official

Build = Callable[..., ConformerNtm]
Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, inner: int) -> Shapes:
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norms(prefix: str, names: str, dim: int) -> Shapes:
    return {f"{prefix}.{name}.{part}": (dim,) for name in names.split() for part in ("weight", "bias")}


def attention(name: str, dim: int) -> Shapes:
    parts = [linear(f"{name}.linear_{part}", dim, dim) for part in ("q", "k", "v", "out")]
    return {key: shape for part in parts for key, shape in part.items()}


def ffn(name: str, dim: int, hidden: int) -> Shapes:
    return linear(f"{name}.w_1", hidden, dim) | linear(f"{name}.w_2", dim, hidden)


def encoder_block(name: str, dim: int, heads: int, hidden: int, kernel: int) -> Shapes:
    convolution = f"{name}.conv_module"
    statistics = {f"{convolution}.norm.{part}": (dim,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {
        **attention(f"{name}.self_attn", dim),
        f"{name}.self_attn.pos_bias_u": (heads, dim // heads),
        f"{name}.self_attn.pos_bias_v": (heads, dim // heads),
        f"{name}.self_attn.linear_pos.weight": (dim, dim),
        **ffn(f"{name}.feed_forward", dim, hidden),
        **ffn(f"{name}.feed_forward_macaron", dim, hidden),
        f"{convolution}.pointwise_conv1.weight": (2 * dim, dim, 1),
        f"{convolution}.pointwise_conv1.bias": (2 * dim,),
        f"{convolution}.depthwise_conv.weight": (dim, 1, kernel),
        f"{convolution}.depthwise_conv.bias": (dim,),
        **statistics,
        f"{convolution}.norm.num_batches_tracked": (),
        f"{convolution}.pointwise_conv2.weight": (dim, dim, 1),
        f"{convolution}.pointwise_conv2.bias": (dim,),
        **norms(name, "norm_ff norm_mha norm_ff_macaron norm_conv norm_final", dim),
    }


def decoder_block(name: str, dim: int, hidden: int) -> Shapes:
    parts = attention(f"{name}.self_attn", dim) | attention(f"{name}.src_attn", dim)
    return parts | ffn(f"{name}.feed_forward", dim, hidden) | norms(name, "norm1 norm2 norm3", dim)


def official_layout(config: ConformerNtmConfig, columns: int = 10, with_ntm: bool = True) -> Shapes:
    """Return names and shapes of an official checkpoint, written down from section 6 of its description."""
    sizes = config.encoder
    dim, vocab, heads = sizes.dim, config.vocab_size, columns + 6
    shapes: Shapes = {
        "frontend.logmel.melmat": (257, sizes.num_mels),
        "normalize.mean": (sizes.num_mels,),
        "normalize.std": (sizes.num_mels,),
        "encoder.embed.conv.0.weight": (dim, 1, 3, 3),
        "encoder.embed.conv.0.bias": (dim,),
        "encoder.embed.conv.2.weight": (dim, dim, 3, 3),
        "encoder.embed.conv.2.bias": (dim,),
        **linear("encoder.embed.out.0", dim, dim * (((sizes.num_mels - 1) // 2 - 1) // 2)),
        **norms("encoder", "after_norm", dim),
        "decoder.embed.0.weight": (vocab, dim),
        **norms("decoder", "after_norm", dim),
        **linear("decoder.output_layer", vocab, dim),
        **linear("ctc.ctc_lo", vocab, dim),
    }
    for index in range(sizes.num_layers):
        shapes |= encoder_block(f"encoder.encoders.{index}", dim, sizes.num_heads, sizes.ffn_dim, sizes.kernel_size)
    for index in range(config.decoder_layers):
        shapes |= decoder_block(f"decoder.decoders.{index}", dim, config.decoder_ffn_dim)
    if with_ntm:
        shapes |= linear("ntm.read_heads.0.fc", heads, dim + columns)
        shapes |= linear("ntm.write_heads.0.fc", heads + 2 * columns, dim + columns) | linear(
            "ntm.fc", dim, dim + columns
        )
    return shapes


def weights_of(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def shapes_of(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in weights.items()}


@pytest.mark.parametrize("memory", ["turing_release", "none"])
def test_the_released_layout_fits_the_paper_s_model(memory: str) -> None:
    config = ConformerNtmConfig(vocab_size=5000, memory=MemoryConfig(memory))
    with torch.device("meta"):
        model = ConformerNtm(config)
        official = weights_of(official_layout(config, with_ntm=memory == "turing_release"))
        converted = convert_official(official)
    assert shapes_of(converted) == shapes_of(model.state_dict())


def test_loading_a_checkpoint_file_returns_its_front_end(build: Build, tmp_path: Path) -> None:
    model = build("turing_release")
    official = weights_of(official_layout(model.config, columns=4))
    torch.save(official, tmp_path / "valid.acc.ave_10best.pth")
    front = load_official(model, tmp_path / "valid.acc.ave_10best.pth")
    assert sorted(front) == ["frontend.logmel.melmat", "normalize.mean", "normalize.std"]
    assert torch.equal(front["normalize.mean"], official["normalize.mean"])
    assert torch.equal(model.encoder.norm.weight, official["encoder.after_norm.weight"])
    assert model.ctc is not None
    assert torch.equal(model.ctc.bias, official["ctc.ctc_lo.bias"])


def test_the_error_names_missing_unexpected_or_misshaped_weights(build: Build) -> None:
    model = build("turing_release")
    official = weights_of(official_layout(model.config, columns=4))
    for changed, message in (
        ({**official, "encoder.extra": torch.zeros(1)}, "left over encoder.extra"),
        ({name: value for name, value in official.items() if "ctc" not in name}, r"missing ctc\.bias, ctc\.weight"),
        ({**official, "ctc.ctc_lo.bias": torch.zeros(9)}, r"other shape: ctc\.bias is \(9,\), expected \(6,\)"),
    ):
        with pytest.raises(ValueError, match=f"the given checkpoint does not fit this model .*{message}"):
            load_official(model, changed)
    with pytest.raises(ValueError, match=r"left over memory\.mechanism\.heads\.bias, memory"):
        load_official(build("none"), official)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at none\.pth"):
        load_official(model, "none.pth")


def test_damaged_official_checkpoints_are_refused_in_one_line(build: Build, tmp_path: Path) -> None:
    model = build("turing_release")
    torch.save(weights_of(official_layout(model.config, columns=4)), tmp_path / "official.pth")
    (tmp_path / "damaged").mkdir()
    check_refusals(lambda path: load_official(model, path), tmp_path / "official.pth", tmp_path / "damaged", count=15)
