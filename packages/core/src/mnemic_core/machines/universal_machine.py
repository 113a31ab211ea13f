"""The universal Turing machine with 15 states and 2 symbols as a program of prompts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mnemic_core.errors import UserError
from mnemic_core.machines.prompt_machine import HALT, KeyValueStore, PromptStep


@dataclass(frozen=True)
class Transition:
    """Action of a state on a symbol: the symbol to write, the move (1 right, -1 left) and the next state."""

    write: int
    move: int
    state: str


_TABLE = {
    "A": ("0+B", "1+A"),
    "B": ("1+C", "1+A"),
    "C": ("0-G", "0-E"),
    "D": ("0-F", "1-E"),
    "E": ("1+A", "1-D"),
    "F": ("1-D", "1-D"),
    "G": ("0-H", "1-G"),
    "H": ("1-I", "1-G"),
    "I": ("0+A", "1-J"),
    "J": ("1-K", "halt"),
    "K": ("0+L", "1+N"),
    "L": ("0+M", "1+L"),
    "M": ("0-B", "1+L"),
    "N": ("0-C", "0+O"),
    "O": ("0+N", "1+N"),
}


def _transition(text: str) -> Transition | None:
    return None if text == HALT else Transition(int(text[0]), int(text[1] + "1"), text[2])


UNIVERSAL_MACHINE: Mapping[str, tuple[Transition | None, Transition | None]] = MappingProxyType(
    {state: (_transition(on_zero), _transition(on_one)) for state, (on_zero, on_one) in _TABLE.items()}
)
"""U(15,2) of Neary and Woods 2009, "Four Small Universal Turing Machines", table 16: transitions of each state on
symbols 0 and 1; None halts. Their symbols c and b are 0 and 1 here, their states u1 to u15 are A to O."""

START = "A"

BOOT = """\
Every block below sets result, may set it anew under a condition, and then shows it with $result.
Go on with exactly what the last block shows.

result = "op="%[P]" %[i]="0" i-=1"
$result
op="%[P]" %[i]="0" i-=1

result = "op="%[Q]" %[i]="0" i+=1"
if 0==1 then result = "op="%[P]" %[i]="1" i-=1"
$result
op="%[Q]" %[i]="0" i+=1

result = "op="%[Q]" %[i]="0" i+=1"
if 1==1 then result = "op="%[P]" %[i]="1" i-=1"
$result
op="%[P]" %[i]="1" i-=1

"""
"""Few-shot examples for a language model, which :func:`follow_prompt` does not need."""

_SET = re.compile(r'(?:if (\S+)==(\S+) then )?result = "(.*)"')


def universal_machine_program(tape: Sequence[int], head: int = 0) -> KeyValueStore:
    """Return a memory with which a :class:`PromptInterpreter` is the universal machine U(15,2).

    Schuurmans 2023 (arXiv:2301.04589, section 4): one prompt for each state, ``i`` for the position of the head, and
    one record for each cell of the infinite tape. A prompt holds both cases of its state, between which the text
    function chooses by the symbol under the head, ``@[@[i]]``.

    Args:
        tape: symbols of the cells from 0 on; all others are blank, 0.
        head: initial position; the initial state is A.

    Raises:
        UserError: if the tape holds other symbols than 0 and 1.

    Example:
        >>> from mnemic_core.machines import PromptInterpreter
        >>> memory = universal_machine_program([1, 1, 0, 0, 0, 0], head=3)
        >>> run = PromptInterpreter(follow_prompt).run(memory, max_steps=100)
        >>> "".join(row.state for row in trace(run.steps, memory)), run.has_halted
        ('ABCGGHIJ', True)
        >>> [run.memory.read(str(cell)) for cell in range(6)]
        ['1', '1', '1', '0', '1', '0']
    """
    unknown = sorted(set(tape) - {0, 1})
    if unknown:
        raise UserError(f"a tape holds the symbols 0 and 1, got also {unknown}; encode them in these two")
    prompts = {state: _prompt(*cases) for state, cases in UNIVERSAL_MACHINE.items()}
    cells = {str(cell): str(symbol) for cell, symbol in enumerate(tape)}
    return KeyValueStore({"boot": BOOT, **prompts, "op": prompts[START], "i": head, **cells})


def follow_prompt(prompt: str) -> str:
    r"""Return the answer to a prompt of the universal machine without a language model.

    It executes the lines of the prompt that set ``result``, with or without a condition, and those that show it, and
    answers with what was shown last. It has no knowledge of the machine.

    Raises:
        UserError: if the prompt shows nothing.

    Example:
        >>> follow_prompt('result = "no"\nif 1==1 then result = "yes"\n$result')
        'yes'
    """
    result = shown = None
    for line in prompt.splitlines():
        found = _SET.fullmatch(line)
        if found and found[1] == found[2]:  # without a condition both are None
            result = found[3]
        elif line == "$result":
            shown = result
    if shown is None:
        raise UserError(f"expected a prompt that sets result and shows it with $result, got {prompt!r}")
    return shown


@dataclass(frozen=True)
class TraceRow:
    """One step of the machine: state, position of the head, symbol there and transition, None for halt."""

    state: str
    head: int
    symbol: int
    transition: Transition | None


def trace(steps: Sequence[PromptStep], memory: KeyValueStore) -> list[TraceRow]:
    """Return the steps of the machine for the log of an interpreter and the store of its program."""
    memory, rows = memory.copy(), []
    state_of = {memory.read(state): state for state in UNIVERSAL_MACHINE}
    for step in steps:
        head = int(memory.read("i"))
        state, symbol = state_of[memory.read("op")], int(memory.read(str(head)))
        if step.assigned["op"] == HALT:
            rows.append(TraceRow(state, head, symbol, None))
            break
        following = state_of[step.assigned["op"]]
        written = Transition(int(step.assigned[str(head)]), step.added["i"], following)
        rows.append(TraceRow(state, head, symbol, written))
        for name, value in step.assigned.items():
            memory.assign(name, value)
        memory.add("i", step.added["i"])
    return rows


def _prompt(on_zero: Transition | None, on_one: Transition | None) -> str:
    """Return the prompt of a state; one with equal cases (F) needs no condition."""
    lines = [f'result = "{_result(on_zero)}"']
    if on_one != on_zero:
        lines.append(f'if @[@[i]]==1 then result = "{_result(on_one)}"')
    return "\n".join(["@[boot]" + lines[0], *lines[1:], "$result", ""])


def _result(transition: Transition | None) -> str:
    if transition is None:
        return f'op="{HALT}"'
    sign = "+" if transition.move > 0 else "-"
    return f'op="%[{transition.state}]" %[i]="{transition.write}" i{sign}=1'
