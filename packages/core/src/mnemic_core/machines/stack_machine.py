"""A recurrent cell with differentiable stacks (Stack-RNN, Stack-LSTM)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.machines.recurrent import (
    CellMachine,
    Inner,
    RecurrentState,
    convert_official_cell,
    initialize,
    strip_official_prefix,
)
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach
from mnemic_core.state import Device, MemoryState, SlotView

NUM_ACTIONS = 3  # push, pop, no-op
NO_STACK = "use RecurrentMachine to have no stack"


@dataclass(frozen=True)
class StackState(MemoryState):
    """Stacks and the state of the recurrent cell.

    Attributes:
        stacks: content, top first; zeros where nothing was pushed.
        recurrent: state of the cell.
        tokens: tokens of the sequence so far, an upper bound of the depth.
    """

    stacks: Float[Tensor, "batch stack size cell"]
    recurrent: RecurrentState
    tokens: Int[Tensor, " batch"]

    @property
    def size(self) -> int:
        """Cells of one stack."""
        return self.stacks.shape[2]

    def resize(self, size: int) -> "StackState":
        """Return the state with ``size`` cells in every stack, added or removed at the bottom."""
        check_at_least(1, NO_STACK, size=size)
        return replace(self, stacks=F.pad(self.stacks, (0, 0, 0, size - self.size)))

    def slots(self) -> SlotView:
        """Return all cells of all stacks with their depth, the least number of later pushes, as age."""
        batch, num_stacks, size, _ = self.stacks.shape
        depth = torch.arange(size, device=self.stacks.device).expand(batch, num_stacks, size).flatten(1)
        valid = depth < self.tokens[:, None]
        return SlotView(self.stacks.flatten(1, 2), valid, torch.where(valid, depth, -1))


class StackCell(CellMachine[StackState]):
    """A recurrent cell that pushes to and pops from differentiable stacks with fractional actions.

    Stacks as in Joulin and Mikolov 2015 (arXiv:1503.01007, equations 5 and 6), the network as in Delétang et al. 2023,
    "Neural Networks and the Chomsky Hierarchy" (arXiv:2207.02098, section 4 and appendix). One step with token ``x``
    and stacks ``s`` (``s[0]`` is the top, read before the update)::

        h' = cell([x; s[0] of every stack], h)                 a ReLU RNN or an LSTM
        v = h' W_v + b_v                                       one value per stack, not squashed
        push, pop, keep = softmax(h' W_a + b_a)                three shares per stack
        s'[0] = push v + pop s[1] + keep s[0]
        s'[i] = push s[i-1] + pop s[i+1] + keep s[i]           zeros enter at the bottom, where content is lost
        y = h'

    A network with it learns deterministic context-free languages and generalizes to longer strings if ``size``, on
    which no weight depends, covers their depth.

    State: ``num_stacks * size * cell_dim + hidden_dim`` values (one more ``hidden_dim`` for the LSTM) of 4 bytes and
    a counter of 8 bytes per row.

    Args:
        dim: width of tokens.
        hidden_dim: width of the hidden state and of outputs; ``dim`` if None, 256 in the paper.
        cell_dim: width of what is pushed.
        size: cells of one stack in new states.
        num_stacks: number of stacks.
        joint_actions: one softmax over the actions of all stacks, as in the official code. The shares of several
            stacks then do not sum to 1, so that their content shrinks with every step.
        inner: ``"rnn"`` or ``"lstm"``.
        detach: ``"never"`` (the paper) lets gradients cross segments, ``"stored"`` does not.

    Example:
        >>> machine = StackCell(dim=3, hidden_dim=5, cell_dim=2, size=4)
        >>> output, state = machine(torch.zeros(1, 7, 3), machine.init_state(batch=1, size=9))
        >>> output.shape, state.stacks.shape
        (torch.Size([1, 7, 5]), torch.Size([1, 1, 9, 2]))
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int | None = None,
        cell_dim: int = 8,
        size: int = 30,
        num_stacks: int = 1,
        joint_actions: bool = False,
        inner: Inner = "rnn",
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, hidden_dim, num_stacks * cell_dim, inner, detach)
        check_at_least(1, NO_STACK, cell_dim=cell_dim, num_stacks=num_stacks, size=size)
        self.cell_dim = cell_dim
        self.size = size
        self.num_stacks = num_stacks
        self.joint_actions = joint_actions
        self.control = nn.Linear(self.out_dim, num_stacks * (cell_dim + NUM_ACTIONS))  # all values, then all actions
        initialize(self.control)

    def init_state(
        self, batch: int, *, size: int | None = None, device: Device = None, dtype: torch.dtype | None = None
    ) -> StackState:
        """Return empty stacks of ``size`` cells, by default those of the machine; stacks accumulate in float32."""
        size = self.size if size is None else size
        check_at_least(1, NO_STACK, size=size)
        return StackState(
            torch.zeros(batch, self.num_stacks, size, self.cell_dim, device=device, dtype=dtype),
            self.cell.init_state(batch, device=device, dtype=dtype),
            torch.zeros(batch, device=device, dtype=torch.long),
        )

    def reset(self, state: StackState, rows: Bool[Tensor, " batch"]) -> StackState:
        """Return the state with the given rows empty; stacks keep their size."""
        return state.replace_rows(rows, self.init_state(state.batch_size, size=state.size, device=state.device))

    def _advance(
        self, projected: Float[Tensor, "batch gate"], state: StackState
    ) -> tuple[Float[Tensor, "batch out_dim"], StackState]:
        hidden, recurrent = self.cell(projected, state.recurrent, state.stacks[:, :, 0].flatten(1))
        control = self.control(hidden).to(state.stacks.dtype)
        values = control[:, : self.num_stacks * self.cell_dim].unflatten(1, (self.num_stacks, self.cell_dim))
        logits = control[:, self.num_stacks * self.cell_dim :]
        if self.joint_actions:
            actions = logits.softmax(-1).unflatten(1, (self.num_stacks, NUM_ACTIONS))
        else:
            actions = logits.unflatten(1, (self.num_stacks, NUM_ACTIONS)).softmax(-1)
        stacks = update_stacks(state.stacks, values, actions)
        return hidden, StackState(stacks, recurrent, state.tokens + 1)


