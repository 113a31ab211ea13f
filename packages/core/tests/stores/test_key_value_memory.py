from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.stores import ExactIndex, KeyValueMemory
from mnemic_core.stores.key_value_memory import Precision
from mnemic_core.testing import unchecked_annotations
from mnemic_core.testing.comparison import assert_close

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ROUNDING = {"float32": 0.0, "float16": 1e-3, "int8": 2e-2}


def pairs(number: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Search vectors, keys and values."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(number, 4, generator=generator)
    keys, values = torch.randn(2, number, 2, 6, generator=generator)
    return vectors, keys, values


def filled(precision: Precision = "float32", number: int = 30, maker: str = "") -> KeyValueMemory:
    memory = KeyValueMemory(6, search_dim=4, precision=precision, maker=maker)
    memory.add(*pairs(number), [{"number": each} for each in range(number)])
    return memory


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pairs_are_found_with_their_slots(precision: Precision) -> None:
    memory, (vectors, keys, values) = filled(precision), pairs(30)
    query = torch.randn(3, 4)
    scores, found = memory.search(query, 5)
    expected = (query @ vectors.T).topk(5)
    assert_close(scores, expected.values, tolerance=1e-5)
    assert torch.equal(found, expected.indices)
    slots = memory.gather(found)
    assert_close(slots.keys, keys[found], tolerance=ROUNDING[precision])
    assert_close(slots.values, values[found], tolerance=ROUNDING[precision])
    assert memory.payload(int(found[1, 2])) == {"number": int(found[1, 2])}


def test_what_is_not_found_is_not_allowed() -> None:
    memory = filled(number=2)
    _, found = memory.search(torch.randn(1, 4), 4)
    slots = memory.gather(found)
    assert slots.allowed.tolist() == [[True, True, False, False]]
    assert not slots.keys[0, 2:].any()
    empty = KeyValueMemory(6, search_dim=4)
    assert not empty.gather(empty.search(torch.randn(2, 4), 3)[1]).allowed.any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_removed_pairs_are_never_found_and_others_keep_their_slots(precision: Precision) -> None:
    memory, (_, keys, _) = filled(precision), pairs(30)
    for removed in (torch.tensor([4, 7]), torch.arange(10, 26)):  # after the second, rows move
        memory.remove(removed)
        found = memory.search(torch.randn(6, 4), len(memory))[1]
        assert not torch.isin(removed, found).any()
        assert_close(memory.gather(found).keys, keys[found], tolerance=ROUNDING[precision])
    assert len(memory) == 12
    with pytest.raises(UserError, match="identity 4"):
        memory.gather(torch.tensor([[3, 4]]))
    assert memory.add(*pairs(1, seed=1)).tolist() == [30]
    assert_close(memory.gather(torch.tensor([[30]])).keys[0], pairs(1, seed=1)[1], tolerance=ROUNDING[precision])


def test_the_order_of_adding_changes_identities_alone() -> None:
    vectors, keys, values = pairs(30)
    order = torch.randperm(30)
    memory, other = filled(), KeyValueMemory(6, search_dim=4, precision="float32")
    other.add(vectors[order], keys[order], values[order])
    query = torch.randn(3, 4)
    first, second = memory.search(query, 4)[1], other.search(query, 4)[1]
    assert torch.equal(order[second], first)
    assert torch.equal(other.gather(second).values, memory.gather(first).values)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_loaded_memory_is_the_saved_one(precision: Precision, mapped: bool, tmp_path: Path) -> None:
    memory, query = filled(precision, maker="abc"), torch.randn(3, 4)
    memory.remove(torch.tensor([2]))
    memory.save(tmp_path)
    loaded = KeyValueMemory.load(tmp_path, maker="abc", mapped=mapped)
    for each in (memory, loaded):
        assert each.add(*pairs(1, seed=1), [{"number": "new"}]).tolist() == [30]
    (scores, found), (loaded_scores, loaded_found) = memory.search(query, 30), loaded.search(query, 30)
    assert torch.equal(found, loaded_found)
    assert_close(loaded_scores, scores, tolerance=1e-6)
    assert torch.equal(memory.gather(found).keys, loaded.gather(found).keys)
    assert loaded.payload(30) == {"number": "new"}
    assert (loaded.precision, loaded.maker, loaded.num_slots, loaded.dim) == (precision, "abc", 2, 6)


def test_a_memory_of_another_encoder_is_refused_with_both_names(tmp_path: Path) -> None:
    filled(maker="abc").save(tmp_path)
    with pytest.raises(UserError, match=r"made by abc, but is to be read by def"):
        KeyValueMemory.load(tmp_path, maker="def")
    assert len(KeyValueMemory.load(tmp_path)) == 30


def test_int8_takes_a_quarter(tmp_path: Path) -> None:
    sizes = {}
    for precision in PRECISIONS:
        memory = KeyValueMemory(256, search_dim=1, precision=precision)
        memory.add(torch.zeros(100, 1), *torch.randn(2, 100, 2, 256))
        memory.save(tmp_path / precision)
        (file,) = (tmp_path / precision).glob("*.safetensors")
        sizes[precision] = file.stat().st_size
    assert sizes["float32"] > 1.9 * sizes["float16"] > 3.6 * sizes["int8"]


def test_slots_of_zeros_stay_zeros_in_int8() -> None:
    memory = KeyValueMemory(3, num_slots=1, search_dim=1, precision="int8")
    memory.add(torch.ones(1, 1), torch.zeros(1, 1, 3), torch.tensor([[[1e-30, 0.0, -1e-30]]]))
    slots = memory.gather(torch.tensor([[0]]))
    assert not slots.keys.any()
    assert_close(slots.values[0, 0, 0] * 1e30, torch.tensor([1.0, 0.0, -1.0]), tolerance=1e-3)


def test_wrong_slots_are_refused_and_nothing_is_added() -> None:
    memory, (vectors, keys, values) = filled("float16"), pairs(2)
    for wrong in (keys[:, :1], keys[:1], keys * torch.inf, keys * 1e6):
        with (
            unchecked_annotations(),
            pytest.raises(UserError, match=r"attached must have the shapes|keys must be finite in float16"),
        ):
            memory.add(vectors, wrong, values)
    assert len(memory) == 30


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    ExactIndex(4).save(tmp_path)
    with pytest.raises(UserError, match="holds ExactIndex"):
        KeyValueMemory.load(tmp_path)


def test_entries_of_an_index_carry_tensors_of_their_own() -> None:
    index = ExactIndex(1, attached={"place": torch.empty(0, 2, dtype=torch.long)})
    place = torch.tensor([[1, 2], [3, 4]])
    index.add(torch.ones(2, 1), attached={"place": place})
    place.zero_()  # the index has its own copy
    assert index.attached("place", torch.tensor([1, 0])).tolist() == [[3, 4], [1, 2]]
    with pytest.raises(UserError, match="attached must have the shapes"):
        index.add(torch.ones(1, 1))
