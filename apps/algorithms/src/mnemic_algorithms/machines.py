"""Every machine that can be trained on a task, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_algorithms.sizes import Sizes, memory_options
from mnemic_core import LayerStates, MemoryState, TransformerConfig, build_transformer, find_mechanism, list_mechanisms
from mnemic_core.errors import UserError
from mnemic_core.machines.recurrent import RecurrentMachine, TokenMachine
from mnemic_core.machines.stack_machine import StackCell
from mnemic_core.machines.tape_machine import TapeCell
from mnemic_core.machines.turing_memory import NeuralTuringMemory
from mnemic_core.memory import SegmentMemory
from mnemic_core.tasks import AlgorithmicTask, TaskModel
from mnemic_core.training import run_segments

CELLS: Mapping[str, tuple[type[TokenMachine[Any]], str]] = MappingProxyType(
    {
        "rnn": (RecurrentMachine, "rnn"),
        "lstm": (RecurrentMachine, "lstm"),
        "stack_rnn": (StackCell, "rnn"),
        "stack_lstm": (StackCell, "lstm"),
        "tape_rnn": (TapeCell, "rnn"),
        "tape_lstm": (TapeCell, "lstm"),
    }
)
"""The machines of the Chomsky study that go token by token: class and inner cell."""


@dataclass(frozen=True)
class MachineConfig:
    """Which machine, and how large.

    Args:
        machine: ``rnn``, ``lstm``, ``stack_rnn``, ``stack_lstm``, ``tape_rnn``, ``tape_lstm``, ``ntm``,
            ``transformer`` (attends to the whole string), or a causal segment memory of the catalogue in a
            transformer that sees one segment at a time; ``none`` is that transformer without memory.
        hidden_dim: width of the hidden state, or of the tokens of a transformer.
        options: constructor arguments of the machine or the memory; they replace those that follow from the sizes.
        stored: vectors that a segment memory or an NTM keeps.
        segment_length: tokens that a transformer with segment memory sees at a time.
        num_layers: blocks of a transformer.
        num_heads: attention heads of a transformer; ``hidden_dim`` must be a multiple of twice as many.
    """

    machine: str = "stack_rnn"
    hidden_dim: int = 64
    options: dict[str, Any] = field(default_factory=dict)
    stored: int = 32
    segment_length: int = 8
    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self) -> None:
        if self.machine not in machine_names():
            raise UserError(f"machine must be one of {', '.join(machine_names())}, got {self.machine!r}")
        for name in ("hidden_dim", "stored", "segment_length", "num_layers", "num_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


def machine_names() -> tuple[str, ...]:
    """Return the names of all machines.

    Example:
        >>> machine_names()[:8]
        ('rnn', 'lstm', 'stack_rnn', 'stack_lstm', 'tape_rnn', 'tape_lstm', 'ntm', 'transformer')
    """
    memories = (entry.name for entry in list_mechanisms() if entry.is_segment_memory and entry.is_causal)
    return (*CELLS, "ntm", "transformer", *memories)


def build_machine(config: MachineConfig, dim: int) -> SegmentMemory[Any]:
    """Return the machine of a configuration for tokens of width ``dim``.

    Raises:
        UserError: if the machine has no such option or cannot have such a size.

    Example:
        >>> build_machine(MachineConfig("tape_rnn", hidden_dim=8), dim=3).out_dim
        8
    """
    try:
        if config.machine in CELLS:
            cell, inner = CELLS[config.machine]
            return cell(dim, config.hidden_dim, inner=inner, **config.options)  # type: ignore[call-arg]  # not those of the base
        if config.machine == "ntm":
            sizes = {"slots": config.stored, "width": min(config.hidden_dim, 16)}
            return ControlledMemory(dim, NeuralTuringMemory(config.hidden_dim, **{**sizes, **config.options}))
        return SegmentedModel(dim, build_transformer(_transformer_config(config)), _segment_length(config))
    except TypeError as error:
        raise UserError(f"machine {config.machine!r} cannot have the options {config.options}: {error}") from error


class AlgorithmModel(TaskModel):
    """A machine of a configuration between one-hot tokens and the logits of the answer.

    Args:
        config: the machine.
        task: the task to solve.
    """

    def __init__(self, config: MachineConfig, task: AlgorithmicTask) -> None:
        super().__init__(build_machine(config, task.input_size + 1), task)
        self.config = config


class SegmentedModel(SegmentMemory[MemoryState]):
    """A causal model over embedded tokens that it sees one segment at a time, with its memory between segments.

    State: that of the model.

    Args:
        dim: width of tokens.
        model: works on wider tokens.
        segment_length: tokens of a segment; None: all that are given.
    """

    def __init__(self, dim: int, model: SegmentMemory[Any], segment_length: int | None) -> None:
        super().__init__(dim, model.detach)
        self.out_dim = model.dim
        self.embedding = nn.Linear(dim, model.dim)
        self.model = model
        self.segment_length = segment_length

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MemoryState:
        """Return a fresh state of the model."""
        state: MemoryState = self.model.init_state(batch, device=device, dtype=dtype)
        return state

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: MemoryState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], MemoryState]:
        length = self.segment_length or x.shape[1]
        segments = self.embedding(x).split(length, dim=1)
        paddings = None if padding is None else padding.split(length, dim=1)
        outputs, state = run_segments(self.model, segments, state, paddings=paddings)
        return torch.cat(outputs, dim=1), state


class ControlledMemory(SegmentMemory[LayerStates]):
    """An LSTM that controls the memory of a Neural Turing Machine (Graves et al. 2014, arXiv:1410.5401, section 3).

    The heads see the controller's output and what they read last. In the paper the controller sees the reads too; here
    it does not, so that a segment goes through each part at once.

    State: a :class:`LayerStates` of the controller's and the memory's.

    Args:
        dim: width of tokens.
        memory: its width is the controller's.
    """

    def __init__(self, dim: int, memory: NeuralTuringMemory) -> None:
        super().__init__(dim, memory.detach)
        self.out_dim = memory.dim
        self.controller = RecurrentMachine(dim, memory.dim, inner="lstm", detach=memory.detach)
        self.memory = memory

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LayerStates:
        """Return a fresh controller and a fresh memory."""
        parts = (self.controller, self.memory)
        return LayerStates(tuple(part.init_state(batch, device=device, dtype=dtype) for part in parts))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: LayerStates, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], LayerStates]:
        hidden, controller = self.controller(x, state[0], padding=padding)
        output, memory = self.memory(hidden, state[1], padding=padding)
        return output, LayerStates((controller, memory))


def _transformer_config(config: MachineConfig) -> TransformerConfig:
    name = "none" if config.machine == "transformer" else config.machine
    mechanism = find_mechanism(name)
    sizes = Sizes(config.hidden_dim, config.stored, config.segment_length, config.num_layers, config.num_heads)
    # What is stored must have gradients: a task is solved over segments only if writing is learned, too.
    detach = {"detach": "never"} if "never" in mechanism.detach and len(mechanism.detach) > 1 else {}
    return TransformerConfig(
        config.hidden_dim,
        config.num_layers,
        config.num_heads,
        4 * config.hidden_dim,
        name,
        memory_options={**memory_options(mechanism, sizes), **detach, **config.options},
    )


def _segment_length(config: MachineConfig) -> int | None:
    return None if config.machine == "transformer" else config.segment_length
