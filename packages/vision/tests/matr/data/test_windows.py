from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_vision.matr import LabelRule, Matr, MatrConfig
from mnemic_vision.matr.data.windows import LabeledStream, TrainingWindows, WindowBatch
from mnemic_vision.matr.labels import FrameActions, window_targets

Build = Callable[[MatrConfig], Matr]


def labeled(config: MatrConfig, length: int = 50, seed: int = 0) -> LabeledStream:
    features = torch.randn(length, config.num_features, generator=torch.Generator().manual_seed(seed))
    actions = FrameActions.from_lists([8.0, 30.0], [14.0, 33.0], [1, 2])
    return LabeledStream(features, window_targets(actions, torch.arange(length), config, LabelRule(3, 2)))


def streams(config: MatrConfig) -> list[LabeledStream]:
    return [labeled(config), labeled(config, length=23, seed=1)]


@torch.no_grad()
def predict(model: Matr, batch: WindowBatch) -> torch.Tensor:
    windows = model.project(batch.frames)[batch.rows]
    state = model.remember(windows[:, :-1], batch.now[:, :-1], batch.stored)
    return model(windows[:, -1], state, batch.now[:, -1])[0].starts


@pytest.mark.parametrize("memory", ["segment_queue", "none"])
def test_windows_trained_alone_equal_those_of_a_stream(config: MatrConfig, build: Build, memory: str) -> None:
    model, window = build(replace(config, memory=MemoryConfig(memory))), config.window
    stream = labeled(config, length=10 * window)
    dataset = TrainingWindows([stream], config)
    state, frames = model.init_state(window), torch.zeros(1, 11 * window - 1, config.num_features)
    frames[0, window - 1 :] = stream.features
    for start in range(0, 10 * window, window):
        now = torch.arange(start, start + window)
        windows = model.windows(model.project(frames[:, start : start + 2 * window - 1]))
        output, state = model(windows, state, now, store=stream.targets.flag[now])
        batch = dataset.collate([dataset[index] for index in now.tolist()])
        assert_close(predict(model, batch), output.starts.detach(), atol=1e-5, rtol=1e-4)


def test_a_batch_holds_each_frame_once(config: MatrConfig) -> None:
    dataset = TrainingWindows([labeled(config)], config)
    batch = dataset.collate([dataset[index] for index in (40, 41, 42)])
    assert len(batch.frames.unique(dim=0)) == len(batch.frames)
    assert_close(batch.frames[batch.rows[2, -1]], dataset.streams[0].features[37:43])


def test_frames_before_a_stream_and_missing_windows_are_zeros(config: MatrConfig) -> None:
    dataset = TrainingWindows([labeled(config)], config)
    batch = dataset.collate([dataset[2]])
    assert batch.rows[0, -1].tolist()[:3] == [0, 0, 0]
    assert not batch.stored.any()
    assert not batch.frames[0].any()
    assert not batch.rows[0, :-1].any()


def test_consecutive_sampling_takes_every_window_stream_by_stream(config: MatrConfig) -> None:
    dataset = TrainingWindows(streams(config), config, seed=3)
    places = [(dataset[index].stream, dataset[index].now) for index in range(len(dataset))]
    order = list(dict.fromkeys(stream for stream, _ in places))
    assert places == [(stream, now) for stream in order for now in range((50, 23)[stream])]


def test_balanced_sampling_draws_half_of_the_windows_among_those_with_a_target(config: MatrConfig) -> None:
    dataset = TrainingWindows(streams(config), config, "balanced", number=400)
    found = np.mean(
        [dataset.streams[each.stream].has_target[each.now] for each in map(dataset.__getitem__, range(400))]
    )
    share = np.concatenate([each.has_target for each in dataset.streams]).mean()
    assert found == pytest.approx(0.5 + share / 2, abs=0.06)


def test_seed_and_epoch_determine_the_windows(config: MatrConfig) -> None:
    def places(**numbers: int) -> list[int]:
        dataset = TrainingWindows(streams(config), config, "balanced", number=20, **numbers)
        return [dataset[index].now for index in range(20)]

    assert places(seed=1, epoch=2) == places(seed=1, epoch=2)
    assert places(seed=1, epoch=2) != places(seed=1, epoch=3)


def test_gradients_reach_a_memory_with_weights(config: MatrConfig, build: Build) -> None:
    model = build(replace(config, memory=MemoryConfig("slot_attention")))
    dataset = TrainingWindows([labeled(config)], config)
    batch = dataset.collate([dataset[40], dataset[20]])
    windows = model.project(batch.frames)[batch.rows]
    state = model.remember(windows[:, :-1], batch.now[:, :-1], batch.stored)
    model(windows[:, -1], state, batch.now[:, -1])[0].starts.sum().backward()
    gradients = [each.grad for each in model.past_windows.parameters() if each.requires_grad]
    assert gradients
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
