"""The memory of a Neural Turing Machine: slots that heads address by content and location, read, erase and add to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from mnemic_core.state import Device, MemoryState, SlotView

SHORT = 3  # segments below this number of tokens are stepped

Addressing = Literal["full", "content", "uniform"]
Start = Literal["learned", "random", "zeros", "constant"]


@dataclass(frozen=True)
class TuringState(MemoryState):
    """Slots, and what the heads did last.

    Attributes:
        memory: content of the slots.
        reads: the vector that each head read last; zeros before the first token.
        read_weights: where each reading head looked last; all at slot 0 before the first token.
        write_weights: where each writing head wrote last; all at slot 0 before the first token.
        count: tokens so far.
    """

    memory: Float[Tensor, "batch slot width"]
    reads: Float[Tensor, "batch read_head width"]
    read_weights: Float[Tensor, "batch read_head slot"]
    write_weights: Float[Tensor, "batch write_head slot"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return the slots; a soft write touches all of them, so all are as old as the stream."""
        return SlotView.of_equal_age(self.memory, self.count)


class NeuralTuringMemory(TokenMachine[TuringState]):
    """Memory whose heads address slots by content similarity and by shifts, and partly rewrite them.

    Neural Turing Machines (Graves et al. 2014, arXiv:1410.5401, section 3); the controller stands before this module,
    whose token ``h`` it makes. One step, with ``r`` the vectors that were read last::

        k, beta, g, s, gamma (each head), e, a (each writing head) = squash([h; r] W + b)
            tanh k, a;  sigmoid g, e;  softplus beta;  1 + softplus gamma;  softmax s over 2 max_shift + 1 moves
        c = softmax(beta cos(k, M[i]))                          content, equations 5, 6
        q = g c + (1 - g) w_last                                gate, equation 7
        p[i] = sum_j q[(i - j) mod slots] s[j]                  shift, equation 8
        w = p**gamma / sum(p**gamma)                            sharpening, equation 9
        r = sum_i w[i] M[i]                                     read, equation 2
        M[i] <- M[i] (1 - w[i] e) + w[i] a                      write, equations 3, 4
        y = [h; r] W_o + b_o                                    with ``residual``: h + scale ([h; r] W_o + b_o)

    Heads that write act one after the other and each is addressed in what the one before left; the paper addresses
    all of them in the same memory, which differs only with several of them.

    **Symmetry.** Equal slots are addressed alike and written alike: with ``addressing="content"`` they stay equal for
    ever, and the memory is one leaky average. The code released for Conformer-NTM (Carvalho and Abad, Interspeech
    2023, arXiv:2309.13029) runs like that. Its form is kept as the preset ``turing_release``; by default slots start
    apart.

    State: ``slots * width + read_heads * width + (read_heads + write_heads) * slots`` values of 4 bytes and a counter
    of 8 bytes per row. A segment runs as one node of the graph; its derivative keeps the memory of every token.

    Args:
        dim: width of tokens and outputs.
        slots: number of slots.
        width: columns of a slot.
        read_heads: heads that read.
        write_heads: heads that write.
        max_shift: largest move in one step.
        addressing: ``"full"`` (the paper), ``"content"`` (the first stage alone, as released) or ``"uniform"``: every
            weight ``1 / slots``, which equals ``"content"`` as long as slots are equal and is many times faster.
        order: ``"reads_first"`` (the paper) or ``"pairs"``: read 0, write 0, read 1, write 1 ... (as released).
        start: the first memory: ``"learned"`` slots, ``"random"`` fixed ones, ``"zeros"`` or ``"constant"`` 1e-6.
        residual: add to the token what is read, with a learned scale that starts at 0.
        detach: ``"never"`` (the paper) lets gradients cross every segment, ``"stored"`` cuts them between segments.

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
        """Return the first memory, nothing read, and all heads at slot 0.

        Memory accumulates: without a ``dtype`` it has at least float32, also where parameters have less.
        """
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
        """Return the state after one step of a controller that makes head parameters itself."""
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
        """Do what :meth:`step` does token by token, several times faster."""
        # A compiler fuses plain steps better than they can be ordered by hand; few tokens do not pay for the set-up.
        if torch.compiler.is_compiling() or x.shape[1] < SHORT:
            output, state = super()._run_segment(x, state, padding)
        else:
            output, state = self._scan_segment(x, state, padding)
        # The start enters through a state only. Data parallelism waits for the gradient of every parameter of a
        # forward pass, so in the middle of a stream a learned one takes part with a gradient of zero.
        return output + 0 * self.initial.sum() if self.initial.requires_grad else output, state

    def _scan_segment(
        self, x: Float[Tensor, "batch time dim"], state: TuringState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], TuringState]:
        drive, base = self._project(x).split([sum(self.layout.sizes), self.dim], -1)
        reads, after = self._scan(drive.transpose(0, 1).to(state.memory.dtype), state, padding)
        added = x.shape[1] if padding is None else (~padding).sum(1)
        return self._emit(base, reads.transpose(0, 1)), replace(after, count=state.count + added)

    def report(self, state: TuringState) -> MemoryReport:
        """Return how the memory is used; a diversity of 0 means that it has collapsed to one vector."""
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

    def _scan(
        self,
        drive: Float[Tensor, "time batch parameter"],
        state: TuringState,
        padding: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "time batch read_head width"], TuringState]:
        """Return what was read in every step, and the state after the last one, tokens not yet counted."""
        weights = self.layout.join(state.read_weights, state.write_weights)
        active = None if padding is None else ~padding.t()
        inputs = ScanInputs(drive, self._recurrent(drive.dtype), state.memory, state.reads, weights, active)
        if self.addressing == "uniform":
            reads, memory, weights = uniform_scan(inputs, self.layout)
        else:
            reads, memory, weights = turing_scan(inputs, self.layout, is_full=self.addressing == "full")
        return reads, TuringState(memory, reads[-1].clone(), *self.layout.part(weights), state.count)

    def _check(self, x: Float[Tensor, "batch time width"], state: TuringState) -> None:
        super()._check(x, state)
        expected = (len(x), self.slots, self.layout.width)
        if state.memory.shape != expected:
            raise UserError(
                f"expected a memory {expected}, got {tuple(state.memory.shape)}; "
                f"build the state with init_state(batch={len(x)})"
            )


TURING = Mechanism(
    name="turing",
    cls=NeuralTuringMemory,
    place="machine",
    paper="Neural Turing Machines (2014); options for Memory-augmented conformer (Interspeech 2023)",
    arxiv="1410.5401",
    objective=("reasoning", "context extension"),
    representation="explicit",
    integration=("associative retrieval", "gated control"),
    read="weighted sum of slots, addressed by content and by place",
    write="erase and add, shared out by the same addressing",
    forget="erased where heads write",
    capacity="`slots` vectors of `width`",
    cost="O(T N W) in T steps",
    bytes_per_row="4 * (slots * width + read_heads * width + (read_heads + write_heads) * slots) + 8",
    detach=("never", "stored"),
    small={"slots": 5, "width": 2},
    sized=lambda sizes: {"slots": sizes.stored, "width": sizes.dim},
    # Sizes of the released Conformer-NTM. It addresses by content alone and starts from equal slots, which stay equal:
    # "uniform" is then the same function without the loop over slots; "content" is the released code step by step.
    presets={
        "turing_paper": {"slots": 256, "width": 10, "start": "zeros"},
        "turing_release": {"slots": 256, "width": 10, "start": "zeros", "addressing": "uniform", "order": "pairs"},
        "turing_improved": {"slots": 256, "width": 10, "residual": True},
    },
)


def convert_official_turing(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a :class:`NeuralTuringMemory` for the ``ntm`` of a released Conformer-NTM checkpoint.

    Args:
        weights: parameters by the names that follow ``ntm.``: ``read_heads.0.fc.weight`` ..., ``fc.weight``.

    Returns:
        The state dict of a machine with the preset ``"released"``; all sizes but ``slots`` are in the shapes.

    Raises:
        UserError: if there are no heads among the weights.
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
    """Sort the rows of heads, each key, strength, gate, shift, sharpening (erase, add), as the layout has them."""
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
    shift = [moves.flip(0) for moves in shift]  # the official first move takes weight from the slot before, so is +1
    return torch.cat([*key, *add, *gate, *erase, *strength, *sharpening, *shift])
