from dataclasses import replace

import torch

from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.murag import Encoded, JointEncoder, Murag, MuragConfig, murag_base, murag_small, murag_tiny
from mnemic_retrieval.t5 import TokenLayer

TOKENS = torch.tensor([[7, 8, 9, 1], [3, 1, 0, 0], [0, 0, 0, 0]])


def build(config: MuragConfig | None = None) -> JointEncoder:
    torch.manual_seed(0)
    config = murag_tiny() if config is None else config
    encoder = JointEncoder(config, TokenLayer(config.t5)).eval()
    torch.nn.init.normal_(encoder.pair_bias)
    return encoder


def encode(
    encoder: JointEncoder, tokens: torch.Tensor, images: torch.Tensor | None = None, has: torch.Tensor | None = None
) -> Encoded:
    return encoder(encoder.read(tokens), None if images is None else encoder.see(images), has)


def pictures(number: int = 3) -> torch.Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_items_of_all_modalities_have_the_key_that_they_have_alone() -> None:
    encoder, images = build(), pictures()
    together = encode(encoder, TOKENS, images, torch.tensor([True, False, True]))
    assert_close(together.vector[0], encode(encoder, TOKENS[:1], images[:1]).vector[0], tolerance=1e-5)
    assert_close(together.vector[1], encode(encoder, TOKENS[1:2, :2]).vector[0], tolerance=1e-5)  # a text alone
    assert_close(together.vector[2], encode(encoder, TOKENS[2:, :1], images[2:]).vector[0], tolerance=1e-5)
    assert (together.vector[0] - encode(encoder, TOKENS[:1]).vector[0]).abs().max() > 1e-3  # its picture counts


def test_padding_changes_no_key_and_what_stands_for_no_picture_does_not_matter() -> None:
    encoder, images = build(), pictures()
    has_picture = torch.tensor([True, False, True])
    first = encode(encoder, TOKENS, images, has_picture)
    wider = encode(encoder, torch.cat([TOKENS, torch.zeros(3, 5, dtype=torch.long)], 1), images, has_picture)
    assert_close(wider.vector, first.vector, tolerance=1e-5)
    images[1] = torch.nan
    assert_close(encode(encoder, TOKENS, images, has_picture).vector, first.vector, tolerance=1e-6)


def test_padding_is_where_a_row_lacks_something() -> None:
    encoded = encode(build(), TOKENS, pictures(), torch.tensor([True, False, True]))
    assert encoded.hidden.shape == (3, 1 + 16 + 4, 64)
    assert encoded.padding.sum(1).tolist() == [0, 16 + 2, 4]
    assert not encoded.padding[:, 0].any()


def test_the_order_of_words_and_the_place_of_a_patch_matter() -> None:
    encoder, images = build(), pictures(1)
    words = torch.tensor([[7, 8, 9, 1]])
    assert (encode(encoder, words).vector - encode(encoder, words[:, [1, 0, 2, 3]]).vector).abs().max() > 1e-3
    moved = images.roll(16, 2)
    assert (encode(encoder, words, images).vector - encode(encoder, words, moved).vector).abs().max() > 1e-3


def test_vectors_have_length_1_unless_asked_otherwise() -> None:
    assert_close(encode(build(), TOKENS).vector.norm(dim=1), torch.ones(3), tolerance=1e-5)
    plain = encode(build(replace(murag_tiny(), normalize=False)), TOKENS)
    assert torch.equal(plain.vector, plain.hidden[:, 0])


def test_vectors_alone_are_those_of_the_whole() -> None:
    encoder = build()
    words, seen = encoder.read(TOKENS), encoder.see(pictures())
    assert torch.equal(encoder.vectors_of(words, seen), encoder(words, seen).vector)


def test_fewer_patches_are_read() -> None:
    sizes = {"none": 16, "average": 4, "resample": 5}
    for reducer, number in sizes.items():
        encoder = build(replace(murag_tiny(), reducer=reducer, num_queries=5))
        assert encode(encoder, TOKENS, pictures()).hidden.shape[1] == 1 + number + 4
        assert encoder.num_patches == (0 if reducer == "resample" else number)


def test_every_weight_learns() -> None:
    encoder = build().train()
    encode(encoder, TOKENS, pictures(), torch.tensor([True, False, True])).vector.sum().backward()
    encode(encoder, TOKENS, pictures()).hidden.square().sum().backward()
    without = {name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert without <= {"tokens.output.weight", "pictures.network.fc_norm.weight", "pictures.network.fc_norm.bias"}


def test_the_tiny_network_has_fewer_than_a_million_weights() -> None:
    assert sum(weight.numel() for weight in Murag(murag_tiny()).parameters()) < 1e6


def test_sizes_are_those_of_released_networks() -> None:
    base, small = murag_base(), murag_small()
    assert (base.t5.dim, base.t5.encoder_layers, base.pictures.name) == (768, 12, "vit_large_patch16_224")
    assert (small.t5.dim, small.t5.num_heads, small.pictures.name) == (512, 6, "vit_base_patch16_224")
