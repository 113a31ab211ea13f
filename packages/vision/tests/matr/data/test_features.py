import json
from dataclasses import asdict
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_vision.matr.data import InputConfig, StreamKind

KINDS = [InputConfig(kind, channels=12, differences=both) for kind in get_args(StreamKind) for both in (False, True)]


@pytest.mark.parametrize("config", KINDS)
def test_frame_by_frame_equals_the_whole_stream(config: InputConfig) -> None:
    raw = torch.randn(6, 12)
    whole, previous = config.to_features(raw), None
    for frame, expected in zip(raw, whole, strict=True):
        assert torch.equal(config.to_features(frame[None], previous)[0], expected)
        previous = frame
    assert whole.shape == (6, config.num_features)


@pytest.mark.parametrize("config", KINDS)
def test_several_streams_equal_one_by_one(config: InputConfig) -> None:
    raw, previous = torch.randn(3, 4, 12), torch.randn(3, 12)
    batch = config.to_features(raw, previous)
    assert torch.equal(batch, torch.stack([config.to_features(*each) for each in zip(raw, previous, strict=True)]))


def test_features_of_a_skeleton_equal_a_loop_over_joints() -> None:
    raw = torch.rand(2, 3, 3) / 8
    features = InputConfig("skeleton", channels=9, differences=True).to_features(raw.flatten(1))
    expected = [raw[1, 1] - raw[1, 0], raw[1, 2] - raw[1, 0], 5 * (raw[1, 0] - raw[0, 0])]
    expected += [5 * ((raw[1, k] - raw[1, 0]) - (raw[0, k] - raw[0, 0])) for k in (1, 2)]
    assert_close(features[1], torch.cat(expected))


def test_a_jump_of_a_lost_body_is_limited() -> None:
    raw = torch.zeros(2, 6)
    raw[1, 4] = 3.0
    assert InputConfig("skeleton", channels=6, differences=True).to_features(raw)[1].tolist() == [
        0,
        3,
        0,
        0,
        0,
        0,
        0,
        2,
        0,
    ]


def test_a_skeleton_looks_alike_wherever_it_stands() -> None:
    raw, config = torch.randn(4, 12), InputConfig("skeleton", channels=12, differences=True)
    moved = raw + torch.tensor([2.0, -1.0, 0.5]).repeat(4)
    assert_close(config.to_features(moved), config.to_features(raw), atol=1e-5, rtol=0)


def test_another_width_is_refused() -> None:
    with pytest.raises(UserError, match=r"5 channels, but the model was made for 6 \(sensor\)"):
        InputConfig("sensor", channels=6).to_features(torch.zeros(2, 5))


@pytest.mark.parametrize("settings", [{"channels": 0}, {"kind": "skeleton", "channels": 10}])
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UserError):
        InputConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", KINDS)
def test_settings_survive_a_checkpoint(config: InputConfig) -> None:
    assert deserialize(InputConfig, json.loads(json.dumps(asdict(config))), "a.ckpt", "input") == config
