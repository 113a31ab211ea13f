import json
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_track.commands.demo import demo
from mnemic_track.commands.evaluate import evaluate
from mnemic_track.metrics import SequenceResult, evaluate_sequences
from mnemic_track.sequences import ground_truth
from mnemic_vision.memotr.data import GeneratedSequences

REAL = Path(__file__).parents[4] / "shared/data/tracking/val"
NAMES = {"hota", "deta", "assa", "mota", "idf1", "id_switches", "frames_per_second"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    GeneratedSequences(seed=5, num_sequences=2, num_frames=3, size=(64, 96)).write_mot_layout(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("memory", [None, "none", "window"])
def test_the_last_line_is_the_result_as_json(
    checkpoint: Path, data: Path, memory: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(data, checkpoint, memory=memory, json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result.keys() == NAMES | {"sequences", "data", "checkpoint", "memory"}
    assert set(result["sequences"]) == {path.name for path in data.iterdir()}
    assert result["sequences"]["generated-5-000"].keys() == NAMES
    assert result["memory"] == (memory or "exponential")


def test_one_sequence_is_evaluated_like_a_folder_of_one(
    checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(data / "generated-5-001", checkpoint, json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(result["sequences"]) == ["generated-5-001"]


def test_results_are_written_where_asked(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    evaluate(data, checkpoint, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "generated-5-000.txt",
        "generated-5-001.txt",
        "scores.json",
    }
    evaluate(data, checkpoint, out=tmp_path / "out")  # the same again
    with pytest.raises(UserError, match=r"scores\.json .*\(memory: null there, none here\); give another --out"):
        evaluate(data, checkpoint, memory="none", out=tmp_path / "out")


def test_ground_truth_scores_perfectly_against_itself() -> None:
    sequence = GeneratedSequences(seed=5, num_sequences=1, num_frames=3, size=(64, 96)).sequences[0]
    rows = ground_truth(sequence)
    assert evaluate_sequences([SequenceResult("itself", rows, rows)]).hota == pytest.approx(1)


def test_the_overlap_tracker_needs_detections(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"det\.txt does not exist"):
        evaluate(data, baseline=True)


def test_other_classes_are_scored_on_request(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sequence in data.iterdir():
        lines = (sequence / "gt/gt.txt").read_text().splitlines()
        rows = [line.split(",") for line in lines]
        (sequence / "gt/gt.txt").write_text("".join(",".join([*row[:7], "3", row[8]]) + "\n" for row in rows))
        (sequence / "det").mkdir()
        (sequence / "det/det.txt").write_text(
            "".join(",".join([row[0], "-1", *row[2:6], "0.9"]) + "\n" for row in rows)
        )
    evaluate(data, baseline=True, json=True)
    shown = capsys.readouterr().out
    assert "no sequence has an object of class 1: --classes chooses others" in shown
    assert json.loads(shown.splitlines()[-1])["mota"] == 0
    evaluate(data, classes=(3,), baseline=True, json=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["mota"] > 0.9


@pytest.mark.parametrize(("classes", "message"), [((), "different"), ((1, 1), "different"), ((1, 3), "labels for 1")])
def test_classes_must_fit_the_tracker(data: Path, checkpoint: Path, classes: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(data, checkpoint, classes=classes)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the shared tracking data")
def test_the_overlap_tracker_has_its_published_scores_on_the_real_clip(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(REAL, baseline=True, json=True)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (round(result["mota"], 3), round(result["idf1"], 3), result["id_switches"]) == (0.831, 0.864, 9)


def test_the_demo_shows_everything(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo(tmp_path / "demo", checkpoint, num_frames=3, size=(64, 96))
    assert {path.suffix for path in (tmp_path / "demo").iterdir()} == {".mp4", ".txt", ".jsonl", ".png"}
    shown = capsys.readouterr().out
    assert "slots written" in shown
    assert "HOTA" in shown
