import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from mnemic_core import MemoryConfig
from mnemic_track import cli
from mnemic_track.checkpoints import open_tracker
from mnemic_track.commands.run import run
from mnemic_track.results import read_mot
from mnemic_vision.memotr.data import GeneratedSequences
from mnemic_vision.video import Frame, FrameSource, VideoWriter, open_frames


def test_the_shipped_tracker_loads() -> None:
    tracker, settings = open_tracker(device="cpu")
    assert tracker.model.config.detect_alone
    assert settings.classes == ("person",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GeneratedSequences(seed=5, num_sequences=1, num_frames=4, size=(64, 96)).write_mot_layout(tmp_path / "walk")
    return next((tmp_path / "walk").iterdir())


def test_a_run_writes_video_text_json_lines_and_plot(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    run(str(folder), out, checkpoint)
    with open_frames(out / f"{folder.name}.mp4") as frames:
        assert (frames.size, frames.num_frames) == ((96, 64), 4)
    lines = [json.loads(line) for line in (out / f"{folder.name}.jsonl").read_text().splitlines()]
    rows = read_mot(out / f"{folder.name}.txt")
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert len(rows.id) == sum(len(line["tracks"]) for line in lines) > 0
    assert (out / f"{folder.name}.memory.png").stat().st_size > 1000


def test_results_keep_the_times_and_the_shape_of_the_film(checkpoint: Path, tmp_path: Path) -> None:
    times = [0.0, 0.1, 2.0, 2.5]
    with VideoWriter(tmp_path / "film.mp4", (96, 64), 30.0, Fraction(4, 3)) as writer:
        for time in times:
            writer.write(np.full((64, 96, 3), 90, dtype=np.uint8), time)
    run(str(tmp_path / "film.mp4"), tmp_path / "out", checkpoint)
    lines = [json.loads(line) for line in (tmp_path / "out" / "film.jsonl").read_text().splitlines()]
    assert [line["time"] for line in lines] == pytest.approx(times, abs=0.002)
    with open_frames(tmp_path / "out" / "film.mp4") as frames:
        assert frames.pixel_shape == Fraction(4, 3)
        assert [frames.time for _ in frames] == pytest.approx(times, abs=0.002)


def test_every_second_frame_gives_half_the_frames(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    run(str(folder), tmp_path / "out", checkpoint, every=2)
    with open_frames(tmp_path / "out" / f"{folder.name}.mp4") as frames:
        assert (frames.num_frames, frames.frame_rate) == (2, 5.0)


def test_a_video_that_breaks_off_leaves_what_was_read(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "whole.mp4", (96, 64), 10.0) as writer:
        for _ in range(12):
            writer.write(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[: len(content) * 2 // 3])
    out = tmp_path / "out"
    arguments = [str(tmp_path / "broken.mp4"), "--out", str(out), "--checkpoint", str(checkpoint)]
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["run", *arguments])
    message = capsys.readouterr().err
    assert exit_request.value.code == 2
    assert message.startswith("mnemic-track: error: ")
    assert "broken.mp4" in message
    assert 0 < len((out / "broken.jsonl").read_text().splitlines()) < 12


def test_an_interrupted_run_leaves_what_it_found(
    checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def until(number: int) -> Callable[[FrameSource], Frame]:
        seen = iter(range(number))

        def following(source: FrameSource) -> Frame:
            if next(seen, None) is None:
                raise KeyboardInterrupt
            return take(source)

        return following

    take, arguments = FrameSource.__next__, [str(folder), "--checkpoint", str(checkpoint), "--out"]
    for number, name in ((3, "part"), (0, "nothing")):
        monkeypatch.setattr(FrameSource, "__next__", until(number))
        with pytest.raises(SystemExit, match="130"):
            cli.main(["run", *arguments, str(tmp_path / name)])
    first, second = capsys.readouterr().err.splitlines()
    assert "interrupted: the results of 3 frames were written" in first
    assert second.endswith("interrupted")
    assert len((tmp_path / "part" / f"{folder.name}.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "nothing").exists()


def test_a_failing_run_leaves_earlier_results(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    run(str(folder), tmp_path / "out", checkpoint)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    first = min((folder / "img1").iterdir())
    first.write_bytes(b"")
    with pytest.raises(ValueError, match=first.name):
        run(str(folder), tmp_path / "out", checkpoint)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("memory", ["none", "window", "exponential"])
def test_memories_exchange_with_the_same_weights(checkpoint: Path, memory: str) -> None:
    tracker, _ = open_tracker(checkpoint, memory=memory)
    stored = open_tracker(checkpoint)[0].model
    assert tracker.model.config == replace(stored.config, memory=MemoryConfig(memory))
    weights = stored.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in tracker.model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_size": 8}, "at least 32 pixels, got 8"), ({"score": 2.0}, "between 0 and 1, got 2.0")],
)
def test_options_without_a_meaning_are_refused(checkpoint: Path, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_tracker(checkpoint, **options)


def test_every_must_be_positive(checkpoint: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="--every must be at least 1, got 0"):
        run(str(folder), checkpoint=checkpoint, every=0)
