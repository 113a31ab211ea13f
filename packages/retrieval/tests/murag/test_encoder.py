from dataclasses import replace

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.murag import JointEncoder, MuragConfig, TowerConfig, VisionTower, murag_base, murag_tiny
from mnemic_retrieval.t5 import TokenLayer

TOKENS = torch.tensor([[7, 8, 9, 1], [3, 1, 0, 0], [0, 0, 0, 0]])


def build(config: MuragConfig | None = None) -> JointEncoder:
    torch.manual_seed(0)
    config = murag_tiny() if config is None else config
    encoder = JointEncoder(config, TokenLayer(config.t5)).eval()
    torch.nn.init.normal_(encoder.pair_bias)
    return encoder


def pictures(number: int = 3) -> torch.Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_items_of_all_modalities_have_the_key_that_they_have_alone() -> None:
    encoder, images = build(), pictures()
    has_image = torch.tensor([True, False, True])
    together = encoder(TOKENS, images, has_image)
    assert_close(together.vector[0], encoder(TOKENS[:1], images[:1]).vector[0], tolerance=1e-5)
    assert_close(together.vector[1], encoder(TOKENS[1:2, :2]).vector[0], tolerance=1e-5)  # a text alone
    assert_close(together.vector[2], encoder(TOKENS[2:, :1], images[2:]).vector[0], tolerance=1e-5)  # a picture alone
    assert (together.vector[0] - encoder(TOKENS[:1]).vector[0]).abs().max() > 1e-3  # its picture counts


def test_padding_changes_no_key_and_what_stands_for_no_picture_does_not_matter() -> None:
    encoder, images = build(), pictures()
    has_image = torch.tensor([True, False, True])
    first = encoder(TOKENS, images, has_image)
    wider = encoder(torch.cat([TOKENS, torch.zeros(3, 5, dtype=torch.long)], 1), images, has_image)
    assert_close(wider.vector, first.vector, tolerance=1e-5)
    images[1] = torch.nan
    assert_close(encoder(TOKENS, images, has_image).vector, first.vector, tolerance=1e-6)


def test_padding_is_where_a_row_lacks_something() -> None:
    encoded = build()(TOKENS, pictures(), torch.tensor([True, False, True]))
    assert encoded.hidden.shape == (3, 1 + 16 + 4, 64)
    assert encoded.padding.sum(1).tolist() == [0, 16 + 2, 4]
    assert not encoded.padding[:, 0].any()


def test_the_order_of_words_and_the_place_of_a_patch_matter() -> None:
    encoder, images = build(), pictures(1)
    words = torch.tensor([[7, 8, 9, 1]])
    assert (encoder(words).vector - encoder(words[:, [1, 0, 2, 3]]).vector).abs().max() > 1e-3
    moved = images.roll(16, 2)
    assert (encoder(words, images).vector - encoder(words, moved).vector).abs().max() > 1e-3


def test_vectors_have_length_1_unless_asked_otherwise() -> None:
    assert_close(build()(TOKENS).vector.norm(dim=1), torch.ones(3), tolerance=1e-5)
    plain = build(replace(murag_tiny(), normalize=False))(TOKENS)
    assert torch.equal(plain.vector, plain.hidden[:, 0])


def test_every_weight_learns_and_a_frozen_tower_does_not() -> None:
    for is_frozen in (False, True):
        config = replace(murag_tiny(), tower=replace(murag_tiny().tower, is_frozen=is_frozen))
        encoder = build(config).train()
        assert encoder.tower.network.training is not is_frozen
        encoder(TOKENS, pictures(), torch.tensor([True, False, True])).vector.sum().backward()
        encoder(TOKENS, pictures()).hidden.square().sum().backward()
        without = {name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()}
        assert all(name.startswith(("tower.", "tokens.output")) for name in without)
        assert any(name.startswith("tower.") for name in without) is is_frozen


def test_the_tiny_network_has_fewer_than_a_million_weights() -> None:
    assert sum(weight.numel() for weight in build().parameters()) < 1e6


def test_the_paper_s_sizes_are_the_default() -> None:
    base = murag_base()
    assert (base.t5.dim, base.t5.encoder_layers, base.tower.name) == (768, 12, "vit_large_patch16_224")


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        (TowerConfig("no_such_network"), "tower 'no_such_network'"),
        (TowerConfig("test_efficientnet"), "has no patch tokens"),
        (TowerConfig("vit_tiny_patch16_224", {"depht": 2}), "depht"),
    ],
)
def test_a_wrong_tower_is_refused(tower: TowerConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VisionTower(tower)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"must be \(32, 32\) pixels"):
        build()(TOKENS, torch.rand(3, 3, 30, 32))
