import itertools
import os
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases

from mnemic_core.tasks import (
    CHOMSKY_TASKS,
    AlgorithmicTask,
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    EvenPairs,
    ModularArithmetic,
    ModularArithmeticBrackets,
    ReverseString,
    SolveEquation,
    StackManipulation,
    create_task,
)

FOLDER = Path(__file__).parent.parent / "golden"
CASES = [case for case in golden_cases("core", FOLDER) if "Chomsky-hierarchy tasks" in case.info["mechanism"]]
TASKS = [pytest.param(create_task(name), id=name) for name in CHOMSKY_TASKS]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_of(case: GoldenCase, name: str) -> AlgorithmicTask:
    options = {
        "bucket_sort": {"symbols": case.config["bucket_sort_vocab"]},
        "modular_arithmetic": {"modulus": case.config["modulus"]},
        "solve_equation": {"modulus": case.config["modulus"]},
        "modular_arithmetic_brackets": {
            "modulus": case.config["modulus"],
            "has_products": "mult=True" in case.config["modular_arithmetic_brackets"],
        },
    }
    return create_task(name, **options.get(name, {}))


GOLDEN = [pytest.param(case, name, id=f"{case.name}-{name}") for case in CASES for name in case.config["tasks"]]


@pytest.mark.golden
@pytest.mark.parametrize(("case", "name"), GOLDEN)
def test_solutions_equal_the_official_code(case: GoldenCase, name: str) -> None:
    task, facts = task_of(case, name), case.config["tasks"][name]
    assert (task.level, task.input_size, task.output_size) == tuple(
        facts[key] for key in ("level", "input_size", "output_size")
    )
    assert task.output_length(8) == facts["output_length_at_8"]
    for length in case.config["lengths"]:
        targets = task.solve(case.inputs[f"{name}.{length}"])
        expected = case.outputs[f"{name}.{length}"]
        assert torch.equal(targets.view_as(expected), expected.long())
        mask = case.outputs[f"{name}.{length}.mask"]
        assert torch.equal(task.valid(targets).view_as(mask), mask.bool())


@pytest.mark.skipif("MNEMIC_GOLDEN_DIR" in os.environ, reason="other files may hold fewer tasks")
def test_there_are_golden_cases_for_all_fifteen_tasks() -> None:
    assert {param.values[1] for param in GOLDEN} == set(CHOMSKY_TASKS)
    assert len(CHOMSKY_TASKS) == 15


@pytest.mark.parametrize("task", TASKS)
def test_one_task_solves_any_lengths_in_any_order(task: AlgorithmicTask) -> None:
    for length in (5, 7, 5, 1, 2, 3, 4, 6, 40, 41):
        batch = task.sample(3, length, generator=seeded())
        is_shortened = isinstance(task, ModularArithmetic) and length % 2 == 0
        assert batch.inputs.shape == (3, length - is_shortened)
        assert batch.targets.shape == batch.valid.shape == (3, task.output_length(length))
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < task.input_size
        assert batch.targets.max() < task.output_size
        assert batch.valid[:, 0].all()


@pytest.mark.parametrize("task", TASKS)
def test_draws_follow_the_generator_and_nothing_else(task: AlgorithmicTask) -> None:
    first = task.sample(4, 9, generator=seeded(1))
    task.sample(4, 12, generator=seeded(2))
    again, other = task.sample(4, 9, generator=seeded(1)), task.sample(4, 9, generator=seeded(3))
    assert torch.equal(again.inputs, first.inputs)
    assert not torch.equal(other.inputs, first.inputs)
    torch.manual_seed(5)
    expected = task.sample(4, 9).inputs
    torch.manual_seed(5)
    assert torch.equal(task.sample(4, 9).inputs, expected)


@pytest.mark.parametrize("task", TASKS)
def test_every_input_token_of_the_task_is_drawn_and_every_class_occurs(task: AlgorithmicTask) -> None:
    batches = [task.sample(300, length, generator=seeded(length)) for length in (11, 12)]
    never_drawn = {"modular_arithmetic": {8}, "modular_arithmetic_brackets": {10}}.get(task.name, set())
    drawn = set(itertools.chain(*(batch.inputs.flatten().tolist() for batch in batches)))
    assert drawn == set(range(task.input_size)) - never_drawn
    assert {int(token) for batch in batches for token in batch.targets.flatten()} == set(range(task.output_size))


