from typing import get_args

import pytest

from mnemic_anomaly import cli
from mnemic_anomaly.options import LesionKind
from mnemic_vision.memmc_mae.data.lesions import LESION_KINDS

MISTAKES = [
    (["runn"], "invalid choice: 'runn'"),
    (["run", "absent.png", "--checkpoint", "absent.ckpt"], "absent.png"),
    (["run", "x.png", "--chekpoint", "2"], "chekpoint"),
    (["evaluate", "--data", "absent"], "no folder absent"),
    (["evaluate", "--data", "x", "--lesions", "-1"], "--lesions must be at least 0, got -1"),
    (["demo", "--checkpoint", "absent.ckpt"], "absent.ckpt"),
    (["demo", "--num_images", "1"], "--num_images must be at least 2, got 1"),
    (["generate", "--out", "out", "--data", "absent"], "no folder absent"),
    (["fit", "--config", "absent"], "absent"),
    (["export", "--checkpoint", "absent.ckpt"], "absent.ckpt"),
    (["evaluate", "--data", "x", "--lesion_contrast", "[2, 1]", "--lesions", "1"], "from small to large"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as request:
        cli.main(arguments)
    assert request.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mnemic-anomaly: error: ")
    assert expected in line


def test_the_help_page_names_the_lesions_that_there_are() -> None:
    assert get_args(LesionKind) == LESION_KINDS