STACK = Mechanism(
    name="stack",
    cls=StackCell,
    place="machine",
    paper="Neural Networks and the Chomsky Hierarchy (ICLR 2023); stacks as in Joulin and Mikolov (2015)",
    arxiv="2207.02098",
    objective=("reasoning",),
    representation="state-based",
    integration=("gated control",),
    read="top of each stack",
    write="fractional push",
    forget="fractional pop; content below the last cell",
    capacity="`num_stacks` x `size` vectors",
    cost="O(T (d^2 + n S c)) in T steps",
    bytes_per_row="4 * (num_stacks * size * cell_dim + dim) + 8",
    small={"cell_dim": 2, "size": 5, "num_stacks": 2},
    sized=lambda sizes: {"size": sizes.stored},
    size_option="size",
    presets={"stack_rnn": {"inner": "rnn"}, "stack_lstm": {"inner": "lstm"}},
)


def update_stacks(
    stacks: Float[Tensor, "batch stack size cell"],
    values: Float[Tensor, "batch stack cell"],
    actions: Float[Tensor, "batch stack action"],
) -> Float[Tensor, "batch stack size cell"]:
    """Return the weighted sum of the stacks after push, pop and no-op.

    Args:
        stacks: content, top first.
        values: to push.
        actions: shares of push, pop and no-op.

    Example:
        >>> stacks, push = torch.tensor([[[[1.0], [2.0], [3.0]]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
        >>> update_stacks(stacks, torch.tensor([[[9.0]]]), push).flatten()
        tensor([9., 1., 2.])
    """
    # With the new value above and zeros below, the three outcomes are three windows of one tensor.
    padded = torch.cat([values[:, :, None], stacks, torch.zeros_like(stacks[:, :, :1])], dim=2)
    push, pop, keep = actions[..., None, None].unbind(2)  # each batch stack 1 1
    return push * padded[:, :, :-2] + pop * padded[:, :, 2:] + keep * stacks


def convert_official_stack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a :class:`StackCell` for the weights of the official ``StackRNNCore``.

    Args:
        weights: parameters by their Haiku names, ``stack_rnn_core/...``; matrices have inputs first.

    Raises:
        UserError: if a weight is missing or left over.
    """
    rest = strip_official_prefix(weights, "stack_rnn_core/")
    names = {"linear/w", "linear/b", "linear_1/w", "linear_1/b"}
    if not names <= set(rest):
        raise UserError(f"a StackRNNCore has the weights {sorted(names)}, missing {sorted(names - set(rest))}")
    control = {kind: torch.cat([rest.pop(f"linear/{kind}"), rest.pop(f"linear_1/{kind}")], dim=-1) for kind in "wb"}
    read_dim = weights["stack_rnn_core/linear/b"].shape[0]
    cell = convert_official_cell(rest, read_dim, "StackRNNCore")
    return cell | {"control.weight": control["w"].T.contiguous(), "control.bias": control["b"]}
