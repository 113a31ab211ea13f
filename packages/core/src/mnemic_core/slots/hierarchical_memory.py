"""Hierarchical Memory Transformer: recall from a bank of past segments, and the latest tokens unchanged."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layers import attention_weights, or_no_padding, tokens_first
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach
from mnemic_core.slots.model_adapter import HostModel, ModelWrapper
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class HierarchicalState(MemoryState):
    """Two of three levels of memory; the third is the model's attention within the segment.

    Attributes:
        bank: memory embeddings of the latest ``num_bank`` segments.
        sensory: embeddings of the latest ``num_sensory`` tokens.
    """

    bank: RingBuffer
    sensory: RingBuffer

    def slots(self) -> SlotView:
        """Return the bank."""
        return self.bank.slots()


class HierarchicalMemoryWrapper(ModelWrapper[HierarchicalState]):
    """Summarizes a segment, recalls similar segments, then runs the segment with what was recalled around it.

    Hierarchical Memory Transformer (He et al., NAACL 2025, arXiv:2405.06067), section 3, with ``p`` a learned prompt,
    ``N`` the bank, ``m_0`` a learned embedding, ``f`` the summary fraction and ``k`` the latest tokens before::

        s = model([p ; x[: round(f T)] ; p])_last                    summary of the segment
        r = softmax((s Wq) (N Wk)^T / sqrt(recall_dim)) N            m_0 while the bank is empty
        [.. ; h ; n] = model([r ; k ; x ; r])                        y = head(h);  n goes into the bank

    State: ``(num_bank + num_sensory) * dim`` values and four counters per row. A model with absolute positions needs
    ``time + num_sensory + 2`` of them.

    Args:
        dim: width of embeddings and hidden states.
        host: a causal model that maps embeddings to hidden states of that width; None: a layer of causal attention.
        num_bank: past segments that can be recalled.
        num_sensory: latest tokens that are repeated.
        summary_fraction: share of the segment that is summarized, in (0, 1].
        recall_dim: width of the recall's queries and keys; ``dim`` by default.
        initial_std: standard deviation of the learned prompt and ``m_0``; best that of the model's embeddings.
        detach: ``"never"`` (the paper; a driver may still cut gradients) or ``"stored"``.

    Example:
        >>> from mnemic_core.slots.model_adapter import ModelAdapter
        >>> adapter = ModelAdapter(run=lambda model, embeds, padding, positions: model(embeds)[0])
        >>> host = HostModel(nn.GRU(4, 4, batch_first=True), adapter)
        >>> wrapper = HierarchicalMemoryWrapper(dim=4, host=host, num_bank=8)
        >>> state = wrapper.init_state(batch=1)
        >>> for segment in torch.zeros(3, 1, 5, 4):
        ...     y, state = wrapper(segment, state)
        >>> y.shape, state.bank.count
        (torch.Size([1, 5, 4]), tensor([3]))
    """

    official_names: ClassVar = {  # of OswaldHe/HMT-pytorch
        "mem": "prompt",
        "memory_cell.memory": "initial",
        "cross_attn.wq.weight": "query.weight",
        "cross_attn.wk.weight": "key.weight",
    }

    def __init__(
        self,
        dim: int,
        *,
        host: HostModel | None = None,
        num_bank: int = 300,
        num_sensory: int = 32,
        summary_fraction: float = 0.5,
        recall_dim: int | None = None,
        initial_std: float = 0.02,
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, host, detach)
        recall_dim = dim if recall_dim is None else recall_dim
        check_at_least(1, num_bank=num_bank, num_sensory=num_sensory, recall_dim=recall_dim)
        if not 0 < summary_fraction <= 1:
            raise UserError(f"summary_fraction must be above 0 and at most 1, got {summary_fraction}")
        self.num_bank, self.num_sensory, self.summary_fraction = num_bank, num_sensory, summary_fraction
        self.prompt = nn.Parameter(torch.randn(1, dim) * initial_std)
        self.initial = nn.Parameter(torch.randn(1, dim) * initial_std)
        self.query = nn.Linear(dim, recall_dim, bias=False)
        self.key = nn.Linear(dim, recall_dim, bias=False)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> HierarchicalState:
        """Return an empty bank and no sensory tokens."""
        device = self.initial.device if device is None else device
        dtype = self.initial.dtype if dtype is None else dtype
        bank, sensory = (
            RingBuffer.empty(batch, capacity, self.dim, device=device, dtype=dtype)
            for capacity in (self.num_bank, self.num_sensory)
        )
        return HierarchicalState(bank, sensory)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: HierarchicalState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], HierarchicalState]:
        time = x.shape[1]
        recalled = self.recall(self.summarize(x, padding), state)
        embeds = torch.cat([recalled, state.sensory.ordered().to(x.dtype), x, recalled], dim=1)
        padding = or_no_padding(padding, x)
        # Rings fill from slot 0, so that the same indices are in use before and after ordering.
        hidden = self._run(embeds, F.pad(torch.cat([~state.sensory.valid(), padding], dim=1), (1, 1)))
        # Embeddings instead of the official token ids work for any input. The latest tokens may come from several
        # segments, where the official code keeps those of the last one only.
        new_state = HierarchicalState(
            state.bank.append(hidden[:, -1:], padding.all(1, keepdim=True)),
            state.sensory.append(x, padding),
        )
        return self._head(hidden[:, -1 - time : -1]), new_state

    def summarize(
        self, x: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch 1 dim"]:
        """Return the summary of the first tokens of the segment, the query of the recall."""
        length = round(self.summary_fraction * x.shape[1])
        if padding is None:
            x = x[:, :length]
        else:
            x = x.take_along_dim(tokens_first(padding)[:, :length, None], dim=1)
            lengths = (self.summary_fraction * (~padding).sum(1).double()).round()  # half to even, as Python rounds
            padding = F.pad(torch.arange(length, device=x.device) >= lengths[:, None], (1, 1))
        prompt = self.prompt.to(x.dtype).expand(x.shape[0], -1, -1)
        return self._run(torch.cat([prompt, x, prompt], dim=1), padding)[:, -1:]

    def recall(
        self, query: Float[Tensor, "batch query dim"], state: HierarchicalState
    ) -> Float[Tensor, "batch query dim"]:
        """Return the mean of the bank weighted by attention, ``m_0`` while it is empty."""
        attended = self.recall_weights(query, state) @ state.bank.items.to(query.dtype)
        is_empty = (state.bank.count == 0)[:, None, None]
        return torch.where(is_empty, self.initial.to(query.dtype), attended)

    def recall_weights(
        self, query: Float[Tensor, "batch query dim"], state: HierarchicalState
    ) -> Float[Tensor, "batch query slot"]:
        """Return the attention of each query to the bank; zeros while it is empty."""
        keys = self.key(state.bank.items.to(query.dtype))  # batch slot recall_dim
        # For models of width 4096 and more the official training code divides the logits by recall_dim instead of its
        # root, its generation by the root as here.
        return attention_weights(self.query(query), keys, state.bank.valid()[:, None])


HIERARCHICAL = Mechanism(
    name="hierarchical",
    cls=HierarchicalMemoryWrapper,
    place="model",
    paper="HMT: Hierarchical Memory Transformer for Efficient Long Context Language Processing (NAACL 2025)",
    arxiv="2405.06067",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion", "associative retrieval"),
    read="attention of the segment's summary over the bank; latest tokens unchanged",
    write="append the last hidden state",
    forget="first in, first out",
    capacity="`num_bank` vectors and `num_sensory` tokens",
    cost="the model on T / 2 and on T + K tokens, O(N d)",
    bytes_per_row="4 * (num_bank + num_sensory) * dim + 32",
    small={"num_bank": 3, "num_sensory": 2, "recall_dim": 3, "initial_std": 1.0},
    sized=lambda sizes: {"num_bank": sizes.stored, "num_sensory": sizes.segment_length},
    size_option="num_bank",
    is_causal=False,  # what later tokens recall precedes the first token
)
