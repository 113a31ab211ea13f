"""The network: masks, memory, levels, and what must not change its output."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import EncoderMemory, FeatureConfig, MemMcMae, MemMcMaeConfig, stratified_visible

SMALL = MemMcMaeConfig(
    image_size=32, patch_size=8, dim=16, depth=4, num_heads=2, decoder_dim=8, decoder_depth=2, decoder_heads=2
)
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "four levels": {"levels": "uniform4", "depth": 8},
    "last level": {"levels": "last"},
    "plain": {"levels": "none", "memory": EncoderMemory("none")},
    "gated heads": {"gates": "head"},
    "masked queries": {"cross_queries": "masked"},
    "independent patches": {"decoder_self_attention": False},
    "independent masked patches": {"decoder_self_attention": False, "cross_queries": "masked"},
    "product keys": {"memory": EncoderMemory("product_key", {"sub_keys": 4, "num_heads": 2, "k": 2})},
    "grey": {"channels": 1},
}
DRAWS = stratified_visible(4, num_patches=16, num_visible=4)


def build(**options: Any) -> MemMcMae:
    torch.manual_seed(0)
    model = MemMcMae(replace(SMALL, **options)).eval()
    for parameter in model.parameters():  # zeros would hide parts from the comparisons
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def run(model: MemMcMae, batch: int = 3, draws: Tensor = DRAWS) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(batch, model.config.channels, 32, 32, generator=generator)
    return model(model.target(images), draws.expand(batch, -1, -1))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
class TestEveryVariant:
    def test_draws_of_one_call_equal_calls_of_one_draw(self, options: dict[str, Any]) -> None:
        model = build(**options)
        together = run(model)
        assert_close(together[:, 2:3], run(model, draws=DRAWS[2:3]), atol=1e-5, rtol=0)

    def test_images_do_not_see_each_other(self, options: dict[str, Any]) -> None:
        model = build(**options)
        assert_close(run(model, batch=3)[:1], run(model, batch=1), atol=1e-5, rtol=0)

    def test_the_order_of_visible_patches_does_not_count(self, options: dict[str, Any]) -> None:
        model = build(**options)
        assert_close(run(model), run(model, draws=DRAWS.flip(1)), atol=1e-5, rtol=0)

    def test_masked_patches_are_not_seen(self, options: dict[str, Any]) -> None:
        model = build(**options)
        patches = torch.randn(1, 16, model.target.patch_dim)
        changed = patches.clone()
        changed[:, DRAWS[1]] += 1  # visible in draw 1, masked in draw 0
        assert torch.equal(model(patches, DRAWS[:1, None])[0], model(changed, DRAWS[:1, None])[0])

    def test_decoding_some_patches_equals_decoding_all(self, options: dict[str, Any]) -> None:
        model = build(**options)
        patches, wanted = torch.randn(1, 16, model.target.patch_dim), torch.tensor([3, 15, 0])
        every = model(patches, DRAWS[None])
        some = model(patches, DRAWS[None], wanted.expand(1, 4, -1))
        assert_close(some, every[:, :, wanted], atol=1e-5, rtol=0)

    def test_every_parameter_gets_a_gradient(self, options: dict[str, Any]) -> None:
        model = build(**options)
        run(model).square().sum().backward()
        without = {name for name, value in model.named_parameters() if value.grad is None}
        assert not without

    def test_saved_and_loaded_is_equal(self, options: dict[str, Any], tmp_path: Any) -> None:
        model = build(**options)
        model.save_pretrained(tmp_path)
        assert torch.equal(run(MemMcMae.from_pretrained(tmp_path)), run(model))


def test_zero_slots_are_no_memory() -> None:
    none = build(memory=EncoderMemory("none"))
    zero = build(memory=EncoderMemory("persistent", {"num_slots": 0}))
    zero.load_state_dict(none.state_dict())
    assert torch.equal(run(none), run(zero))


@pytest.mark.parametrize("memory", ["persistent", "product_key"])
def test_emptied_memory_keeps_all_other_weights(memory: Any) -> None:
    model = build(memory=EncoderMemory(memory))
    emptied = model.without_memory()
    assert emptied.config.memory.name == "none"
    assert torch.equal(emptied.embed.weight, model.embed.weight)
    assert not torch.allclose(run(emptied), run(model), atol=1e-3)


def test_slot_weights_are_what_attention_reads() -> None:
    model = build()
    weights = model.slot_weights(torch.randn(2, 16, model.target.patch_dim), DRAWS.expand(2, -1, -1))
    assert weights.shape == (2, 4, 4, 5, 40)  # image draw block token slot
    share = weights.sum(-1)
    assert share.min() > 0
    assert share.max() < 1


def test_features_are_standardized_by_what_was_set() -> None:
    model = build(features=FeatureConfig("test_efficientnet", num_levels=2, grid=4))
    raw = model.target.raw(torch.rand(8, 3, 32, 32))
    model.target.standardize(raw.mean((0, 1)), raw.std((0, 1), correction=0))
    standardized = (raw - model.target.mean) * model.target.scale
    assert_close(standardized.std((0, 1), correction=0)[:4], torch.ones(4), atol=1e-3, rtol=0)
    assert run(model).shape == (3, 4, 16, model.target.patch_dim)


def test_training_mode_leaves_the_frozen_network_alone() -> None:
    model = build(features=FeatureConfig("test_efficientnet", num_levels=2, grid=4)).train()
    assert model.encoder.training
    assert not model.target.backbone.training


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 33}, {"mask_ratio": 0.99}, {"mask_ratio": 0.0}, {"channels": 2}, {"dim": 18}, {"num_heads": 3},
        {"levels": "none", "decoder_self_attention": False}, {"channels": 1, "features": FeatureConfig()},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        replace(SMALL, **options)


@pytest.mark.parametrize(
    ("name", "options"), [("persistent", {"slots": 3}), ("none", {"k": 1}), ("persistent", {"num_slots": "3"})]
)
def test_impossible_memories_are_refused(name: Any, options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        EncoderMemory(name, options)
