"""A small network trained at test time, whose weights are the memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import check_at_least
from mnemic_core.layers import or_no_padding, tokens_first
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import Device, MemoryState, SlotView


@dataclass(frozen=True)
class SurpriseState(MemoryState):
    """The network of every row and the state of its training.

    Attributes:
        weights: the layers of the network, ``M`` in the equations.
        momentum: past surprise, ``S``: the decaying sum of updates.
        anchor: the weights at the start of the current chunk, where gradients are taken.
        count: tokens written so far.
    """

    weights: Float[Tensor, "batch layer dim dim"]
    momentum: Float[Tensor, "batch layer dim dim"]
    anchor: Float[Tensor, "batch layer dim dim"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return the columns of the last layer as slots, all as old as the sequence."""
        return SlotView.of_equal_age(self.weights[:, -1].mT, self.count)


@dataclass(frozen=True)
class _Tokens(MemoryState):
    """Projections and gates of tokens; places without a token have no effect."""

    query: Float[Tensor, "batch time dim"]
    key: Float[Tensor, "batch time dim"]
    value: Float[Tensor, "batch time dim"]
    log_keep: Float[Tensor, "batch time"]  # log(1 - alpha)
    log_carry: Float[Tensor, "batch time"]  # log(eta)
    size: Float[Tensor, "batch time"]  # theta
    valid: Bool[Tensor, "batch time"]

    def cut(self, start: int, stop: int) -> "_Tokens":
        """Return a range of places."""
        return self.map(lambda part: part[:, start:stop])


