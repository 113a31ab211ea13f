from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.testing import assert_close
from torch.utils import _pytree as pytree

from mnemic_core import MemoryState, WindowMemory
from mnemic_core.state import qualified_name, state_class
from mnemic_core.tensor_file import write_tensors


@dataclass(frozen=True)
class Inner(MemoryState):
    slots: Float[Tensor, "batch slot dim"]
    count: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Outer(MemoryState):
    inner: Inner
    bank: Float[Tensor, "batch dim"]


@dataclass(frozen=True)
class Impostor(MemoryState):
    slots: Tensor
    count: Tensor


@pytest.fixture
def state() -> Outer:
    torch.manual_seed(0)
    return Outer(Inner(torch.randn(3, 2, 4), torch.tensor([0, 1, 2])), torch.randn(3, 4))


def test_map_reaches_every_tensor(state: Outer) -> None:
    doubled = state.map(lambda tensor: 2 * tensor)
    assert_close(doubled.tensors(), {name: 2 * tensor for name, tensor in state.tensors().items()})


def test_tensors_of_nested_states_have_dotted_names(state: Outer) -> None:
    assert list(state.tensors()) == ["inner.slots", "inner.count", "bank"]


def test_detach_stops_gradients_and_clone_does_not(state: Outer) -> None:
    bank = state.bank.clone().requires_grad_()
    learned = Outer(state.inner, bank)
    assert not learned.detach().bank.requires_grad
    learned.clone().bank.sum().backward()
    assert_close(bank.grad, torch.ones_like(bank))


def test_to_casts_floating_tensors_only(state: Outer) -> None:
    half = state.to(dtype=torch.float16)
    assert (half.bank.dtype, half.inner.count.dtype) == (torch.float16, torch.int64)
    assert state.to("meta").device.type == "meta"


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), torch.tensor([True, False, True])], ids=["index", "where"])
def test_index_select_takes_rows_of_every_tensor(state: Outer, rows: Tensor) -> None:
    chosen = state.index_select(rows)
    assert chosen.batch_size == 2
    assert_close(chosen.inner.slots, state.inner.slots[rows])
    assert_close(chosen.bank, state.bank[rows])


def test_replace_rows_takes_the_other_where_true_and_keeps_types(state: Outer) -> None:
    rows, other = torch.tensor([False, True, False]), state.map(torch.zeros_like).to(dtype=torch.float64)
    merged = state.replace_rows(rows, other)
    for name, tensor in merged.tensors().items():
        old = state.tensors()[name]
        assert tensor.dtype == old.dtype
        assert torch.equal(tensor[~rows], old[~rows])
        assert not tensor[rows].any()


@dataclass(frozen=True)
class Streams(MemoryState):
    """Streams of two tracks each; the memory has a row for each track."""

    memory: Inner
    bank: Float[Tensor, "stream dim"]


def test_a_nested_state_with_several_rows_a_row_moves_with_its_owner() -> None:
    def streams(first: int) -> Streams:
        rows = torch.arange(first, first + 6)
        return Streams(Inner(rows[:, None, None].float(), rows), rows[::2, None].float())

    state, other = streams(0), streams(10)
    assert state.batch_size == 3
    chosen = state.index_select(torch.tensor([2, 0]))
    assert chosen.memory.count.tolist() == chosen.memory.slots.flatten().tolist() == [4, 5, 0, 1]
    assert chosen.bank.flatten().tolist() == [4, 0]
    assert state.index_select(torch.tensor([False, True, False])).memory.count.tolist() == [2, 3]
    replaced = state.replace_rows(torch.tensor([False, True, False]), other)
    assert replaced.memory.count.tolist() == [0, 1, 12, 13, 4, 5]
    assert replaced.bank.flatten().tolist() == [0, 12, 4]


def test_sizes(state: Outer) -> None:
    assert state.batch_size == 3
    assert state.nbytes == 3 * (2 * 4 * 4 + 8 + 4 * 4)


def test_a_state_is_a_pytree(state: Outer) -> None:
    leaves, spec = pytree.tree_flatten(state)
    assert len(leaves) == 3
    assert pytree.tree_unflatten(leaves, spec).tensors().keys() == state.tensors().keys()
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(state)] == [
        ".inner.slots",
        ".inner.count",
        ".bank",
    ]


def test_a_checkpoint_with_a_state_in_it_is_safe_to_load(tmp_path: Path) -> None:
    state = WindowMemory(4).init_state(2)
    torch.save({"memory": state}, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["memory"]
    assert_close(loaded.tensors(), state.tensors())


def test_saved_and_loaded_is_the_same(state: Outer, tmp_path: Path) -> None:
    state.save(tmp_path / "state.safetensors")
    assert_close(Outer.load(tmp_path / "state.safetensors").tensors(), state.tensors(), atol=0, rtol=0)


def test_expanded_and_shared_tensors_can_be_saved(tmp_path: Path) -> None:
    shared = torch.zeros(1, 2, 4)
    state = Outer(Inner(shared.expand(3, -1, -1), torch.zeros(3, dtype=torch.long)), shared[:, 0].expand(3, -1))
    state.save(tmp_path / "state")
    assert_close(Outer.load(tmp_path / "state").tensors(), state.tensors())


def test_a_failed_save_leaves_the_earlier_file(state: Outer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    state.save(path)
    before = path.read_bytes()

    def disk_full(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("mnemic_core.tensor_file.save_file", disk_full)
    with pytest.raises(OSError, match="No space"):
        state.map(lambda tensor: tensor + 1).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(state: Outer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere.*choose another folder"):
        state.save(tmp_path / "nowhere" / "state")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Outer.load(tmp_path / "nowhere")


def test_a_truncated_file_is_refused(state: Outer, tmp_path: Path) -> None:
    path = tmp_path / "state"
    state.save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="is truncated or not a checkpoint"):
        Outer.load(path)


def test_another_class_is_refused(state: Outer, tmp_path: Path) -> None:
    state.inner.save(tmp_path / "state")
    with pytest.raises(ValueError, match=r"holds \S+Inner in format 2, expected \S+Impostor in format 2"):
        Impostor.load(tmp_path / "state")


def test_a_file_of_the_first_format_still_loads(state: Outer, tmp_path: Path) -> None:
    write_tensors(tmp_path / "state", state.to_dict(), {"format_version": "1", "class": "Outer"})
    assert_close(Outer.load(tmp_path / "state").tensors(), state.tensors())


def test_a_second_state_class_of_the_same_name_is_refused() -> None:
    namespace = {"__module__": Outer.__module__, "__qualname__": "Outer", "__annotations__": {"bank": Tensor}}
    with pytest.raises(TypeError, match=r"a state class \S+Outer is defined already"):
        type("Outer", (MemoryState,), namespace)
    assert state_class(qualified_name(Outer)) is Outer


def test_classes_of_one_name_in_two_modules_are_distinguished() -> None:
    one, other = (type("Twin", (MemoryState,), {"__module__": module}) for module in ("one", "other"))
    assert (state_class("one.Twin"), state_class("other.Twin")) == (one, other)
    with pytest.raises(ValueError, match="2 state classes are named 'Twin'"):
        state_class("Twin")


def test_a_missing_tensor_is_named(state: Outer) -> None:
    tensors = state.to_dict()
    del tensors["inner.count"]
    with pytest.raises(ValueError, match=r"needs the tensors .*inner\.count"):
        Outer.from_dict(tensors)
