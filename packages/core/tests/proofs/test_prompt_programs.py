"""The universal machine and a program that can be checked by hand run as prompts, to the end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from golden_files import GoldenCase, golden_cases

from mnemic_core.machines import (
    KeyValueStore,
    PromptInterpreter,
    follow_prompt,
    trace,
    universal_machine_program,
)
from mnemic_core.machines.universal_machine import TraceRow

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[1] / "golden"

INCREMENT = 'result = "%[i]="1" op="halt""\nif @[@[i]]==1 then result = "%[i]="0" i-=1"\n$result\n'
"""Adds one, from the last digit to the left: a 0 under the head becomes 1 and that is all; a 1 becomes 0, carry on."""


def numbers(row: TraceRow, states: list[str]) -> list[int]:
    """Return a step as the golden file has it, without its number."""
    to = row.transition
    written = [-1] * 3 if to is None else [to.write, to.move, states.index(to.state)]
    return [states.index(row.state), row.head, row.symbol, *written]


def equal_steps(case: GoldenCase, index: int) -> tuple[bool, int]:
    """Return whether a recorded run is repeated step for step, and how many steps it has."""
    memory = universal_machine_program(case.inputs[f"tape.{index}"].tolist(), int(case.inputs[f"head.{index}"]))
    run = PromptInterpreter(follow_prompt).run(memory, max_steps=case.config["max_steps"])
    rows = [[i, *numbers(row, case.config["states"])] for i, row in enumerate(trace(run.steps, memory))]
    return rows == case.outputs[f"trace.{index}"].tolist(), len(rows)


def incremented(number: int) -> int:
    """Let the prompts add one to a number of eight binary digits, and read the sum off the cells."""
    digits = f"0{number:08b}"
    cells = {str(place): digit for place, digit in enumerate(digits)}
    program = KeyValueStore({"op": INCREMENT, "i": len(digits) - 1, **cells})
    run = PromptInterpreter(follow_prompt).run(program, max_steps=len(digits))
    assert run.has_halted
    return int("".join(run.memory.read(str(place)) for place in range(len(digits))), 2)


def test_the_universal_machine_repeats_every_recorded_run(record: Callable) -> None:
    cases = [case for case in golden_cases("core", FOLDER) if "U15,2" in case.info["mechanism"]]
    runs = [equal_steps(case, index) for case in cases for index in range(case.config["cases"])]
    steps = sum(length for _, length in runs)
    record(
        "universal_machine",
        what=f"U(15,2) by prompts, {len(runs)} recorded runs ({steps:,} steps) step for step",
        task="recorded runs",
        model="prompts",
        sizes={"runs": len(runs), "steps": steps},
        steps=0,
        seeds=[],
        accuracy=[float(is_equal) for is_equal, _ in runs],
        solved=sum(is_equal for is_equal, _ in runs),
        control={},
    )
    assert runs
    assert all(is_equal for is_equal, _ in runs)


def test_a_program_of_one_prompt_adds_one_to_every_byte(record: Callable) -> None:
    right = sum(incremented(number) == number + 1 for number in range(256))
    record(
        "prompts_increment",
        what="one prompt adds 1 to every number below 256, digit by digit",
        task="binary increment",
        model="prompts",
        sizes={"numbers": 256},
        steps=0,
        seeds=[],
        accuracy=[right / 256],
        solved=int(right == 256),
        control={},
    )
    assert right == 256
