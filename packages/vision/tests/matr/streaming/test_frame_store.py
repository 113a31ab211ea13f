import numpy as np
import torch

from mnemic_vision.matr.streaming.frame_store import FrameStore
from mnemic_vision.matr.streaming.stored_windows import StoredWindows


def store() -> FrameStore:
    return FrameStore([torch.full((1, 2), 9.0)], capacity=2)


def test_a_row_is_free_when_no_window_refers_to_it() -> None:
    frames = store()
    rows = frames.add([torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
    frames.keep(rows[:1])
    frames.drop(rows)
    assert frames.num_used == 2  # the permanent row and the first one
    frames.drop(rows[:1])
    assert frames.num_used == 1


def test_a_full_store_doubles_and_keeps_its_rows() -> None:
    frames = store()
    first = frames.add([torch.tensor([[1.0, 2.0]])])
    frames.add([torch.arange(8.0).view(4, 2)])
    assert frames.read(0, torch.from_numpy(first)).tolist() == [[1.0, 2.0]]
    assert len(frames.references) == 6


def test_permanent_rows_are_never_freed() -> None:
    frames = store()
    frames.drop(np.zeros(5, dtype=np.int64))
    assert frames.read(0, torch.tensor([0])).tolist() == [[9.0, 9.0]]
    assert frames.num_used == 1


def test_a_restored_store_continues() -> None:
    frames, other = store(), store()
    rows = frames.add([torch.arange(8.0).view(4, 2)])
    frames.drop(rows[1:2])
    other.load_state_dict(frames.state_dict())
    assert other.num_used == frames.num_used
    added = other.add([torch.tensor([[5.0, 5.0]])])
    assert added.tolist() == rows[1:2].tolist()


def test_a_queue_gives_back_the_rows_of_its_oldest_window() -> None:
    queue = StoredWindows(streams=1, lanes=2, capacity=2, num_frames=3)
    windows = [np.arange(3) + 10 * number for number in range(3)]
    dropped = [queue.append(0, 1, rows, newest) for newest, rows in enumerate(windows)]
    assert [len(rows) for rows in dropped] == [0, 0, 3]
    assert dropped[2].tolist() == [0, 1, 2]
    assert sorted(queue.clear(0).tolist()) == [10, 11, 12, 20, 21, 22]
    assert queue.clear(0).tolist() == []
