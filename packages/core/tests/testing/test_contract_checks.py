"""Each rule catches a memory that breaks it: a check that never fails proves nothing."""

import pytest
import torch
from torch import Tensor, nn

from mnemic_core import ExponentialMemory, ExponentialState, SegmentMemory
from mnemic_core.testing import CONTRACT


class Hoarding(ExponentialMemory):
    """Keeps what it saw in the module instead of the state (rules 1 and 10)."""

    def __init__(self) -> None:
        super().__init__(4, decay=0.3)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: Tensor, state: ExponentialState, **masks: Tensor) -> tuple[Tensor, ExponentialState]:
        self.seen = self.seen + x.sum((0, 1))
        output, state = super().forward(x, state, **masks)
        return output + self.seen, state


class ForgetfulReset(ExponentialMemory):
    """Clears the vector of a row and leaves its counter (rule 2)."""

    def reset(self, state: ExponentialState, rows: Tensor) -> ExponentialState:
        return ExponentialState(state.long.masked_fill(rows[:, None], 0), state.count)


class SharedOffset(ExponentialMemory):
    """Advances the counters of all rows with that of the first (rule 3), as a known retrieval cache does."""

    def write(self, state: ExponentialState, values: Tensor, *, padding: Tensor | None = None) -> ExponentialState:
        written = super().write(state, values, padding=padding)
        return ExponentialState(written.long + written.long[:1], written.count)


class BlindToPadding(ExponentialMemory):
    """Writes padding too (rule 4)."""

    def write(self, state: ExponentialState, values: Tensor, *, padding: Tensor | None = None) -> ExponentialState:
        return super().write(state, values)


class SilentlyDetached(ExponentialMemory):
    """Says that it never detaches, and does (rule 5)."""

    def write(self, state: ExponentialState, values: Tensor, *, padding: Tensor | None = None) -> ExponentialState:
        return super().write(state, values.detach(), padding=padding)


class SilentlyAttached(ExponentialMemory):
    """Says that stored values have no gradient, and gives them one (rule 5)."""

    def _stored(self, tensor: Tensor) -> Tensor:
        return tensor


class OwnRandomNumbers(ExponentialMemory):
    """Draws from a stream that nobody can replay (rules 6 and 9)."""

    def __init__(self) -> None:
        super().__init__(4, decay=0.3, detach="never")
        self.generator = torch.Generator().manual_seed(0)

    def __deepcopy__(self, memo: dict[int, object]) -> "OwnRandomNumbers":
        return self

    def write(self, state: ExponentialState, values: Tensor, *, padding: Tensor | None = None) -> ExponentialState:
        noise = torch.rand(values.shape, generator=self.generator).to(values)
        return super().write(state, values * noise, padding=padding)


class HiddenCounter(ExponentialMemory):
    """Depends on a number that is not in the state, so a loaded state does not go on as it would have (rule 7)."""

    def __init__(self) -> None:
        super().__init__(4, decay=0.3)
        self.calls = 0

    def read(self, query: Tensor, state: ExponentialState) -> Tensor:
        self.calls += 1
        return super().read(query, state) * self.calls


class LooksAtNumbers(ExponentialMemory):
    """Branches on what a tensor holds (rule 8)."""

    def read(self, query: Tensor, state: ExponentialState) -> Tensor:
        if state.count.sum().item() > 5:
            return super().read(query, state)
        return torch.zeros_like(query)


class IdleParameter(ExponentialMemory):
    """Has a parameter that the forward pass does not use (rule 10)."""

    def __init__(self) -> None:
        super().__init__(4, decay=0.3, detach="never")
        self.scale = nn.Parameter(torch.ones(4))
        self.idle = nn.Parameter(torch.ones(4))

    def read(self, query: Tensor, state: ExponentialState) -> Tensor:
        return super().read(query, state) + self.scale * query


class DeadWeight(ExponentialMemory):
    """Learns in writing alone, whose gradient its policy stops (rule 10)."""

    def __init__(self) -> None:
        super().__init__(4, decay=0.3, detach="stored")
        self.scale = nn.Parameter(torch.ones(4))

    def write(self, state: ExponentialState, values: Tensor, *, padding: Tensor | None = None) -> ExponentialState:
        return super().write(state, self.scale * values, padding=padding)


@pytest.mark.parametrize(
    ("rule", "broken", "message"),
    [
        ("1 streaming equality", Hoarding(), "alternating streams differ"),
        ("2 reset equality", ForgetfulReset(4, decay=0.3), "a reset row differs from a fresh one"),
        ("3 batch independence", SharedOffset(4, decay=0.3), "rule 3"),
        ("4 padding neutrality", BlindToPadding(4, decay=0.3), "padded tail"),
        ("5 gradient policy", SilentlyDetached(4, decay=0.3, detach="never"), "something is detached"),
        ("5 gradient policy", SilentlyAttached(4, decay=0.3, detach="stored"), "gradients cross segments"),
        ("6 replay equality", OwnRandomNumbers(), "rule 6, replayed"),
        ("7 round trip", HiddenCounter(), "rule 7, saved and loaded"),
        ("9 determinism", OwnRandomNumbers(), "a second run differs"),
        ("10 state outside the module", Hoarding(), "a step wrote into the module: seen"),
        ("10 state outside the module", IdleParameter(), "1 parameters take no part"),
        ("10 state outside the module", DeadWeight(), "rule 10, no parameter takes part in a forward pass"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_memory_is_caught(rule: str, broken: ExponentialMemory, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        CONTRACT[rule](broken)


@pytest.mark.parametrize("rule", ["8 one compiled graph", "8 export"])
def test_a_branch_on_data_is_caught(rule: str) -> None:
    with pytest.raises(Exception, match=r"(?i)item|data-dependent|could not"):
        CONTRACT[rule](LooksAtNumbers(4, decay=0.3))


class Adapter(SegmentMemory[ExponentialState]):
    """A memory that learns its first state and has no read or write of its own."""

    def __init__(self) -> None:
        super().__init__(4, "never")
        self.start = nn.Parameter(torch.randn(4))
        self.layer = nn.Linear(8, 4)

    def init_state(self, batch: int, *, device=None, dtype=None) -> ExponentialState:
        start = self.start.to(device, dtype).expand(batch, -1)
        return ExponentialState(start, torch.zeros(batch, device=device, dtype=torch.long))

    def _run_segment(self, x, state, padding):
        valid = torch.ones_like(x[..., :1]) if padding is None else (~padding)[..., None].to(x)
        output = torch.tanh(self.layer(torch.cat([x, state.long[:, None].expand_as(x)], dim=-1)))
        long = (output * valid).sum(1) / valid.sum(1).clamp(min=1)
        return output, ExponentialState(long, state.count + valid.sum((1, 2)).long())


@pytest.mark.parametrize("rule", CONTRACT)
def test_a_module_that_learns_its_first_state_passes(rule: str) -> None:
    torch.manual_seed(0)
    CONTRACT[rule](Adapter())
