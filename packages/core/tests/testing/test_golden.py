import json
from pathlib import Path

import pytest
import torch
from golden_files import golden_cases
from safetensors.torch import save_file

from mnemic_core.testing import assert_close


def write_case(folder: Path, name: str, **info: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"state.layer.weight": torch.ones(2), "in.x": torch.zeros(1), "out.y": torch.full((1,), 3.0)}
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(info))


@pytest.fixture(autouse=True)
def no_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNEMIC_GOLDEN_DIR", raising=False)


def test_a_case_is_sorted_into_state_inputs_and_outputs(tmp_path: Path) -> None:
    write_case(tmp_path / "memotr", "step_one", config={"dim": 4})
    (case,) = golden_cases("memotr", tmp_path)
    assert (case.name, case.config, case.tolerance) == ("step_one", {"dim": 4}, 2e-5)
    assert [list(group) for group in (case.state, case.inputs, case.outputs)] == [["layer.weight"], ["x"], ["y"]]


def test_only_names_with_the_prefix_are_found_and_in_order(tmp_path: Path) -> None:
    for name in ("step_b", "other", "step_a"):
        write_case(tmp_path, name)
    assert [case.name for case in golden_cases("memotr", tmp_path, prefix="step")] == ["step_a", "step_b"]


def test_the_environment_replaces_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "mine" / "memotr", "mine")
    write_case(tmp_path / "theirs" / "memotr", "theirs")
    monkeypatch.setenv("MNEMIC_GOLDEN_DIR", str(tmp_path / "theirs"))
    assert [case.name for case in golden_cases("memotr", tmp_path / "mine")] == ["theirs"]
    assert golden_cases("speech", tmp_path / "mine") == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no golden files for memotr"):
        golden_cases("memotr", tmp_path / "nowhere")


def test_a_case_without_tensors_is_its_json(tmp_path: Path) -> None:
    (tmp_path / "numbers.json").write_text(json.dumps({"accuracy": 0.5}))
    (case,) = golden_cases("retrieval", tmp_path)
    assert (case.info["accuracy"], case.outputs) == (0.5, {})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 2e-5),
        (1e-3, 1e-3),
        ({"atol": 1e-6, "rtol": 1e-4}, 1e-6),
        ({"rtol": 1e-9}, 1e-9),
        ("fp32 rtol 1e-4 atol 1e-5; indices exact", 1e-5),
        ("float32: atol 2e-5, rtol 1e-4", 2e-5),
        ("exact", 2e-5),
    ],
)
def test_the_tolerance_is_that_of_the_json(tmp_path: Path, given: object, expected: float) -> None:
    write_case(tmp_path, "case", tolerance=given)
    (case,) = golden_cases("core", tmp_path)
    assert case.tolerance == expected


def test_the_largest_difference_is_shown_with_its_place(tmp_path: Path) -> None:
    expected = torch.zeros(2, 3)
    actual = expected.clone()
    actual[1, 2] = 0.5
    with pytest.raises(AssertionError, match=r"boxes: maximum difference 0.5 at \[1, 2\] \(0.5, expected 0\)"):
        assert_close(actual, expected, name="boxes")


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (torch.zeros(2), torch.zeros(3), r"shape \(2,\), expected \(3,\)"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), r"difference inf at \[1\]"),
        (torch.tensor([torch.inf, 1.5]), torch.tensor([torch.inf, 1.0]), r"difference 0.5 at \[1\]"),
        (torch.tensor([1_000_000]), torch.tensor([1_000_001]), "allowed 0"),
        (torch.tensor(1.0), torch.tensor(2.0), r"difference 1 at \[\]"),
    ],
)
def test_every_kind_of_difference_is_found(actual: torch.Tensor, expected: torch.Tensor, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected)


def test_close_tensors_pass_in_any_precision() -> None:
    assert_close(torch.tensor([1.0, torch.nan]), torch.tensor([1.0 + 1e-6, torch.nan], dtype=torch.float64))


def test_a_case_compares_its_own_outputs(tmp_path: Path) -> None:
    write_case(tmp_path, "case")
    (case,) = golden_cases("core", tmp_path)
    case.assert_output("y", torch.full((1,), 3.0))
    with pytest.raises(AssertionError, match="case: y: maximum difference 1"):
        case.assert_output("y", torch.full((1,), 4.0))
