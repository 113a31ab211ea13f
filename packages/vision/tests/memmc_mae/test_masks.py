"""Which patches are visible."""

import torch

from mnemic_vision.memmc_mae.masks import masked_patches, random_visible, stratified_visible


def test_four_draws_of_a_quarter_show_each_patch_once() -> None:
    draws = stratified_visible(8, num_patches=196, num_visible=49)
    for group in draws.split(4):
        assert torch.equal(group.flatten().sort().values, torch.arange(196))


def test_more_draws_begin_with_fewer() -> None:
    assert torch.equal(stratified_visible(3, 64, 16), stratified_visible(16, 64, 16)[:3])


def test_draws_have_distinct_patches_where_the_number_does_not_divide() -> None:
    draws = stratified_visible(5, num_patches=10, num_visible=3)
    assert draws.shape == (5, 3)
    assert all(len(set(draw.tolist())) == 3 for draw in draws)


def test_random_draws_differ_between_images_and_repeat_with_the_seed() -> None:
    first, second = (random_visible(4, 64, 16, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0].sort().values, first[1].sort().values)


def test_masked_is_the_complement_of_visible() -> None:
    visible = stratified_visible(2, 16, 4)
    masked = masked_patches(visible, 16)
    assert masked.sum(-1).tolist() == [12, 12]
    assert not masked.gather(1, visible).any()
