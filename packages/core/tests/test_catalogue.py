import inspect
import math
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from mnemic_core import ReadWriteMemory, SegmentMemory, create, find_mechanism, list_mechanisms
from mnemic_core.catalogue import mechanism_table
from mnemic_core.mechanism import SEQUENCE_PLACES


def all_subclasses(cls: type) -> set[type]:
    return {found for child in cls.__subclasses__() for found in (child, *all_subclasses(child))}


RECURRENT = [mechanism for mechanism in list_mechanisms() if mechanism.is_recurrent]
# Bases of mechanisms, and the parts of which `transformer` builds models.
NO_MECHANISM = {"SegmentMemory", "ReadWriteMemory", "ModelWrapper", "TokenMachine", "MemoryTransformer"}


def test_every_mechanism_of_the_package_is_listed_once() -> None:
    shipped = {cls for cls in all_subclasses(SegmentMemory) if cls.__module__.startswith("mnemic_core.")}
    listed = [mechanism.cls for mechanism in list_mechanisms()]
    assert {cls for cls in shipped if cls.__name__ not in NO_MECHANISM and cls.__name__[0] != "_"} == {
        mechanism.cls for mechanism in list_mechanisms() if mechanism.is_recurrent
    }
    assert len(listed) == len(set(listed)) == len({mechanism.name for mechanism in list_mechanisms()})


@pytest.mark.parametrize(
    "mechanism", [entry for entry in list_mechanisms() if entry.is_read_write], ids=lambda mechanism: mechanism.name
)
def test_a_memory_that_is_read_and_written_is_built_by_its_name(mechanism) -> None:
    memory = create(mechanism.name, dim=8)
    assert isinstance(memory, ReadWriteMemory)
    assert type(memory) is type(mechanism.build())
    assert memory.detach == mechanism.detach[0]
    assert memory.init_state(2).batch_size == 2


@pytest.mark.parametrize("mechanism", list_mechanisms(), ids=lambda mechanism: mechanism.name)
def test_every_entry_is_complete(mechanism) -> None:
    assert find_mechanism(mechanism.name) is mechanism
    assert all((mechanism.paper, mechanism.objective, mechanism.read, mechanism.write, mechanism.capacity))
    assert bool(mechanism.detach) == mechanism.is_recurrent
    assert mechanism.place == "selector" or mechanism.build() is not mechanism.build()


@pytest.mark.parametrize("mechanism", RECURRENT, ids=lambda mechanism: mechanism.name)
def test_the_stated_size_of_the_state_is_its_size(mechanism) -> None:
    defaults = {name: given.default for name, given in inspect.signature(mechanism.cls).parameters.items()}
    arguments = {**defaults, **mechanism.arguments()}
    stated = eval(mechanism.bytes_per_row, {"__builtins__": {}, "ceil": math.ceil, "sum": sum, **arguments})
    assert mechanism.build().init_state(1).nbytes == stated


@pytest.mark.parametrize("place", sorted(SEQUENCE_PLACES))
def test_a_class_that_only_looks_like_a_memory_is_no_entry_of_a_place_in_a_sequence(place) -> None:
    class LooksLikeAMemory(nn.Module):
        def init_state(self, batch): ...

        def forward(self, x, state, *, padding=None, reset=None): ...

    with pytest.raises(TypeError, match=r"must be a SegmentMemory.*escape the contract"):
        replace(find_mechanism("window"), cls=LooksLikeAMemory, place=place)


def test_a_mechanism_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one that is read and written \(exponential, .*\), got 'product_key'"):
        create("product_key", 4)


def test_options_reach_the_mechanism() -> None:
    assert create("exponential", 4, decay=0.5).decay == 0.5


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of exponential, window, .*, got 'ema'"):
        create("ema", 4)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"'window' cannot be built .*decay"):
        create("window", 4, decay=0.5)


def test_the_readme_shows_the_table_of_the_catalogue() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    assert mechanism_table() in readme.read_text(encoding="utf-8")
