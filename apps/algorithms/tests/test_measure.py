import pytest
import torch

from mnemic_algorithms.measure import LiveBytes, measure, measure_stream, one_thread, peak_bytes, recall_distance
from mnemic_core import NoMemory, WindowMemory
from mnemic_core.machines.recurrent import RecurrentMachine

CPU = torch.device("cpu")


def test_the_peak_is_what_was_alive_at_the_same_time() -> None:
    with LiveBytes([]) as live:
        first = torch.ones(100)  # 400 bytes
        second = first * 2
        del first, second
        third = torch.ones(50)
        view = third[:10]
        third.add_(1)
    assert (live.peak, live.now) == (800, 200)
    assert view.shape == (10,)


def test_views_of_what_is_present_are_no_new_memory() -> None:
    present = torch.ones(100)
    with LiveBytes([present]) as live:
        view = present.view(10, 10).t()
    assert (live.peak, view.shape) == (0, (10, 10))


def test_memory_that_grows_with_the_batch_is_seen() -> None:
    memory = WindowMemory(dim=4, capacity=3)
    small, large = (peak_bytes(memory, torch.ones(rows, 2, 4), memory.init_state(rows)) for rows in (1, 2))
    assert 0 < small < large


@pytest.mark.parametrize("capacity", [4, 8])
def test_the_recall_of_a_window_is_its_capacity_and_the_segment(capacity: int) -> None:
    memory = WindowMemory(dim=3, capacity=capacity)
    # The last reader is the last of 4 tokens in its segment; the window holds the tokens before the segment.
    assert recall_distance(memory, 4, 8, CPU) == (capacity + 3, False)


def test_without_memory_nothing_is_recalled() -> None:
    assert recall_distance(NoMemory(dim=3), 4, 8, CPU) == (0, False)


def test_a_stream_that_is_too_short_to_forget_is_reported() -> None:
    assert recall_distance(WindowMemory(dim=3, capacity=8), 4, 3, CPU) == (11, True)


class Hoarder(WindowMemory):
    """Keeps all that it ever saw, as no memory of the contract does."""

    def forward(self, x: torch.Tensor, state: object, **_: object) -> tuple[torch.Tensor, object]:
        kept = getattr(self, "kept", x)
        self.kept = torch.cat([kept, x], dim=1) if len(kept) == len(x) else x
        return x + (self.kept * 2).mean(), state


def test_a_memory_that_grows_is_not_flat_and_one_with_fixed_shapes_is() -> None:
    sizes = {"segment_length": 4, "segments": 16, "batch": 2, "device": CPU}
    assert not measure(Hoarder(dim=3), **sizes)["is_memory_flat"]
    result = measure(RecurrentMachine(3, hidden_dim=5), **sizes)
    assert result["is_memory_flat"]
    assert result["state_bytes_per_row"] == 20
    assert result["parameters"] == 3 * 5 + 5 * 5 + 5
    assert [point["tokens"] for point in result["stream"]] == [8, 16, 24, 32, 40, 48, 56, 64]


def test_the_state_is_carried_through_the_whole_stream() -> None:
    counts = []

    class Counting(NoMemory):
        def forward(self, x: torch.Tensor, state: object, **_: object) -> tuple[torch.Tensor, object]:
            counts.append(int(state.count[0]))
            return super().forward(x, state)

    measure_stream(Counting(dim=3), 5, 8, 1, CPU)
    assert max(counts) == 35


def test_the_number_of_threads_comes_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
