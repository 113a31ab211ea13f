import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from action_checkpoints import command, mistake, write_checkpoint
from PIL import Image
from rich.console import Console

from mnemic_actions.jobs import stream_job
from mnemic_actions.running import Step, run_job
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import InputConfig, read_annotated_streams
from mnemic_vision.matr.results import read_results
from mnemic_vision.video import open_frames


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out pictures, which take most of the time of a run."""
    monkeypatch.setattr("mnemic_actions.running.can_plot", lambda: False)


def stream_of(data: Path, number: int = 0) -> Path:
    return data / "streams" / f"generated_0_{number:03d}.npz"


def test_a_run_writes_results_json_lines_and_a_picture(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="needs mnemic-actions[plots]")
    monkeypatch.setattr("mnemic_actions.running.can_plot", lambda: True)
    out = tmp_path / "new" / "out"
    assert command("run", stream_of(data), "--out", out, "--checkpoint", checkpoint) == 0
    results = read_results(out / "generated_0_000.json")["generated_0_000"]
    lines = [json.loads(line) for line in (out / "generated_0_000.jsonl").read_text().splitlines()]
    assert len(results) > 0
    assert [{**action.as_dict(), "delay": round(action.delay, 2)} for action in results] == lines
    with Image.open(out / "generated_0_000.png") as picture:
        assert picture.width > 1000
    assert not (out / "generated_0_000.mp4").exists()


def test_a_run_finds_what_localize_finds(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    command("run", stream_of(data), "--out", tmp_path / "out", "--checkpoint", checkpoint)
    stream = read_annotated_streams(data, "val").streams[0]
    expected = LocalizerCheckpoint.load(checkpoint).localizer().localize(stream.load())
    assert list(read_results(tmp_path / "out" / f"{stream.name}.json")[stream.name]) == expected


def test_actions_are_printed_when_they_are_known(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("run", stream_of(data), "--out", tmp_path / "out", "--checkpoint", checkpoint)
    shown = capsys.readouterr().out
    num_actions = len((tmp_path / "out" / "generated_0_000.jsonl").read_text().splitlines())
    annotated = len(read_annotated_streams(data, "val").streams[0].actions)
    assert shown.count(" s  class_") == num_actions
    assert f"60 frames, {num_actions} actions, {annotated} annotated" in shown


def test_a_folder_and_an_hdf5_file_of_streams_are_run_one_by_one(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for stream in read_annotated_streams(data, "val"):
            file[stream.name] = stream.load()
    for source, out in ((data, tmp_path / "a"), (tmp_path / "many.h5", tmp_path / "b")):
        assert command("run", source, "--out", out, "--checkpoint", checkpoint) == 0
    for number in range(3):
        name = f"generated_0_{number:03d}.json"
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


def test_a_delay_and_a_score_change_what_is_emitted(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    common = ["run", stream_of(data), "--checkpoint", checkpoint, "--out"]
    command(*common, tmp_path / "now")
    command(*common, tmp_path / "late", "--delay", 2)
    command(*common, tmp_path / "sure", "--score", 0.35)
    now, late, sure = (
        read_results(tmp_path / name / "generated_0_000.json")["generated_0_000"] for name in ("now", "late", "sure")
    )
    assert min(action.delay for action in late) >= min(2.0, *(action.delay for action in now))
    assert 0 < len(sure) < len(now)
    assert min(action.score for action in sure) >= 0.35


def test_frame_rate_and_every_decide_on_the_times(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", read_annotated_streams(data, "val").streams[0].load())
    common = ["run", tmp_path / "plain.npy", "--checkpoint", checkpoint, "--out"]
    command(*common, tmp_path / "a")
    command(*common, tmp_path / "b", "--frame_rate", 10)
    command(*common, tmp_path / "c", "--frame_rate", 10, "--every", 2)
    last = [read_results(tmp_path / each / "plain.json")["plain"][-1].emitted for each in "abc"]
    assert last == [pytest.approx(59 / 5), pytest.approx(59 / 10), pytest.approx(58 / 10)]


def test_a_rate_far_from_that_of_the_training_is_noted(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "s.npy", np.zeros((40, 6), np.float32))
    arguments = ["run", tmp_path / "s.npy", "--out", tmp_path / "out", "--checkpoint", checkpoint, "--frame_rate", 20]
    assert command(*arguments) == 0
    assert "note: 20 frames per second, but the network was trained at 5; --every 4 comes" in capsys.readouterr().err
    assert command(*arguments, "--every", 4) == 0
    assert "note" not in capsys.readouterr().err


def test_a_stream_in_two_parts_gives_what_it_gives_at_once(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    frames = read_annotated_streams(data, "val").streams[0].load()
    found = []
    for name, part in {"whole": frames, "one": frames[:25], "two": frames[25:]}.items():
        np.save(tmp_path / f"{name}.npy", part)
        session = [] if name == "whole" else ["--session", tmp_path / "session.safetensors"]
        source = tmp_path / f"{name}.npy"
        assert command("run", source, "--out", tmp_path / "out", "--checkpoint", checkpoint, *session) == 0
        found.append(read_results(tmp_path / "out" / f"{name}.json")[name])
    assert found[1] + found[2] == found[0]


def test_a_session_is_of_one_stream(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", data, "--checkpoint", checkpoint, "--session", tmp_path / "s", "--out", tmp_path / "out"]
    assert "has 4: give a file of one" in mistake(capsys, *arguments)


def test_a_video_gets_an_annotated_copy(video_checkpoint: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("run", video, "--out", out, "--checkpoint", video_checkpoint) == 0
    with open_frames(out / "my.mp4") as frames:
        assert (frames.size, frames.num_frames, frames.frame_rate) == ((96, 64), 20, 10.0)
    results = read_results(out / "my.json")["my"]
    assert {action.emitted for action in results} <= {round(0.2 * index, 2) for index in range(10)}
    assert len((out / "my.jsonl").read_text().splitlines()) == len(results) > 0


def test_a_video_shows_the_actions_that_are_annotated_in_its_folder(
    video_checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"duration": 2.0, "annotations": [{"label": "class_0", "segment": [0.5, 1.0]}]}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": {"my": entry}}))
    command("run", video, "--out", tmp_path / "out", "--checkpoint", video_checkpoint)
    assert "20 frames, 20 actions, 1 annotated" in capsys.readouterr().out


def test_a_video_in_two_parts_gives_what_it_gives_at_once(video_checkpoint: Path, video: Path, tmp_path: Path) -> None:
    with open_frames(video) as source:
        frames = list(source)
    found = []
    for name, part in {"all": frames, "one": frames[:7], "two": frames[7:]}.items():
        (tmp_path / name).mkdir()
        for index, frame in enumerate(part):
            Image.fromarray(frame).save(tmp_path / name / f"{index}.png")
        session = [] if name == "all" else ["--session", tmp_path / "session.safetensors"]
        command("run", tmp_path / name, "--out", tmp_path / "out", "--checkpoint", video_checkpoint, *session)
        found.append(read_results(tmp_path / "out" / f"{name}.json")[name])
    assert found[1] + found[2] == found[0]
    assert found[1]


def test_a_video_that_breaks_off_leaves_what_was_found(
    video_checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = video.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[: len(content) * 2 // 3])
    arguments = ["run", broken, "--out", tmp_path / "out", "--checkpoint", video_checkpoint]
    assert "broken.mp4" in mistake(capsys, *arguments)
    with open_frames(tmp_path / "out" / "broken.mp4") as frames:
        assert 0 < (frames.num_frames or 0) < 20
    assert read_results(tmp_path / "out" / "broken.json")["broken"]


def test_interruption_keeps_the_files_up_to_there(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    stream = read_annotated_streams(data, "val").streams[0]
    localizer = LocalizerCheckpoint.load(checkpoint).localizer()
    job = stream_job(localizer, stream)

    def interrupted() -> Iterator[Step]:
        for _, step in zip(range(20), job.steps, strict=False):
            yield step
        raise KeyboardInterrupt

    live = replace(job, name="live", steps=interrupted(), is_live=True)
    assert run_job(localizer, live, tmp_path, Console()).num_frames == 20
    assert read_results(tmp_path / "live.json")["live"]
    localizer.reset()
    job = stream_job(localizer, stream)
    with pytest.raises(KeyboardInterrupt):  # so that the exit code says it
        run_job(localizer, replace(job, name="file", steps=interrupted()), tmp_path, Console())
    assert (tmp_path / "file.jsonl").read_text() == (tmp_path / "live.jsonl").read_text()


@pytest.mark.parametrize(
    ("kind", "channels", "given"),
    [("plain", 7, "7 channels of features"), ("skeleton", 6, "6 channels of a skeleton")],
)
def test_a_checkpoint_of_other_features_is_one_line(
    kind: str, channels: int, given: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = InputConfig("sensor" if kind == "skeleton" else "plain", channels=6)
    checkpoint = write_checkpoint(tmp_path / "other.safetensors", inputs)
    frames = np.zeros((20, channels), np.float32)
    np.savez(tmp_path / "s.npz", **{"features" if kind == "plain" else "joints": frames})
    line = mistake(capsys, "run", tmp_path / "s.npz", "--out", tmp_path / "out", "--checkpoint", checkpoint)
    assert f"other.safetensors was trained on 6 channels of {'features' if kind == 'plain' else 'a sensor'}" in line
    assert given in line


FAULTY = {
    "NaN": (np.full((20, 6), np.nan), "NaN or infinity in 20 of 20 rows"),
    "empty": (np.zeros((0, 6)), "is empty"),
    "short": (np.zeros((7, 6)), "has 7 frames, fewer than the window of 8"),
    "one axis": (np.zeros(20), "expected (frames, channels)"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_stream_is_one_line_and_the_others_are_run(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, expected = FAULTY[name]
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "bad.npy", frames.astype(np.float32))
    arguments = ["--out", tmp_path / "out", "--checkpoint", checkpoint]
    assert expected in mistake(capsys, "run", tmp_path / "in" / "bad.npy", *arguments)
    np.save(tmp_path / "in" / "good.npy", np.zeros((20, 6), np.float32))
    assert command("run", tmp_path / "in", *arguments) == 2
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert expected in failed[0]
    assert read_results(tmp_path / "out" / "good.json")


def test_a_faulty_annotation_is_named_and_the_stream_is_run(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((data / "annotations.json").read_text())
    content["database"]["generated_0_000"]["annotations"][0]["segment"] = [3.0, 500.0]
    (data / "annotations.json").write_text(json.dumps(content))
    assert command("run", stream_of(data), "--out", tmp_path / "out", "--checkpoint", checkpoint) == 2
    captured = capsys.readouterr()
    assert "failed: video generated_0_000 is 12 s long, but an annotation" in captured.err
    assert "annotated" not in captured.out
    assert read_results(tmp_path / "out" / "generated_0_000.json")
    assert command("run", stream_of(data, 1), "--out", tmp_path / "out", "--checkpoint", checkpoint) == 0


def test_a_stream_checkpoint_takes_no_video(checkpoint: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "tiny.safetensors takes streams of 6 channels" in mistake(capsys, "run", video, "--checkpoint", checkpoint)


def test_the_shipped_checkpoint_that_fits_is_chosen(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mnemic_actions.checkpoints.SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    arguments = ["run", stream_of(data), "--out", tmp_path / "out"]
    assert "no shipped checkpoint takes 6 channels of features (none is installed)" in mistake(capsys, *arguments)
    write_checkpoint(tmp_path / "shipped" / "body.safetensors", InputConfig("skeleton", channels=9))
    assert "(body takes 9 channels of a skeleton): give --checkpoint" in mistake(capsys, *arguments)
    write_checkpoint(tmp_path / "shipped" / "watch.safetensors", InputConfig("sensor", channels=6))
    assert command(*arguments) == 0
