import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mnemic_core.pretrained import PretrainedModel


@dataclass(frozen=True)
class Size:
    dim: int = 3


@dataclass(frozen=True)
class LensConfig:
    size: Size = Size()
    strengths: tuple[float, ...] = (0.5, 1.0)


class Lens(PretrainedModel):
    config_class = LensConfig

    def __init__(self, config: LensConfig) -> None:
        super().__init__()
        self.config = config
        self.glass = nn.Linear(config.size.dim, len(config.strengths))


class Mirror(Lens):
    """Another model of the same configuration."""

    config_class = LensConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Lens(LensConfig(Size(2), (1.0,))).save_pretrained(tmp_path / "models" / "lens")
    return tmp_path / "models" / "lens"


def test_a_saved_model_comes_back_with_its_configuration(tmp_path: Path) -> None:
    model = Lens(LensConfig(Size(2), (1.0, 2.0, 3.0)))
    model.save_pretrained(tmp_path)
    loaded = Lens.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded.glass.weight, model.glass.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_the_configuration_can_be_read_by_people(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    assert json.loads(text) == {"model": "Lens", "config": {"size": {"dim": 2}, "strengths": [1.0]}}
    assert '\n  "config": {\n' in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", r"is of the model None, expected Lens"),
        ('{"model": "Lens"}', r"has config None, expected dict"),
        ('{"model": "Lens", "config": {"focus": 1}}', r"does not know \(focus\)"),
        (
            '{"model": "Lens", "config": {"size": {"dim": 5}, "strengths": [1.0]}}',
            r"glass\.weight is \(1, 2\), expected",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        Lens.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_a_folder_of_another_model_or_without_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="is of the model 'Lens', expected Mirror"):
        Mirror.from_pretrained(folder)
    save_file(load_file(folder / "model.safetensors") | {"haze": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="left over haze"):
        Lens.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*model\.safetensors"):
        Lens.from_pretrained(folder)
