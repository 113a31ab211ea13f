"""Checkpoint of an EMAT: the network with everything that it takes to fill a memory and to ask it."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from mnemic_core.errors import check_choice, check_range
from mnemic_core.stores.key_value_memory import Precision
from mnemic_retrieval.checkpoint import TextCheckpoint
from mnemic_retrieval.emat.memory import QuestionMemory
from mnemic_retrieval.emat.model import Emat


@dataclass(frozen=True)
class EmatSettings:
    """How a trained network is used.

    Attributes:
        max_tokens: longest question or answer; the rest is cut off.
        precision: of stored keys and values.
        threshold: abstain where no key's score reaches it; None: never.
    """

    max_tokens: int = 64
    precision: Precision = "float16"
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_range(self, 2, inf, "max_tokens")
        check_range(self, -inf, inf, "threshold")
        check_choice(Precision, precision=self.precision)


@dataclass(frozen=True)
class EmatCheckpoint(TextCheckpoint[Emat, EmatSettings], kind="emat"):
    """A trained network from text to text."""

    def new_memory(self) -> QuestionMemory:
        """Return a memory without any known answer."""
        settings = self.settings
        return QuestionMemory(self.model, self.tokenizer, precision=settings.precision, max_tokens=settings.max_tokens)

    def open_memory(self, folder: str | Path, *, mapped: bool = False) -> QuestionMemory:
        """Return a memory that this network made and `QuestionMemory.save` wrote; see `QuestionMemory.load`."""
        return QuestionMemory.load(
            folder, self.model, self.tokenizer, mapped=mapped, max_tokens=self.settings.max_tokens
        )
