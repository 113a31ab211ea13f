"""Running a memory on algorithmic tasks, and its accuracy over lengths."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.machines.recurrent import initialize
from mnemic_core.machines.stack_machine import StackCell
from mnemic_core.machines.tape_machine import TapeCell
from mnemic_core.memory import SegmentMemory
from mnemic_core.state import Device, MemoryState
from mnemic_core.tasks.task import AlgorithmicTask, TaskBatch


class TaskModel(nn.Module):
    """A memory between one-hot tokens and a linear layer for the answer.

    As in Delétang et al. 2023 (arXiv:2207.02098, section 4), an empty token for each output follows the input, and the
    outputs there, through a ReLU and a linear layer, are the logits of the answer. Stacks and tapes get at least a cell
    for each token, so that they do not limit the length.

    Args:
        memory: its ``dim`` must be the number of input tokens plus 1.
        task: the task to solve.

    Example:
        >>> from mnemic_core.tasks import ReverseString
        >>> model = TaskModel(StackCell(dim=3, hidden_dim=8), ReverseString())
        >>> model(torch.tensor([[0, 1, 1, 0]])).shape
        torch.Size([1, 4, 2])
    """

    def __init__(self, memory: SegmentMemory[Any], task: AlgorithmicTask) -> None:
        super().__init__()
        if memory.dim != task.input_size + 1:
            raise UserError(
                f"{task.name} has {task.input_size} input tokens and needs a memory of dim {task.input_size + 1}, one "
                f"more for the empty token, got {memory.dim}"
            )
        self.memory = memory
        self.task = task
        self.head = nn.Linear(memory.out_dim, task.output_size)
        initialize(self.head)

    def forward(self, inputs: Int[Tensor, "batch time"]) -> Float[Tensor, "batch output class"]:
        """Return the logits of the answer to each row."""
        length = inputs.shape[1]
        output_length = self.task.output_length(length)
        # The memory first reads the input, then answers at the empty tokens.
        tokens = F.pad(inputs.long(), (0, output_length), value=self.task.input_size)
        one_hot = F.one_hot(tokens, self.memory.dim).to(self.head.weight.dtype)
        hidden, _ = self.memory(one_hot, self._start(len(inputs), length, tokens.shape[1]))
        logits: Tensor = self.head(F.relu(hidden[:, length:]))
        return logits

    def _start(self, batch: int, length: int, total: int) -> MemoryState:
        device, memory = self.head.weight.device, self.memory
        if isinstance(memory, StackCell):
            return memory.init_state(batch, size=total, device=device)
        if isinstance(memory, TapeCell):
            return memory.init_state(batch, input_length=length, size=max(memory.size, total), device=device)
        state: MemoryState = memory.init_state(batch, device=device)
        return state


def task_loss(logits: Float[Tensor, "batch output class"], batch: TaskBatch) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of all outputs.

    As in the official code this includes outputs after the end of an answer, which accuracy ignores.
    """
    return F.cross_entropy(logits.flatten(0, 1), batch.targets.to(logits.device).flatten())


@torch.no_grad()
def task_accuracy(
    model: Callable[[Int[Tensor, "batch time"]], Float[Tensor, "batch output class"]],
    task: AlgorithmicTask,
    lengths: Iterable[int],
    *,
    batch: int = 128,
    seed: int = 0,
    device: Device = None,
) -> dict[int, float]:
    """Return the accuracy at every length, 0 to 1.

    The score of the paper is its mean over the lengths 41 to 500, after training on 1 to 40.

    Args:
        model: computes logits from inputs, such as a :class:`TaskModel` in evaluation mode.
        task: the task.
        lengths: lengths of inputs.
        batch: strings per length.
        seed: of the strings.
        device: of the model.

    Example:
        >>> from mnemic_core.tasks import ParityCheck
        >>> task = ParityCheck()
        >>> task_accuracy(lambda inputs: F.one_hot(task.solve(inputs), 2).float(), task, [4, 100])
        {4: 1.0, 100: 1.0}
    """
    accuracy = {}
    for length in lengths:
        sample = task.sample(batch, length, generator=torch.Generator().manual_seed(seed))
        answers = model(sample.inputs.to(device)).argmax(-1).cpu()
        accuracy[length] = float((answers == sample.targets)[sample.valid].double().mean())
    return accuracy
