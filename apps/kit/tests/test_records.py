import torch

from mnemic_kit.records import Records


def test_records_of_all_processes_are_one_table_in_which_each_item_counts_once() -> None:
    own, other = Records(), Records()
    own.update("b", ["Äpfel", 1])
    for name in ("c", "b", "a"):
        other.update(name, ["Äpfel", 1] if name == "b" else [name, 0.1])
    own.distributed_available_fn = lambda: True
    own.dist_sync_fn = lambda tensor, group: [tensor, torch.cat(other.lines)]
    assert list(own.compute().items()) == [("a", ["a", 0.1]), ("b", ["Äpfel", 1]), ("c", ["c", 0.1])]


def test_the_next_evaluation_begins_with_no_record() -> None:
    records = Records()
    records.update("a", 1)
    records.reset()
    records.update("b", 2)
    assert records.compute() == {"b": 2}
