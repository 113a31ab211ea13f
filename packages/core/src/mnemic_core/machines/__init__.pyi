"""Machines that run token by token or step by step: controllers with a memory that has operations of its own."""

from .prompt_machine import KeyValueStore as KeyValueStore
from .prompt_machine import PromptInterpreter as PromptInterpreter
from .prompt_machine import PromptRun as PromptRun
from .prompt_machine import PromptStep as PromptStep
from .prompt_machine import replay as replay
from .recurrent import RecurrentMachine as RecurrentMachine
from .recurrent import RecurrentState as RecurrentState
from .stack_machine import StackCell as StackCell
from .stack_machine import StackState as StackState
from .stack_machine import convert_official_stack as convert_official_stack
from .tape_machine import TapeCell as TapeCell
from .tape_machine import TapeState as TapeState
from .tape_machine import convert_official_tape as convert_official_tape
from .turing_addressing import HeadParameters as HeadParameters
from .turing_addressing import address as address
from .turing_memory import NeuralTuringMemory as NeuralTuringMemory
from .turing_memory import TuringState as TuringState
from .turing_memory import convert_official_turing as convert_official_turing
from .universal_machine import UNIVERSAL_MACHINE as UNIVERSAL_MACHINE
from .universal_machine import Transition as Transition
from .universal_machine import follow_prompt as follow_prompt
from .universal_machine import trace as trace
from .universal_machine import universal_machine_program as universal_machine_program
