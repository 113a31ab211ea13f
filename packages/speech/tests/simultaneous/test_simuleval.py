"""Our logs scored by SimulEval and OmniSTEval, which are installed in folders of their own: one pins old versions."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnemic_speech.simultaneous import TranslationRecord, score_latency, score_quality

NEEDED = ("numpy", "pandas", "sacrebleu==2.6.0", "PyYAML", "tqdm", "TextGrid", "soundfile", "requests", "tornado")
METRICS = ("AL", "LAAL", "AP", "DAL", "ATD")
RECORDS = [
    TranslationRecord(
        0, "ein kleiner Hund", (640.0, 960.0, 1500.0), (700.0, 1010.0, 1600.0), "der kleine Hund", "a", 1500.0
    ),
    TranslationRecord(
        1, "eine Katze schläft sehr gut", (320.0, 640.0, 640.0, 1200.0, 1200.0), (330.0, 700.0, 700.0, 1300.0, 1300.0),
        "eine Katze schläft", "b", 1200.0,
    ),
    TranslationRecord(2, "ja", (2000.0,), (2100.0,), "ja gewiss doch", "c", 2000.0),
]  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that installs packages and gives the folder of their programs."""

    def install(*packages: str, alone: str = "") -> Path:
        uv, venv = Path(sys.executable).with_name("uv"), tmp_path / "venv"
        run(uv, "venv", "-q", venv)
        command = (uv, "pip", "install", "-q", "--python", venv / "bin" / "python")
        run(*command, *packages)
        if alone:
            run(*command, "--no-deps", alone)
        return venv / "bin"

    return install


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a log, and with sources and references one a line."""
    (tmp_path / "source.txt").write_text("".join(f"{record.source}.wav\n" for record in RECORDS))
    (tmp_path / "reference.txt").write_text("".join(f"{record.reference}\n" for record in RECORDS))
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "instances.log").write_text("".join(f"{record.as_line()}\n" for record in RECORDS))
    return tmp_path


def run(*command: object) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_simuleval_gives_the_same_scores(programs: Callable[..., Path], files: Path) -> None:
    simuleval = programs(*NEEDED, alone="simuleval==1.1.4") / "simuleval"
    lines = run(
        simuleval, "--score-only", "--output", files / "log", "--source", files / "source.txt",
        "--target", files / "reference.txt", "--source-type", "speech", "--target-type", "text",
        "--quality-metrics", "BLEU", "--latency-metrics", *METRICS,
    ).splitlines()  # fmt: skip
    # The second line begins with the number of the row; without --computation-aware AL is what its name says.
    theirs = dict(zip(lines[0].split(), map(float, lines[1].split()[1:]), strict=True))
    ours = score_latency([record.emission for record in RECORDS]).scores
    assert {name: ours[name] for name in METRICS} == pytest.approx({name: theirs[name] for name in METRICS}, abs=2e-3)
    quality = score_quality([record.prediction for record in RECORDS], [record.reference for record in RECORDS])
    assert quality.bleu == pytest.approx(theirs["BLEU"], abs=2e-3)


@pytest.mark.slow
def test_omnisteval_reads_the_log_and_gives_the_same_quality(programs: Callable[..., Path], files: Path) -> None:
    omnisteval = programs("omnisteval==0.1.10") / "omnisteval"
    shown = run(
        omnisteval, "shortform", "--hypothesis_file", files / "log" / "instances.log",
        "--ref_sentences_file", files / "reference.txt", "--word_level",
    )  # fmt: skip
    theirs = {
        name: float(value) for name, value in re.findall(r"^  (\S+(?: \(C[AU]\))?) +(\d+\.\d{4})$", shown, re.MULTILINE)
    }
    quality = score_quality([record.prediction for record in RECORDS], [record.reference for record in RECORDS])
    assert (quality.bleu, quality.chrf) == pytest.approx((theirs["BLEU"], theirs["chrF"]), abs=1e-3)
    ours = score_latency([record.emission for record in RECORDS]).scores
    for name in ("AL", "LAAL", "AP", "DAL"):
        assert ours[name] == pytest.approx(theirs[f"{name} (CU)"], abs=1e-3)
        assert ours[f"{name}_CA"] == pytest.approx(theirs[f"{name} (CA)"], abs=1e-3)
