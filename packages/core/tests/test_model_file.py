from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mnemic_core.model_file import KEY, ModelFormat, read_header, read_model, write_model

FORMAT = ModelFormat("organ", 2, title="Hammond", makers="fit or save_organ", package="mnemic-music")
HEADER = {"kind": "organ", "format_version": 2, "config": {"pipes": 3}}


@dataclass(frozen=True)
class OrganConfig:
    pipes: int
    stops: int = 1


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"pipe": torch.randn(2, 3), "count": torch.tensor(7)}


@pytest.fixture
def saved(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    write_model(tmp_path / "organ.safetensors", weights, FORMAT.header(config={"pipes": 3}))
    return tmp_path / "organ.safetensors"


def test_a_written_model_and_a_checkpoint_of_training_are_read_alike(
    saved: Path, weights: dict[str, torch.Tensor]
) -> None:
    torch.save({"state_dict": weights, "epoch": 1, KEY: HEADER}, saved.with_name("last.ckpt"))
    for path in (saved, saved.with_name("last.ckpt")):
        header, found = FORMAT.read(path)
        assert header == HEADER
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_stored_halves_come_back_in_single_precision_and_integers_stay(
    saved: Path, weights: dict[str, torch.Tensor]
) -> None:
    write_model(saved, weights | {"pipe": weights["pipe"].half()}, HEADER)
    _, found = read_model(saved)
    assert (found["pipe"].dtype, found["count"].dtype) == (torch.float32, torch.int64)
    assert torch.equal(found["pipe"], weights["pipe"].half().float())


def test_a_file_without_header_can_be_read_but_is_of_no_kind(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, tmp_path / "bare.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "bare.ckpt")
    assert read_header(tmp_path / "bare.safetensors") == {}
    for name in ("bare.safetensors", "bare.ckpt"):
        assert read_model(tmp_path / name)[0] == {}
        with pytest.raises(
            ValueError, match=rf"{name} is not a Hammond checkpoint \(kind None\): give one that fit or"
        ):
            FORMAT.read(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "choir"}, r"is not a Hammond checkpoint \(kind 'choir'\): give one that fit or save_organ wrote$"),
        ({"format_version": 3}, r"organ\.safetensors has format 3, newer than 2: update mnemic-music$"),
    ],
)
def test_other_kinds_and_newer_versions_are_refused(
    saved: Path, weights: dict[str, torch.Tensor], changes: dict[str, object], message: str
) -> None:
    write_model(saved, weights, HEADER | changes)
    with pytest.raises(ValueError, match=message):
        FORMAT.read(saved)


def test_values_become_a_dataclass_and_unknown_ones_are_named() -> None:
    assert FORMAT.restore(OrganConfig, {"pipes": 3}, "a.ckpt") == OrganConfig(3)
    message = r"a\.ckpt has settings that this version does not know \(colour, reeds\): update mnemic-music$"
    with pytest.raises(ValueError, match=message):
        FORMAT.restore(OrganConfig, {"pipes": 3, "reeds": 2, "colour": 1}, "a.ckpt")


def test_a_truncated_file_and_a_missing_one_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"organ\.safetensors is truncated or not a checkpoint"):
        read_model(saved)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.ckpt"):
        read_model(saved.with_name("none.ckpt"))


def test_a_header_that_json_cannot_write_leaves_the_old_file(saved: Path, weights: dict[str, torch.Tensor]) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_model(saved, weights, FORMAT.header(config=OrganConfig(3)))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
