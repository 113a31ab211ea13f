import pytest
from action_checkpoints import mistake

MISTAKES = [
    (["runn"], "invalid choice: 'runn'"),
    (["run", "absent.npy", "--checkpoint", "absent.ckpt"], "no file or folder absent.npy"),
    (
        ["run", "absent.mp4"],
        "absent.mp4 is not a feature stream (npy, npz, h5), and no checkpoint for videos is shipped",
    ),
    (["run", "x.npy", "--evry", "2"], "evry"),
    (["run", "x.npy", "--every", "0"], "--every must be at least 1, got 0"),
    (["run", "x.npy", "--delay", "-1"], "--delay must be at least 0, got -1.0"),
    (["run", "x.npy", "--score", "2"], "--score must be between 0 and 1, got 2.0"),
    (["evaluate", "--data", "absent"], "no folder absent"),
    (["evaluate", "--data", "x", "--order", "random"], "as_recorded, shuffled"),
    (["import-weights", "absent.pth", "--out", "out.pth"], "safetensors"),
    (["import-data", "absent.pickle", "--out", "out"], "no file absent.pickle"),
    (["extract", "--out", "out"], "at least one video"),
    (["extract", "a.mp4", "b/a.mkv", "--out", "out"], "both become a.npy"),
    (["extract", "a.mp4", "--out", "out", "--backbone", "resnet999"], "resnet999"),
    (["demo", "--checkpoint", "absent.ckpt"], "absent.ckpt"),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), MISTAKES, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in mistake(capsys, *arguments)
    assert capsys.readouterr().err == ""
