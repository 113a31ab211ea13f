"""The memory of a Neural Turing Machine: slots that heads address by content and location, read, erase and add to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.loading import name_some
from mnemic_core.machines.recurrent import TokenMachine
from mnemic_core.machines.turing_addressing import (
    HeadLayout,
    HeadParameters,
    Order,
    address,
    content_weights,
    read_slots,
    write_slots,
)
from mnemic_core.machines.turing_run import ScanInputs
from mnemic_core.machines.turing_sequence import turing_scan, uniform_scan
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.state import Device, MemoryState, SlotView, check_shape

SHORT = 3  # segments below this number of tokens are stepped: they do not pay for the set-up of a scan

Addressing = Literal["full", "content", "uniform"]
Start = Literal["learned", "random", "zeros", "constant"]


@dataclass(frozen=True)
class TuringState(MemoryState):
    """Slots, and the last reads and weights of the heads.

    Attributes:
        memory: content of the slots.
        reads: the vector that each head read last; zeros before the first token.
        read_weights: last weights of each reading head; slot 0 before the first token.
        write_weights: last weights of each writing head; slot 0 before the first token.
        count: tokens so far.
    """

    memory: Float[Tensor, "batch slot width"]
    reads: Float[Tensor, "batch read_head width"]
    read_weights: Float[Tensor, "batch read_head slot"]
    write_weights: Float[Tensor, "batch write_head slot"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return the slots, all as old as the stream, since every write changes all of them."""
        return SlotView.of_equal_age(self.memory, self.count)


