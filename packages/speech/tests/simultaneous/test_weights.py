"""The complete released network: its names and sizes, as its checkpoints have them; the encoder has golden cases."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.simultaneous import AugmentedMemoryTransformer, SegmentEncoderConfig, SimultaneousConfig
from mnemic_speech.simultaneous.weights import model_from_official

DIM, FFN, LAYERS, TOKENS, MELS, CHANNELS, DISTANCE = 8, 12, 2, 14, 8, 4, 3


def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(rows, columns), f"{name}.bias": torch.randn(rows)}


def norm(name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(DIM), f"{name}.bias": torch.randn(DIM)}


@pytest.fixture
def official() -> dict[str, Tensor]:
    """Return random weights under the names of the released network."""
    torch.manual_seed(0)
    found = {
        "encoder.module.conv.0.weight": torch.randn(CHANNELS, 1, 3, 3),
        "encoder.module.conv.0.bias": torch.randn(CHANNELS),
        "encoder.module.conv.2.weight": torch.randn(CHANNELS, CHANNELS, 3, 3),
        "encoder.module.conv.2.bias": torch.randn(CHANNELS),
        "encoder.module.embed_positions._float_tensor": torch.zeros(1),
        "decoder.version": torch.zeros(1),
        "decoder.embed_positions._float_tensor": torch.zeros(1),
        "decoder.embed_tokens.weight": torch.arange(TOKENS)[:, None].expand(-1, DIM).float(),
        "decoder.output_projection.weight": torch.randn(TOKENS, DIM),
        **norm("decoder.layer_norm"),
        **norm("encoder.module.layer_norm"),
        **linear("encoder.module.out", DIM, CHANNELS * 2),
    }
    for layer in range(LAYERS):
        for place, attentions in (("encoder.module.transformer_layers", ["self_attn"]),
                                  ("decoder.layers", ["self_attn", "encoder_attn"])):  # fmt: skip
            at = f"{place}.{layer}"
            for attention in attentions:
                for part in "kvq":
                    found |= linear(f"{at}.{attention}.{part}_proj", DIM, DIM)
                found |= linear(f"{at}.{attention}.out_proj", DIM, DIM) | norm(f"{at}.{attention}_layer_norm")
            found |= norm(f"{at}.final_layer_norm")
            found |= linear(f"{at}.fc1", FFN, DIM) | linear(f"{at}.fc2", DIM, FFN)
        for part in "kv":
            table = torch.randn(2 * DISTANCE + 1, DIM // 2)
            found[f"encoder.module.transformer_layers.{layer}.self_attn.rpe_{part}.embeddings"] = table
        for part in "kq":
            found |= linear(f"decoder.layers.{layer}.encoder_attn.{part}_proj_soft", DIM, DIM)
    return found


def test_every_weight_has_its_place(official: dict[str, Tensor]) -> None:
    encoder = SegmentEncoderConfig(MELS, DIM, 2, FFN, LAYERS, CHANNELS, max_distance=DISTANCE)
    config = SimultaneousConfig(TOKENS - 1, encoder, LAYERS, FFN)
    model = AugmentedMemoryTransformer(config)
    model.load_state_dict(model_from_official(official))
    block = model.decoder.blocks[1]
    assert_close(block.source_attention.query.weight, official["decoder.layers.1.encoder_attn.q_proj.weight"])
    assert_close(block.source_norm.bias, official["decoder.layers.1.encoder_attn_layer_norm.bias"])
    order = model.decoder.embedding.weight[:, 0].tolist()
    assert order == [0, 3, *range(4, TOKENS), 2]  # start, unknown, pieces, end


@pytest.mark.parametrize("name", ["decoder.layers.0.extra.weight", "decoder.extra.weight", "extra.weight"])
def test_an_unknown_weight_is_named(official: dict[str, Tensor], name: str) -> None:
    with pytest.raises(ValueError, match="unknown weight"):
        model_from_official({**official, name: torch.zeros(1)})