@pytest.mark.parametrize("task", [ModularArithmetic(7), ModularArithmeticBrackets(7)], ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 24])
def test_values_of_expressions_are_those_of_python(task: AlgorithmicTask, length: int) -> None:
    symbols = [*map(str, range(7)), *("+-*()" if isinstance(task, ModularArithmeticBrackets) else "+-*")]
    batch = task.sample(50, length, generator=seeded())
    for row, target in zip(batch.inputs.tolist(), batch.targets[:, 0].tolist(), strict=True):
        assert eval("".join(symbols[token] for token in row)) % 7 == target


def test_equations_hold_for_their_solution_alone() -> None:
    task, symbols = SolveEquation(), "01234+-()x="
    batch = task.sample(50, 15, generator=seeded())
    for row, target in zip(batch.inputs.tolist(), batch.targets[:, 0].tolist(), strict=True):
        expression, value = "".join(symbols[token] for token in row).split("=")
        assert [x for x in range(5) if (eval(expression.replace("x", str(x))) - int(value)) % 5 == 0] == [target]


def test_expressions_may_be_far_deeper_than_the_interpreter_allows_calls() -> None:
    task = ModularArithmeticBrackets()
    deep, number = [8] * 20_000, [1]
    nested = deep + number + [5, 1, 9] * 20_000
    assert task.solve(torch.tensor([nested])).item() == 20_001 % 5
    assert task.sample(1, 20_000, generator=seeded()).inputs.shape == (1, 20_000)


@pytest.mark.parametrize(("task", "combine"), [(BinaryAddition(), int.__add__), (BinaryMultiplication(), int.__mul__)])
def test_answers_to_binary_operations_are_those_of_integers(task: AlgorithmicTask, combine: object) -> None:
    batch = task.sample(20, 150, generator=seeded())  # numbers beyond 64 bits
    for row, target, valid in zip(*(x.tolist() for x in (batch.inputs, batch.targets, batch.valid)), strict=True):
        middle, end = row.index(2), target.index(2)
        left, right, answer = (number(bits) for bits in (row[:middle], row[middle + 1 :], target[:end]))
        assert min(left, right) >= 1
        assert combine(left, right) == answer
        assert target[end + 1 :] == [0] * (len(target) - end - 1)
        assert valid == [place <= end for place in range(len(target))]


def number(bits: list[int]) -> int:
    """The number whose lowest bit comes first."""
    return sum(bit << place for place, bit in enumerate(bits))


def test_square_roots_are_the_largest_whose_square_fits() -> None:
    batch = create_task("compute_sqrt").sample(30, 90, generator=seeded())
    for row, target in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        square, root = number(row[::-1]), number(target[::-1])
        assert root**2 <= square < (root + 1) ** 2


def test_missing_bits_are_those_of_the_other_copy() -> None:
    batch = create_task("missing_duplicate_string").sample(50, 9, generator=seeded())
    for row, target in zip(batch.inputs.tolist(), batch.targets[:, 0].tolist(), strict=True):
        restored = [target if token == 2 else token for token in row[:8]]
        assert restored[:4] == restored[4:]
        assert row.count(2) == 1
        assert row[8] == 3


def test_taking_from_an_empty_stack_does_nothing() -> None:
    task = StackManipulation()
    targets = task.solve(torch.tensor([[1, 2, 2, 4]]))
    assert targets.tolist() == [[1, 2, 0, 0, 0]]
    assert task.valid(targets).tolist() == [[True, True, False, False, False]]


def test_without_products_no_product_is_drawn() -> None:
    batch = ModularArithmeticBrackets(has_products=False).sample(100, 30, generator=seeded())
    assert not (batch.inputs == 7).any()


def test_tasks_find_their_solutions_on_the_device_of_the_inputs() -> None:
    assert StackManipulation().solve(torch.zeros(1, 3, dtype=torch.int32)).device.type == "cpu"
    assert EvenPairs().sample(1, 1).targets.tolist() == [[0]]


@pytest.mark.parametrize(("batch", "length"), [(0, 3), (3, 0), (3, -1)])
def test_impossible_sizes_are_refused(batch: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {min(batch, length)}"):
        EvenPairs().sample(batch, length)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModularArithmetic(1), "modulus must be at least 2, got 1"),
        (lambda: SolveEquation(0), "modulus must be at least 2, got 0"),
        (lambda: ReverseString(1), "symbols must be at least 2, got 1"),
        (lambda: BucketSort(1), "symbols must be at least 2, got 1"),
        (lambda: create_task("sorting"), "task must be one of even_pairs, .*, got 'sorting'"),
        (lambda: create_task("parity_check", modulus=3), "'parity_check' cannot be built with the options"),
    ],
)
def test_impossible_tasks_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
