import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mnemic_core.loading import describe_misfit, load_exactly, name_some, read_checkpoint, read_state_dict
from mnemic_core.tensor_file import read_tensors


class Foreign:
    """What no checkpoint should hold."""


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.randn(2, 3), "layer.bias": torch.randn(2)}


def test_weights_are_found_bare_or_under_their_usual_keys(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, tmp_path / "bare.safetensors")
    torch.save(weights, tmp_path / "bare.pth")
    torch.save({"model": weights, "optimizer": None}, tmp_path / "model.pth")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "lightning.ckpt")
    for path in tmp_path.iterdir():
        found = read_state_dict(path)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], weights[key]) for key in weights)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("kept", [0, 40])
def test_a_truncated_file_is_refused_by_name(
    tmp_path: Path, weights: dict[str, torch.Tensor], name: str, kept: int
) -> None:
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(weights, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{name} (is truncated|holds objects)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_objects_other_than_weights_are_refused(tmp_path: Path, write: object) -> None:
    write({"model": Foreign()}, tmp_path / "a.pth")  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"a\.pth holds objects other than weights.*refused$"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.pth", "a.safetensors"):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint at .*{name}"):
            read_checkpoint(tmp_path / name)


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    torch.save([1, 2], tmp_path / "b.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        read_state_dict(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="holds a list, expected a dictionary"):
        read_state_dict(tmp_path / "b.pth")


def test_tensors_are_read_from_files_of_any_name(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, tmp_path / "stream.state")
    assert torch.equal(read_tensors(tmp_path / "stream.state")[0]["layer.bias"], weights["layer.bias"])


def test_weights_that_fit_have_no_misfit(weights: dict[str, torch.Tensor]) -> None:
    module = torch.nn.ModuleDict({"layer": torch.nn.Linear(3, 2)})
    assert describe_misfit(module, weights) == ""
    assert describe_misfit(module, {**weights, "layer.bias": torch.zeros(3)}) == (
        "other shape: layer.bias is (3,), expected (2,)"
    )
    assert describe_misfit(module, {"scale": torch.ones(1)}) == "missing layer.bias, layer.weight; left over scale"


def test_of_many_names_the_first_four_are_given() -> None:
    assert name_some(list("abcd")) == "a, b, c, d"
    assert name_some(list("abcdef")) == "a, b, c, d and 2 more"


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    module = nn.Linear(2, 3)
    before = module.weight.detach().clone()
    weights = {"weight": torch.ones(3, 2), "bias": torch.tensor([0.0, value, 0.0])}
    with pytest.raises(ValueError, match=r"x\.ckpt has weights that are NaN or infinite \(bias\)"):
        load_exactly(module, weights, "x.ckpt")
    assert torch.equal(module.weight, before)


def test_a_mask_may_hold_infinity() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    load_exactly(module, {**module.state_dict(), "bias": torch.ones(2)}, "x.ckpt")
    assert torch.equal(module.bias, torch.ones(2))
