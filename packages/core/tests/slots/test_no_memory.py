import torch

from mnemic_core import NoMemory


def test_it_recalls_the_query_after_any_write() -> None:
    memory, query = NoMemory(4), torch.randn(2, 3, 4)
    state = memory.write(memory.init_state(2), torch.randn(2, 5, 4))
    assert torch.equal(memory.read(query, state), query)


def test_it_counts_written_values() -> None:
    memory = NoMemory(4)
    padding = torch.tensor([[False, True], [True, True]])
    state = memory.write(memory.init_state(2), torch.randn(2, 5, 4))
    assert memory.write(state, torch.randn(2, 2, 4), padding=padding).count.tolist() == [6, 5]


def test_it_holds_no_content() -> None:
    memory = NoMemory(4)
    report = memory.report(memory.init_state(2), torch.randn(2, 3, 4))
    assert (report.written, report.capacity, report.memory_mass, report.read_entropy) == (0, 0, None, None)
