"""Machines that run token by token or step by step: controllers with a memory that has operations of its own."""

from .prompt_machine import KeyValueStore, PromptInterpreter, PromptRun, PromptStep, replay
from .recurrent import RecurrentMachine, RecurrentState
from .stack_machine import StackCell, StackState, convert_official_stack
from .tape_machine import TapeCell, TapeState, convert_official_tape
from .turing_addressing import HeadParameters, address
from .turing_memory import NeuralTuringMemory, TuringState, convert_official_turing
from .universal_machine import (
    UNIVERSAL_MACHINE,
    Transition,
    follow_prompt,
    trace,
    universal_machine_program,
)

__all__ = [
    "UNIVERSAL_MACHINE",
    "HeadParameters",
    "KeyValueStore",
    "NeuralTuringMemory",
    "PromptInterpreter",
    "PromptRun",
    "PromptStep",
    "RecurrentMachine",
    "RecurrentState",
    "StackCell",
    "StackState",
    "TapeCell",
    "TapeState",
    "Transition",
    "TuringState",
    "address",
    "convert_official_stack",
    "convert_official_tape",
    "convert_official_turing",
    "follow_prompt",
    "replay",
    "trace",
    "universal_machine_program",
]
