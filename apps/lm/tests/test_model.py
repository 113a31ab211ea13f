import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig, TransformerConfig, memory_names
from mnemic_lm.model import LanguageModel, LanguageModelConfig, ProductKeyConfig, total_nats
from mnemic_lm.sizes import count_parameters, match_size

SIZES = {"dim": 16, "num_layers": 2, "num_heads": 2, "ffn_dim": 64}
# What the catalogue's defaults would make too large here.
OPTIONS = {
    "transformer_xl": {"capacity": 8, "num_heads": 2},
    "transformer_xl_stack": {"memory_lengths": (4, 8), "num_heads": 2},
    "neighbours": {"num_heads": 2, "capacity": 16, "window": 4, "k": 2},
    "gated_fifo": {"num_heads": 2, "capacity": 4, "chunk_length": 4},
    "slot_attention": {"num_heads": 2, "num_slots": 3},
    "segment_queue": {"capacity": 2, "segment_length": 6},
    "memory_tokens": {"num_tokens": 2, "initial_std": 1.0},
    "hierarchical": {"num_bank": 4, "num_sensory": 2, "initial_std": 1.0},
    "surprise": {"chunk_length": 4},
}
MEMORIES = memory_names(lambda entry: entry.fits_causal_model)


def config(memory: str, **sizes: object) -> TransformerConfig:
    return TransformerConfig(**{**SIZES, **sizes}, memory=MemoryConfig(memory, OPTIONS.get(memory, {})))


def build(transformer: TransformerConfig, keys: ProductKeyConfig | None = None) -> LanguageModel:
    return LanguageModel(LanguageModelConfig(transformer, 257, keys))


@pytest.mark.parametrize("memory", MEMORIES)
def test_every_memory_of_the_catalogue_learns_and_its_state_can_be_kept(memory: str) -> None:
    model = build(config(memory))
    ids = torch.randint(256, (2, 12))
    _, state = model(ids[:, :6], model.init_state(2), reset=torch.ones(2, dtype=torch.bool))
    logits, after = model(ids[:, 6:], state)
    total_nats(logits, ids[:, 6:], torch.zeros(2, 6, dtype=torch.bool)).backward()
    assert model.embedding.weight.grad.abs().sum() > 0
    again, _ = model(ids[:, 6:], model.init_state(2).refill(state.to_dict()))
    assert_close(again, logits, rtol=0, atol=0)
    assert after.batch_size == 2


@pytest.mark.parametrize("memory", ["summary_bank", "gated_slots"])
def test_an_encoder_is_refused_since_it_sees_what_it_predicts(memory: str) -> None:
    with pytest.raises(ValueError, match=f"a causal model can use segment by segment .*, got '{memory}'"):
        build(config(memory))


def test_a_product_key_memory_adds_what_it_recalls() -> None:
    model = build(config("none"), ProductKeyConfig(sub_keys=4, num_heads=1, k=2, key_dim=4))
    ids = torch.randint(256, (1, 5))
    logits, _ = model(ids, model.init_state(1))
    with torch.no_grad():
        model.product_key_memory.values.zero_()
    assert not torch.allclose(logits, model(ids, model.init_state(1))[0])


def test_padding_counts_for_nothing_in_the_loss() -> None:
    logits, targets = torch.randn(1, 3, 5), torch.tensor([[1, 2, 0]])
    padding = torch.tensor([[False, False, True]])
    expected = -logits.log_softmax(-1)[0, [0, 1], [1, 2]].sum()
    assert_close(total_nats(logits, targets, padding), expected)


def test_a_fresh_model_knows_nothing() -> None:
    model, ids = build(config("none", dim=64)), torch.randint(256, (4, 64))
    logits, _ = model(ids, model.init_state(4))
    nats = total_nats(logits, ids.roll(-1, 1), torch.zeros_like(ids, dtype=torch.bool)) / ids.numel()
    assert nats.detach() == pytest.approx(math.log(257), abs=0.2)


def test_a_state_of_another_size_is_refused() -> None:
    model = build(config("window"))
    with pytest.raises(ValueError, match=r"expected of shape \(3.*as many streams"):
        model.init_state(3).refill(model.init_state(2).to_dict())


@pytest.mark.parametrize("memory", MEMORIES)
def test_networks_are_made_equally_large(memory: str) -> None:
    transformer = config(memory, dim=32, num_layers=4, ffn_dim=512)
    if memory == "transformer_xl_stack":
        transformer = TransformerConfig(
            **{**SIZES, "dim": 32, "num_layers": 4, "ffn_dim": 512},
            memory=MemoryConfig(memory, {"memory_lengths": (4, 4, 4, 4), "num_heads": 2}),
        )
    plain = count_parameters(config("none", dim=32, num_layers=4, ffn_dim=512), 257)
    assert count_parameters(match_size(transformer, 257), 257) == pytest.approx(plain, rel=0.01)


def test_product_keys_count_as_parameters() -> None:
    keys = ProductKeyConfig(sub_keys=16, num_heads=1, k=4, key_dim=8)
    plain = config("none", dim=32, num_layers=4, ffn_dim=512)
    changed = match_size(plain, 257, keys)
    assert changed.ffn_dim < 512
    assert count_parameters(changed, 257, keys) == pytest.approx(count_parameters(plain, 257), rel=0.01)


def test_a_memory_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="no ffn_dim gives 'surprise' about"):
        match_size(config("surprise", ffn_dim=8), 257)


def test_counting_leaves_random_numbers_as_they_were() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    count_parameters(config("none"), 257)
    assert torch.equal(torch.rand(2), expected)


def test_the_size_of_a_memory_is_its_option_or_its_default() -> None:
    assert config("transformer_xl").memory.size == 8
    assert config("window").memory.size == 8
    assert config("hierarchical").memory.size == 4
    assert config("memory_tokens").memory.size is None


def test_a_model_saved_to_a_folder_comes_back_with_all_its_sizes(tmp_path: Path) -> None:
    model = build(config("transformer_xl"), ProductKeyConfig(sub_keys=4, num_heads=1, k=2, key_dim=4)).eval()
    model.save_pretrained(tmp_path)
    loaded, ids = LanguageModel.from_pretrained(tmp_path), torch.randint(256, (1, 5))
    assert loaded.config == model.config
    assert torch.equal(loaded(ids, loaded.init_state(1))[0], model(ids, model.init_state(1))[0])
