import gzip
import json
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import soundfile
import torch

from mnemic_speech.data.batching import FeatureInputs
from mnemic_speech.data.manifest import read_manifest
from mnemic_speech.features import FeatureConfig, Features
from mnemic_translate import cli, preparation
from mnemic_translate.preparation import read_parallel
from mnemic_translate.voicing import Voice

SENTENCES = {
    "en": ["A dog sleeps.", "Two men play chess!", "-5 degrees & rising", 'He said "no".'],
    "de": ["Ein Hund schläft.", "Zwei Männer spielen Schach!", "-5 Grad & steigend", "Er sagte „nein“."],
}
VOICES = [voice for program, voice in (("flite", "flite:slt"), ("espeak-ng", "espeak-ng:en-us")) if which(program)]
needs_voices = pytest.mark.skipif(len(VOICES) < 2, reason="needs flite and espeak-ng")


@pytest.fixture
def parallel(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.en").write_text("\n".join(SENTENCES["en"]) + "\n")
    (folder / "train.de.gz").write_bytes(gzip.compress(("\n".join(SENTENCES["de"]) + "\n").encode()))
    return folder


def prepare(folder: Path, out: Path, *options: object, code: int = 0) -> None:
    command = ["prepare", folder, "--out", out, "--splits", "train", "--voices", *VOICES, *options]
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, command)])
    assert exit_request.value.code == code


def contents(out: Path) -> dict[str, bytes]:
    """Return all files but those that hold dates of the runs."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".mnemic")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@needs_voices
def test_sentences_are_voiced_once_and_the_same_in_every_run(
    parallel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PIECE", 2)
    prepare(parallel, tmp_path / "whole")
    spoken: list[str] = []
    speak = Voice.speak

    def stop_at_third(self: Voice, text: str) -> tuple[torch.Tensor, int]:
        if text == SENTENCES["en"][2] and not spoken.count("go on"):
            raise RuntimeError("killed")
        spoken.append(text)
        return speak(self, text)

    monkeypatch.setattr(Voice, "speak", stop_at_third)
    command = ["prepare", str(parallel), "--out", str(tmp_path / "broken"), "--splits", "train", "--voices", *VOICES]
    with pytest.raises(RuntimeError, match="killed"):
        cli.main(command)
    assert {path.name for path in (tmp_path / "broken").glob("[!.]*")} == {"train-0000", "prepare.json"}
    spoken.append("go on")
    prepare(parallel, tmp_path / "broken")
    assert spoken.count(SENTENCES["en"][0]) == 1  # of a piece that was complete
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@needs_voices
def test_the_manifest_has_audio_translations_and_features(parallel: Path, tmp_path: Path) -> None:
    prepare(parallel, tmp_path / "out")
    utterances = read_manifest(tmp_path / "out" / "train.jsonl")
    assert [each.text for each in utterances] == SENTENCES["en"]
    assert [each.in_language("de").text for each in utterances] == SENTENCES["de"]
    assert {each.speaker for each in utterances} == set(VOICES)
    read = FeatureInputs(Features(FeatureConfig("kaldi")))
    for utterance in utterances:
        assert soundfile.info(utterance.audio_filepath).duration == pytest.approx(utterance.duration)
        kept = read(utterance, np.random.default_rng(0))
        anew = Features(FeatureConfig("kaldi"))(utterance.read(16_000)[None])[0][0]
        torch.testing.assert_close(kept, anew, atol=8e-3, rtol=0)  # half precision


@needs_voices
def test_more_sentences_are_added(parallel: Path, tmp_path: Path) -> None:
    prepare(parallel, tmp_path / "out", "--limit", 2)
    first = read_manifest(tmp_path / "out" / "train.jsonl")
    prepare(parallel, tmp_path / "out")
    longer = read_manifest(tmp_path / "out" / "train.jsonl")
    assert (len(first), len(longer)) == (2, 4)
    assert longer[:2] == first


@needs_voices
def test_other_settings_are_refused(parallel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(parallel, tmp_path / "out")
    prepare(parallel, tmp_path / "out", "--seed", 1, code=2)
    assert "was made with other settings (seed: 0 there, 1 here)" in capsys.readouterr().err


@needs_voices
def test_a_voice_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="flite has no voice 'nosuch'; it has "):
        Voice.parse("flite:nosuch")
    with pytest.raises(ValueError, match="voice does not exist"):
        Voice.parse("espeak-ng:nosuch")


def test_an_absent_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="flite is not installed"):
        Voice.parse("flite:slt")


def test_files_must_be_aligned_and_whole(parallel: Path) -> None:
    assert read_parallel(parallel, "train", "en", ["de"]).texts == SENTENCES
    with pytest.raises(FileNotFoundError, match=r"train\.fr, nor train\.fr\.gz"):
        read_parallel(parallel, "train", "en", ["fr"])
    (parallel / "train.fr").write_text("Un chien.\n")
    with pytest.raises(ValueError, match="not aligned, sentences: 4 in en, 1 in fr"):
        read_parallel(parallel, "train", "en", ["fr"])
    (parallel / "train.de.gz").write_bytes((parallel / "train.de.gz").read_bytes()[:20])
    with pytest.raises(ValueError, match="damaged"):
        read_parallel(parallel, "train", "en", ["de"])


def test_rows_are_plain_json(tmp_path: Path, manifest: Path) -> None:
    first = json.loads(manifest.read_text().splitlines()[0])
    assert first["source_lang"] == "en"
    assert set(first["translations"]) == {"de"}
