"""Draws of masks and whole images of their reconstructions."""

import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import MemMcMae, MemMcMaeConfig
from mnemic_vision.memmc_mae.draws import Decoded, DrawRule

CONFIG = MemMcMaeConfig(
    image_size=32, patch_size=8, dim=16, depth=2, num_heads=2, decoder_dim=8, decoder_depth=1, decoder_heads=2,
    decoder_self_attention=False,
)  # fmt: skip


def build() -> tuple[MemMcMae, torch.Tensor]:
    torch.manual_seed(0)
    model = MemMcMae(CONFIG).eval()
    return model, model.target(torch.rand(2, 3, 32, 32))


def test_all_draws_reconstruct_whole_images() -> None:
    model, patches = build()
    draws = DrawRule(num_draws=3).make(CONFIG)
    assert_close(draws.reconstruct(model, patches), model(patches, draws.visible.expand(2, -1, -1)))
    assert draws.masked.sum(1).tolist() == [12, 12, 12]


@pytest.mark.parametrize(("decode", "kinds"), [("both", [False, True]), ("masked", [True]), ("visible", [False])])
def test_whole_images_take_each_patch_from_a_draw_of_their_kind(decode: Decoded, kinds: list[bool]) -> None:
    model, patches = build()
    draws = DrawRule(num_draws=8, decode=decode).make(CONFIG)
    images = draws.reconstruct(model, patches)
    assert draws.masked.all(1).tolist() == draws.masked.any(1).tolist() == 2 * kinds
    plain = DrawRule(num_draws=8).make(CONFIG)
    every = plain.reconstruct(model, patches)
    for group in range(2):
        for patch in range(16):
            rows = slice(4 * group, 4 * group + 4)
            for place, is_masked in enumerate(kinds):
                fitting = every[:, rows][:, plain.masked[rows, patch] == is_masked, patch]  # batch draw value
                distance = (fitting - images[:, len(kinds) * group + place, None, patch]).abs().amax(-1)
                assert (distance.amin(1) < 1e-5).all()


@pytest.mark.parametrize(("num_draws", "mask_ratio"), [(6, 0.75), (4, 0.7)])
def test_draws_that_do_not_show_each_patch_once_make_no_whole_images(num_draws: int, mask_ratio: float) -> None:
    config = MemMcMaeConfig(mask_ratio=mask_ratio)
    with pytest.raises(UserError, match="decode both needs draws"):
        DrawRule(num_draws, "both").make(config)
