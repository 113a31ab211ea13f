import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnemic_core import MemoryReport, WindowMemory, memory_report
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.session import Session, fingerprint
from mnemic_core.tensor_file import checksum, read_tensors, write_tensors


@dataclass(frozen=True)
class Config:
    dim: int = 2
    capacity: int = 3


class Model(PretrainedModel):
    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = config
        self.memory = WindowMemory(config.dim, capacity=config.capacity)
        self.head = nn.Linear(config.dim, config.dim)


class Echo(Session):
    """Answers with what it remembers; holds a text, a number and tensors in nested parts."""

    session_kind = "demo session"

    def __init__(self, model: Model, tone: str = "low") -> None:
        self.model, self.tone = model, tone
        self.memory = model.memory.init_state(1)
        self.words: list[str] = []
        self.held: Tensor | None = None

    @torch.no_grad()
    def hear(self, word: str) -> list[float]:
        self.words.append(word)
        self.held = torch.full((1, 1, 2), float(len(word)))
        self.memory = self.model.memory.write(self.memory, self.held)
        return self.model.head(self.model.memory.read(self.held, self.memory))[0, 0].tolist()

    def session_model(self) -> Model:
        return self.model

    def session_settings(self) -> dict[str, Any]:
        return {"tone": self.tone}

    def state_dict(self) -> dict[str, Any]:
        parts = ({"held": self.held, "words": tuple(self.words)}, 0.1)
        return {"memory": self.memory.to_dict(), "parts": parts, "nothing": None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory = self.memory.refill(state["memory"])
        part, tenth = state["parts"]
        assert (tenth, state["nothing"]) == (0.1, None)
        self.held, self.words = part["held"], list(part["words"])

    def report(self) -> MemoryReport:
        return memory_report(self.memory)


WORDS = ("one", "three", "seventeen", "two")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    echo = Echo(Model(Config()))
    for word in WORDS[:2]:
        echo.hear(word)
    echo.save(tmp_path / "echo")
    return tmp_path / "echo"


def test_a_session_continued_in_a_new_process_answers_as_one_that_was_never_interrupted(saved: Path) -> None:
    whole = Echo(Model(Config()))
    expected = [whole.hear(word) for word in WORDS][2:]
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from test_session import Config, Echo, Model, WORDS\n"
        "echo = Echo(Model(Config())); echo.load(sys.argv[2])\n"
        "print(json.dumps([[echo.hear(word) for word in WORDS[2:]], echo.words]))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(saved)]
    answers, words = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (answers, tuple(words)) == (expected, WORDS)


def test_a_session_of_other_weights_settings_or_sizes_is_refused_and_the_running_one_stays(saved: Path) -> None:
    changed = Model(Config())
    with torch.no_grad():
        changed.head.bias[0] += 1e-6
    for echo, message in (
        (Echo(changed), r"is a demo session of another model or other settings \(weights '\w+.*, here '\w+"),
        (Echo(Model(Config()), "high"), r"\(settings\.tone 'low', here 'high'\): continue with those"),
        (Echo(Model(Config(capacity=4))), r"\(config\.capacity 3, here 4\)"),
    ):
        before = echo.memory
        with pytest.raises(ValueError, match=message) as error:
            echo.load(saved)
        assert "\n" not in str(error.value)
        assert echo.memory is before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(kind="memotr"), r"is of kind 'memotr', expected a demo session"),
        (lambda header: header.update(format_version=2), "has format 2, newer than 1: update mnemic-core"),
        (lambda header: header["state"].update(nothing=1), "was changed or damaged since it was saved"),
        (lambda header: header.pop("state"), "was changed or damaged since it was saved"),
        (lambda header: header.clear(), r"is of kind None, expected a demo session"),
    ],
)
def test_a_header_that_was_changed_is_refused(saved: Path, change: Any, message: str) -> None:
    tensors, metadata = read_tensors(saved)
    header = json.loads(metadata["mnemic"])
    change(header)
    write_tensors(saved, tensors, metadata | {"mnemic": json.dumps(header)})
    with pytest.raises(ValueError, match=message):
        Echo(Model(Config())).load(saved)


def test_a_value_that_was_changed_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="was changed or damaged"):
        Echo(Model(Config())).load(saved)


def test_a_fingerprint_follows_the_weights_and_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, counted = Model(Config()), []

    def counting(*arguments: Any) -> str:
        counted.append(1)
        return checksum(*arguments)

    monkeypatch.setattr("mnemic_core.session.checksum", counting)
    first = fingerprint(model)
    assert (fingerprint(model), len(counted)) == (first, 1)
    assert fingerprint(Model(Config())) == first
    with torch.no_grad():
        model.head.bias += 1
    assert fingerprint(model) != first
    model.load_state_dict(Model(Config()).state_dict())
    assert fingerprint(model) == first


def test_equal_bytes_of_another_shape_or_name_have_another_checksum() -> None:
    x = torch.zeros(4)
    sums = [
        checksum({"a": x}),
        checksum({"b": x}),
        checksum({"a": x.view(2, 2)}),
        checksum({"a": x.int()}),
        checksum({}),
    ]
    assert len({*sums, checksum({"a": x}, "text")}) == 6
