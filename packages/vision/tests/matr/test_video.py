from pathlib import Path

import numpy as np
import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor
from mnemic_vision.matr import Clock, EmissionRule, Matr, MatrConfig, OnlineLocalizer, VideoLocalizer
from mnemic_vision.matr.data import InputConfig

FRAMES = np.random.default_rng(0).integers(0, 255, (24, 48, 64, 3), dtype=np.uint8)


def make(stride: int = 2, channels: int = 256) -> VideoLocalizer:
    torch.manual_seed(0)
    sizes = {"dim": 8, "ffn_dim": 8, "encoder_heads": 2, "window": 4, "num_queries": 2, "capacity": 2}
    model = Matr(MatrConfig(modalities=(channels,), num_classes=1, **sizes))
    for head, windows in ((model.end_head, 0.2), (model.start_head, 0.8)):
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.constant_(head[-1].bias, windows)
    rule = EmissionRule(score=0.0, flag=0.0)
    localizer = OnlineLocalizer(model, InputConfig(channels=channels), ("jump",), Clock(stride / 25), rule)
    return VideoLocalizer(FeatureExtractor(ExtractorConfig("test_efficientnet", stride=stride, size=32)), localizer)


def test_a_video_gives_what_its_features_give() -> None:
    video, other = make(), make()
    features = [feature for feature in map(other.extractor, FRAMES) if feature is not None]
    found = [action for frame in FRAMES for action in video.push(frame) or []]
    assert found == [action for feature in features for action in other.localizer.push(feature)]
    assert found


def test_between_features_nothing_is_known() -> None:
    video = make(stride=3)
    assert [video.push(frame) is None for frame in FRAMES[:7]] == [False, True, True, False, True, True, False]


@pytest.mark.parametrize("stop", [7, 8])
def test_a_saved_video_continues_as_if_it_had_not_stopped(stop: int, tmp_path: Path) -> None:
    whole = make()
    expected = [whole.push(frame) for frame in FRAMES]
    first, second = make(), make()
    found = [first.push(frame) for frame in FRAMES[:stop]]
    first.save(tmp_path / "session.safetensors")
    second.load(tmp_path / "session.safetensors")
    assert found + [second.push(frame) for frame in FRAMES[stop:]] == expected


def test_a_session_of_another_extractor_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path / "session.safetensors")
    with pytest.raises(UserError, match="other settings"):
        make(stride=4).load(tmp_path / "session.safetensors")


def test_after_a_reset_a_video_gives_the_same_again() -> None:
    video = make()
    first = [video.push(frame) for frame in FRAMES[:10]]
    video.reset()
    assert [video.push(frame) for frame in FRAMES[:10]] == first


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(UserError, match="test_efficientnet gives 256 features, but the network takes 6"):
        make(channels=6)
