from pathlib import Path

import pytest

from mnemic_core import Memory, ReadWriteMemory, create, list_mechanisms
from mnemic_core.catalogue import mechanism_table


def all_subclasses(cls: type) -> set[type]:
    return {found for child in cls.__subclasses__() for found in (child, *all_subclasses(child))}


def test_every_mechanism_of_the_package_is_listed_once() -> None:
    shipped = {cls for cls in all_subclasses(ReadWriteMemory) if cls.__module__.startswith("mnemic_core.")}
    listed = [mechanism.cls for mechanism in list_mechanisms()]
    assert set(listed) == shipped
    assert len(listed) == len(shipped) == len({mechanism.name for mechanism in list_mechanisms()})


@pytest.mark.parametrize("mechanism", list_mechanisms(), ids=lambda mechanism: mechanism.name)
def test_a_mechanism_is_built_by_its_name(mechanism) -> None:
    memory = create(mechanism.name, dim=6)
    assert isinstance(memory, Memory)
    assert type(memory) is type(mechanism.build())
    assert memory.detach == mechanism.detach[0]
    assert memory.init_state(2).batch_size == 2


def test_options_reach_the_mechanism() -> None:
    assert create("exponential", 4, decay=0.5).decay == 0.5


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="one of exponential, window, none, got 'ema'"):
        create("ema", 4)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"'window' cannot be built .*decay"):
        create("window", 4, decay=0.5)


def test_the_readme_shows_the_table_of_the_catalogue() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    assert mechanism_table() in readme.read_text(encoding="utf-8")