class NeuralTuringMemory(TokenMachine[TuringState]):
    """Memory whose heads address slots by content similarity and by shifts, and partly rewrite them.

    Neural Turing Machines (Graves et al. 2014, arXiv:1410.5401, section 3). Tokens ``h`` are the outputs of a
    controller, which is not part of this module. One step, with ``r`` the vectors read last::

        k, beta, g, s, gamma (each head), e, a (each writing head) = squash([h; r] W + b)
            tanh k, a;  sigmoid g, e;  softplus beta;  1 + softplus gamma;  softmax s over 2 max_shift + 1 moves
        c = softmax(beta cos(k, M[i]))                          content, equations 5, 6
        q = g c + (1 - g) w_last                                gate, equation 7
        p[i] = sum_j q[(i - j) mod slots] s[j]                  shift, equation 8
        w = p**gamma / sum(p**gamma)                            sharpening, equation 9
        r = sum_i w[i] M[i]                                     read, equation 2
        M[i] <- M[i] (1 - w[i] e) + w[i] a                      write, equations 3, 4
        y = [h; r] W_o + b_o                                    with ``residual``: h + scale ([h; r] W_o + b_o)

    Several writing heads act one after the other, each on the memory that the previous one left; the paper addresses
    all of them in the same memory.

    **Symmetry.** Equal slots get equal weights and writes: with ``addressing="content"`` they stay equal, and the
    memory is one leaky average. This is the case in the code released for Conformer-NTM (Carvalho and Abad, Interspeech
    2023, arXiv:2309.13029), preset ``turing_release``; by default slots start different.

    State: ``slots * width + read_heads * width + (read_heads + write_heads) * slots`` values of 4 bytes and a counter
    of 8 bytes per row. A segment is one node of the graph, which keeps the memory after every token for its derivative.

    Args:
        dim: width of tokens and outputs.
        slots: number of slots.
        width: columns of a slot.
        read_heads: heads that read.
        write_heads: heads that write.
        max_shift: largest move in one step.
        addressing: ``"full"`` (the paper), ``"content"`` (the first stage only, as released) or ``"uniform"``: weights
            ``1 / slots``, which equals ``"content"`` for equal slots and is many times faster.
        order: ``"reads_first"`` (the paper) or ``"pairs"``: read 0, write 0, read 1, write 1 ... (as released).
        start: initial memory: ``"learned"`` slots, ``"random"`` fixed ones, ``"zeros"`` or ``"constant"`` 1e-6.
        residual: add the output to the token, with a learned scale that starts at 0.
        detach: ``"never"`` (the paper) lets gradients cross segments, ``"stored"`` does not.

    Example:
        >>> machine = NeuralTuringMemory(dim=8, slots=16, width=4)
        >>> output, state = machine(torch.zeros(2, 5, 8), machine.init_state(batch=2))
        >>> output.shape, state.memory.shape, state.read_weights.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 16, 4]), torch.Size([2, 1, 16]))
    """

    def __init__(
        self,
        dim: int,
        *,
        slots: int = 128,
        width: int = 20,
        read_heads: int = 1,
        write_heads: int = 1,
        max_shift: int = 1,
        addressing: Addressing = "full",
        order: Order = "reads_first",
        start: Start = "learned",
        residual: bool = False,
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, dim, detach)
        check_choice(Addressing, addressing=addressing)
        check_choice(Order, order=order)
        check_choice(Start, start=start)
        check_at_least(1, slots=slots, width=width, read_heads=read_heads, write_heads=write_heads)
        if order == "pairs" and read_heads != write_heads:
            raise UserError(
                f"order='pairs' needs as many read_heads as write_heads, got {read_heads} and {write_heads}; "
                "use order='reads_first'"
            )
        if not 0 <= 2 * max_shift < slots:
            raise UserError(f"max_shift must be at least 0 and below half of slots={slots}, got {max_shift}")
        self.slots = slots
        self.addressing = addressing
        self.residual = residual
        self.layout = HeadLayout.ordered(order, read_heads, write_heads, width, max_shift)
        self.heads = nn.Linear(dim + read_heads * width, sum(self.layout.sizes))
        self.output = nn.Linear(dim + read_heads * width, dim)
        self._register_start(start)
        if residual:
            self.scale = nn.Parameter(torch.zeros(()))

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> TuringState:
        """Return the initial memory with all heads at slot 0; without a ``dtype`` in float32 at least."""
        dtype = dtype or torch.promote_types(self.initial.dtype, torch.float32)
        layout = self.layout
        first = torch.zeros(self.slots, device=device, dtype=dtype)
        first[0] = 1
        return TuringState(
            self.initial.to(device, dtype).repeat(batch, 1, 1),
            torch.zeros(batch, layout.read_heads, layout.width, device=device, dtype=dtype),
            first.repeat(batch, layout.read_heads, 1),
            first.repeat(batch, layout.write_heads, 1),
            torch.zeros(batch, device=device, dtype=torch.long),
        )

    def update(self, state: TuringState, heads: HeadParameters) -> TuringState:
        """Return the state after one step with given head parameters."""
        memory = state.memory
        previous = self.layout.cut(self.layout.join(state.read_weights, state.write_weights))
        cut = [self.layout.cut(part) for part in heads[:5]]
        reads, weights = [], []
        for write, num_reads in enumerate(self.layout.groups):
            group = HeadParameters._make([part[write] for part in cut] + [heads.erase[:, write], heads.add[:, write]])
            weight = self._address(group, memory, previous[write])
            reads.append(read_slots(memory, weight[:, :num_reads]))
            memory = write_slots(memory, weight[:, num_reads], group.erase, group.add)
            weights.append(weight)
        read_weights, write_weights = self.layout.part(torch.cat(weights, 1))
        return TuringState(memory, torch.cat(reads, 1), read_weights, write_weights, state.count + 1)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: TuringState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], TuringState]:
        """Compute the same as :meth:`step` for each token, several times faster."""
        # A compiler fuses plain steps better than our scan does.
        if torch.compiler.is_compiling() or x.shape[1] < SHORT:
            output, state = super()._run_segment(x, state, padding)
        else:
            output, state = self._scan(x, state, padding)
        # Learned slots enter through the initial state only. Data parallelism waits for a gradient of every parameter
        # in each forward pass, so in the middle of a stream they take part with a gradient of zero.
        return output + 0 * self.initial.sum() if self.initial.requires_grad else output, state

    def _scan(
        self, x: Float[Tensor, "batch time dim"], state: TuringState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], TuringState]:
        drive, base = self._project(x).split([sum(self.layout.sizes), self.dim], -1)
        drive = drive.transpose(0, 1).to(state.memory.dtype)
        weights = self.layout.join(state.read_weights, state.write_weights)
        active = None if padding is None else ~padding.t()
        inputs = ScanInputs(drive, self._recurrent(drive.dtype), state.memory, state.reads, weights, active)
        if self.addressing == "uniform":
            reads, memory, weights = uniform_scan(inputs, self.layout)
        else:
            reads, memory, weights = turing_scan(inputs, self.layout, is_full=self.addressing == "full")
        count = state.count + (x.shape[1] if padding is None else (~padding).sum(1))
        after = TuringState(memory, reads[-1].clone(), *self.layout.part(weights), count)
        return self._emit(base, reads.transpose(0, 1)), after

    def report(self, state: TuringState) -> MemoryReport:
        """Return how the memory is used; a diversity of 0 means that all slots are equal."""
        with torch.no_grad():
            return memory_report(state, state.read_weights)

    def _register_start(self, start: Start) -> None:
        shape = (self.slots, self.layout.width)
        if start == "learned":
            self.initial = nn.Parameter(torch.randn(shape) * self.layout.width**-0.5)
        elif start == "random":
            self.register_buffer("initial", torch.randn(shape) * self.layout.width**-0.5)
        else:
            value = 0.0 if start == "zeros" else 1e-6
            self.register_buffer("initial", torch.full(shape, value), persistent=False)

    def _project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch drive_and_base"]:
        """Return the token's part of the head parameters and of the output."""
        base = F.linear(x, self.output.weight[:, : self.dim], self.output.bias)
        if self.residual:
            base = x + self.scale * base
        return torch.cat([F.linear(x, self.heads.weight[:, : self.dim], self.heads.bias), base], -1)

    def _emit(
        self, base: Float[Tensor, "*batch dim"], reads: Float[Tensor, "*batch read_head width"]
    ) -> Float[Tensor, "*batch dim"]:
        recalled = F.linear(reads.flatten(-2).to(base.dtype), self.output.weight[:, self.dim :])
        return base + (self.scale * recalled if self.residual else recalled)

    def _recurrent(self, dtype: torch.dtype) -> Float[Tensor, "parameter recurrent"]:
        return self.heads.weight[:, self.dim :].to(dtype)

    def _advance(
        self, projected: Float[Tensor, "batch drive_and_base"], state: TuringState
    ) -> tuple[Float[Tensor, "batch dim"], TuringState]:
        drive, base = projected.split([sum(self.layout.sizes), self.dim], -1)
        raw = drive.to(state.memory.dtype) + F.linear(state.reads.flatten(1), self._recurrent(state.memory.dtype))
        state = self.update(state, self.layout.squash(raw))
        return self._emit(base, state.reads), state

    def _address(
        self,
        heads: HeadParameters,
        memory: Float[Tensor, "batch slot width"],
        previous: Float[Tensor, "batch head slot"],
    ) -> Float[Tensor, "batch head slot"]:
        if self.addressing == "full":
            return address(heads, memory, previous).weights
        if self.addressing == "content":
            return content_weights(heads.key, heads.strength, memory)
        return torch.full_like(previous, 1 / self.slots)

    def _check(self, x: Float[Tensor, "batch time width"], state: TuringState) -> None:
        super()._check(x, state)
        check_shape("memory", state.memory, (len(x), self.slots, self.layout.width))


