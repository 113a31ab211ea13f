"""Recurrent Memory Transformer: memory as tokens that any model reads and rewrites."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layers import or_no_padding
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach
from mnemic_core.slots.model_adapter import HostModel, ModelWrapper
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class MemoryTokens(MemoryState):
    """The memory tokens of every row.

    Attributes:
        memory: input of the next segment, initially learned.
        count: segments that wrote it.
    """

    memory: Float[Tensor, "batch slot dim"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return the tokens as slots of age 0, since each segment rewrites all of them."""
        return SlotView.of_equal_age(self.memory, (self.count > 0).long())


class MemoryTokenWrapper(ModelWrapper[MemoryTokens]):
    """Surrounds each segment with memory tokens, whose hidden states are the memory of the next segment.

    Recurrent Memory Transformer (Bulatov, Kuratov and Burtsev, NeurIPS 2022, arXiv:2207.06881), section 3, with ``m``
    the memory and ``x`` the segment::

        causal:   [.. ; h ; m'] = model([m ; x ; m])      reads the first group, writes the last one
        encoder:  [m' ; h]      = model([m ; x])          one group for both
        y = head(h)

    State: ``num_tokens * dim`` values and one counter per row, for any depth of the model. A model with absolute
    positions, which restart with every segment, needs ``time + 2 * num_tokens`` of them (an encoder ``time +
    num_tokens``).

    Args:
        dim: width of embeddings and hidden states.
        host: any model that maps embeddings to hidden states of that width; None: a layer of causal attention.
        num_tokens: memory tokens per row; 10 for language modeling in the paper.
        causal: whether the model attends causally.
        initial_std: standard deviation of the initial memory; best that of the model's embeddings (GPT-2: 0.02).
        detach: ``"never"`` (the paper; a driver may still cut gradients) or ``"stored"``.

    Example:
        >>> from mnemic_core.slots.model_adapter import ModelAdapter
        >>> adapter = ModelAdapter(run=lambda model, embeds, padding, positions: model(embeds)[0])
        >>> host = HostModel(nn.GRU(4, 4, batch_first=True), adapter)
        >>> wrapper = MemoryTokenWrapper(dim=4, host=host, num_tokens=2)
        >>> y, state = wrapper(torch.zeros(1, 5, 4), wrapper.init_state(batch=1))
        >>> y.shape, state.memory.shape
        (torch.Size([1, 5, 4]), torch.Size([1, 2, 4]))
    """

    official_names: ClassVar = {"memory_cell.memory": "initial"}  # of booydar/recurrent-memory-transformer

    def __init__(
        self,
        dim: int,
        *,
        host: HostModel | None = None,
        num_tokens: int = 10,
        causal: bool = True,
        initial_std: float = 0.02,
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, host, detach)
        check_at_least(1, "use the model alone to keep nothing", num_tokens=num_tokens)
        if not initial_std > 0:
            # Equal tokens stay equal. (The Transformer-XL version of the official code does start them equal.)
            raise UserError(f"initial_std must be above 0, got {initial_std}: memory tokens must differ from the start")
        self.causal = causal
        self.initial = nn.Parameter(torch.randn(num_tokens, dim) * initial_std)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> MemoryTokens:
        """Return the learned memory for every row; gradients reach it."""
        initial = self.initial.to(device, dtype)
        return MemoryTokens(initial.expand(batch, -1, -1), torch.zeros(batch, device=initial.device, dtype=torch.long))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: MemoryTokens, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], MemoryTokens]:
        num_tokens, time = len(self.initial), x.shape[1]
        memory = state.memory.to(x.dtype)
        behind = num_tokens if self.causal else 0
        embeds = torch.cat([memory, x, memory[:, :behind]], dim=1)
        hidden = self._run(embeds, None if padding is None else F.pad(padding, (num_tokens, behind)))
        written = hidden[:, -num_tokens:] if self.causal else hidden[:, :num_tokens]
        has_tokens = ~or_no_padding(padding, x).all(1)
        after = torch.where(has_tokens[:, None, None], written.to(state.memory.dtype), state.memory)
        return self._head(hidden[:, num_tokens : num_tokens + time]), MemoryTokens(after, state.count + has_tokens)


MEMORY_TOKENS = Mechanism(
    name="memory_tokens",
    cls=MemoryTokenWrapper,
    place="model",
    paper="Recurrent Memory Transformer (NeurIPS 2022)",
    arxiv="2207.06881",
    objective=("context extension", "reasoning"),
    representation="state-based",
    integration=("attention fusion",),
    read="the wrapped model attends to the memory tokens",
    write="its hidden states at the memory tokens",
    forget="rewritten with every segment",
    capacity="`num_tokens` vectors",
    cost="the model on T + 2 K tokens",
    bytes_per_row="4 * num_tokens * dim + 8",
    small={"num_tokens": 2, "initial_std": 1.0},
    sized=lambda sizes: {"num_tokens": max(sizes.stored // 4, 1)},  # every segment attends to all, twice
)
