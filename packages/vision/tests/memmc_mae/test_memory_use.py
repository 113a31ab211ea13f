import pytest
import torch

from mnemic_vision.memmc_mae import DrawRule, EncoderMemory, MemMcMae, MemMcMaeConfig, measure_memory_use

SMALL = {"dim": 16, "depth": 2, "num_heads": 2, "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}


def network(memory: EncoderMemory) -> tuple[MemMcMae, MemMcMaeConfig]:
    torch.manual_seed(0)
    config = MemMcMaeConfig(image_size=32, patch_size=8, channels=1, memory=memory, **SMALL)
    return MemMcMae(config).eval(), config


def test_equal_slots_are_all_used_and_their_share_is_that_of_their_keys() -> None:
    model, config = network(EncoderMemory("persistent", {"num_slots": 6}))
    for block in model.encoder.blocks:
        for projection in (block.attention.attention.query, block.attention.attention.key):
            torch.nn.init.zeros_(projection.weight)  # all keys, those of 5 tokens and 6 slots, are equally good
    found = measure_memory_use(model, torch.rand(5, 1, 32, 32).split(2), DrawRule(4).make(config))
    assert found.slots == pytest.approx(6)
    assert found.share == pytest.approx(6 / 11)


def test_one_slot_that_draws_all_attention_is_one() -> None:
    model, config = network(EncoderMemory("persistent", {"num_slots": 6}))
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.attention.attention.query.bias.fill_(1.0)
            block.attention.memory.keys[2] = 100.0
    found = measure_memory_use(model, [torch.rand(2, 1, 32, 32)], DrawRule(4).make(config))
    assert found.slots == pytest.approx(1)
    assert found.share == pytest.approx(1)


@pytest.mark.parametrize("memory", [EncoderMemory("none"), EncoderMemory("product_key")])
def test_other_memories_have_no_slots_in_attention(memory: EncoderMemory) -> None:
    model, config = network(memory)
    assert measure_memory_use(model, [torch.rand(2, 1, 32, 32)], DrawRule(4).make(config)) is None
