from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError
from mnemic_vision.matr import Matr, MatrConfig, MatrOutput
from mnemic_vision.matr.positions import OLDEST, memory_positions, recency_positions, sine_table

Build = Callable[[MatrConfig], Matr]


@torch.no_grad()
def outputs(model: Matr, lanes: int, steps: int = 4, seed: int = 0) -> list[MatrOutput]:
    generator, state, found = torch.Generator().manual_seed(seed), model.init_state(lanes), []
    for step in range(steps):
        windows = torch.randn(lanes, model.config.window, model.config.dim, generator=generator)
        now = torch.full((lanes,), step * model.config.window)
        output, state = model(windows, state, now, store=torch.ones(lanes, dtype=torch.bool))
        found.append(output)
    return found


def test_lanes_of_a_batch_do_not_see_each_other(config: MatrConfig, build: Build) -> None:
    model = build(config)
    windows = torch.randn(3, config.window, config.dim)
    state, now = model.init_state(3), torch.zeros(3, dtype=torch.long)
    with torch.no_grad():
        together, _ = model(windows, state, now)
        alone, _ = model(windows[1:2], model.init_state(1), now[:1])
    assert_close(together.starts[1:2], alone.starts, atol=1e-5, rtol=1e-4)


def test_memory_changes_starts_and_classes_but_neither_ends_nor_flags(config: MatrConfig, build: Build) -> None:
    with_memory, without = build(config), build(replace(config, memory=MemoryConfig("none")))
    without.load_state_dict(with_memory.state_dict())
    first, second = outputs(with_memory, 2)[-1], outputs(without, 2)[-1]
    assert not torch.allclose(first.starts, second.starts)
    assert not torch.allclose(first.classes, second.classes)
    assert_close(first.ends, second.ends)
    assert_close(first.flag, second.flag)


def test_a_window_that_is_not_stored_leaves_the_memory_as_it_was(config: MatrConfig, build: Build) -> None:
    model = build(config)
    state, windows = model.init_state(2), torch.randn(2, config.window, config.dim)
    _, after = model(windows, state, torch.zeros(2, dtype=torch.long), store=torch.tensor([True, False]))
    assert after.segments.count.tolist() == [1, 0]


def test_a_reset_lane_is_as_a_new_one(config: MatrConfig, build: Build) -> None:
    model = build(config)
    state = model.init_state(2)
    _, state = model(torch.randn(2, config.window, config.dim), state, torch.zeros(2, dtype=torch.long))
    cleared = model.reset(state, torch.tensor([True, True]))
    for name, tensor in model.init_state(2).tensors().items():
        assert torch.equal(cleared.tensors()[name], tensor)


def test_the_memory_gets_no_gradient(config: MatrConfig, build: Build) -> None:
    model = build(config)
    windows = torch.randn(1, config.window, config.dim, requires_grad=True)
    _, state = model(windows, model.init_state(1), torch.zeros(1, dtype=torch.long), store=torch.tensor([True]))
    assert not any(tensor.requires_grad for tensor in state.tensors().values())


def test_very_old_windows_keep_the_oldest_position() -> None:
    ages = torch.tensor([[OLDEST, OLDEST + 1, 10**6]])
    position = memory_positions(ages, torch.tensor([0, 0, 0]), window=4, dim=8)
    assert_close(position[0, 1:], position[0, :1].expand(2, -1))


def test_the_flag_token_has_row_0_and_the_newest_frame_row_1() -> None:
    table = sine_table(5, 8)
    assert_close(recency_positions(4, 8), torch.stack([table[4], table[3], table[2], table[1], table[0]]))


def test_standardized_features_have_mean_0_and_deviation_1(config: MatrConfig, build: Build) -> None:
    model, features = build(replace(config, standardizes=True)), 3 * torch.randn(1, 500, 5) + 7
    model.standardize(features.mean((0, 1)), features.std((0, 1)))
    plain = build(config)
    normal = (features - features.mean((0, 1))) / features.std((0, 1))
    plain.load_state_dict({**model.state_dict()})
    assert_close(model.project(features), plain.project(normal), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 18}, "num_heads must divide dim"),
        ({"window": 7}, "memory_stride must divide window, got 2 and 7"),
        ({"modalities": ()}, "dim must be a multiple of 4 and of the modalities"),
        ({"memory": MemoryConfig("segment_queue", {"capacity": 3})}, "capacity of memory segment_queue follow"),
        ({"memory": MemoryConfig("transformer_xl_stack")}, "memory must be one that can follow an encoder"),
        ({"dropout": 1.5}, "dropout must be between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(config: MatrConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(config, **changes)
