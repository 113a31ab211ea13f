from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError
from mnemic_vision.matr import Clock, EmissionRule, LocalizerCheckpoint, LocalizerSettings, Matr, MatrConfig
from mnemic_vision.matr.data import InputConfig
from mnemic_vision.matr.inference import OnlineLocalizer

Build = Callable[[MatrConfig], Matr]
CLASSES = ("run", "jump", "wave")
RULE = EmissionRule(score=0.2, overlap=0.7, horizon=2)
SENSOR = InputConfig("sensor", channels=5, differences=False)


def frames(length: int = 120, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((length, 5), dtype=np.float32)


def localizer(model: Matr, rule: EmissionRule = RULE) -> OnlineLocalizer:
    return OnlineLocalizer(model, SENSOR, CLASSES, Clock(0.25, offset=0.5, lookahead=0.1), rule)


@pytest.mark.parametrize("memory", ["segment_queue", "exponential"])
@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_a_recorded_stream_gives_the_same_as_its_frames(
    config: MatrConfig, build: Build, memory: str, delay: float
) -> None:
    model = build(replace(config, memory=MemoryConfig(memory)))
    online = localizer(model, replace(RULE, delay=delay))
    recorded = online.localize(frames())
    live = [action for frame in frames() for action in online.push(frame)] + online.finish()
    assert len(live) > 2
    assert live == recorded


def test_following_tells_flags_and_memory_as_the_stream_does(config: MatrConfig, build: Build) -> None:
    online = localizer(build(config))
    followed = list(online.follow(frames()))
    flags = [online.flag for frame in frames() if online.push(frame) is not None]
    assert [step.flag for step in followed] == pytest.approx(flags, abs=1e-5)
    assert followed[-1].num_written == sum(flag > RULE.flag for flag in flags)
    assert followed[0].time == 0.5


def test_actions_are_emitted_after_their_end_and_never_later_than_known(config: MatrConfig, build: Build) -> None:
    for action in localizer(build(config)).localize(frames()):
        assert action.end <= action.emitted - 0.1
        assert action.start < action.end
        assert action.score >= RULE.score


def test_a_saved_session_continues_equally(config: MatrConfig, build: Build, tmp_path: Path) -> None:
    model = build(config)
    first, second = localizer(model, replace(RULE, delay=1.0)), localizer(model, replace(RULE, delay=1.0))
    for frame in frames()[:31]:
        first.push(frame)
    first.save(tmp_path / "session.safetensors")
    second.load(tmp_path / "session.safetensors")
    assert [first.push(frame) for frame in frames()[31:]] == [second.push(frame) for frame in frames()[31:]]
    assert first.finish() == second.finish()


def test_a_reset_localizer_begins_again(config: MatrConfig, build: Build) -> None:
    online = localizer(build(config))
    first = [online.push(frame) for frame in frames()]
    online.reset()
    assert [online.push(frame) for frame in frames()] == first


def test_the_report_counts_the_windows_in_memory(config: MatrConfig, build: Build) -> None:
    online = localizer(build(config))
    for frame in frames():
        online.push(frame)
    report = online.report()
    assert 0 < report.written == online.windows_in_memory <= report.capacity == config.capacity * config.window


def test_a_frame_with_nan_or_another_width_is_refused(config: MatrConfig, build: Build) -> None:
    online = localizer(build(config))
    online.push(frames()[0])
    with pytest.raises(UserError, match="frame 1 contains NaN"):
        online.push(np.full(5, np.nan, dtype=np.float32))
    with pytest.raises(UserError, match="4 channels, but the model was made for 5"):
        online.push(np.zeros(4, dtype=np.float32))
    assert online.num_frames == 1


def test_inputs_and_classes_must_be_those_of_the_network(config: MatrConfig, build: Build) -> None:
    with pytest.raises(UserError, match="takes 5 features and has 3 classes, but the input gives 10 and 3"):
        OnlineLocalizer(build(config), InputConfig("sensor", 5, differences=True), CLASSES, Clock(0.1))


def test_a_saved_checkpoint_finds_the_same_actions(config: MatrConfig, build: Build, tmp_path: Path) -> None:
    model, path = build(config), tmp_path / "matr.safetensors"
    settings = LocalizerSettings(SENSOR, CLASSES, frame_rate=4.0, rule=RULE)
    LocalizerCheckpoint(model, settings, {"made": "here"}).save(path)
    loaded = LocalizerCheckpoint.load(path)
    assert loaded.settings == settings
    expected = OnlineLocalizer(model, SENSOR, CLASSES, Clock(0.25), RULE).localize(frames())
    assert loaded.localizer().localize(frames()) == expected
    assert loaded.localizer(delay=2.0).rule.delay == 2.0


def test_an_empty_stream_has_no_actions(config: MatrConfig, build: Build) -> None:
    assert localizer(build(config)).localize(np.zeros((0, 5), dtype=np.float32)) == []
    assert torch.is_grad_enabled()
