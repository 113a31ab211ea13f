"""Whatever is wrong with a file: a reader either reads it or refuses it in one line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged_files import check_refusals
from torch import nn
from trained_files import training_content

from mnemic_core import LayerStates, MemoryReport, MemoryState, RingBuffer, memory_report
from mnemic_core.checkpoint import Checkpoint
from mnemic_core.errors import check_range
from mnemic_core.loading import read_state_dict
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.session import Session
from mnemic_core.stores.exact_index import ExactIndex


@dataclass(frozen=True)
class Sizes:
    dim: int = 2
    scales: tuple[float, ...] = (1.0, 0.5)

    def __post_init__(self) -> None:
        check_range(self, 1, 9, "dim")


class Model(PretrainedModel):
    config_class = Sizes

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.dim, len(config.scales))
        self.register_buffer("count", torch.tensor(3))


class ModelCheckpoint(Checkpoint[Model, Sizes], kind="model"):
    """A model whose settings are sizes, too."""


class Stream(Session):
    session_kind = "stream"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = Model(Sizes())
        self.memory: MemoryState = LayerStates((RingBuffer.empty(1, 2, 4), RingBuffer.empty(1, 8, 4)))

    def session_model(self) -> Model:
        return self.model

    def session_settings(self) -> dict[str, Any]:
        return {"rate": 8000}

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory.to_dict(), "places": [1, 2]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory = self.memory.refill(state["memory"])

    def report(self) -> MemoryReport:
        return memory_report(self.memory)


TRAINED = ModelCheckpoint(Model(Sizes()), Sizes(), {"seed": 1})
WRITERS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "ring.state": (RingBuffer.empty(1, 2, 4).save, RingBuffer.load),
    "layers.state": (LayerStates((RingBuffer.empty(1, 2, 4), RingBuffer.empty(1, 8, 4))).save, LayerStates.load),
    "stream": (Stream().save, lambda path: Stream().load(path)),
    "model.safetensors": (TRAINED.save, ModelCheckpoint.load),
    "last.ckpt": (lambda path: torch.save(training_content(TRAINED), path), ModelCheckpoint.load),
    "official.pth": (lambda path: torch.save({"model": Model(Sizes()).state_dict()}, path), read_state_dict),
    "bare.safetensors": (ModelCheckpoint(Model(Sizes()), Sizes(), {}).save, read_state_dict),
}


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, read = WRITERS[name]
    write(tmp_path / name)
    (tmp_path / "damaged").mkdir()
    check_refusals(read, tmp_path / name, tmp_path / "damaged")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_folders_of_a_model_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    Model(Sizes()).save_pretrained(tmp_path / "good")
    Model(Sizes()).save_pretrained(tmp_path / "damaged")
    (tmp_path / "damaged" / name).unlink()
    check_refusals(lambda path: Model.from_pretrained(path.parent), tmp_path / "good" / name, tmp_path / "damaged")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["index.json", "vectors"])
def test_damaged_stores_are_refused_in_one_line(name: str, mapped: bool, tmp_path: Path) -> None:
    index = ExactIndex(dim=2)
    index.add(torch.eye(2), [{"page": 1}, {"page": 2}])
    for folder in ("good", "damaged"):
        index.save(tmp_path / folder)
    good = next((tmp_path / "good").glob(f"{name}*"))
    (tmp_path / "damaged" / good.name).unlink()
    check_refusals(lambda path: ExactIndex.load(path.parent, mapped=mapped), good, tmp_path / "damaged")
