import json
from dataclasses import asdict, astuple, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor, extract_video
from mnemic_vision.images import center_square
from mnemic_vision.video import VideoWriter, open_frames

VIDEO = np.random.default_rng(0).integers(0, 256, (11, 40, 56, 3), dtype=np.uint8)
IMAGES = ExtractorConfig("test_efficientnet", stride=3, size=32)
CONFIGS = [
    IMAGES,
    replace(IMAGES, stride=1),
    ExtractorConfig("r3d_18", stride=2, clip_length=4, size=32),
    ExtractorConfig("r3d_18", stride=5, clip_length=3, size=32),  # frames between clips are not used
    ExtractorConfig("r3d_18", stride=4, clip_length=3, frame_step=2, size=32),
    ExtractorConfig("r3d_18", stride=6, clip_length=2, frame_step=2, size=32),
]


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: "-".join(map(str, astuple(config)[:4])))
def built(request: pytest.FixtureRequest) -> FeatureExtractor:
    return FeatureExtractor(request.param)


@pytest.fixture
def extractor(built: FeatureExtractor) -> FeatureExtractor:
    built.reset()
    return built


def stream(extractor: FeatureExtractor, frames: np.ndarray) -> torch.Tensor:
    return torch.stack([feature for feature in map(extractor, frames) if feature is not None])


def test_a_feature_sees_the_frames_that_end_with_its_own(extractor: FeatureExtractor) -> None:
    config, images = extractor.config, torch.stack([center_square(torch.tensor(x).permute(2, 0, 1), 32) for x in VIDEO])
    ends = range(0, len(VIDEO), config.stride)
    ages = [age * config.frame_step for age in reversed(range(config.clip_length))]
    clips = [[max(0, end - age) for age in ages] for end in ends]
    with torch.no_grad():
        expected = torch.cat([extractor.network(images[None, clip]) for clip in clips])
    assert torch.equal(stream(extractor, VIDEO), expected)


def test_features_come_with_every_stride_th_frame(extractor: FeatureExtractor) -> None:
    there = [extractor(frame) is not None for frame in VIDEO]
    assert there == [index % extractor.config.stride == 0 for index in range(len(VIDEO))]


def test_blocks_equal_frames_one_by_one(extractor: FeatureExtractor) -> None:
    expected = stream(extractor, VIDEO)
    extractor.reset()
    assert torch.equal(torch.cat(list(extractor.extract(VIDEO))), expected)
    extractor.reset()
    assert_close(torch.cat(list(extractor.extract(VIDEO, batch_size=3))), expected, atol=1e-5, rtol=1e-5)


def test_saved_and_restored_equals_continued(extractor: FeatureExtractor) -> None:
    complete, other = stream(extractor, VIDEO), FeatureExtractor(extractor.config)
    for seen in (0, 1, 5, 6):
        extractor.reset()
        for frame in VIDEO[:seen]:
            extractor(frame)
        other.load_state_dict(extractor.state_dict())
        assert torch.equal(stream(other, VIDEO[seen:]), complete[-(-seen // extractor.config.stride) :])


def test_extraction_continues_after_any_block(extractor: FeatureExtractor) -> None:
    expected = torch.cat(list(extractor.extract(VIDEO, batch_size=2)))
    extractor.reset()
    first = next(iter(extractor.extract(VIDEO, batch_size=2)))
    rest = islice(VIDEO, extractor.state.count, None)
    assert torch.equal(torch.cat([first, *extractor.extract(rest, batch_size=2)]), expected)


def test_a_file_gives_the_features_of_its_frames(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (56, 40), 10.0) as writer:
        for frame in VIDEO:
            writer.write(frame)
    extractor = FeatureExtractor(IMAGES)
    features = extract_video(tmp_path / "a.mp4", extractor)
    assert (features.shape, features.dtype) == ((4, extractor.dim), np.float32)
    extractor.reset()
    with open_frames(tmp_path / "a.mp4") as frames:
        np.testing.assert_array_equal(stream(extractor, np.stack(list(frames))).numpy(), features)


def test_the_config_is_plain_data_that_recognizes_the_weights(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.pth")
    config = FeatureExtractor(IMAGES, tmp_path / "weights.pth").config
    assert ExtractorConfig(**json.loads(json.dumps(asdict(config)))) == config
    assert FeatureExtractor(config, tmp_path / "weights.pth").config == config
    with pytest.raises(UserError, match=r"random weights of test_efficientnet have the checksum .*: give the weights"):
        FeatureExtractor(config)


def test_a_state_of_other_settings_is_refused() -> None:
    extractor = FeatureExtractor(IMAGES)
    extractor(VIDEO[0])
    with pytest.raises(UserError, match=r"saved frames are \(1, 3, 32, 32\), expected \(1, 3, 64, 64\)"):
        FeatureExtractor(replace(IMAGES, size=64)).load_state_dict(extractor.state_dict())


def test_the_time_per_feature_is_known_after_the_first() -> None:
    extractor = FeatureExtractor(IMAGES)
    assert np.isnan(extractor.seconds_per_feature)
    extractor(VIDEO[0])
    assert 0 < extractor.seconds_per_feature < 60


def test_a_bad_frame_is_refused_and_the_video_continues() -> None:
    extractor, other = (FeatureExtractor(replace(IMAGES, stride=1)) for _ in range(2))
    with pytest.raises(UserError, match=r"expected an RGB frame.*got \(40, 56\)"):
        extractor(VIDEO[0, ..., 0])
    assert torch.equal(stream(extractor, VIDEO), stream(other, VIDEO))


def test_the_frames_of_a_clip_must_be_there_at_each_feature() -> None:
    with pytest.raises(UserError, match="frame_step must divide stride, got 4 and 6"):
        ExtractorConfig("s3d", stride=6, clip_length=16, frame_step=4)


@pytest.mark.parametrize("settings", [{"stride": 0}, {"clip_length": 0}, {"size": -1}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(settings))} must be at least 1"):
        replace(IMAGES, **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("config", CONFIGS)
def test_a_gpu_gives_the_features_of_the_cpu(config: ExtractorConfig) -> None:
    expected, found = (stream(FeatureExtractor(config, device=device), VIDEO) for device in ("cpu", "cuda"))
    assert_close(found, expected, atol=1e-2, rtol=1e-2)
