import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core import WindowMemory
from mnemic_core.machines import RecurrentMachine, StackCell, TapeCell
from mnemic_core.memory import SegmentMemory
from mnemic_core.tasks import CHOMSKY_TASKS, DuplicateString, ReverseString, TaskModel, create_task
from mnemic_core.tasks.evaluation import task_accuracy, task_loss


@pytest.mark.parametrize("name", CHOMSKY_TASKS)
def test_the_solution_itself_is_always_right_and_its_neighbour_never(name: str) -> None:
    task = create_task(name)

    def solve(inputs: Tensor) -> Tensor:
        return F.one_hot(task.solve(inputs), task.output_size).float()

    assert task_accuracy(solve, task, [1, 6, 3], batch=8) == {1: 1.0, 6: 1.0, 3: 1.0}
    assert task_accuracy(lambda inputs: solve(inputs).roll(1, -1), task, [6], batch=8) == {6: 0.0}


def test_outputs_behind_the_end_do_not_count() -> None:
    task = create_task("binary_addition")

    def right_until_the_end(inputs: Tensor) -> Tensor:
        targets = task.solve(inputs)
        return F.one_hot(torch.where(task.valid(targets), targets, 1), 3).float()

    assert task_accuracy(right_until_the_end, task, [9], batch=8) == {9: 1.0}


def test_strings_of_a_length_do_not_depend_on_other_lengths() -> None:
    task, seen = ReverseString(), []

    def remember(inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return torch.zeros(*inputs.shape, 2)

    task_accuracy(remember, task, [3, 5], batch=4)
    task_accuracy(remember, task, [5], batch=4)
    assert torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    "memory",
    [
        RecurrentMachine(3, hidden_dim=6),
        StackCell(3, hidden_dim=6, inner="lstm"),
        TapeCell(3, hidden_dim=6),
        WindowMemory(3),
    ],
    ids=lambda memory: type(memory).__name__,
)
def test_any_memory_answers_at_any_length(memory: SegmentMemory) -> None:
    task = DuplicateString()
    model = TaskModel(memory, task)
    for length in (4, 9, 1):
        batch = task.sample(2, length)
        logits = model(batch.inputs)
        assert logits.shape == (2, 2 * length, 2)
        task_loss(logits, batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_stack_and_tape_are_as_long_as_input_and_answer_together() -> None:
    task, inputs = DuplicateString(), torch.zeros(1, 30, dtype=torch.long)
    for memory, expected in ((StackCell(3, size=5), 90), (TapeCell(3, size=5), 90), (TapeCell(3, size=99), 99)):
        states = []
        memory.register_forward_pre_hook(lambda _, args, states=states: states.append(args[1]))
        TaskModel(memory, task)(inputs)
        assert states[0].size == expected
    assert states[0].input_length.tolist() == [30]


def test_the_loss_is_the_mean_cross_entropy_of_all_outputs() -> None:
    batch = create_task("stack_manipulation").sample(2, 4)
    logits = torch.randn(2, 5, 3)
    expected = -logits.log_softmax(-1).gather(2, batch.targets[..., None]).mean()
    torch.testing.assert_close(task_loss(logits, batch), expected)


def test_a_memory_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has 2 input tokens and needs a memory of dim 3, .* got 4"):
        TaskModel(StackCell(4), ReverseString())
