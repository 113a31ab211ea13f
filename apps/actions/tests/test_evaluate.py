import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_checkpoints import CLASSES, command, mistake, write_checkpoint

from mnemic_actions.evaluation import choose_subsets, find_data
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import InputConfig, read_annotated_streams
from mnemic_vision.matr.metrics import evaluate_actions
from mnemic_vision.matr.results import read_results

NAMES = {"map_0.3", "map_0.4", "map_0.5", "map_0.6", "map_0.7", "map_average", "mean_delay_s", "real_time_factor"}
REAL = Path(__file__).parents[4] / "shared/data"


def scores(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert command("evaluate", *arguments, "--json") == code
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def change(data: Path, **entries: Any) -> None:
    """Replace fields of the first entry of the annotations."""
    content = json.loads((data / "annotations.json").read_text())
    content["database"]["generated_0_000"] |= entries
    (data / "annotations.json").write_text(json.dumps(content))


def replace_frames(data: Path, frames: np.ndarray) -> None:
    np.savez(data / "streams" / "generated_0_000.npz", features=frames.astype(np.float32))


def test_the_last_line_is_the_result_as_json(checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = scores(capsys, "--data", data, "--checkpoint", checkpoint)
    assert summary.keys() >= NAMES | {"recall_within_1s", "precision_within_2s"}
    assert (summary["split"], summary["num_streams"], summary["checkpoint"]) == (["val"], 3, "tiny.safetensors")
    assert (summary["delay"], summary["min_score"]) == (0.0, 0.0)
    assert (summary["classes"], summary["memory"]) == (["class_0", "class_1"], "segment_queue")
    assert summary["real_time_measured"] == "frame by frame, generated_0_000"
    assert 0 < summary["real_time_factor"] < 1


def test_the_scores_are_those_of_the_metrics(checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    streams = read_annotated_streams(data, "val")
    localizer = LocalizerCheckpoint.load(checkpoint).localizer()
    found = {stream.name: localizer.localize(stream.load()) for stream in streams}
    expected = evaluate_actions({stream.name: stream.actions for stream in streams}, found).as_dict()
    summary = scores(capsys, "--data", data, "--checkpoint", checkpoint)
    assert {name: summary[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("split", "subsets", "num_streams"), [("train", ["train"], 1), ("all", ["all"], 4), ("val", ["val"], 3)]
)
def test_a_split_can_be_chosen(
    split: str, subsets: list[str], num_streams: int, checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = scores(capsys, "--data", data, "--checkpoint", checkpoint, "--split", split)
    assert (summary["split"], summary["num_streams"]) == (subsets, num_streams)


@pytest.mark.parametrize(
    ("subsets", "chosen"),
    [
        (["train", "val"], ["val"]),
        (["train", "heldout", "test"], ["heldout", "test"]),
        (["training", "validation"], ["validation"]),
        (["train"], [None]),
        (["subjects 9 and 10"], ["subjects 9 and 10"]),
        ([""], [""]),
    ],
)
def test_what_is_not_for_training_is_evaluated(subsets: list[str], chosen: list[str | None], tmp_path: Path) -> None:
    database = {f"s{index}": {"subset": name, "duration": 1.0} for index, name in enumerate(subsets)}
    (tmp_path / "annotations.json").write_text(json.dumps({"classes": ["a"], "database": database}))
    assert choose_subsets(find_data(tmp_path), None) == chosen


def test_the_layout_of_thumos14_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_checkpoint(tmp_path / "two.safetensors", InputConfig("plain", channels=6))
    video = {"duration": 12.0, "annotations": [{"label": "class_0", "segment": [1.0, 3.0]}]}
    entries = {"a": {"subset": "test", **video}, "b": {"subset": "train", **video}}
    (tmp_path / "thumos14_v2.json").write_text(json.dumps({"classes": CLASSES, "database": entries}))
    for modality in ("rgb", "flow"):
        (tmp_path / modality).mkdir()
        np.save(tmp_path / modality / "a.npy", np.zeros((60, 3), np.float32))
    summary = scores(capsys, "--data", tmp_path, "--checkpoint", checkpoint)
    assert (summary["split"], summary["num_streams"]) == (["test"], 1)


def test_a_subset_that_does_not_exist_is_one_line_with_those_that_do(
    checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = mistake(capsys, "evaluate", "--data", data, "--checkpoint", checkpoint, "--split", "test")
    assert "no video of subset 'test': its subsets are train, val" in line


def test_shuffled_streams_are_evaluated_in_two_orders(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", data, "--checkpoint", checkpoint, "--order", "shuffled", "--out", tmp_path / "out"]
    summary = scores(capsys, *arguments)
    recorded = scores(capsys, "--data", data, "--checkpoint", checkpoint)
    assert summary["num_streams"] == 2 * recorded["num_streams"]
    assert summary["num_actions"] == 2 * recorded["num_actions"]
    results = read_results(tmp_path / "out" / "predictions.json")
    assert results["generated_0_000, order 0"] != results["generated_0_000, order 1"]


def test_without_memory_nothing_is_stored(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    stored = []
    for name, options in {"with": [], "without": ["--without_memory"]}.items():
        command("evaluate", "--data", data, "--checkpoint", checkpoint, "--out", tmp_path / name, *options)
        stored.append(read_results(tmp_path / name / "predictions.json"))
    assert stored[0] != stored[1]


def test_results_are_written_where_asked(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--data", data, "--checkpoint", checkpoint, "--out", tmp_path / "out"]
    assert command(*arguments) == 0
    assert command(*arguments) == 0  # the same again
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["settings"]["order"] == "as_recorded"
    assert content["map_average"] >= 0
    line = mistake(capsys, *arguments, "--delay", 2)
    assert "made with other settings (delay: null there, 2.0 here); give another --out" in line


LEFT_OUT = {
    "NaN": (lambda data: replace_frames(data, np.full((60, 6), np.nan)), "NaN or infinity in 60 of 60 rows"),
    "empty": (lambda data: replace_frames(data, np.zeros((0, 6))), "is empty"),
    "other width": (lambda data: replace_frames(data, np.zeros((60, 5))), "5 channels, but generated_0_001 has 6"),
    "short": (
        lambda data: (replace_frames(data, np.zeros((7, 6))), change(data, num_steps=7, duration=1.4, annotations=[])),
        "7 frames, fewer than the window of 8",
    ),
    "beyond the end": (
        lambda data: change(data, annotations=[{"label": "class_0", "segment": [3.0, 500.0]}]),
        "lasts from 3 to 500 s",
    ),
    "end before start": (
        lambda data: change(data, annotations=[{"label": "class_0", "segment": [3.0, 2.0]}]),
        "ends at 2 s, before its start at 3 s",
    ),
    "unknown label": (
        lambda data: change(data, annotations=[{"label": "swim", "segment": [1.0, 2.0]}]),
        "unknown label 'swim'",
    ),
    "two files": (
        lambda data: np.save(data / "generated_0_000.npy", np.zeros((60, 6), np.float32)),
        "has 2 files",
    ),
    "no file": (lambda data: (data / "streams" / "generated_0_000.npz").unlink(), "has no features of 1 of 3 streams"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_wrong_is_one_line_and_the_rest_is_scored(
    name: str, checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, expected = LEFT_OUT[name]
    spoil(data)
    capsys.readouterr()
    assert command("evaluate", "--data", data, "--checkpoint", checkpoint, "--json") == 2
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert (summary["num_streams"], summary["num_problems"]) == (2, 1)
    lines = [line for line in captured.err.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 1
    assert expected in lines[0]


def test_two_streams_of_one_name_are_one_line_and_the_rest_is_scored(
    checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (data / "annotations.json").read_text()
    (data / "annotations.json").write_text(text.replace('"generated_0_001": {', '"generated_0_000": {'))
    assert command("evaluate", "--data", data, "--checkpoint", checkpoint, "--out", data / "out") == 2
    problems = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert ["'generated_0_000' twice" in line for line in problems] == [True]
    assert list(read_results(data / "out" / "predictions.json")) == ["generated_0_002"]


def test_labels_that_the_checkpoint_does_not_know_are_named(
    checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (data / "annotations.json").read_text().replace("class_1", "dive")
    (data / "annotations.json").write_text(text)
    assert command("evaluate", "--data", data, "--checkpoint", checkpoint) == 2
    message = "has the labels dive, which the checkpoint does not know: its classes are class_0, class_1"
    assert message in capsys.readouterr().err.splitlines()[-1]
    (data / "annotations.json").write_text(text.replace("class_0", "swim"))
    line = mistake(capsys, "evaluate", "--data", data, "--checkpoint", checkpoint)
    assert "tiny.safetensors knows the classes class_0, class_1, but the data has swim, dive: give another" in line


def test_a_checkpoint_of_other_features_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_checkpoint(tmp_path / "other.safetensors", InputConfig("sensor", channels=7))
    line = mistake(capsys, "evaluate", "--data", data, "--checkpoint", other)
    assert "other.safetensors was trained on 7 channels of a sensor, but the stream has 6 channels of features" in line


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize(("name", "kind", "channels"), [("utkinect", "skeleton", 60), ("watch", "sensor", 6)])
def test_real_data_is_read_with_its_kind(name: str, kind: str, channels: int) -> None:
    streams = read_annotated_streams(REAL / f"actions_{name}", "val")
    assert (streams.kind, streams.num_channels) == (kind, channels)
    assert choose_subsets(find_data(REAL / f"actions_{name}"), None) == ["val"]
