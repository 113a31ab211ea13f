"""The latest values of a row, read by attention."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import check_at_least
from mnemic_core.layers import attention_weights
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, ReadWriteMemory
from mnemic_core.state import Device


class WindowMemory(ReadWriteMemory[RingBuffer]):
    """Keeps the latest values of a row and recalls their mean, weighted by similarity to the query.

    Reading is scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1) without parameters; a
    first-in first-out window over earlier segments is the memory of Transformer-XL (arXiv:1901.02860).

    Args:
        dim: width of the values.
        capacity: values kept per row.
        detach: ``"stored"`` detaches what is stored, ``"never"`` does not.

    Example:
        >>> memory = WindowMemory(dim=4, capacity=2)
        >>> state = memory.write(memory.init_state(batch=1), torch.ones(1, 3, 4))
        >>> memory.read(torch.zeros(1, 1, 4), state)
        tensor([[[1., 1., 1., 1.]]])
    """

    def __init__(self, dim: int, *, capacity: int = 8, detach: Detach = "stored") -> None:
        super().__init__(dim, detach)
        check_at_least(1, "use NoMemory to keep nothing", capacity=capacity)
        self.capacity = capacity

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> RingBuffer:
        """Return empty windows."""
        return RingBuffer.empty(batch, self.capacity, self.dim, device=device, dtype=dtype)

    def read(self, query: Float[Tensor, "batch time dim"], state: RingBuffer) -> Float[Tensor, "batch time dim"]:
        """Return the attended mean of the stored values; zeros while the window is empty."""
        return self.read_weights(query, state) @ self._stored(state.items).to(query.dtype)

    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: RingBuffer
    ) -> Float[Tensor, "batch time slot"]:
        """Return the attention of each query to the slots; zeros while the window is empty."""
        # Masked, because the zeros of unused slots would otherwise take part in the softmax.
        return attention_weights(query, self._stored(state.items).to(query.dtype), state.valid()[:, None])

    def write(
        self,
        state: RingBuffer,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> RingBuffer:
        """Return the window after the values of a segment."""
        return state.append(self._stored(values), padding)


WINDOW = Mechanism(
    name="window",
    cls=WindowMemory,
    place="beside",
    is_read_write=True,
    paper="Transformer-XL: Attentive Language Models beyond a Fixed-Length Context (ACL 2019), its memory alone",
    arxiv="1901.02860",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="scaled dot-product attention",
    write="append",
    forget="first in, first out",
    capacity="`capacity` vectors",
    cost="O(T M d)",
    bytes_per_row="4 * capacity * dim + 16",
    small={"capacity": 3},
    sized=lambda sizes: {"capacity": sizes.stored},
    size_option="capacity",
)
