"""Tasks with exact solutions that test what a memory can do, and over which lengths."""

from .chomsky import CHOMSKY_TASKS, create_task
from .context_free import ModularArithmeticBrackets, ReverseString, SolveEquation, StackManipulation
from .context_sensitive import (
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    ComputeSqrt,
    DuplicateString,
    MissingDuplicateString,
    OddsFirst,
)
from .copying import AssociativeRecall, CopyTask, SegmentBatch
from .evaluation import TaskModel, task_accuracy, task_loss
from .regular import CycleNavigation, EvenPairs, ModularArithmetic, ParityCheck
from .task import AlgorithmicTask, TaskBatch

__all__ = [
    "CHOMSKY_TASKS",
    "AlgorithmicTask",
    "AssociativeRecall",
    "BinaryAddition",
    "BinaryMultiplication",
    "BucketSort",
    "ComputeSqrt",
    "CopyTask",
    "CycleNavigation",
    "DuplicateString",
    "EvenPairs",
    "MissingDuplicateString",
    "ModularArithmetic",
    "ModularArithmeticBrackets",
    "OddsFirst",
    "ParityCheck",
    "ReverseString",
    "SegmentBatch",
    "SolveEquation",
    "StackManipulation",
    "TaskBatch",
    "TaskModel",
    "create_task",
    "task_accuracy",
    "task_loss",
]
