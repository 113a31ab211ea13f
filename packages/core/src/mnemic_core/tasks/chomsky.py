"""The fifteen formal-language tasks of "Neural Networks and the Chomsky Hierarchy" (arXiv:2207.02098) by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mnemic_core.errors import UserError
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
from mnemic_core.tasks.regular import CycleNavigation, EvenPairs, ModularArithmetic, ParityCheck
from mnemic_core.tasks.task import AlgorithmicTask

CHOMSKY_TASKS: Mapping[str, type[AlgorithmicTask]] = MappingProxyType(
    {
        task.name: task
        for task in (
            EvenPairs,
            ModularArithmetic,
            ParityCheck,
            CycleNavigation,
            StackManipulation,
            ReverseString,
            ModularArithmeticBrackets,
            SolveEquation,
            DuplicateString,
            MissingDuplicateString,
            OddsFirst,
            BinaryAddition,
            BinaryMultiplication,
            ComputeSqrt,
            BucketSort,
        )
    }
)
"""Every task by its name, from the regular ones to the context-sensitive ones, in the order of the paper's table."""


def create_task(name: str, **options: Any) -> AlgorithmicTask:
    """Build a task by its name, as a configuration file does.

    Args:
        name: one of the names in :data:`CHOMSKY_TASKS`.
        options: constructor arguments of the task.

    Raises:
        UserError: if there is no such task or it has no such option.

    Example:
        >>> create_task("bucket_sort", symbols=3).output_size
        3
    """
    if name not in CHOMSKY_TASKS:
        raise UserError(f"task must be one of {', '.join(CHOMSKY_TASKS)}, got {name!r}")
    try:
        return CHOMSKY_TASKS[name](**options)
    except TypeError as error:
        raise UserError(f"task {name!r} cannot be built with the options {options}: {error}") from error
