"""Draws of masks and composites of their reconstructions."""

import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import MemMcMae, MemMcMaeConfig
from mnemic_vision.memmc_mae.draws import DrawRule

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


@pytest.mark.parametrize("kind", [0, 1], ids=["visible", "masked"])
def test_a_composite_takes_each_patch_from_a_draw_of_its_kind(kind: int) -> None:
    model, patches = build()
    rule = DrawRule(num_draws=8, composite=True)
    images = rule.make(CONFIG).reconstruct(model, patches)
    plain = DrawRule(num_draws=8).make(CONFIG)
    every = plain.reconstruct(model, patches)
    for group in range(2):
        for patch in range(16):
            rows = slice(4 * group, 4 * group + 4)
            fitting = every[:, rows][:, plain.masked[rows, patch] == bool(kind), patch]  # batch draw value
            distance = (fitting - images[:, 2 * group + kind, None, patch]).abs().amax(-1)
            assert (distance.amin(1) < 1e-5).all()


def test_composites_say_what_was_masked() -> None:
    masked = DrawRule(num_draws=8, composite=True).make(CONFIG).masked
    assert masked.all(1).tolist() == [False, True, False, True]
    assert masked.any(1).tolist() == [False, True, False, True]


@pytest.mark.parametrize(("num_draws", "mask_ratio"), [(6, 0.75), (4, 0.7)])
def test_draws_that_do_not_show_each_patch_once_make_no_composite(num_draws: int, mask_ratio: float) -> None:
    config = MemMcMaeConfig(mask_ratio=mask_ratio)
    with pytest.raises(UserError, match="composite"):
        DrawRule(num_draws, composite=True).make(config)
