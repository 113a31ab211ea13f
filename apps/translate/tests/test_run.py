import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from torch import Tensor

from mnemic_speech.simultaneous import Translator, WrittenWord
from mnemic_translate import cli
from mnemic_translate.commands.run import run
from mnemic_translate.running import as_transcript, show_words, translate_blocks

RATE = 8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return two utterances of 1 s between silences, in stereo at another rate."""
    random = np.random.default_rng(0)
    quiet, loud = np.zeros(16_000), 0.3 * random.standard_normal(16_000)
    samples = np.concatenate([quiet, loud, quiet, loud, quiet])
    soundfile.write(tmp_path / "talk.wav", np.stack([samples, samples], axis=1), 16_000)
    return tmp_path / "talk.wav"


def test_a_run_shows_words_with_the_time_of_the_source_and_writes_subtitles(
    checkpoint: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run((recording,), to="de", out=tmp_path / "out", checkpoint=checkpoint, k=1)
    lines = [line.split(" s  ") for line in capsys.readouterr().out.splitlines() if " s  " in line]
    times = [float(seconds) for seconds, _ in lines]
    assert times == sorted(times)
    found = json.loads((tmp_path / "out" / "talk.json").read_text())
    assert " ".join(words for _, words in lines) == found["text"]
    assert found["language"] == "de"
    assert len(found["segments"]) == 2
    assert found["duration"] == pytest.approx(5.0)
    assert (tmp_path / "out" / "talk.txt").read_text().splitlines() == [each["text"] for each in found["segments"]]
    assert (tmp_path / "out" / "talk.srt").read_text().startswith("1\n00:00:01,")
    assert (tmp_path / "out" / "talk.vtt").read_text().startswith("WEBVTT\n\n")


def test_files_that_fail_are_skipped_and_listed_at_the_end(
    checkpoint: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.flac"
    samples, rate = soundfile.read(recording)
    soundfile.write(cut, samples, rate)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    names = ["empty.wav", "text.mp3", "nan.wav", "absent.wav", "cut.flac"]
    files = [*(str(tmp_path / name) for name in names), str(recording)]
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["run", *files, "--out", str(tmp_path / "out"), "--checkpoint", str(checkpoint)])
    assert exit_request.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [next(name for name in names if name in line) for line in lines] == names
    assert all(line.startswith("failed: ") for line in lines)
    assert "(the part before it was translated)" in lines[-1]
    assert {path.stem for path in (tmp_path / "out").glob("[!.]*")} == {"talk", "cut"}


def test_a_microphone_is_translated_until_interrupted(translator: Translator) -> None:
    def microphone() -> Iterator[Tensor]:
        yield torch.zeros(RATE)
        yield from (0.3 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))).split(800)
        raise KeyboardInterrupt

    shown = StringIO()
    transcript, failure = translate_blocks(translator, microphone(), Console(file=shown))
    assert failure is None
    assert transcript.duration == pytest.approx(2.0)
    assert transcript.text
    assert transcript.segments[0].words[0].text in shown.getvalue()


def test_silence_gives_empty_results(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros((8000, 3)), 44100, subtype="PCM_U8")
    run((tmp_path / "silent.wav",), out=tmp_path / "out", checkpoint=checkpoint)
    assert (tmp_path / "out" / "silent.txt").read_text() == ""


def test_files_of_others_are_not_written_over(
    checkpoint: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.txt").write_text("typed by hand")
    with pytest.raises(SystemExit):
        cli.main(["run", str(recording), "--out", str(tmp_path), "--checkpoint", str(checkpoint)])
    assert "talk.txt exists and was not made by this program" in capsys.readouterr().err
    assert (tmp_path / "talk.txt").read_text() == "typed by hand"


def test_words_of_one_time_stand_in_one_line() -> None:
    shown = StringIO()
    words = [WrittenWord("ein", 1.28), WrittenWord("Hund", 1.28), WrittenWord("[schläft]", 3.5)]
    show_words(words, Console(file=shown))
    assert shown.getvalue() == "    1.28 s  ein Hund\n    3.50 s  [schläft]\n"


def test_a_word_lasts_until_the_next_one() -> None:
    words = [WrittenWord("ein", 1.0), WrittenWord("Hund", 2.0), WrittenWord("ja", 9.0, 1)]
    first, second = as_transcript(words, 10.0, "de").segments
    assert [(word.start, word.end) for word in first.words] == [(1.0, 2.0), (2.0, 2.0)]
    assert (second.start, second.end, second.text) == (9.0, 9.0, "ja")


def test_the_demo_translates_an_utterance_and_draws_it(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--data", str(manifest), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--number", "1"])
    shown = capsys.readouterr().out
    row = json.loads(manifest.read_text().splitlines()[1])
    assert f"heard:     {row['text']}" in shown
    assert f"reference: {row['translations']['de']}" in shown
    assert (tmp_path / "out" / f"{row['id']}.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "out" / f"{row['id']}.json").read_text())["text"]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--number", "9"])
    assert "has 3 utterances, numbered from 0; there is no number 9" in capsys.readouterr().err
