"""Ctrl-C and SIGTERM: in training noted at once and acted on between two steps, in a run the end of its frames."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType


class Interrupted(SystemExit):
    """The end of a training upon signal ``number``; ``saved`` is the checkpoint to continue from, if there is one."""

    def __init__(self, number: int, saved: Path | None = None) -> None:
        super().__init__(128 + number)
        self.number = number
        self.saved = saved


class SignalWatch:
    """Notes Ctrl-C and SIGTERM in ``received`` instead of acting on them; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def start(self) -> None:
        """Begin to watch; only the main thread of a process can."""
        self.received = None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # for the second Ctrl-C
        sys.stderr.write("\nstopping after this step; press Ctrl-C to stop at once, without saving\n")


def early_end(error: BaseException, num_frames: int, *, is_live: bool) -> BaseException | None:
    """Return what a run raises after it has written its results, given what ended its frames early.

    None for Ctrl-C at a camera, which is the usual way to stop one; at a film it says how much was written.
    """
    if not isinstance(error, KeyboardInterrupt):
        return error
    return None if is_live else KeyboardInterrupt(f"the results of {num_frames} frames were written")


def ignore_signals(worker: int) -> None:
    """Let a worker process ignore Ctrl-C and SIGTERM, which a terminal or a batch system sends to all processes.

    The training process, which acts on them, still needs the batches of its current step.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
