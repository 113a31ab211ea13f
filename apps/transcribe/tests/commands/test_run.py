import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from torch import Tensor

from mnemic_kit.parse import read_arguments
from mnemic_kit.result_files import unique_names
from mnemic_speech.conformer_ntm import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_transcribe import cli
from mnemic_transcribe.commands.run import run
from mnemic_transcribe.running import listen

Speak = Callable[[str, Path], Path]
TEXT = "one five nine zero five one nine zero one"


def test_a_run_writes_text_words_and_subtitles_of_each_file(checkpoint: Path, speak: Speak, tmp_path: Path) -> None:
    files = (speak(TEXT, tmp_path / "a.wav"), speak("zero", tmp_path / "b.flac"))
    run(files, tmp_path / "new" / "out", checkpoint)
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.{kind}" for name in "ab" for kind in ("json", "srt", "txt", "vtt")
    ]
    transcript = json.loads((out / "a.json").read_text())
    assert transcript["text"] == TEXT == (out / "a.txt").read_text().strip()
    assert transcript["duration"] == pytest.approx(1.0 + 9 * 0.36, abs=1e-3)
    words = [word for segment in transcript["segments"] for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == TEXT
    assert all(0 <= word["start"] < word["end"] <= transcript["duration"] for word in words)
    assert (out / "a.srt").read_text().startswith("1\n00:00:00,5")
    assert (out / "b.vtt").read_text().startswith("WEBVTT\n\n00:00:00.5")


def test_only_the_requested_formats_are_written(checkpoint: Path, speak: Speak, tmp_path: Path) -> None:
    path = speak("zero", tmp_path / "a.wav")
    command = ["run", "--out", str(tmp_path / "out"), "--formats", "txt", "srt", "--checkpoint", str(checkpoint)]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--decoding=joint", "--beam", "2", str(path)])
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {"a.txt", "a.srt"}


def test_files_that_fail_are_skipped_and_listed_at_the_end(
    checkpoint: Path, speak: Speak, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, cut = speak("zero", tmp_path / "good.wav"), speak(TEXT, tmp_path / "cut.flac")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    names = ["empty.wav", "text.mp3", "nan.wav", "absent.wav"]
    files = [*(str(tmp_path / name) for name in names), str(cut), str(good)]
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["run", *files, "--out", str(tmp_path / "out"), "--checkpoint", str(checkpoint)])
    assert exit_request.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [next(name for name in [*names, "cut.flac"] if name in line) for line in lines] == [*names, "cut.flac"]
    assert all(line.startswith("failed: ") for line in lines)
    assert "(the part before it was transcribed)" in lines[-1]
    assert {path.stem for path in (tmp_path / "out").glob("[!.]*")} == {"good", "cut"}
    words = (tmp_path / "out" / "cut.txt").read_text().split()
    assert words == TEXT.split()[: len(words)]
    assert 3 <= len(words) < 9


def test_a_film_whose_sound_cannot_be_decoded_stops_nothing_and_a_track_can_be_chosen(
    checkpoint: Path, speak: Speak, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, film = speak("zero", tmp_path / "good.wav"), tmp_path / "film.mkv"
    samples = [soundfile.read(speak(text, tmp_path / "part.wav"), dtype="float32")[0] for text in ("one", "five")]
    with av.open(film, "w") as file:
        streams = [file.add_stream("aac", rate=8000, layout="mono") for _ in samples]
        for stream, sound in zip(streams, samples, strict=True):
            for start in range(0, len(sound), 1024):
                frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 8000, start
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    unknown = tmp_path / "unknown.mkv"
    unknown.write_bytes(film.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    command = ["run", str(unknown), str(good), "--out", str(tmp_path / "out"), "--checkpoint", str(checkpoint)]
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "no audio track that can be decoded" in capsys.readouterr().err
    assert (tmp_path / "out" / "good.txt").read_text().split() == ["zero"]
    for track, word in ((1, "one"), (2, "five")):
        run((film,), tmp_path / f"track{track}", checkpoint, track=track)
        assert (tmp_path / f"track{track}" / "film.txt").read_text().split() == [word]


def test_a_silent_file_gives_empty_results(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros((8000, 3)), 44100, subtype="PCM_U8")
    run((tmp_path / "silent.wav",), tmp_path / "out", checkpoint)
    assert (tmp_path / "out" / "silent.txt").read_text() == ""
    assert json.loads((tmp_path / "out" / "silent.json").read_text())["segments"] == []


def test_earlier_results_stay_when_a_file_fails(checkpoint: Path, speak: Speak, tmp_path: Path) -> None:
    path = speak("zero", tmp_path / "a.wav")
    run((path,), tmp_path / "out", checkpoint, ("txt",))
    path.write_bytes(b"")
    with pytest.raises(SystemExit):
        run((path,), tmp_path / "out", checkpoint, ("txt",))
    assert (tmp_path / "out" / "a.txt").read_text() == "zero\n"


def test_a_microphone_is_transcribed_until_interrupted(recognizer: Recognizer, speak: Speak, tmp_path: Path) -> None:
    sound, _ = soundfile.read(speak("one five nine", tmp_path / "a.wav"), dtype="float32")

    def microphone() -> Iterator[Tensor]:
        yield from torch.from_numpy(sound).split(800)
        raise KeyboardInterrupt

    shown = StringIO()
    transcript = listen(Transcriber(recognizer), microphone(), Console(file=shown))
    assert transcript.text == "one five nine"
    assert transcript.duration == len(sound) / 8000
    assert "s] one five nine" in shown.getvalue()


@pytest.mark.parametrize("arguments", [[], ["a.wav", "--microphone"]])
def test_either_files_or_a_microphone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", *arguments])
    assert "give files to transcribe, or --microphone, and not both" in capsys.readouterr().err


def test_files_are_recognized_wherever_they_stand() -> None:
    words = ["--formats", "txt", "--out=x", "a", "--device", "cpu", "b"]
    given = {"files": (Path("a"), Path("b")), "out": Path("x"), "formats": ("txt",), "device": "cpu"}
    assert read_arguments(run, "run", words).arguments == given


def test_results_of_files_of_one_name_do_not_meet() -> None:
    files = [Path(name) for name in ("x/a.wav", "y/a.wav", "z/a.wav", "b.wav", "b.mp3")]
    assert unique_names(files) == ["a", "a.wav", "a.wav-2", "b", "b.mp3"]


def test_a_call_is_transcribed_channel_by_channel(checkpoint: Path, speak: Speak, tmp_path: Path) -> None:
    first, second = (
        soundfile.read(speak(text, tmp_path / "part.wav"), dtype="float32")[0] for text in ("one five", "nine zero")
    )
    silence = np.random.default_rng(0).normal(0, 1e-4, len(first)).astype(np.float32)
    call = np.stack([np.concatenate([first, silence]), np.concatenate([silence, second])], 1)
    soundfile.write(tmp_path / "call.wav", call, 8000)
    run((tmp_path / "call.wav",), tmp_path / "out", checkpoint)
    [left, right] = json.loads((tmp_path / "out" / "call.json").read_text())["segments"]
    for segment, text, channel in ((left, "one five", 1), (right, "nine zero", 2)):
        assert segment["text"] == text
        assert {word["channel"] for word in segment["words"]} == {channel}
    run((tmp_path / "call.wav",), tmp_path / "second", checkpoint, channels=2)
    assert (tmp_path / "second" / "call.txt").read_text().split() == ["nine", "zero"]
