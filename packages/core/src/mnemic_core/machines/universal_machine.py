"""The universal Turing machine with 15 states and 2 symbols as a program of prompts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mnemic_core.errors import UserError
from mnemic_core.machines.prompt_machine import HALT, KeyValueStore, PromptStep


@dataclass(frozen=True)
class Transition:
    """What a state does with a symbol.

    Attributes:
        write: the symbol that is written.
        move: 1 to the right, -1 to the left.
        state: the state that follows.
    """

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
"""U(15,2) of Neary and Woods 2009, "Four Small Universal Turing Machines", table 16: for each state what follows on
symbol 0 and on symbol 1; None halts. Their symbols c and b are 0 and 1 here, their states u1 to u15 are A to O."""

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
"""Examples of what a prompt asks for, which a language model needs and :func:`follow_prompt` does not."""

_SET = re.compile(r'(?:if (\S+)==(\S+) then )?result = "(.*)"')


def universal_machine_program(tape: Sequence[int], head: int = 0) -> KeyValueStore:
    """Return a memory that makes a :class:`PromptInterpreter` the universal machine U(15,2).

    Schuurmans 2023 (arXiv:2301.04589, section 4): one prompt for each state, ``i`` for the place of the head, and one
    record for each cell of the tape, which has no end on either side. A prompt holds both cases of its state; which of
    them is to be taken, the text function must find out from the symbol under the head, ``@[@[i]]``. So all that the
    function does is to choose between two texts by a comparison, and yet the whole computes whatever can be computed.

    Args:
        tape: symbols 0 and 1 of the cells from 0 on; all others are blank, 0.
        head: the cell where the machine starts, in state A.

    Raises:
        UserError: if the tape holds another symbol.

    Example:
        >>> from mnemic_core.machines import PromptInterpreter
        >>> memory = universal_machine_program([1, 1, 0, 0, 0, 0], head=3)
        >>> run = PromptInterpreter(follow_prompt).run(memory, max_steps=100)
        >>> "".join(row.state for row in trace(run.steps, memory)), run.has_halted
        ('ABCGGHIJ', True)
        >>> [run.memory.read(str(cell)) for cell in range(6)]
        ['1', '1', '1', '0', '1', '0']
    """
    strangers = sorted(set(tape) - {0, 1})
    if strangers:
        raise UserError(f"a tape holds the symbols 0 and 1, got also {strangers}; encode them in these two")
    prompts = {state: _prompt(*cases) for state, cases in UNIVERSAL_MACHINE.items()}
    cells = {str(cell): str(symbol) for cell, symbol in enumerate(tape)}
    return KeyValueStore({"boot": BOOT, **prompts, "op": prompts[START], "i": head, **cells})


def follow_prompt(prompt: str) -> str:
    r"""Return the answer to a prompt of the universal machine: a text function that needs no language model.

    It knows nothing of machines or tables. It carries out the lines of the prompt that it understands, in their order:
    those that set ``result``, with or without a condition, and those that show it. The answer is what was shown last.

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
    """One step of the machine.

    Attributes:
        state: its state.
        head: the place of its head.
        symbol: the symbol there.
        transition: what it does; None if it halts.
    """

    state: str
    head: int
    symbol: int
    transition: Transition | None


def trace(steps: Sequence[PromptStep], memory: KeyValueStore) -> list[TraceRow]:
    """Return the log of a run as steps of the machine.

    Args:
        steps: the log of an interpreter.
        memory: the store that :func:`universal_machine_program` made for it; it stays as it is.
    """
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
    """Return the prompt of a state; one whose cases agree (F) needs no condition."""
    lines = [f'result = "{_result(on_zero)}"']
    if on_one != on_zero:
        lines.append(f'if @[@[i]]==1 then result = "{_result(on_one)}"')
    return "\n".join(["@[boot]" + lines[0], *lines[1:], "$result", ""])


def _result(transition: Transition | None) -> str:
    if transition is None:
        return f'op="{HALT}"'
    sign = "+" if transition.move > 0 else "-"
    return f'op="%[{transition.state}]" %[i]="{transition.write}" i{sign}=1'
