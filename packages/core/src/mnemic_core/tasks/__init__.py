"""Tasks with exact solutions, on which it shows what a memory can do and how far it carries."""

from mnemic_core.tasks.chomsky import CHOMSKY_TASKS, create_task
from mnemic_core.tasks.context_free import ModularArithmeticBrackets, ReverseString, SolveEquation, StackManipulation
from mnemic_core.tasks.context_sensitive import (
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    ComputeSqrt,
    DuplicateString,
    MissingDuplicateString,
    OddsFirst,
)
from mnemic_core.tasks.copying import AssociativeRecall, CopyTask, SegmentBatch
from mnemic_core.tasks.evaluation import TaskModel, task_accuracy, task_loss
from mnemic_core.tasks.regular import CycleNavigation, EvenPairs, ModularArithmetic, ParityCheck
from mnemic_core.tasks.task import AlgorithmicTask, TaskBatch

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
