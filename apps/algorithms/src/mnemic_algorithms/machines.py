"""The machines that can be trained on a task, by name."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_algorithms.options import TRANSFORMER
from mnemic_core import (
    LayerStates,
    MemoryConfig,
    MemoryState,
    Sizes,
    TransformerConfig,
    build_transformer,
)
from mnemic_core.errors import check_range
from mnemic_core.listing import lists_memories
from mnemic_core.machines.recurrent import RecurrentMachine
from mnemic_core.memory import SegmentMemory
from mnemic_core.pretrained import PretrainedModel
from mnemic_core.tasks import TaskModel, create_task
from mnemic_core.training import run_in_segments


@lists_memories(lambda entry: entry.fits_strings)
@dataclass(frozen=True)
class MachineConfig:
    """Kind and sizes of a machine.

    Args:
        memory: a token machine, such as ``stack_rnn`` (``turing`` gets an LSTM controller), or a causal segment memory
            in a transformer that sees one segment at a time; ``none`` is that transformer without memory. Its options
            override those that follow from the sizes. One of {memories}.
        hidden_dim: width of the hidden state, or of the tokens of a transformer.
        stored: vectors that a segment memory or a Turing machine stores.
        segment_length: tokens that a transformer sees at a time; None: the complete string.
        num_layers: blocks of a transformer.
        num_heads: attention heads of a transformer; ``hidden_dim`` must be a multiple of twice as many.
    """

    memory: MemoryConfig = field(default_factory=lambda: MemoryConfig("stack_rnn"))
    hidden_dim: int = 64
    stored: int = 32
    segment_length: int | None = 8
    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self) -> None:
        self.memory.require(
            "works through strings token by token or segment by segment", lambda entry: entry.fits_strings
        )
        check_range(self, 1, inf, "hidden_dim", "stored", "segment_length", "num_layers", "num_heads")

    @property
    def name(self) -> str:
        """Name in tables: its memory, or ``transformer`` for one without memory that sees the complete string."""
        return TRANSFORMER if self.segment_length is None and self.memory.name == "none" else self.memory.name


def machine_arguments(machine: str) -> list[str]:
    """Return the options of fit that choose a machine."""
    if machine == TRANSFORMER:
        return ["--model.config.memory.name=none", "--model.config.segment_length=null"]
    return [f"--model.config.memory.name={machine}"]


def build_machine(config: MachineConfig, dim: int) -> SegmentMemory[Any]:
    """Return the machine of a configuration for tokens of width ``dim``.

    Raises:
        UserError: if the machine cannot have such a size.

    Example:
        >>> build_machine(MachineConfig(MemoryConfig("tape_rnn"), hidden_dim=8), dim=3).out_dim
        8
    """
    mechanism = config.memory.mechanism
    if not mechanism.is_machine:
        return SegmentedModel(dim, build_transformer(_transformer_config(config)), config.segment_length)
    if "hidden_dim" in mechanism.options:
        return _with_options(config.memory, {"hidden_dim": config.hidden_dim}).build(dim)
    # Narrow slots: each head computes several vectors of this width per step.
    sizes = Sizes(min(config.hidden_dim, 16), config.stored)
    memory = _with_options(config.memory, mechanism.sized(sizes)).build(config.hidden_dim)
    return ControlledMemory(dim, memory)


@dataclass(frozen=True)
class AlgorithmConfig:
    """A machine for a task.

    Args:
        machine: its kind and sizes.
        task: name of the task.
    """

    machine: MachineConfig
    task: str


class AlgorithmModel(TaskModel, PretrainedModel):
    """A machine from one-hot tokens to the logits of the answer.

    Args:
        config: machine and task.
    """

    config_class = AlgorithmConfig

    def __init__(self, config: AlgorithmConfig) -> None:
        task = create_task(config.task)
        # One more token than the input has: the empty one at which the answer is given.
        super().__init__(build_machine(config.machine, task.input_size + 1), task)
        self.config = config


class SegmentedModel(SegmentMemory[MemoryState]):
    """A causal model of embedded tokens that sees one segment at a time, with a memory between segments.

    State: that of the model.

    Args:
        dim: width of tokens.
        model: of embedded tokens.
        segment_length: tokens per segment; None: all in one.
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
        """Return the initial state of the model."""
        state: MemoryState = self.model.init_state(batch, device=device, dtype=dtype)
        return state

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: MemoryState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], MemoryState]:
        return run_in_segments(self.model, self.embedding(x), state, self.segment_length, padding=padding)


class ControlledMemory(SegmentMemory[LayerStates]):
    """An LSTM controller of a Neural Turing Machine's memory (Graves et al. 2014, arXiv:1410.5401, section 3).

    The heads see the controller's output and the last read vectors. Unlike in the paper the controller does not see
    the reads, so that a segment runs through each part at once.

    State: a :class:`LayerStates` of controller and memory.

    Args:
        dim: width of tokens.
        memory: its width is the controller's.
    """

    def __init__(self, dim: int, memory: SegmentMemory[Any]) -> None:
        super().__init__(dim, memory.detach)
        self.out_dim = memory.dim
        self.controller = RecurrentMachine(dim, hidden_dim=memory.dim, inner="lstm", detach=memory.detach)
        self.memory = memory

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LayerStates:
        """Return the initial states of controller and memory."""
        parts = (self.controller, self.memory)
        return LayerStates(tuple(part.init_state(batch, device=device, dtype=dtype) for part in parts))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: LayerStates, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time out_dim"], LayerStates]:
        hidden, controller = self.controller(x, state[0], padding=padding)
        output, memory = self.memory(hidden, state[1], padding=padding)
        return output, LayerStates((controller, memory))


def _transformer_config(config: MachineConfig) -> TransformerConfig:
    mechanism = config.memory.mechanism
    length = config.segment_length or config.stored  # the length of complete strings is unknown here
    sizes = Sizes(config.hidden_dim, config.stored, length, config.num_layers, config.num_heads)
    # With gradients through the stored vectors: tasks across segments are only solved if writing is learned too.
    detach = {"detach": "never"} if "never" in mechanism.detach and len(mechanism.detach) > 1 else {}
    memory = _with_options(config.memory, {**mechanism.sized(sizes), **detach})
    return TransformerConfig(
        config.hidden_dim, config.num_layers, config.num_heads, 4 * config.hidden_dim, memory=memory
    )


def _with_options(memory: MemoryConfig, options: dict[str, Any]) -> MemoryConfig:
    """Return the memory with defaults for options that it does not set."""
    return MemoryConfig(memory.name, {**options, **memory.options})
