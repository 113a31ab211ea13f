"""Tasks with exact solutions that test what a memory can do, and over which lengths."""

from .chomsky import CHOMSKY_TASKS as CHOMSKY_TASKS
from .chomsky import create_task as create_task
from .context_free import ModularArithmeticBrackets as ModularArithmeticBrackets
from .context_free import ReverseString as ReverseString
from .context_free import SolveEquation as SolveEquation
from .context_free import StackManipulation as StackManipulation
from .context_sensitive import BinaryAddition as BinaryAddition
from .context_sensitive import BinaryMultiplication as BinaryMultiplication
from .context_sensitive import BucketSort as BucketSort
from .context_sensitive import ComputeSqrt as ComputeSqrt
from .context_sensitive import DuplicateString as DuplicateString
from .context_sensitive import MissingDuplicateString as MissingDuplicateString
from .context_sensitive import OddsFirst as OddsFirst
from .copying import AssociativeRecall as AssociativeRecall
from .copying import CopyTask as CopyTask
from .copying import SegmentBatch as SegmentBatch
from .evaluation import TaskModel as TaskModel
from .evaluation import task_accuracy as task_accuracy
from .evaluation import task_loss as task_loss
from .regular import CycleNavigation as CycleNavigation
from .regular import EvenPairs as EvenPairs
from .regular import ModularArithmetic as ModularArithmetic
from .regular import ParityCheck as ParityCheck
from .task import AlgorithmicTask as AlgorithmicTask
from .task import TaskBatch as TaskBatch
