"""A text function with an associative memory that supplies its prompts and that its answers change."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mnemic_core.errors import UserError
from mnemic_core.mechanism import Mechanism

_STATEMENT = re.compile(r'(?P<name>-?[\w%\[\]]+)\s*(?:=\s*"(?P<value>[^"]*)"|(?P<sign>[+-])=\s*(?P<amount>\d+))')
_CELL = re.compile(r"-?\d+")
HALT = "halt"


class KeyValueStore:
    """Texts and integers by name; an integer name that was never assigned holds the blank.

    Args:
        records: the initial content.
        blank: value of unassigned integer names.

    Example:
        >>> store = KeyValueStore({"i": 7})
        >>> store.add("i", -1)
        >>> store.read("i"), store.read("-3")
        ('6', '0')
    """

    def __init__(self, records: Mapping[str, str | int], blank: str = "0") -> None:
        self._records = dict(records)
        self.blank = blank

    def read(self, name: str) -> str:
        """Return the value of the name as text; an unknown name that is not an integer is a ``UserError``."""
        if name in self._records:
            return str(self._records[name])
        if _CELL.fullmatch(name):
            return self.blank
        raise UserError(f"memory has no record {name!r}, only {sorted(self._records)}; assign it first")

    def assign(self, name: str, value: str) -> None:
        """Store a text under the name."""
        self._records[name] = value

    def add(self, name: str, amount: int) -> None:
        """Add to the integer under the name; a text there is a ``UserError``."""
        value = self.read(name)
        if not _CELL.fullmatch(value):
            raise UserError(f"only integers can be added to, but record {name!r} holds {value!r}; assign one first")
        self._records[name] = int(value) + amount

    def copy(self) -> "KeyValueStore":
        """Return a copy of the store."""
        return KeyValueStore(self._records, self.blank)

    def to_dict(self) -> dict[str, str | int]:
        """Return all records, as the constructor takes them."""
        return dict(self._records)

    def expand(self, text: str, sigil: str) -> str:
        """Return the text with each ``sigil[name]`` replaced by the value of the name.

        Names may contain references: ``@[@[i]]`` is the cell whose number is in ``i``. Values are not expanded again,
        so expansion always ends.

        Raises:
            UserError: if a reference is not closed or its name is unknown.
        """
        parts: list[list[str]] = [[]]  # text outside of references, then names of open references, inner ones last
        for token in re.split(rf"({re.escape(sigil)}\[|\])", text):
            if token == f"{sigil}[":
                parts.append([])
            elif token == "]" and len(parts) > 1:
                name = "".join(parts.pop())
                parts[-1].append(self.read(name))
            else:
                parts[-1].append(token)
        if len(parts) > 1:
            raise UserError(f"a reference {sigil}[... is not closed in {text!r}; close it with ]")
        return "".join(parts[0])


@dataclass(frozen=True)
class PromptStep:
    """One cycle of the interpreter.

    Attributes:
        prompt: input of the text function.
        answer: its output.
        assigned: texts stored by name.
        added: numbers added by name.
    """

    prompt: str
    answer: str
    assigned: dict[str, str]
    added: dict[str, int]


@dataclass(frozen=True)
class PromptRun:
    """The run of a program.

    Attributes:
        steps: all cycles in order, for :func:`replay`.
        memory: the store at the end.
        has_halted: whether the program halted.
    """

    steps: tuple[PromptStep, ...]
    memory: KeyValueStore
    has_halted: bool


class PromptInterpreter:
    """Runs a stored program of prompts on a stateless text function.

    Schuurmans 2023, "Memory Augmented Large Language Models are Computationally Universal" (arXiv:2301.04589, sections
    2 and 3). The record ``op`` holds the next prompt. One cycle, until ``op`` is ``halt``::

        prompt = op with every @[x] replaced by the value of x
        answer = model(prompt)
        name = "text"                  in the answer stores the text, with every %[x] replaced
        name += n, name -= n           in the answer then changes the integer stored under the name

    Both sides of an assignment are expanded with the memory before the answer, so ``%[i]="1" i+=1`` writes to the old
    cell. Statements are parsed before ``%[x]`` is replaced, because stored prompts contain quotation marks.

    Args:
        model: the text function, such as a language model at temperature 0.

    Example:
        >>> def count_down(prompt: str) -> str:
        ...     return 'op="halt"' if prompt == "0 left" else "n -= 1"
        >>> run = PromptInterpreter(count_down).run(KeyValueStore({"op": "@[n] left", "n": 3}), max_steps=10)
        >>> [step.prompt for step in run.steps], run.has_halted
        (['3 left', '2 left', '1 left', '0 left'], True)
    """

    def __init__(self, model: Callable[[str], str]) -> None:
        self.model = model

    def run(self, memory: KeyValueStore, *, max_steps: int) -> PromptRun:
        """Run the program in the memory, on a copy of it, until it halts.

        Args:
            memory: the store with the program.
            max_steps: largest number of cycles.

        Raises:
            UserError: if an answer has no statement, or one refers to an unknown name.
        """
        memory = memory.copy()
        steps: list[PromptStep] = []
        while memory.read("op") != HALT:
            if len(steps) == max_steps:
                return PromptRun(tuple(steps), memory, has_halted=False)
            steps.append(self.step(memory))
        return PromptRun(tuple(steps), memory, has_halted=True)

    def step(self, memory: KeyValueStore) -> PromptStep:
        """Run one cycle and change the memory."""
        prompt = memory.expand(memory.read("op"), "@")
        answer = self.model(prompt)
        statements = list(_STATEMENT.finditer(answer))
        if not statements:
            raise UserError(f'expected statements such as op="halt" or i+=1, got the answer {answer!r}')
        assigned: dict[str, str] = {}
        added: dict[str, int] = {}
        for statement in statements:
            name = memory.expand(statement["name"], "%")
            if statement["value"] is None:
                added[name] = added.get(name, 0) + int(statement["sign"] + statement["amount"])
            else:
                assigned[name] = memory.expand(statement["value"], "%")
        for name, value in assigned.items():
            memory.assign(name, value)
        for name, amount in added.items():
            memory.add(name, amount)
        return PromptStep(prompt, answer, assigned, added)


PROMPT_MACHINE = Mechanism(
    name="prompt_machine",
    cls=PromptInterpreter,
    place="store",
    paper="Memory Augmented Large Language Models are Computationally Universal (2023)",
    arxiv="2301.04589",
    objective=("reasoning",),
    representation="explicit",
    integration=("associative retrieval",),
    read="substitution of stored values in the prompt",
    write="assignments in the answer",
    forget="by overwriting",
    capacity="unbounded",
    cost="one call of the text function a step",
    small={"model": str},
)


def replay(steps: Sequence[PromptStep], memory: KeyValueStore) -> PromptRun:
    """Repeat a run from its recorded answers.

    Args:
        steps: the log.
        memory: the store at the start of the run.

    Raises:
        UserError: if a prompt differs from the recorded one.
    """
    recorded = iter(steps)

    def answer(prompt: str) -> str:
        step = next(recorded)
        if step.prompt != prompt:
            raise UserError(f"the log has the prompt {step.prompt!r}, the program asks {prompt!r}; give its own memory")
        return step.answer

    return PromptInterpreter(answer).run(memory, max_steps=len(steps))
