"""A recurrent cell with differentiable tapes whose heads can jump by the length of the input (Tape-RNN)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layers import build_mlp
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

NUM_ACTIONS = 5  # stay, one cell left, one cell right, input_length cells left, input_length cells right
NO_TAPE = "use RecurrentMachine to have no tape"


@dataclass(frozen=True)
class TapeState(MemoryState):
    """Tapes and the state of the recurrent cell.

    Attributes:
        tapes: content; the head is always at cell 0 and the tape moves.
        recurrent: state of the cell.
        input_length: distance of a jump.
        tokens: tokens of the sequence so far.
    """

    tapes: Float[Tensor, "batch tape size cell"]
    recurrent: RecurrentState
    input_length: Int[Tensor, " batch"]
    tokens: Int[Tensor, " batch"]

    @property
    def size(self) -> int:
        """Cells of one tape."""
        return self.tapes.shape[2]

    def slots(self) -> SlotView:
        """Return all cells of all tapes; those in use may be as old as the sequence."""
        cells = self.tapes.flatten(1, 2)
        valid = (cells != 0).any(-1)
        return SlotView(cells, valid, torch.where(valid, (self.tokens - 1)[:, None], -1))


class TapeCell(CellMachine[TapeState]):
    """A recurrent cell that writes on differentiable tapes and moves them by fractional actions.

    Delétang et al. 2023, "Neural Networks and the Chomsky Hierarchy" (arXiv:2207.02098, section 4 and appendix). One
    step with token ``x`` and tapes ``t`` (``t[0]`` is under the head, read before the update), on each tape::

        h' = cell([x; t[0] of every tape], h)                  a ReLU RNN or an LSTM
        t[0] <- MLP(h')                                        always overwritten
        a = softmax(h' W_a + b_a)                              five shares
        t'[i] = a_0 t[i] + a_1 t[i+1] + a_2 t[i-1] + a_3 t[i+l] + a_4 t[i-l]
        y = h'

    with indices modulo the size: the tape is circular. ``l`` is the length of the input, which must be known before its
    first token; it is part of the state and may differ between rows. With these jumps a network learns
    context-sensitive tasks such as doubling a string and generalizes to longer strings.

    State: ``num_tapes * size * cell_dim + hidden_dim`` values (one more ``hidden_dim`` for the LSTM) of 4 bytes and
    two counters of 8 bytes per row.

    Args:
        dim: width of tokens.
        hidden_dim: width of the hidden state and of outputs; ``dim`` if None, 256 in the paper.
        cell_dim: width of a cell of the tape.
        size: cells of one tape in new states; no weight depends on it.
        num_tapes: number of tapes, each with actions of its own.
        mlp: widths of the hidden layers between the recurrent cell and what is written.
        inner: ``"rnn"`` or ``"lstm"``.
        detach: ``"never"`` (the paper) lets gradients cross segments, ``"stored"`` does not.

    Example:
        >>> machine = TapeCell(dim=3, hidden_dim=5, cell_dim=2, size=4)
        >>> state = machine.init_state(batch=1, input_length=7, size=16)
        >>> output, state = machine(torch.zeros(1, 7, 3), state)
        >>> output.shape, state.tapes.shape
        (torch.Size([1, 7, 5]), torch.Size([1, 1, 16, 2]))
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int | None = None,
        cell_dim: int = 8,
        size: int = 40,
        num_tapes: int = 1,
        mlp: Sequence[int] = (64, 64),
        inner: Inner = "rnn",
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, hidden_dim, num_tapes * cell_dim, inner, detach)
        widths = {f"mlp[{index}]": width for index, width in enumerate(mlp)}
        check_at_least(1, NO_TAPE, cell_dim=cell_dim, num_tapes=num_tapes, size=size, **widths)
        self.cell_dim = cell_dim
        self.size = size
        self.num_tapes = num_tapes
        self.write = build_mlp([self.out_dim, *mlp, num_tapes * cell_dim])
        self.actions = nn.Linear(self.out_dim, num_tapes * NUM_ACTIONS)
        for layer in (*self.write, self.actions):
            if isinstance(layer, nn.Linear):
                initialize(layer)

    def init_state(
        self,
        batch: int,
        *,
        input_length: int | Int[Tensor, " batch"] = 1,
        size: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> TapeState:
        """Return empty tapes of ``size`` cells, by default those of the machine; tapes accumulate in float32.

        ``input_length`` counts the tokens of the input of all rows or of each.
        """
        size = self.size if size is None else size
        check_at_least(1, NO_TAPE, size=size)
        length = torch.as_tensor(input_length, device=device, dtype=torch.long)
        return TapeState(
            torch.zeros(batch, self.num_tapes, size, self.cell_dim, device=device, dtype=dtype),
            self.cell.init_state(batch, device=device, dtype=dtype),
            length.expand(batch).clone(),
            torch.zeros(batch, device=device, dtype=torch.long),
        )

    def reset(self, state: TapeState, rows: Bool[Tensor, " batch"]) -> TapeState:
        """Return the state with the given rows empty; tapes keep their size and rows ``state.input_length``."""
        fresh = self.init_state(state.batch_size, input_length=state.input_length, size=state.size, device=state.device)
        return state.replace_rows(rows, fresh)

    def _advance(
        self, projected: Float[Tensor, "batch gate"], state: TapeState
    ) -> tuple[Float[Tensor, "batch out_dim"], TapeState]:
        hidden, recurrent = self.cell(projected, state.recurrent, state.tapes[:, :, 0].flatten(1))
        values = self.write(hidden).to(state.tapes.dtype).unflatten(1, (self.num_tapes, self.cell_dim))
        actions = self.actions(hidden).to(state.tapes.dtype).unflatten(1, (self.num_tapes, NUM_ACTIONS)).softmax(-1)
        tapes = update_tapes(state.tapes, values, actions, state.input_length)
        return hidden, TapeState(tapes, recurrent, state.input_length, state.tokens + 1)


TAPE = Mechanism(
    name="tape",
    cls=TapeCell,
    place="machine",
    paper="Neural Networks and the Chomsky Hierarchy (ICLR 2023)",
    arxiv="2207.02098",
    objective=("reasoning",),
    representation="state-based",
    integration=("gated control",),
    read="the cell under the head",
    write="overwrite the cell under the head, then fractional moves",
    forget="by overwriting",
    capacity="`num_tapes` x `size` vectors",
    cost="O(T (d^2 + n S c)) in T steps",
    bytes_per_row="4 * (num_tapes * size * cell_dim + dim) + 16",
    small={"cell_dim": 2, "size": 5, "num_tapes": 2, "mlp": (3,)},
    sized=lambda sizes: {"size": sizes.stored},
    size_option="size",
    presets={"tape_rnn": {"inner": "rnn"}, "tape_lstm": {"inner": "lstm"}},
)


def update_tapes(
    tapes: Float[Tensor, "batch tape size cell"],
    values: Float[Tensor, "batch tape cell"],
    actions: Float[Tensor, "batch tape action"],
    input_length: Int[Tensor, " batch"],
) -> Float[Tensor, "batch tape size cell"]:
    """Write the values at cell 0 and return the weighted sum of the tapes after each move.

    Args:
        tapes: content, with the head at cell 0.
        values: to write.
        actions: shares of stay, left, right, jump left and jump right.
        input_length: distance of a jump.

    Example:
        >>> tapes, left = torch.tensor([[[[1.0], [2.0], [3.0]]]]), torch.tensor([[[0.0, 1.0, 0.0, 0.0, 0.0]]])
        >>> update_tapes(tapes, torch.tensor([[[9.0]]]), left, torch.tensor([2])).flatten()
        tensor([2., 3., 9.])
    """
    batch, _, size, cell_dim = tapes.shape
    written = torch.cat([values[:, :, None], tapes[:, :, 1:]], dim=2)
    unit = torch.ones_like(input_length)
    shifts = torch.stack([0 * unit, unit, -unit, input_length, -input_length], dim=1)  # batch action
    source = (torch.arange(size, device=tapes.device) + shifts[..., None]) % size  # batch action size
    index = source.flatten(1)[:, None, :, None].expand(batch, written.shape[1], -1, cell_dim)
    moved = written.gather(2, index).unflatten(2, (NUM_ACTIONS, size))  # batch tape action size cell
    return torch.einsum("bta,btasc->btsc", actions, moved)


def convert_official_tape(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a :class:`TapeCell` for the weights of the official ``TapeInputLengthJumpCore``.

    Args:
        weights: parameters by their Haiku names, ``tape_input_length_jump_core/...``; matrices have inputs first.

    Raises:
        UserError: if a weight is missing or left over.
    """
    rest = strip_official_prefix(weights, "tape_input_length_jump_core/")
    layers = _take_layers(rest, "mlp/~/linear_0", "mlp/~/linear_{}")
    actions = _take_layers(rest, "linear", "linear_{}")  # one for each tape
    converted = convert_official_cell(rest, len(layers[-1][1]), "TapeInputLengthJumpCore")
    for index, (weight, bias) in enumerate(layers):
        converted |= {f"write.{2 * index}.weight": weight.T.contiguous(), f"write.{2 * index}.bias": bias}
    return converted | {
        "actions.weight": torch.cat([weight for weight, _ in actions], dim=1).T.contiguous(),
        "actions.bias": torch.cat([bias for _, bias in actions]),
    }


def _take_layers(weights: dict[str, Tensor], first: str, following: str) -> list[tuple[Tensor, Tensor]]:
    """Remove numbered layers from the weights and return weight and bias of each."""
    if f"{first}/w" not in weights:
        raise UserError(f"a TapeInputLengthJumpCore has a layer {first}, got {sorted(weights)}")
    layers, name = [], first
    while f"{name}/w" in weights:
        layers.append((weights.pop(f"{name}/w"), weights.pop(f"{name}/b")))
        name = following.format(len(layers))
    return layers
