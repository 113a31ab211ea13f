from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import MemoryState
from mnemic_core.training import replay_backward

DIM, BATCH, LENGTH = 8, 2, 3


@dataclass(frozen=True)
class Inner(MemoryState):
    slots: Tensor
    count: Tensor


@dataclass(frozen=True)
class Nested(MemoryState):
    inner: Inner
    untouched: Tensor


class SegmentTransformer(nn.Module):
    """One transformer layer with dropout over [slots, segment]; the slots come out rewritten."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(2, DIM))
        self.layer = nn.TransformerEncoderLayer(DIM, 2, 16, dropout=0.3, batch_first=True)
        self.norm = norm or nn.Identity()

    def init_state(self, batch: int) -> Nested:
        count = torch.zeros(batch, dtype=torch.long)
        return Nested(Inner(self.start.expand(batch, -1, -1), count), self.start.sum().expand(batch))

    def forward(self, x: Tensor, state: Nested) -> tuple[Tensor, Nested]:
        slots = state.inner.slots
        hidden = self.layer(torch.cat([slots, x], dim=1))
        hidden = self.norm(hidden.flatten(0, 1)).view_as(hidden)
        after = Nested(Inner(hidden[:, : slots.shape[1]], state.inner.count + 1), state.untouched)
        return hidden[:, slots.shape[1] :], after


def target_loss(output: Tensor, index: int) -> Tensor:
    # Not one number for all: the final layer norm fixes mean and variance, so that loss would have no gradient.
    target = torch.cos(torch.arange(output.numel(), dtype=output.dtype) + index).view_as(output)
    return (output - target).square().mean()


def plain_bptt(
    module: SegmentTransformer, inputs: list[Tensor], state: Nested, weights: list[float]
) -> tuple[list[Tensor], Nested]:
    losses = []
    for index, x in enumerate(inputs):
        output, state = module(x, state)
        losses.append(target_loss(output, index))
    torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum().backward()
    return losses, state


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters()]


@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.4, 0.8, 1.6]], ids=["equal", "weighted"])
def test_replay_equals_plain_bptt_with_dropout(weights: list[float] | None) -> None:
    torch.manual_seed(0)
    module, inputs = SegmentTransformer(), list(torch.randn(5, BATCH, LENGTH, DIM))
    torch.manual_seed(1)
    losses, final = plain_bptt(module, inputs, module.init_state(BATCH), weights or [1.0] * 5)
    expected, after_bptt = gradients(module), torch.rand(3)

    module.zero_grad()
    torch.manual_seed(1)
    start = module.init_state(BATCH)
    replayed, replayed_final, _ = replay_backward(module, inputs, start, target_loss, weights=weights)

    assert_close(torch.rand(3), after_bptt, msg="replay left the random stream elsewhere than the rollout does")
    assert_close(replayed, losses, atol=1e-6, rtol=1e-6)
    assert_close(replayed_final.tensors(), final.tensors(), atol=1e-6, rtol=1e-6)
    assert_close(gradients(module), expected, atol=1e-6, rtol=1e-6)


def test_without_the_same_random_numbers_gradients_would_differ() -> None:
    torch.manual_seed(0)
    module, inputs = SegmentTransformer(), list(torch.randn(5, BATCH, LENGTH, DIM))
    found = []
    for seed in (1, 2):
        module.zero_grad()
        torch.manual_seed(seed)
        plain_bptt(module, inputs, module.init_state(BATCH), [1.0] * 5)
        found.append(module.start.grad.clone())
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_replay_equals_plain_bptt_under_autocast() -> None:
    torch.manual_seed(0)
    module, inputs = SegmentTransformer(), list(torch.randn(3, BATCH, LENGTH, DIM))
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        plain_bptt(module, inputs, module.init_state(BATCH), [1.0] * 3)
        expected = gradients(module)
        module.zero_grad()
        torch.manual_seed(1)
        replay_backward(module, inputs, module.init_state(BATCH), target_loss)
    for found, wanted in zip(gradients(module), expected, strict=True):
        assert_close(found, wanted, atol=1e-2, rtol=5e-2)  # casts of a weight are summed in another order


def test_batch_norm_sees_every_segment_once() -> None:
    torch.manual_seed(0)
    module, inputs = SegmentTransformer(nn.BatchNorm1d(DIM)), list(torch.randn(4, BATCH, LENGTH, DIM))
    replay_backward(module, inputs, module.init_state(BATCH), target_loss)
    assert module.norm.num_batches_tracked == 4


def test_an_untouched_state_has_a_gradient_of_zero() -> None:
    module = SegmentTransformer()
    _, _, grad0 = replay_backward(module, [torch.randn(BATCH, LENGTH, DIM)], module.init_state(BATCH), target_loss)
    assert grad0.untouched.count_nonzero() == 0
    assert grad0.inner.slots.count_nonzero() > 0


def test_a_detached_start_has_its_gradient_in_the_result_alone() -> None:
    torch.manual_seed(0)
    module, inputs = SegmentTransformer(), list(torch.randn(2, BATCH, LENGTH, DIM))
    module.eval()
    _, _, passed_on = replay_backward(module, inputs, module.init_state(BATCH), target_loss)
    assert_close(module.start.grad, passed_on.inner.slots.sum(0).view_as(module.start))
    module.zero_grad()
    _, _, kept = replay_backward(module, inputs, module.init_state(BATCH).detach(), target_loss)
    assert module.start.grad is None
    assert_close(kept.inner.slots, passed_on.inner.slots)


def test_a_gradient_through_an_unchanged_state_passes_on() -> None:
    scale = nn.Parameter(torch.tensor(2.0))

    def step(x: Tensor, state: Inner) -> tuple[Tensor, Inner]:
        return x * state.slots * scale, state

    state = Inner(torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    _, _, grad0 = replay_backward(step, [torch.tensor([[3.0]])] * 2, state, lambda output, _: output.sum())
    assert_close(grad0.slots, torch.tensor([[12.0]]))
    assert_close(scale.grad, torch.tensor(6.0))


def test_no_inputs_are_refused() -> None:
    module = SegmentTransformer()
    with pytest.raises(ValueError, match="at least one input"):
        replay_backward(module, [], module.init_state(BATCH), target_loss)


def test_a_weight_for_each_input() -> None:
    module = SegmentTransformer()
    inputs = [torch.randn(BATCH, LENGTH, DIM)]
    with pytest.raises(ValueError, match="each of the 1 inputs, got 2"):
        replay_backward(module, inputs, module.init_state(BATCH), target_loss, weights=[1.0, 1.0])
