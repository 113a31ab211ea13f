from pathlib import Path

import pytest
from command_lines import QUIET, mistake

from mnemic_translate import cli

GENERATED = ["fit", "--config", "augmented_memory_generated"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fitt"], "invalid choice: 'fitt'"),
        (["fit", "--config", "augmented_memory"], "augmented_memory_generated"),
        ([*GENERATED, "--model.config.encoder.memory.name=elephant"], "memory must be one of"),
        ([*GENERATED, "--model.config.encoder.dim=33"], "must divide"),
        ([*GENERATED, "--model.config.encoder.segments.length=30"], "multiples of 4"),
        ([*GENERATED, "--model.config.ctc_weight=1"], "ctc_weight must be at least 0 and below 1"),
        ([*GENERATED, "--model.wait_k=[0]"], "wait_k must be numbers of at least 1"),
        ([*GENERATED, "--model.warmup_lr=1"], "warmup_lr"),
        ([*GENERATED, "--data.written=fr"], "generated tones have texts in en and de, not 'fr'"),
        ([*GENERATED, "--data.train=[{name: recordings}]"], "data source recordings needs root"),
        ([*GENERATED, "--data.train=[{name: recordings, root: absent.jsonl}]"], "absent.jsonl"),
        ([*GENERATED, "--data.min_seconds=29", "--data.max_seconds=30"], "no utterance of usable length in data.train"),
        ([*GENERATED, "--trainer.max_steps=-1", "--trainer.max_epochs=1"], "give --trainer.max_steps"),
        (["run"], "give files to translate, or --microphone, and not both"),
        (["run", "a.wav", "--microphone"], "give files to translate, or --microphone, and not both"),
        (["curve", "--data", "x.jsonl", "--ks", "0"], "--ks must be at least 1"),
        (["compare", "--memories", "none", "--capacities", "3"], "--capacities are those of summary_bank"),
        (["evaluate", "--data", "absent.jsonl", "--checkpoint", "absent.ckpt"], "absent.ckpt"),
        (["prepare", "absent", "--out", "x"], "absent"),
        (["prepare", "absent", "--out", "x", "--voices", "flite"], "a voice is flite:NAME or espeak-ng:NAME"),
    ],
    ids=lambda value: " ".join(value)[-50:] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    last = mistake(cli.main, [*arguments, *(QUIET if arguments[:3] == GENERATED else ())], capsys)
    assert last.startswith("mnemic-translate: error: ")
    assert expected in last
