"""How a tracker uses its long-term memory."""

import torch

from mnemic_core import MemoryReport, memory_report
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.tracks import join_rows


@torch.no_grad()
def report_of(tracker: Tracker) -> MemoryReport:
    """Return the memory report of a running tracker: its tracks are the entries of one memory."""
    state, memory = tracker.state, tracker.model.track_memory.memory
    rows = join_rows(state.memory)
    weights = memory.read_weights(state.output.flatten(0, 1)[:, None], rows)[:, 0]  # row slot
    own = torch.block_diag(*weights.split(1)) if weights.shape[1] else weights  # a track reads its own slots only
    used = state.valid.flatten()
    return memory_report(rows, own[used][None], rows_are_slots=used)
