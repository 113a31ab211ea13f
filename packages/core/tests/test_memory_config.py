import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from new_memory import ECHO

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError
from mnemic_core.slots import HostModel, MemoryTokenWrapper
from mnemic_core.testing import unchecked_annotations


def test_a_mechanism_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one that carries a state \(.*exponential, .*\), got 'product_key', a layer"):
        MemoryConfig("product_key")


def test_a_memory_that_does_not_fit_a_place_is_refused_with_those_that_do() -> None:
    MemoryConfig("window").require("is read and written", lambda entry: entry.is_read_write)
    with pytest.raises(ValueError, match=r"one that is read and written \(exponential, .*window\), got 'turing_paper'"):
        MemoryConfig("turing_paper").require("is read and written", lambda entry: entry.is_read_write)


def test_options_reach_the_memory_and_go_before_those_of_a_preset() -> None:
    assert MemoryConfig("exponential", {"decay": 0.5}).build(4).decay == 0.5
    assert MemoryConfig("turing_release").build(4).addressing == "uniform"
    assert MemoryConfig("turing_release", {"addressing": "content"}).build(4).addressing == "content"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of .*exponential, none, .*turing_paper, .*, got 'ema'"):
        MemoryConfig("ema")


def test_an_unknown_option_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="memory 'window' has no option decay; it has capacity, detach"):
        MemoryConfig("window", {"decay": 0.5})


def test_a_value_of_the_wrong_type_is_a_mistake_of_the_user() -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match="'tape' cannot be built with the options"):
        MemoryConfig("tape", {"mlp": 3}).build(4)


@pytest.mark.parametrize(
    ("name", "option", "value", "expected"),
    [
        ("window", "capacity", "eight", "int"),
        ("window", "capacity", 1.5, "int"),
        ("window", "capacity", True, "int"),
        ("window", "capacity", None, "int"),
        ("exponential", "decay", "half", "float"),
        ("transformer_xl", "clamp", 0.5, r"int \| None"),
        ("transformer_xl", "pre_norm", 1, "bool"),
    ],
)
def test_a_number_of_the_wrong_type_is_refused_before_the_memory_is_built(
    name: str, option: str, value: object, expected: str
) -> None:
    with pytest.raises(UserError, match=f"option {option} of memory '{name}' must be {expected}, got {value!r}"):
        MemoryConfig(name, {option: value})


def test_numbers_of_other_classes_are_numbers() -> None:
    assert MemoryConfig("transformer_xl", {"clamp": None}).options == {"clamp": None}
    assert MemoryConfig("exponential", {"decay": 1}).options == {"decay": 1}
    assert MemoryConfig("window", {"capacity": np.int64(3)}).size == 3


def test_a_size_that_weights_depend_on_stays() -> None:
    assert MemoryConfig("memory_tokens").size is None
    with pytest.raises(ValueError, match="'memory_tokens' is fixed by its weights"):
        MemoryConfig("memory_tokens").resized(3)


def test_a_wrapper_gets_the_host_and_other_memories_do_without() -> None:
    host = HostModel.attention(4)
    wrapper = MemoryConfig("memory_tokens").build(4, host)
    assert isinstance(wrapper, MemoryTokenWrapper)
    assert wrapper.model is host.model
    assert MemoryConfig("window").build(4, host).dim == 4


def test_a_file_with_an_entry_is_offered_without_another_edit(tmp_path: Path) -> None:
    (tmp_path / "echo_memory.py").write_text(ECHO)
    script = """
import sys
import mnemic_core
mnemic_core.__path__.append(sys.argv[1])
from mnemic_core import MemoryConfig, TransformerConfig, build_transformer, find_mechanism
from mnemic_core.testing.matrix import check_mechanism, stated_matrix
assert MemoryConfig("echo_loud").build(4).volume == 9
assert "echo" in stated_matrix() and set(check_mechanism("echo").values()) == {"kept"}
assert find_mechanism("echo").is_read_write
build_transformer(TransformerConfig(8, 1, 2, 8, memory=MemoryConfig("echo")))
try:
    MemoryConfig("elephant")
except ValueError as error:
    assert "echo, echo_loud" in str(error), error
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_two_mechanisms_of_one_name_are_a_defect(tmp_path: Path) -> None:
    (tmp_path / "echo_memory.py").write_text(ECHO.replace('name="echo"', 'name="window"'))
    script = "import sys, mnemic_core; mnemic_core.__path__.append(sys.argv[1]); mnemic_core.list_mechanisms()"
    found = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "RuntimeError: two mechanisms are called 'window'" in found.stderr


def test_an_entry_in_another_form_is_a_defect_and_not_ignored(tmp_path: Path) -> None:
    (tmp_path / "echo_memory.py").write_text(ECHO.replace("ECHO = Mechanism(", "ECHO: Mechanism = Mechanism("))
    script = "import sys, mnemic_core; mnemic_core.__path__.append(sys.argv[1]); mnemic_core.memory_names()"
    found = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "echo_memory.py: write its entry as NAME = Mechanism(" in found.stderr
