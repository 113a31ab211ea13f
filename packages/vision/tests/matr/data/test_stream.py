import pickle

import numpy as np
from numpy.testing import assert_array_equal

from mnemic_vision.matr.data import ActionStream, GeneratedActions


def test_streams_can_be_sent_to_other_processes() -> None:
    made = GeneratedActions(num_streams=1, num_frames=50).open().streams[0]
    for stream in (made, made.in_memory()):
        assert_array_equal(pickle.loads(pickle.dumps(stream)).load(), made.load())


def test_frames_in_memory_are_read_once() -> None:
    reads = []
    frames = np.zeros((4, 2), np.float32)
    stream = ActionStream("s", 1.0, 4, (), lambda: reads.append(1) or frames)
    kept = stream.in_memory()
    assert kept.load() is kept.load() is frames
    assert len(reads) == 1
