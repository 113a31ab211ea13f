import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnemic_speech.conformer_ntm import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.data.tones import ToneWorld
from mnemic_transcribe import cli
from mnemic_transcribe.commands.demo import demo
from mnemic_transcribe.commands.evaluate import evaluate
from mnemic_transcribe.evaluation import Evaluation, evaluate_clips, open_clips
from mnemic_transcribe.noise import Noise, read_clip
from mnemic_transcribe.scoring import Prediction

DIGITS = Path(__file__).parents[5] / "shared/data/speech_digits"


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


@pytest.mark.parametrize("segmentation", ["auto", "never", "always"])
@pytest.mark.parametrize("decoding", ["ctc", "joint"])
def test_the_last_line_is_the_result_as_json(
    checkpoint: Path, manifest: Path, segmentation: Any, decoding: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(manifest, None, checkpoint, decoding, segmentation=segmentation, batch_size=2, json=True)
    result = last_line(capsys)
    assert (result["wer"], result["cer"], result["num_utterances"], result["num_words"]) == (0, 0, 3, 10)
    assert set(result["wer_by_duration"]) == {"0-5"}
    assert result["wer_by_duration"]["0-5"]["wer_interval"] == [0, 0]
    assert result["real_time_factor"] > 0
    assert (result["memory"], result["decoding"]) == ("turing_improved", decoding)
    assert result["memory_report"]["capacity"] % 4 == 0


def test_errors_are_those_of_the_wrong_references(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0]["text"] = "one nine"  # one inserted word
    lines[1]["text"] = "five"  # another one
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluate(manifest, None, checkpoint, json=True, out=manifest.parent / "out")
    result = last_line(capsys)
    assert result["wer"] == pytest.approx(2 / 9)
    assert result["sentence_error_rate"] == pytest.approx(2 / 3)
    parts = [result[name] for name in ("substitutions", "deletions", "insertions")]
    assert parts == pytest.approx([1 / 9, 0, 1 / 9])
    assert result["wer_interval"][0] <= result["wer"] <= result["wer_interval"][1]
    written = [json.loads(line) for line in (manifest.parent / "out" / "transcripts.jsonl").read_text().splitlines()]
    assert [line["pred_text"] for line in written] == ["one five nine", "zero", "five one nine zero five one"]
    scores = json.loads((manifest.parent / "out" / "scores.json").read_text())
    assert scores.pop("settings")["batch_size"] == 16
    assert scores == result
    with pytest.raises(ValueError, match=r"scores\.json .*\(batch_size: 16 there, 2 here\); give another --out"):
        evaluate(manifest, None, checkpoint, batch_size=2, out=manifest.parent / "out")
    manifest.write_text(manifest.read_text().replace("nine", "five"))
    with pytest.raises(ValueError, match=r"\(data: all\.jsonl \w+ there, all\.jsonl \w+ here\)"):
        evaluate(manifest, None, checkpoint, out=manifest.parent / "out")


def test_unreadable_rows_are_listed_and_skipped(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = manifest.read_text().splitlines()
    broken = [json.loads(rows[1]) | change for change in ({"offset": -1}, {"offset": 90.0}, {"audio_filepath": "no"})]
    for number, row in enumerate(broken):
        row["id"] = f"broken-{number}"
    manifest.write_text("\n".join([*rows, *map(json.dumps, broken), "{"]))
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["evaluate", "--data", str(manifest), "--checkpoint", str(checkpoint), "--json"])
    shown = capsys.readouterr()
    assert exit_request.value.code == 2
    result = json.loads(shown.out.splitlines()[-1])
    assert (result["num_utterances"], result["num_unreadable"], result["wer"]) == (3, 4, 0)
    problems = [line for line in shown.err.splitlines() if line.startswith("left out: ")]
    assert len(problems) == 4
    assert all(f"{manifest}:{number}: " in "\n".join(problems) for number in (4, 7))
    assert "broken-1" in "".join(problems)
    assert "broken-2" in "".join(problems)


def test_a_folder_with_an_index_is_split(checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["path\ttext\tsplit", "a.flac\tone five nine\tdev", "b.flac\tzero\ttest", "c.flac\tno\ttrain"]
    (manifest.parent / "index.tsv").write_text("\n".join(rows))
    evaluate(manifest.parent, "test", checkpoint, json=True)
    assert last_line(capsys)["num_words"] == 1


@pytest.mark.parametrize("segmentation", ["never", "always"])
def test_the_batch_size_changes_nothing(recognizer: Recognizer, world: ToneWorld, segmentation: Any) -> None:
    transcriber, clips = Transcriber(recognizer), world.clips()
    one, many = (
        evaluate_clips(transcriber, clips, segmentation=segmentation, batch_size=size, noise=Noise("white", 20.0))
        for size in (1, 3)
    )
    assert one.predictions == many.predictions
    assert [each.reference for each in one.predictions] == [clip.text for clip in clips]


@pytest.mark.parametrize("kind", ["white", "babble"])
@pytest.mark.parametrize("ratio", [0.0, 5.0])
def test_noise_has_its_ratio_and_follows_from_the_seed(world: ToneWorld, kind: Any, ratio: float) -> None:
    clips = world.clips()
    clean = read_clip(clips, 1, 8000)
    noisy = read_clip(clips, 1, 8000, noise=Noise(kind, ratio))
    power = (clean.square().sum() / (noisy - clean).square().sum()).item()
    assert 10 * np.log10(power) == pytest.approx(ratio, abs=0.01)
    assert torch.equal(noisy, read_clip(clips, 1, 8000, noise=Noise(kind, ratio)))
    assert not torch.equal(noisy, read_clip(clips, 1, 8000, noise=Noise(kind, ratio), seed=1))


def test_babble_needs_others() -> None:
    with pytest.raises(ValueError, match="babble is made of other utterances, and there is only one"):
        read_clip(ToneWorld(num_clips=1).clips(), 0, 8000, noise=Noise("babble", 5.0))


@pytest.mark.parametrize("text", ["pink:5", "white", "babble:loud"])
def test_noises_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"such as babble:5, got '{text}'"):
        Noise.parse(text)


def test_durations_are_sorted_into_ranges() -> None:
    texts = {"one two": 4.9, "one": 5.0, "": 400.0}
    predictions = [Prediction(text, "one two", text, seconds) for text, seconds in texts.items()]
    ranges = Evaluation(predictions).summary()["wer_by_duration"]
    assert {name: (part["wer"], part["deletions"]) for name, part in ranges.items()} == {
        "0-5": (0.0, 0.0),
        "5-10": (0.5, 0.5),
        "120-": (1.0, 1.0),
    }


def test_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the utterances could be read; the first: broken"):
        Evaluation(problems=["broken"]).summary()
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"has no utterance; the first problem: .*bad\.jsonl:1: "):
        open_clips(tmp_path / "bad.jsonl", None, "keep")


