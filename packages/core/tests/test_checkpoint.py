import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mnemic_core.checkpoint import KEY, Checkpoint, read_model
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.tensor_file import read_tensors


@dataclass(frozen=True)
class OrganConfig:
    pipes: int
    stops: int = 1


@dataclass(frozen=True)
class Tuning:
    pitch: float = 440.0
    ratios: tuple[float, ...] = (1.0, 1.5)


@dataclass(frozen=True)
class OrganSettings:
    tuning: Tuning
    registers: tuple[tuple[str, int], ...] = ()
    mode: Literal["flue", "reed"] = "flue"


class Organ(PretrainedModel):
    config_class = OrganConfig

    def __init__(self, config: OrganConfig) -> None:
        super().__init__()
        self.config = config
        self.pipe = nn.Linear(config.pipes, config.stops)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("pressure", torch.full((2,), 1e5))


@dataclass(frozen=True)
class OrganCheckpoint(Checkpoint[Organ, OrganSettings], kind="organ"):
    """A model with a part of its own."""

    maker: str

    def describe_parts(self) -> dict[str, Any]:
        return {"maker": self.maker}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        return {"maker": header["maker"]}


@pytest.fixture
def organ() -> OrganCheckpoint:
    settings = OrganSettings(Tuning(415.0, (1.0, 1.25)), (("principal", 8),), "reed")
    return OrganCheckpoint(Organ(OrganConfig(3)), settings, {"seed": 1, "steps": [1, 2]}, "Hammond")


@pytest.fixture
def saved(organ: OrganCheckpoint, tmp_path: Path) -> Path:
    organ.save(tmp_path / "organ.safetensors")
    return tmp_path / "organ.safetensors"


def rewrite(path: Path, **changes: object) -> None:
    header = json.loads(read_tensors(path)[1][KEY])
    save_file(load_file(path), path, {KEY: json.dumps(header | changes)})


def test_saved_models_and_lightning_checkpoints_are_read(organ: OrganCheckpoint, saved: Path) -> None:
    weights = {f"model.{name}": value for name, value in organ.model.state_dict().items()}
    content = {"state_dict": weights | {"loss.scale": torch.ones(1)}, "epoch": 1, KEY: organ.header()}
    torch.save(content, saved.with_name("last.ckpt"))
    for path in (saved, saved.with_name("last.ckpt")):
        found = OrganCheckpoint.load(path)
        assert replace(found, model=organ.model) == organ
        assert found.model.config == organ.model.config
        assert not found.model.training
        assert all(
            torch.equal(found.model.state_dict()[name.removeprefix("model.")], weights[name]) for name in weights
        )


def test_stored_halves_come_back_in_single_precision_and_buffers_stay_exact(
    organ: OrganCheckpoint, saved: Path
) -> None:
    organ.save(saved, half=True)
    stored, found = load_file(saved), OrganCheckpoint.load(saved).model
    assert (stored["model.pipe.weight"].dtype, stored["model.pressure"].dtype) == (torch.float16, torch.float32)
    assert (found.pipe.weight.dtype, found.count.dtype) == (torch.float32, torch.int64)
    assert torch.equal(found.pipe.weight, organ.model.pipe.weight.half().float())
    assert torch.equal(found.pressure, organ.model.pressure)


def test_a_file_without_header_can_be_read_but_is_of_no_kind(tmp_path: Path) -> None:
    weights = {"pipe": torch.randn(2, 3)}
    save_file(weights, tmp_path / "bare.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "bare.ckpt")
    for name in ("bare.safetensors", "bare.ckpt"):
        assert read_model(tmp_path / name)[0] == {}
        with pytest.raises(
            ValueError,
            match=rf"{name} is a checkpoint of kind None, expected 'organ': give one that fit or Organ",
        ):
            OrganCheckpoint.load(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"kind": "choir"},
            r"is a checkpoint of kind 'choir', expected 'organ': give one that fit or OrganCheckpoint.save wrote",
        ),
        ({"format_version": 3}, r"organ\.safetensors has format 3, newer than 2: update "),
        ({"format_version": 1}, r"organ\.safetensors has format 1, which is no longer read \(format 2 is\)"),
        ({"format_version": None}, r"organ\.safetensors has format None, which is no longer read"),
        ({"config": {"pipes": 3, "reeds": 2, "colour": 1}}, r"settings that this version does not know \(colour, re"),
        ({"config": {"stops": 3}}, r"organ\.safetensors lacks config\.pipes: it is damaged"),
        ({"config": [3]}, r"organ\.safetensors has config \[3\], expected dict"),
        ({"config": {"pipes": "3"}}, r"has config\.pipes '3', expected int"),
        ({"config": {"pipes": True}}, r"has config\.pipes True, expected int"),
        ({"config": {"pipes": 4}}, r"does not fit this model \(other shape: model\.pipe\.weight is \(1, 3\), expected"),
        ({"settings": {"tuning": {"pitch": 415, "key": "a"}}}, r"does not know \(key\): update"),
        ({"settings": {"tuning": {"ratios": [1, "b"]}}}, r"settings\.tuning\.ratios 'b', expected float"),
        ({"settings": {"tuning": {}, "registers": [["a", 1, 2]]}}, r"settings\.registers \['a', 1, 2\], expected list"),
        (
            {"settings": {"tuning": {}, "mode": "string"}},
            r"settings\.mode 'string', expected Literal\['flue', 'reed'\]",
        ),
        ({"provenance": "me"}, r"has provenance 'me', expected dict"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused_in_one_line(
    saved: Path, changes: dict[str, object], message: str
) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        OrganCheckpoint.load(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("model.pipe.bias"), r"missing model\.pipe\.bias"),
        (lambda weights: weights.update({"model.reed": torch.ones(1)}), r"left over model\.reed"),
        (lambda weights: weights.update({"loss": torch.ones(1)}), r"left over loss"),
        (
            lambda weights: weights.update({"model.count": torch.tensor(True)}),
            "count is torch.bool, expected torch.int",
        ),
        (lambda weights: weights.update({"model.pipe.bias": torch.tensor([1])}), "bias is torch.int64, expected tor"),
    ],
)
def test_weights_that_do_not_fit_exactly_are_refused(saved: Path, change: Any, message: str) -> None:
    weights, metadata = read_tensors(saved)
    change(weights)
    save_file(weights, saved, metadata)
    with pytest.raises(ValueError, match=message):
        OrganCheckpoint.load(saved)


def test_a_truncated_file_and_a_missing_one_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"organ\.safetensors is truncated or not a checkpoint"):
        read_model(saved)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.ckpt"):
        read_model(saved.with_name("none.ckpt"))


def test_a_header_that_json_cannot_write_leaves_the_old_file(organ: OrganCheckpoint, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        replace(organ, provenance={"config": OrganConfig}).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_header_is_plain_data(organ: OrganCheckpoint) -> None:
    assert json.loads(json.dumps(organ.header())) == organ.header()


def test_all_modules_move_together(organ: OrganCheckpoint) -> None:
    moved = organ.to("meta")
    assert moved is organ
    assert {value.device.type for value in moved.model.state_dict().values()} == {"meta"}
