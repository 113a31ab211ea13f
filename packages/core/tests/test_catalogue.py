import inspect
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from mnemic_core import (
    MemoryConfig,
    ReadWriteMemory,
    SegmentMemory,
    Sizes,
    find_mechanism,
    list_mechanisms,
    memory_names,
)
from mnemic_core.catalogue import mechanism_table
from mnemic_core.listing import SEQUENCE_PLACES, listings


def all_subclasses(cls: type) -> set[type]:
    return {found for child in cls.__subclasses__() for found in (child, *all_subclasses(child))}


RECURRENT = [mechanism for mechanism in list_mechanisms() if mechanism.is_recurrent]
# Bases of mechanisms, and the parts of which `transformer` builds models.
NO_MECHANISM = {
    "SegmentMemory",
    "ReadWriteMemory",
    "ModelWrapper",
    "TokenMachine",
    "CellMachine",
    "MemoryTransformer",
    "ResidualMemory",
}


def test_every_mechanism_of_the_package_is_listed_once() -> None:
    shipped = {cls for cls in all_subclasses(SegmentMemory) if cls.__module__.startswith("mnemic_core.")}
    listed = [mechanism.cls for mechanism in list_mechanisms()]
    assert {cls for cls in shipped if cls.__name__ not in NO_MECHANISM and cls.__name__[0] != "_"} == {
        mechanism.cls for mechanism in list_mechanisms() if mechanism.is_recurrent
    }
    assert len(listed) == len(set(listed)) == len({mechanism.name for mechanism in list_mechanisms()})


def test_parsed_listings_equal_the_entries() -> None:
    for listing, _ in listings():
        entry = find_mechanism(listing.name)
        assert all(getattr(entry, name) == value for name, value in vars(listing).items())
    assert [listing.name for listing, _ in listings()] == [entry.name for entry in list_mechanisms()]


def test_the_names_are_listed_without_torch() -> None:
    script = "import sys; from mnemic_core import memory_names; print(memory_names()); sys.exit('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(memory_names())


def test_an_entry_is_in_the_file_of_its_class() -> None:
    for mechanism in list_mechanisms():
        module = inspect.getmodule(mechanism.cls)
        assert any(value is mechanism for value in vars(module).values())


@pytest.mark.parametrize(
    "mechanism", [entry for entry in list_mechanisms() if entry.is_read_write], ids=lambda mechanism: mechanism.name
)
def test_a_memory_that_is_read_and_written_is_built_by_its_name(mechanism) -> None:
    memory = MemoryConfig(mechanism.name).build(dim=8)
    assert isinstance(memory, ReadWriteMemory)
    assert type(memory) is type(mechanism.build_small())
    assert memory.detach == mechanism.detach[0]
    assert memory.init_state(2).batch_size == 2


@pytest.mark.parametrize("name", memory_names())
def test_every_memory_and_preset_is_built_by_its_name_alone(name: str) -> None:
    memory = MemoryConfig(name).build(dim=16)
    assert isinstance(memory, find_mechanism(name).cls)
    assert memory.dim == 16
    assert memory.init_state(2).batch_size == 2


@pytest.mark.parametrize("mechanism", list_mechanisms(), ids=lambda mechanism: mechanism.name)
def test_every_option_is_given_by_name_and_has_a_default(mechanism) -> None:
    parameters = inspect.signature(mechanism.cls).parameters
    options = [parameters[name] for name in mechanism.options if mechanism.place not in {"selector", "store"}]
    assert all(option.kind is option.KEYWORD_ONLY and option.default is not option.empty for option in options)
    stated = {
        *mechanism.small,
        *mechanism.sized(Sizes()),
        *(key for each in mechanism.presets.values() for key in each),
    }
    assert stated | ({mechanism.size_option} - {None}) <= set(mechanism.options)


@pytest.mark.parametrize("mechanism", list_mechanisms(), ids=lambda mechanism: mechanism.name)
def test_every_entry_is_complete(mechanism) -> None:
    assert all(find_mechanism(name) is mechanism for name in mechanism.names)
    assert all((mechanism.paper, mechanism.objective, mechanism.read, mechanism.write, mechanism.capacity))
    assert bool(mechanism.detach) == mechanism.is_recurrent
    assert mechanism.place == "selector" or mechanism.build_small() is not mechanism.build_small()


@pytest.mark.parametrize("mechanism", RECURRENT, ids=lambda mechanism: mechanism.name)
def test_the_stated_size_of_the_state_is_its_size(mechanism) -> None:
    memory = mechanism.build_small()
    defaults = {name: given.default for name, given in inspect.signature(mechanism.cls).parameters.items()}
    arguments = {**defaults, **mechanism.small, "dim": memory.dim}
    stated = eval(mechanism.bytes_per_row, {"__builtins__": {}, "ceil": math.ceil, "sum": sum, **arguments})
    assert memory.init_state(1).nbytes == stated


@pytest.mark.parametrize("place", sorted(SEQUENCE_PLACES))
def test_a_class_with_the_methods_of_a_memory_only_is_refused_as_entry(place) -> None:
    class LooksLikeAMemory(nn.Module):
        def init_state(self, batch): ...

        def forward(self, x, state, *, padding=None, reset=None): ...

    with pytest.raises(TypeError, match=r"must be a SegmentMemory.*escape the contract"):
        replace(find_mechanism("window"), cls=LooksLikeAMemory, place=place)


@pytest.mark.parametrize("mechanism", [e for e in RECURRENT if e.size_option], ids=lambda mechanism: mechanism.name)
def test_the_size_of_a_memory_changes_without_its_weights(mechanism) -> None:
    config = MemoryConfig(mechanism.name, dict(mechanism.small))
    assert config.size == mechanism.small[mechanism.size_option]
    larger = config.resized(config.size + 1)
    assert larger.size == config.size + 1
    larger.build(4).load_state_dict(config.build(4).state_dict())
    assert larger.build(4).init_state(1).nbytes > config.build(4).init_state(1).nbytes


def test_the_readme_shows_the_table_of_the_catalogue() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    assert mechanism_table() in readme.read_text(encoding="utf-8")
