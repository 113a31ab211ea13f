from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_vision.matr import Matr, MatrConfig, MatrOutput
from mnemic_vision.matr.streaming.engine import StreamingMatr

Build = Callable[[MatrConfig], Matr]
LENGTH = 40


def features(streams: int, length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randn(streams, length, 5, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def run_windows(model: Matr, frames: Tensor) -> MatrOutput:
    """Return the output for every frame, from complete windows and all lanes in a batch."""
    window, streams = model.config.window, len(frames)
    length = -(-frames.shape[1] // window) * window
    padded = torch.cat([frames.new_zeros(streams, window - 1, 5), frames], dim=1)
    padded = torch.cat([padded, frames.new_zeros(streams, length - frames.shape[1], 5)], dim=1)
    tokens, state, outputs = model.project(padded), model.init_state(streams * window), []
    for start in range(0, length, window):
        windows = model.windows(tokens[:, start : start + 2 * window - 1])
        output, state = model(windows, state, torch.arange(start, start + window).repeat(streams))
        outputs.append(output)
    return join(outputs, lambda part: part.unflatten(0, (streams, window)), frames.shape[1])


def join(outputs: list[MatrOutput], shape: Callable[[Tensor], Tensor], length: int) -> MatrOutput:
    parts = {name: [shape(getattr(each, name)) for each in outputs] for name in names()}
    return MatrOutput(*(torch.cat(parts[name], dim=1)[:, :length].flatten(0, 1) for name in names()))


def names() -> list[str]:
    return [field.name for field in fields(MatrOutput)]


def run_frames(engine: StreamingMatr, frames: Tensor) -> MatrOutput:
    outputs = [engine.step(frame) for frame in frames.unbind(1)]
    return join(outputs, lambda part: part[:, None], frames.shape[1])


def assert_equal(first: MatrOutput, second: MatrOutput) -> None:
    for name in names():
        assert_close(getattr(first, name), getattr(second, name), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("memory", ["segment_queue", "none", "exponential", "window", "gated_fifo", "slot_attention"])
@pytest.mark.parametrize("masks_empty", [True, False])
def test_frame_by_frame_equals_complete_windows(
    config: MatrConfig, build: Build, memory: str, masks_empty: bool
) -> None:
    model = build(replace(config, memory=MemoryConfig(memory), masks_empty=masks_empty))
    frames = features(2)
    expected = run_windows(model, frames)
    assert 0.1 < expected.has_action().float().mean() < 0.9
    assert_equal(run_frames(StreamingMatr(model, streams=2), frames), expected)


def test_streams_of_a_batch_equal_single_streams(config: MatrConfig, build: Build) -> None:
    model, frames = build(config), features(3)
    single = [run_frames(StreamingMatr(model), frames[index : index + 1]) for index in range(3)]
    together = run_frames(StreamingMatr(model, streams=3), frames)
    assert_equal(together, MatrOutput(*(torch.cat([getattr(each, name) for each in single]) for name in names())))


@pytest.mark.parametrize("memory", ["segment_queue", "window"])
def test_a_restored_stream_continues_equally(config: MatrConfig, build: Build, memory: str) -> None:
    model, frames = build(replace(config, memory=MemoryConfig(memory))), features(1)
    engine, other = StreamingMatr(model), StreamingMatr(model)
    run_frames(engine, frames[:, :25])
    other.load_state_dict(engine.state_dict())
    for frame in frames[:, 25:].unbind(1):
        assert torch.equal(engine.step(frame).starts, other.step(frame).starts)


@pytest.mark.parametrize("memory", ["segment_queue", "window"])
def test_a_reset_stream_begins_anew_and_the_other_goes_on(config: MatrConfig, build: Build, memory: str) -> None:
    model, frames = build(replace(config, memory=MemoryConfig(memory))), features(2)
    engine = StreamingMatr(model, streams=2)
    run_frames(engine, frames[:, :25])
    engine.reset(0)
    found = run_frames(engine, frames[:, 25:])
    length = LENGTH - 25
    assert_equal(MatrOutput(*(getattr(found, name)[:length] for name in names())), run_windows(model, frames[:1, 25:]))
    later = run_windows(model, frames[1:])
    assert_equal(
        MatrOutput(*(getattr(found, name)[length:] for name in names())),
        MatrOutput(*(getattr(later, name)[25:] for name in names())),
    )


def test_the_store_stays_small(config: MatrConfig, build: Build) -> None:
    engine = StreamingMatr(build(config))
    run_frames(engine, features(1, 100))
    sizes = [engine.num_stored for frame in features(1, 300, seed=1).unbind(1) if engine.step(frame)]
    assert max(sizes) <= config.window * (1 + config.capacity * config.window)


def test_a_cleared_engine_holds_no_frame(config: MatrConfig, build: Build) -> None:
    engine = StreamingMatr(build(config))
    run_frames(engine, features(1))
    engine.reset(0)
    assert engine.num_stored == 0
    assert engine.windows_in_memory() == [0]
