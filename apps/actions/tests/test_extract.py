import json
from pathlib import Path

import numpy as np
import pytest
from action_checkpoints import command, mistake

from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor, extract_video
from mnemic_vision.matr.data import open_streams
from mnemic_vision.matr.results import read_results

SMALL = ["--backbone", "test_efficientnet", "--size", 32, "--stride", 2]


def test_features_and_manifest_are_those_of_the_extractor(video: Path, tmp_path: Path) -> None:
    assert command("extract", video, "--out", tmp_path / "out", *SMALL, "--batch_size", 1) == 0
    extractor = FeatureExtractor(ExtractorConfig("test_efficientnet", stride=2, size=32))
    assert np.array_equal(np.load(tmp_path / "out" / "my.npy"), extract_video(video, extractor))
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert content["settings"]["extractor"]["checksum"] == extractor.config.checksum
    del content["videos"]["my"]["digest"]
    expected = {"fps": 10.0, "duration": 2.0, "num_frames": 20, "num_features": 10, "features_per_second": 5.0}
    assert content["videos"] == {"my": expected}


def test_extracted_features_are_run_as_the_video_is(
    video: Path, video_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnemic_actions.running.can_plot", lambda: False)
    command("extract", video, "--out", tmp_path / "features", *SMALL, "--batch_size", 1)
    assert open_streams(tmp_path / "features", 5.0).num_channels == 256
    for source, out in ((video, "pixels"), (tmp_path / "features" / "my.npy", "stream")):
        assert command("run", source, "--checkpoint", video_checkpoint, "--out", tmp_path / out) == 0
    assert read_results(tmp_path / "pixels" / "my.json") == read_results(tmp_path / "stream" / "my.json")


def test_complete_videos_are_kept_and_others_extracted_again(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["extract", video, "--out", tmp_path / "out", *SMALL]
    command(*arguments)
    before = (tmp_path / "out" / "my.npy").read_bytes()
    command(*arguments)
    assert "my: complete" in capsys.readouterr().out
    (tmp_path / "out" / "my.npy").unlink()
    command(*arguments)
    assert (tmp_path / "out" / "my.npy").read_bytes() == before


def test_other_settings_need_another_folder(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("extract", video, "--out", tmp_path / "out", *SMALL)
    line = mistake(capsys, "extract", video, "--out", tmp_path / "out", *SMALL[:-1], 3)
    assert "extractor.stride: 2 there, 3 here); give another --out" in line


def test_a_bad_video_is_named_and_the_others_are_extracted(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(video.read_bytes()[:-400])
    assert command("extract", bad, tmp_path / "absent.mp4", video, "--out", tmp_path / "out", *SMALL) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert ["bad.mp4" in lines[0], "absent.mp4 does not exist" in lines[1]] == [True, True]
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {"my.npy", "manifest.json"}
