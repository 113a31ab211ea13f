"""Interface of beam search to next-token scorers: attention decoder, CTC, language model."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mnemic_core import MemoryState

State = TypeVar("State", bound="BeamState")


@dataclass(frozen=True)
class BeamState(MemoryState):
    """State of a scorer for the hypotheses of every utterance.

    The batch axis is utterances, so that ``index_select`` drops finished ones. Tensors of hypotheses have the beam as
    second axis; tensors shared by the hypotheses of an utterance lack it.
    """

    @abstractmethod
    def reorder(self: State, parents: Int[Tensor, "batch beam"]) -> State:
        """Return the state with the hypotheses of each beam replaced by those at ``parents``."""

    def reserve(self: State, num_tokens: int) -> State:
        """Return the state with capacity for ``num_tokens`` tokens; most states need none."""
        return self


@runtime_checkable
class TokenScorer(Protocol):
    """A language model for shallow fusion in beam search."""

    def init_state(self, batch: int, beam: int) -> Any:
        """Return the :class:`BeamState` of empty hypotheses."""

    def step(self, tokens: Int[Tensor, "batch beam"], state: Any) -> tuple[Float[Tensor, "batch beam vocab"], Any]:
        """Return the log-probability of every token after ``tokens``, at first the start symbol, and the new state."""


def select_beams(
    tensor: Shaped[Tensor, "batch beam *rest"], parents: Int[Tensor, "batch chosen"]
) -> Shaped[Tensor, "batch chosen *rest"]:
    """Return the hypotheses of each utterance at the indices ``parents``."""
    return tensor[torch.arange(len(parents), device=parents.device)[:, None], parents]
