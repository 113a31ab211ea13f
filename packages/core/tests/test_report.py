import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mnemic_core import ExponentialMemory, MemoryState, RingBuffer, WindowMemory, memory_report


def window_of(*vectors: list[float], capacity: int = 4) -> RingBuffer:
    return RingBuffer.empty(1, capacity, 2).append(torch.tensor([vectors]))


def test_use_and_age_of_a_half_filled_window() -> None:
    report = memory_report(window_of([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]))
    assert (report.written, report.capacity, report.share_used) == (3, 4, 0.75)
    assert (report.age_mean, report.age_max) == (1.0, 2)


@pytest.mark.parametrize(
    ("vectors", "diversity"),
    [([[1.0, 0.0], [5.0, 0.0]], 0.0), ([[1.0, 0.0], [0.0, 2.0]], 1.0), ([[1.0, 0.0], [-3.0, 0.0]], 2.0)],
    ids=["alike", "orthogonal", "opposite"],
)
def test_diversity_is_cosine_distance(vectors: list[list[float]], diversity: float) -> None:
    assert memory_report(window_of(*vectors)).diversity == pytest.approx(diversity)


def test_diversity_is_the_mean_over_all_pairs() -> None:
    values = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    state = RingBuffer.empty(2, 5, 3).append(values)
    pairs = [
        1 - torch.cosine_similarity(row[i], row[j], dim=0).item() for row in values for i in range(5) for j in range(i)
    ]
    assert memory_report(state).diversity == pytest.approx(sum(pairs) / len(pairs))


def test_an_empty_memory_has_no_ages_and_no_diversity() -> None:
    report = memory_report(RingBuffer.empty(2, 3, 4))
    assert (report.share_used, report.age_mean, report.age_max, report.diversity) == (0.0, None, None, None)


@pytest.mark.parametrize(
    ("weights", "mass", "entropy"),
    [
        ([0.5, 0.5, 0, 0], 1.0, 1.0),
        ([1.0, 0, 0, 0], 1.0, 0.0),
        ([0.1, 0.1, 0, 0], 0.2, 1.0),
        ([0.0, 0, 0, 0], 0.0, None),
    ],
    ids=["all alike", "one", "mostly elsewhere", "not at all"],
)
def test_attention_on_memory(weights: list[float], mass: float, entropy: float | None) -> None:
    report = memory_report(window_of([1.0, 0.0], [0.0, 1.0]), torch.tensor([[weights]]))
    assert report.memory_mass == pytest.approx(mass)
    assert report.read_entropy == (None if entropy is None else pytest.approx(entropy))


def test_tracks_are_the_slots_of_one_memory() -> None:
    memory = ExponentialMemory(2)
    state = memory.write(memory.init_state(4), torch.eye(4, 2)[:, None].expand(4, 3, 2))
    alive = torch.tensor([True, True, False, False])
    report = memory_report(state, torch.tensor([[[0.5, 0.5, 0.0, 0.0]]]), rows_are_slots=alive)
    assert (report.written, report.capacity, report.age_max) == (2, 4, 2)
    assert (report.diversity, report.memory_mass, report.read_entropy) == (1.0, 1.0, 1.0)


def test_a_memory_reports_on_its_own_reading() -> None:
    memory = WindowMemory(2, capacity=4)
    report = memory.report(window_of([1.0, 0.0], [-1.0, 0.0]), torch.tensor([[[9.0, 0.0]]]))
    assert report.memory_mass == pytest.approx(1.0)
    assert 0 < report.read_entropy < 0.1
    assert report.bytes_per_row == 4 * 2 * 4 + 8 + 8


def test_the_report_is_printed_and_logged() -> None:
    report = memory_report(window_of([1.0, 0.0], [0.0, 1.0]))
    assert report.as_dict()["diversity"] == pytest.approx(1.0)
    lines = report.as_table().splitlines()
    assert lines[0].split() == ["slots", "written", "2", "of", "4", "(50%)"]
    assert lines[-1].split() == ["read", "entropy", "-"]
    assert all(math.isfinite(value) for value in report.as_dict().values() if value is not None)


def test_a_state_without_slots_is_refused() -> None:
    @dataclass(frozen=True)
    class Opaque(MemoryState):
        content: Tensor

    with pytest.raises(TypeError, match=r"needs a state with slots\(\), got Opaque"):
        memory_report(Opaque(torch.zeros(1)))


def test_read_weights_must_fit_the_slots() -> None:
    with pytest.raises(ValueError, match=r"batch and slot \(1, 4\), got \(1, 1, 3\)"):
        memory_report(window_of([1.0, 0.0]), torch.zeros(1, 1, 3))
