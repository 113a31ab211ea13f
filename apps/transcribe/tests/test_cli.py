from pathlib import Path

import pytest
from command_lines import QUIET, mistake

from mnemic_kit.configs import find_config
from mnemic_transcribe import cli
from mnemic_transcribe.commands import train

GENERATED = ["fit", "--config", "conformer_ntm_generated"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fitt"], "invalid choice: 'fitt'"),
        (["fit", "--config", "conformer_ntm_generate"], "conformer_ntm_generated"),
        ([*GENERATED, "--model.config.memory.name=elephant"], "memory must be one of"),
        ([*GENERATED, "--model.config.encoder.dim=33"], "dim=33"),
        ([*GENERATED, "--data.vocabulary={kind: words, words: [one]}"], "tones-1-00000: not in the vocabulary"),
        ([*GENERATED, "--data.train=[{name: recordings}]"], "data source recordings needs root"),
        ([*GENERATED, "--data.train=[{name: recordings, root: absent.jsonl}]"], "absent.jsonl"),
        (
            [*GENERATED, "--data.min_seconds=100", "--data.max_seconds=101"],
            "no utterance of usable length in data.train",
        ),
        ([*GENERATED, "--model.config.ctc_weight=0"], "needs the branch ctc"),
        ([*GENERATED, "--model.warmup_steps=0"], "warmup_steps must be at least 1"),
        ([*GENERATED, "--trainer.max_steps=-1", "--trainer.max_epochs=1"], "give --trainer.max_steps"),
        (["average", "--checkpoints", "absent.ckpt", "--out", "x.ckpt"], "no checkpoint at absent.ckpt"),
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
    assert last.startswith("mnemic-transcribe: error: ")
    assert expected in last


def test_a_name_that_is_no_config_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="conformer_librispeech100, conformer_ntm_digits"):
        find_config("conformer", train.CONFIGS)
