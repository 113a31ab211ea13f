from pathlib import Path

import pytest
import torch

from mnemic_algorithms.checkpoints import load_model
from mnemic_kit.devices import find_device


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "is no checkpoint of mnemic-algorithms in format 1"),
        ({"mnemic": {"kind": "memotr", "format_version": 1}}, "is no checkpoint of mnemic-algorithms"),
        (
            {
                "mnemic": {"kind": "algorithms", "format_version": 1, "task": "even_pairs", "config": {}},
                "state_dict": {"model.head.weight": torch.zeros(1)},
            },
            "does not fit the machine it names",
        ),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "bad.ckpt")


def test_an_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent\.ckpt"):
        load_model(tmp_path / "absent.ckpt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no usable CUDA device"):
        find_device("cuda")
