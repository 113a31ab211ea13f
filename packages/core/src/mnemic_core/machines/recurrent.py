"""The base of machines, their recurrent cell, and the cell without memory as baseline."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import Device, MemoryState, SlotView

S = TypeVar("S", bound=MemoryState)

Inner = Literal["rnn", "lstm"]


class TokenMachine(SegmentMemory[S]):
    """A memory that is read and written token by token.

    A machine implements ``init_state``, ``_project`` (the part of a step without state, for all tokens of a segment at
    once) and ``_advance`` (the rest). A segment equals single steps of its tokens.

    Args:
        dim: width of tokens.
        out_dim: width of outputs.
        detach: ``"never"`` lets gradients cross segments, ``"stored"`` cuts them behind each segment or ``step``.
    """

    def __init__(self, dim: int, out_dim: int, detach: Detach) -> None:
        super().__init__(dim, detach)
        self.out_dim = out_dim

    @abstractmethod
    def _project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch gate"]:
        """Return the part of a step that depends on tokens alone."""

    @abstractmethod
    def _advance(self, projected: Float[Tensor, "batch gate"], state: S) -> tuple[Float[Tensor, "batch out_dim"], S]:
        """Return output and state after one projected token of every row."""

    def step(self, x: Float[Tensor, "batch dim"], state: S) -> tuple[Float[Tensor, "batch out_dim"], S]:
        """Run one token of every row."""
        output, state = self._advance(self._project(x), state)
        return output, state.map(self._stored)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: S, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], S]:
        outputs = []
        for time, token in enumerate(self._project(x).unbind(1)):
            output, after = self._advance(token, state)
            state = after if padding is None else after.replace_rows(padding[:, time], state)
            outputs.append(output)
        return torch.stack(outputs, dim=1), state


@dataclass(frozen=True)
class RecurrentState(MemoryState):
    """State of a recurrent cell, zeros before the first token.

    Attributes:
        hidden: the last output.
        cell: content of an LSTM's cells; of width 0 in a plain RNN.
    """

    hidden: Float[Tensor, "batch hidden"]
    cell: Float[Tensor, "batch cell"]

    def slots(self) -> SlotView:
        """Return the hidden state as one slot, in use once it is not zero."""
        return SlotView.of_equal_age(self.hidden[:, None], (self.hidden != 0).any(1).long())


class RecurrentCell(nn.Module):
    """The cell of the machines: a ReLU RNN or an LSTM that also sees what was read from the memory.

    With token ``x``, read ``r``, last output ``h`` (and cell ``c``) as row vectors:

    - ``"rnn"``: ``h' = relu(x W_x + [r; h] W_r + b)``;
    - ``"lstm"``: ``i, g, f, o = x W_x + [r; h] W_r + b``, ``c' = sigmoid(f) c + sigmoid(i) tanh(g)``,
      ``h' = sigmoid(o) tanh(c')``; the bias of ``f`` starts at 1 (Jozefowicz et al. 2015).

    ``W_x`` is separate so that all tokens of a segment are projected in one product.

    Args:
        dim: width of tokens.
        hidden_dim: width of the hidden state.
        read_dim: width of what is read.
        inner: ``"rnn"`` or ``"lstm"``.
    """

    def __init__(self, dim: int, hidden_dim: int, read_dim: int, inner: Inner) -> None:
        super().__init__()
        check_choice(Inner, inner=inner)
        check_at_least(1, hidden_dim=hidden_dim)
        self.hidden_dim = hidden_dim
        self.cell_dim = hidden_dim if inner == "lstm" else 0
        width = hidden_dim * (4 if inner == "lstm" else 1)
        self.inputs = nn.Linear(dim, width)
        self.recurrent = nn.Linear(read_dim + hidden_dim, width, bias=False)
        # The fan-in of the official code's matrices: one matrix for all inputs of an LSTM; that of an RNN for its last
        # output is separate, with its own fan-in.
        seen = dim + read_dim
        initialize(self.inputs, seen + self.cell_dim)
        initialize(self.recurrent, seen + self.cell_dim)
        with torch.no_grad():
            if self.cell_dim:
                self.inputs.bias[2 * hidden_dim : 3 * hidden_dim] = 1  # of the forget gate
            else:
                self.recurrent.weight[:, read_dim:] *= (seen / hidden_dim) ** 0.5

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> RecurrentState:
        """Return zeros."""
        widths = self.hidden_dim, self.cell_dim
        return RecurrentState(*(torch.zeros(batch, width, device=device, dtype=dtype) for width in widths))

    def forward(
        self, projected: Float[Tensor, "batch gate"], state: RecurrentState, *read: Float[Tensor, "batch read"]
    ) -> tuple[Float[Tensor, "batch hidden"], RecurrentState]:
        """Return output and next state for ``x W_x + b`` and what was read from the memory, in any parts."""
        seen = torch.cat([part.to(projected.dtype) for part in (*read, state.hidden)], dim=-1)
        gates = projected + self.recurrent(seen)
        if not self.cell_dim:
            hidden, cell = torch.relu(gates), state.cell
        else:
            admit, new, keep, show = gates.to(state.cell.dtype).chunk(4, dim=-1)  # cells accumulate in their own type
            cell = torch.sigmoid(keep) * state.cell + torch.sigmoid(admit) * torch.tanh(new)
            hidden = (torch.sigmoid(show) * torch.tanh(cell)).to(gates.dtype)
        return hidden, RecurrentState(hidden.to(state.hidden.dtype), cell)


class CellMachine(TokenMachine[S]):
    """A machine around one recurrent cell, which gets what was read from a memory.

    Args:
        dim: width of tokens.
        hidden_dim: width of the hidden state and of outputs; ``dim`` if None.
        read_dim: width of what is read.
        inner: ``"rnn"`` or ``"lstm"``.
        detach: as in :class:`TokenMachine`.
    """

    def __init__(self, dim: int, hidden_dim: int | None, read_dim: int, inner: Inner, detach: Detach) -> None:
        super().__init__(dim, dim if hidden_dim is None else hidden_dim, detach)
        self.cell = RecurrentCell(dim, self.out_dim, read_dim, inner)

    def _project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch gate"]:
        projected: Tensor = self.cell.inputs(x)
        return projected


class RecurrentMachine(CellMachine[RecurrentState]):
    """The cell without a memory, as baseline of stack and tape machines.

    A ReLU RNN as in Elman (1990) or an LSTM as in Hochreiter and Schmidhuber (1997); see :class:`RecurrentCell`. State:
    ``hidden_dim`` values per row (twice that for the LSTM), 4 bytes each.

    Args:
        dim: width of tokens.
        hidden_dim: width of the hidden state and of outputs; ``dim`` if None.
        inner: ``"rnn"`` or ``"lstm"``.
        detach: as in :class:`TokenMachine`.

    Example:
        >>> machine = RecurrentMachine(dim=3, hidden_dim=5)
        >>> output, state = machine(torch.zeros(2, 7, 3), machine.init_state(batch=2))
        >>> output.shape
        torch.Size([2, 7, 5])
    """

    def __init__(
        self, dim: int, *, hidden_dim: int | None = None, inner: Inner = "rnn", detach: Detach = "never"
    ) -> None:
        super().__init__(dim, hidden_dim, 0, inner, detach)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> RecurrentState:
        """Return zeros."""
        return self.cell.init_state(batch, device=device, dtype=dtype)

    def _advance(
        self, projected: Float[Tensor, "batch gate"], state: RecurrentState
    ) -> tuple[Float[Tensor, "batch hidden"], RecurrentState]:
        advanced: tuple[Tensor, RecurrentState] = self.cell(projected, state)
        return advanced


RECURRENT = Mechanism(
    name="recurrent",
    cls=RecurrentMachine,
    place="machine",
    paper="the recurrent cell alone, baseline of the machines",
    arxiv=None,
    objective=("ablation",),
    representation="state-based",
    integration=("gated control",),
    read="hidden state",
    write="recurrent update",
    forget="by overwriting",
    capacity="1 vector",
    cost="O(T d^2) in T steps",
    bytes_per_row="4 * dim",
    presets={"rnn": {"inner": "rnn"}, "lstm": {"inner": "lstm"}},
)


def initialize(layer: nn.Linear, fan_in: int | None = None) -> None:
    """Initialize a layer as Haiku does: normal with deviation ``fan_in ** -0.5``, truncated at two; biases 0.

    Stacks that start from PyTorch's narrower default fit the training lengths but seldom generalize far beyond them.
    ``fan_in`` is for layers that are a part of a larger matrix.
    """
    deviation = (fan_in or layer.in_features) ** -0.5
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def convert_official_cell(weights: dict[str, Tensor], read_dim: int, core: str) -> dict[str, Tensor]:
    """Return the state of a machine's cell for the Haiku ``VanillaRNN`` or ``LSTM`` that is left of a core's weights.

    Raises:
        UserError: if there is no such cell among the weights, or more than that.
    """
    if "~/lstm/linear/w" in weights:  # one product over [x; read; h], gates in the order i, g, f, o
        weight, bias = weights.pop("~/lstm/linear/w"), weights.pop("~/lstm/linear/b").clone()
        hidden = len(bias) // 4
        bias[2 * hidden : 3 * hidden] += 1  # Haiku adds this 1 in every step
    elif "~/vanilla_rnn/linear/w" in weights:  # one product over [x; read], one over h, each with a bias
        names = ("~/vanilla_rnn/linear", "~/vanilla_rnn/linear_1")
        weight = torch.cat([weights.pop(f"{name}/w") for name in names])
        bias = torch.stack([weights.pop(f"{name}/b") for name in names]).sum(0)
        hidden = len(bias)
    else:
        raise UserError(f"expected the weights of a vanilla_rnn or an lstm, got {sorted(weights)}")
    if weights:
        raise UserError(f"a {core} has no weights {sorted(weights)}; convert those of the core alone")
    dim = len(weight) - read_dim - hidden
    inputs, recurrent = (part.T.contiguous() for part in (weight[:dim], weight[dim:]))
    return {"cell.inputs.weight": inputs, "cell.inputs.bias": bias, "cell.recurrent.weight": recurrent}


def strip_official_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights of a Haiku module without its prefix; weights of other modules are a ``UserError``."""
    foreign = sorted(name for name in weights if not name.startswith(prefix))
    if foreign:
        raise UserError(f"expected weights of {prefix.rstrip('/')} only, got {foreign}; convert them separately")
    return {name.removeprefix(prefix): weight for name, weight in weights.items()}