def test_a_demo_writes_text_and_picture(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str], speak: Callable[[str, Path], Path]
) -> None:
    out = manifest.parent / "out"
    demo(data=manifest, split=None, number=2, out=out, checkpoint=checkpoint)
    shown = capsys.readouterr().out
    assert "recognized: five one nine zero five one" in shown
    assert "word error rate 0.0 % of 6 words" in shown
    assert {path.name for path in out.iterdir()} == {"c.txt", "c.json", "c.srt", "c.png"}
    demo(speak("nine", manifest.parent / "mine.wav"), out=out, checkpoint=checkpoint)
    assert (out / "mine.txt").read_text() == "nine\n"
    with pytest.raises(FileNotFoundError, match="no data at absent: give the folder of digit strings or other data"):
        demo(data=Path("absent"), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="--number must be from 0 to 2, got 3"):
        demo(data=manifest, split=None, number=3, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="give a file or data, not both"):
        demo(manifest, manifest)


def test_the_demo_needs_nothing_but_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo(out=Path("out"))
    assert "word error rate 0.0 % of 16 words" in capsys.readouterr().out


@pytest.mark.skipif(not DIGITS.is_dir(), reason="needs the shared digits")
def test_digit_strings_are_rendered() -> None:
    clips, problems = open_clips(DIGITS, "dev_long", "lower")
    assert (len(clips), problems) == (18, [])
    assert len(read_clip(clips, 0, 8000)) == pytest.approx(8000 * clips[0].seconds, abs=8)