TURING = Mechanism(
    name="turing",
    cls=NeuralTuringMemory,
    place="machine",
    paper="Neural Turing Machines (2014); options for Memory-augmented conformer (Interspeech 2023)",
    arxiv="1410.5401",
    objective=("reasoning", "context extension"),
    representation="explicit",
    integration=("associative retrieval", "gated control"),
    read="weighted sum of slots, addressed by content and location",
    write="erase and add with the same addressing",
    forget="erased where heads write",
    capacity="`slots` vectors of `width`",
    cost="O(T N W) in T steps",
    bytes_per_row="4 * (slots * width + read_heads * width + (read_heads + write_heads) * slots) + 8",
    small={"slots": 5, "width": 2},
    sized=lambda sizes: {"slots": sizes.stored, "width": sizes.dim},
    # Sizes of the released Conformer-NTM. It addresses by content only and its equal slots stay equal, so "uniform"
    # computes the same without a loop over slots.
    presets={
        "turing_paper": {"slots": 256, "width": 10, "start": "zeros"},
        "turing_release": {"slots": 256, "width": 10, "start": "zeros", "addressing": "uniform", "order": "pairs"},
        "turing_improved": {"slots": 256, "width": 10, "residual": True},
    },
)


def convert_official_turing(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a :class:`NeuralTuringMemory` for the ``ntm`` of a released Conformer-NTM checkpoint.

    Args:
        weights: parameters without the prefix ``ntm.``: ``read_heads.0.fc.weight`` ..., ``fc.weight``.

    Raises:
        UserError: if they are not those of such a machine.
    """
    if "read_heads.0.fc.bias" not in weights or "write_heads.0.fc.bias" not in weights:
        raise UserError(f"expected read_heads and write_heads, got {sorted(weights)}; strip the prefix 'ntm.'")
    count = sum(name.startswith("read_heads.") and name.endswith(".bias") for name in weights)
    names = [f"{kind}_heads.{index}.fc" for index in range(count) for kind in ("read", "write")]
    wanted = {f"{name}.{part}" for name in ("fc", *names) for part in ("weight", "bias")}
    if missing := sorted(wanted - weights.keys()):
        raise UserError(f"the weights of the machine lack {name_some(missing)}: not a released Conformer-NTM")
    converted = {f"output.{part}": weights[f"fc.{part}"] for part in ("weight", "bias")}
    for part in ("weight", "bias"):
        converted[f"heads.{part}"] = _by_function([weights[f"{name}.{part}"] for name in names])
    return converted


def _by_function(heads: list[Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
    """Sort the rows of heads, each key, strength, gate, shift, sharpening (erase, add), by the layout."""
    reading, writing = heads[0].shape, heads[1].shape
    if (
        any(head.shape != (reading, writing)[index % 2] for index, head in enumerate(heads))
        or not reading
        or not writing
    ):
        raise UserError("the heads of the machine differ in size: not a released Conformer-NTM")
    width = (writing[0] - reading[0]) // 2
    offsets = reading[0] - width - 3
    if min(width, offsets) < 1 or writing != (reading[0] + 2 * width, *reading[1:]):
        raise UserError(f"heads of {tuple(reading)} and {tuple(writing)} do not fit: not a released Conformer-NTM")
    fields: list[list[Tensor]] = [[] for _ in range(7)]
    for head in heads:
        sizes = [width, 1, 1, offsets, 1] + ([width, width] if len(head) > reading[0] else [])
        for field, rows in zip(fields, head.split(sizes), strict=False):
            field.append(rows)
    key, strength, gate, shift, sharpening, erase, add = fields
    shift = [moves.flip(0) for moves in shift]  # the first official move is +1
    return torch.cat([*key, *add, *gate, *erase, *strength, *sharpening, *shift])
