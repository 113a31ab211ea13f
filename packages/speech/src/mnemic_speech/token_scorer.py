"""What beam search asks of everything that rates the next token: attention decoder, CTC, language model."""

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
    """What a scorer knows of the hypotheses of every utterance.

    The batch axis counts utterances, so that ``index_select`` drops those that are done. Tensors of hypotheses have
    the beam as their second axis; what the hypotheses of an utterance share is held once, without it.
    """

    @abstractmethod
    def reorder(self: State, parents: Int[Tensor, "batch beam"]) -> State:
        """Return the state in which each place of a beam goes on from the hypothesis that ``parents`` names."""

    def reserve(self: State, num_tokens: int) -> State:
        """Return the state with room for hypotheses of ``num_tokens`` tokens; most states need none."""
        return self


@runtime_checkable
class TokenScorer(Protocol):
    """A language model as beam search uses it, counted or neural."""

    def init_state(self, batch: int, beam: int) -> Any:
        """Return the :class:`BeamState` of hypotheses without a token."""

    def step(self, tokens: Int[Tensor, "batch beam"], state: Any) -> tuple[Float[Tensor, "batch beam vocab"], Any]:
        """Return the log-probability of every next token once ``tokens`` are read, and the state after them.

        The first tokens are the start symbol.
        """


def select_beams(
    tensor: Shaped[Tensor, "batch beam *rest"], parents: Int[Tensor, "batch chosen"]
) -> Shaped[Tensor, "batch chosen *rest"]:
    """Return the hypotheses of each utterance that ``parents`` names."""
    return tensor[torch.arange(len(parents), device=parents.device)[:, None], parents]