class SurpriseMemory(SegmentMemory[SurpriseState]):
    """Learns at test time: each token trains a small network to recall a value from a key, then queries it.

    This project's reading of memories that learn by surprise, after Titans (Behrouz et al. 2025, arXiv:2501.00663,
    sections 3.1 and 3.2). With ``f_M`` a linear map (``depth`` 1) or a network with SiLU between its layers,
    ``|k_t| = |q_t| = 1`` and three gates computed from the token::

        k_t, v_t, q_t = x_t W_K, x_t W_V, x_t W_Q
        loss_t(M) = 1/2 |f_M(k_t) - v_t|^2                        recall error
        S_t = eta_t S_{t-1} - theta_t grad loss_t(M_{c(t)})       past and momentary surprise
        M_t = (1 - alpha_t) M_{t-1} + alpha_t R + S_t             forgetting and learning
        y_t = W_O norm(f_{M_t}(q_t))

    A token that the memory already predicts has no gradient. ``c(t)`` is the last token before the chunk of ``t``;
    chunks are ``chunk_length`` tokens of a row, independent of segments and padding. All gradients of a chunk, outer
    products ``signal_i input_i^T``, are therefore known at once, and the recurrence unrolls to ``M_t = a_t M_0 + b_t
    S_0 - sum over i <= t of c_ti theta_i signal_i input_i^T`` with products of gates ``a, b, c``. ``forward`` computes
    all ``y_t`` of a chunk with matrix products, without any ``M_t``; :meth:`step` is the recurrence itself.

    Differences from the paper: no convolution and no SiLU on queries, keys and values, half the squared error, and

    - ``theta_t = sigmoid(.) (1 - eta_t) / chunk_length``, with which a chunk of equal tokens adds at most one full
      correction, so that a linear memory cannot diverge. In a deep one a gradient that is longer than the error is
      shortened to the step of Polyak, ``|error|^2 / |gradient|^2``, for the same reason.
    - ``R``, to which forgetting leads, has a last layer of zeros, which recalls nothing, but the other layers of the
      initial network: if they were forgotten too, no gradient would be left to learn from. With ``depth`` 1 it is 0.

    State: ``3 * depth * dim**2`` numbers in float32 and a counter, ``12 * depth * dim**2 + 8`` bytes per row.

    Args:
        dim: width of tokens and of every layer of the network.
        depth: layers of the network; deeper ones remember more, according to the paper.
        chunk_length: tokens whose gradients are taken at the same weights.
        detach: ``"never"`` (the paper) lets gradients cross segments, ``"stored"`` does not.

    Example:
        >>> memory, x = SurpriseMemory(dim=4, chunk_length=2), torch.randn(1, 5, 4)
        >>> whole, _ = memory(x, memory.init_state(batch=1))
        >>> first, state = memory(x[:, :3], memory.init_state(batch=1))
        >>> second, state = memory(x[:, 3:], state)
        >>> torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-5)
        True
    """

    def __init__(self, dim: int, *, depth: int = 1, chunk_length: int = 16, detach: Detach = "never") -> None:
        super().__init__(dim, detach)
        check_at_least(1, depth=depth, chunk_length=chunk_length)
        self.depth, self.chunk_length = depth, chunk_length
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.gates = nn.Linear(dim, 3)  # logits of step size, momentum and forgetting
        with torch.no_grad():
            # Learn fast, keep half of the past surprise, forget 2 % in ten tokens: it works untrained.
            self.gates.bias.copy_(torch.tensor([2.0, 0.0, -6.0]))
        # With a last layer of zeros an initial memory recalls nothing; the other layers must be random to learn.
        self.initial = nn.Parameter(torch.randn(depth, dim, dim) * dim**-0.5)
        with torch.no_grad():
            self.initial[-1].zero_()
        self.norm = nn.RMSNorm(dim, eps=1e-5)  # the first recalls are only 1 / chunk_length of a value
        self.output = nn.Linear(dim, dim, bias=False)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> SurpriseState:
        """Return the learned initial network for every row, by default in float32."""
        initial = self.initial.to(device, dtype or torch.float32)
        # Copies, not views of the parameter, so that the first step compiles to the same graph as the others.
        weights, anchor = (initial.expand(batch, -1, -1, -1).clone() for _ in range(2))
        count = torch.zeros(batch, device=weights.device, dtype=torch.long)
        return SurpriseState(weights, torch.zeros_like(weights), anchor, count)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: SurpriseState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], SurpriseState]:
        """Learn from the tokens and answer each with the memory after it, chunk by chunk."""
        place, source, valid = self._places(x, state, padding)
        placed = x.take_along_dim(source[..., None], dim=1).masked_fill(~valid[..., None], 0)
        tokens = self._project(placed, valid, state)
        recalled, rest = [], self._rest(state)
        for start in range(0, valid.shape[1], self.chunk_length):
            answers, state = _learn_chunk(tokens.cut(start, start + self.chunk_length), state, rest)
            recalled.append(answers)
        return self._answer(torch.cat(recalled, dim=1).take_along_dim(place[..., None], dim=1), x), state

    def step(
        self, x: Float[Tensor, "batch dim"], state: SurpriseState
    ) -> tuple[Float[Tensor, "batch dim"], SurpriseState]:
        """Learn from one token of every row and answer it, by the recurrence of the class docstring."""
        valid = torch.ones(len(x), 1, device=x.device, dtype=torch.bool)
        token = self._project(x[:, None], valid, state)
        factors = zip(*_gradient_factors(state.anchor, token.key, token.value), strict=True)
        gradient = torch.stack([signal.mT @ given for given, signal in factors], dim=1)
        keep, carry, size = (
            gate[..., None, None] for gate in (token.log_keep.exp(), token.log_carry.exp(), token.size)
        )
        rest = self._rest(state)
        momentum = carry * state.momentum - size * gradient
        weights = rest + keep * (state.weights - rest) + momentum
        count = state.count + 1
        is_chunk_end = (count % self.chunk_length == 0)[:, None, None, None]
        after = SurpriseState(weights, momentum, torch.where(is_chunk_end, weights, state.anchor), count)
        return self._answer(_recall(weights, token.query)[:, 0], x), after.map(self._stored)

    def _rest(self, state: SurpriseState) -> Float[Tensor, "layer dim dim"]:
        """Return the network to which forgetting leads."""
        initial = self.initial.to(state.weights.dtype)
        return torch.cat([initial[:-1], torch.zeros_like(initial[-1:])])

    def _places(
        self, x: Float[Tensor, "batch time dim"], state: SurpriseState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch place"], Bool[Tensor, "batch place"]]:
        """Arrange the tokens of each row without padding in chunks, the first of which may have started before.

        Returns:
            The place of each token, the token of each place, and True at places with a token.
        """
        time = x.shape[1]
        begun = (state.count % self.chunk_length)[:, None]
        counts = ~or_no_padding(padding, x)
        # The largest number of chunks, so that shapes do not depend on data.
        chunks = -(-(self.chunk_length - 1 + time) // self.chunk_length)
        rank = torch.arange(chunks * self.chunk_length, device=x.device) - begun  # of the token that has the place
        valid = (rank >= 0) & (rank < counts.sum(1, keepdim=True))
        source = rank.clamp(0, time - 1)
        if padding is not None:
            source = tokens_first(padding).gather(1, source)
        return (counts.cumsum(1) - 1).clamp(min=0) + begun, source, valid

    def _project(
        self, x: Float[Tensor, "batch place dim"], valid: Bool[Tensor, "batch place"], state: SurpriseState
    ) -> _Tokens:
        dtype = state.weights.dtype
        eps = max(1e-12, torch.finfo(dtype).tiny)  # in float16 the default is 0, and unfilled places would be NaN
        query, key, value = self.query_key_value(x).to(dtype).chunk(3, dim=-1)
        size, momentum, forgetting = self.gates(x).to(dtype).unbind(-1)
        return _Tokens(
            F.normalize(query, dim=-1, eps=eps),
            F.normalize(key, dim=-1, eps=eps),
            value,
            F.logsigmoid(-forgetting).masked_fill(~valid, 0),
            F.logsigmoid(momentum).masked_fill(~valid, 0),
            (size.sigmoid() * (-momentum).sigmoid() / self.chunk_length).masked_fill(~valid, 0),
            valid,
        )

    def _answer(
        self, recalled: Float[Tensor, "batch *time dim"], x: Float[Tensor, "batch *time dim"]
    ) -> Float[Tensor, "batch *time dim"]:
        answer: Tensor = self.output(self.norm(recalled.to(x.dtype)))
        # A linear initial network enters through the initial state only, but data parallelism waits for a gradient of
        # every parameter in each forward pass.
        return answer + 0 * self.initial.sum()


SURPRISE = Mechanism(
    name="surprise",
    cls=SurpriseMemory,
    place="beside",
    paper="Titans: Learning to Memorize at Test Time (2025), our reading of its family",
    arxiv="2501.00663",
    objective=("adaptation", "context extension"),
    representation="hybrid",
    integration=("gated control", "associative retrieval"),
    read="a forward pass of the network that is the memory",
    write="gradient step on the recall error, with momentum",
    forget="weight decay, gated by the token",
    capacity="`depth` matrices of `dim` x `dim`",
    cost="O(T d^2)",
    bytes_per_row="12 * depth * dim**2 + 8",
    small={"chunk_length": 3},
    sized=lambda sizes: {"chunk_length": sizes.segment_length},
)


def _learn_chunk(
    tokens: _Tokens, state: SurpriseState, rest: Float[Tensor, "layer dim dim"]
) -> tuple[Float[Tensor, "batch time dim"], SurpriseState]:
    """Return what each token of a chunk recalls after it was learned, and the new state."""
    keep, carry = _products(tokens.log_keep), _products(tokens.log_carry)
    # Column 0 is the momentum before the chunk, column 1 + i the gradient of token i. Momentum enters the weights at
    # tokens only, not at unfilled places.
    carry = torch.cat([tokens.log_carry.cumsum(-1).exp()[..., None], carry], dim=-1)
    arrived = (keep * tokens.valid[:, None]) @ carry
    kept = tokens.log_keep.cumsum(-1).exp()[..., None]  # batch time 1
    past, influence = arrived[..., :1], arrived[..., 1:] * tokens.size[:, None]
    inputs, signals = _gradient_factors(state.anchor, tokens.key, tokens.value)
    recalled, weights, momentum = tokens.query, [], []
    for layer, (given, signal) in enumerate(zip(inputs, signals, strict=True)):
        old, surprise = state.weights[:, layer] - rest[layer], state.momentum[:, layer]
        recalled = F.silu(recalled) if layer else recalled
        learned = (recalled @ given.mT * influence) @ signal  # the sum of outer products applied to the query
        recalled = recalled @ rest[layer].mT + kept * (recalled @ old.mT) + past * (recalled @ surprise.mT) - learned
        new = (signal * influence[:, -1, :, None]).mT @ given
        weights.append(rest[layer] + kept[:, -1:] * old + past[:, -1:] * surprise - new)
        newest = (signal * (carry[:, -1, 1:] * tokens.size)[..., None]).mT @ given
        momentum.append(carry[:, -1:, :1] * surprise - newest)
    after = torch.stack(weights, dim=1)
    is_full = tokens.valid[:, -1, None, None, None]  # places are filled from the left
    anchor = torch.where(is_full, after, state.anchor)
    return recalled, SurpriseState(after, torch.stack(momentum, dim=1), anchor, state.count + tokens.valid.sum(1))


def _gradient_factors(
    weights: Float[Tensor, "batch layer dim dim"],
    key: Float[Tensor, "batch time dim"],
    value: Float[Tensor, "batch time dim"],
) -> tuple[list[Float[Tensor, "batch time dim"]], list[Float[Tensor, "batch time dim"]]]:
    """Return input and error signal of every layer, whose outer products are the gradients, shortened if steep."""
    inputs, slopes = [key], []
    for layer in range(weights.shape[1] - 1):
        hidden = inputs[-1] @ weights[:, layer].mT
        gate = hidden.sigmoid()
        slopes.append(gate * (1 + hidden * (1 - gate)))  # derivative of SiLU
        inputs.append(hidden * gate)
    signals = [inputs[-1] @ weights[:, -1].mT - value]
    for layer in reversed(range(len(slopes))):
        signals.insert(0, signals[0] @ weights[:, layer + 1] * slopes[layer])
    if len(signals) == 1:
        return inputs, signals  # |key| = 1: gradient and error have one length
    error = signals[-1].square().sum(-1)
    gradient = sum(
        given.square().sum(-1) * signal.square().sum(-1) for given, signal in zip(inputs, signals, strict=True)
    )
    is_steep = gradient > error
    length = torch.where(is_steep, error / torch.where(is_steep, gradient, 1), 1)[..., None]  # batch time 1
    return inputs, [length * signal for signal in signals]


def _recall(
    weights: Float[Tensor, "batch layer dim dim"], query: Float[Tensor, "batch time dim"]
) -> Float[Tensor, "batch time dim"]:
    for layer in range(weights.shape[1]):
        query = (F.silu(query) if layer else query) @ weights[:, layer].mT
    return query


def _products(log_gate: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time time"]:
    """Return in entry ``[t, i]`` the product of the gates after ``i`` up to ``t``; zero for ``i`` after ``t``."""
    total = log_gate.cumsum(-1)
    difference = total[..., :, None] - total[..., None, :]
    later = torch.ones_like(difference, dtype=torch.bool).triu(1)
    # Masked before the exponential, whose overflow would make gradients NaN.
    return difference.masked_fill(later, -torch.inf).exp()
