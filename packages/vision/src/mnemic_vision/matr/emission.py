"""From the network's output to emitted actions, frame by frame (official `util/utils.py`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_vision.matr.clock import Clock
from mnemic_vision.matr.output import MatrOutput

LEAST_HULL = 1.0  # seconds; the official overlap divides by no less, so that instances below 0.3 s never suppress


@dataclass(frozen=True)
class EmissionRule:
    """When an instance becomes a result; the defaults are the paper's.

    Args:
        score: smallest class probability.
        overlap: of two instances of a class with a larger temporal IoU one is left out: the one with the lower score
            in one frame, the later one in different frames.
        flag: a window with a larger flag probability enters the memory.
        delay: seconds for which an instance is held back, to be replaced by a better one of the same action; 0 emits
            at once, so that the first instance counts.
        min_length: seconds; shorter instances are dropped, at 0 those that end before they start. None keeps all, as
            the released code does.
        horizon: windows after which a result is forgotten, so that cost and memory stay constant; None: never, as in
            the released code, which differs only for instances that begin before the horizon. The default is the
            reach of the paper's start regions.
    """

    score: float = 0.1
    overlap: float = 0.3
    flag: float = 0.5
    delay: float = 0.0
    min_length: float | None = 0.0
    horizon: int | None = 9

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "score", "overlap", "flag")
        check_range(self, 0, inf, "delay", "min_length")
        check_range(self, 1, inf, "horizon")


@dataclass(frozen=True)
class Candidate:
    """An instance found in one frame, in seconds.

    Attributes:
        label: class from 0.
        score: its probability.
        start: seconds from the beginning of the stream.
        end: likewise.
        seen: time of the frame.
    """

    label: int
    score: float
    start: float
    end: float
    seen: float


def find_candidates(
    output: MatrOutput, now: Int[Tensor, " lane"], clock: Clock, window: int, rule: EmissionRule
) -> list[list[Candidate]]:
    """Return the instances of each window after suppression within it, the highest score first.

    Args:
        output: of the network.
        now: index of the newest frame of each window.
        clock: when the frames are.
        window: frames of a window.
        rule: score and overlap.
    """
    probability, label = output.classes.softmax(-1)[..., :-1].max(-1)
    frames = now.to(label.device).double()[:, None, None] + window * output.segments().double()
    # One copy to the host: times and scores are rounded as in result files, before anything is compared.
    table = torch.stack(
        [probability.double(), label.double(), *(clock.offset + frames * clock.frame_time).unbind(-1)], dim=-1
    ).tolist()
    found = []
    for frame, rows in zip(now.tolist(), table, strict=True):
        seen = round(clock.time(frame), 2)
        candidates = [
            Candidate(int(label), round(score, 4), round(start, 2), round(end, 2), seen)
            for score, label, start, end in rows
            if score >= rule.score and _is_long_enough(end - start, rule)
        ]
        found.append(suppress(sorted(candidates, key=lambda each: -each.score), (), rule.overlap))
    return found


def _is_long_enough(length: float, rule: EmissionRule) -> bool:
    return rule.min_length is None or (length > 0 and length >= rule.min_length)


def suppress(candidates: Iterable[Candidate], earlier: Iterable[Candidate], overlap: float) -> list[Candidate]:
    """Return the candidates, in their order, that overlap neither an earlier one nor one kept before."""
    kept = list(earlier)
    start = len(kept)
    for candidate in candidates:
        if not any(overlaps(candidate, other, overlap) for other in kept):
            kept.append(candidate)
    return kept[start:]


def overlaps(first: Candidate, second: Candidate, overlap: float) -> bool:
    """Return whether two instances are of one class and overlap by more than a limit."""
    if first.label != second.label:
        return False
    shared = min(first.end, second.end) - max(first.start, second.start)
    hull = max(first.end, second.end) - min(first.start, second.start)
    return shared / max(hull, LEAST_HULL) > overlap


class Emitter:
    """Decides online which instances of a stream become results, which are never changed.

    Args:
        rule: when an instance becomes a result.
        horizon: seconds after whose end a result is forgotten.

    Attributes:
        recent: results not yet forgotten.
        held: instances held back, the best of each action with the time at which it is due.
    """

    def __init__(self, rule: EmissionRule, horizon: float = inf) -> None:
        self.rule, self.horizon = rule, horizon
        self.recent: list[Candidate] = []
        self.held: list[tuple[float, Candidate]] = []

    def push(self, candidates: Sequence[Candidate], now: float) -> list[Candidate]:
        """Return the instances that become results at a frame.

        Args:
            candidates: of the frame, the highest score first; those that have not ended yet are left out.
            now: time of the frame in seconds.
        """
        self.recent = [each for each in self.recent if each.end >= now - self.horizon]
        ended = suppress((each for each in candidates if each.end <= now), self.recent, self.rule.overlap)
        if self.rule.delay == 0:
            self.recent += ended
            return ended
        for candidate in ended:
            self._hold(candidate, now)
        due = [candidate for time, candidate in self.held if time <= now]
        self.held = [(time, candidate) for time, candidate in self.held if time > now]
        return self._release(due, now)

    def flush(self, now: float) -> list[Candidate]:
        """Return the instances that are held back at the end of a stream."""
        due, self.held = [candidate for _, candidate in self.held], []
        return self._release(due, now)

    def _hold(self, candidate: Candidate, now: float) -> None:
        """Replace the held instance of the same action if this one is better, or hold another one."""
        for index, (due, other) in enumerate(self.held):
            if overlaps(candidate, other, self.rule.overlap):
                if candidate.score > other.score:
                    self.held[index] = due, candidate
                return
        self.held.append((now + self.rule.delay, candidate))

    def _release(self, due: list[Candidate], now: float) -> list[Candidate]:
        """Return the instances that no result overlaps, as seen now."""
        due.sort(key=lambda each: -each.score)
        released = [replace(each, seen=now) for each in suppress(due, self.recent, self.rule.overlap)]
        self.recent += released
        return released

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        held = [[due, asdict(candidate)] for due, candidate in self.held]
        return {"recent": [asdict(candidate) for candidate in self.recent], "held": held}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.recent = [Candidate(**candidate) for candidate in state["recent"]]
        self.held = [(due, Candidate(**candidate)) for due, candidate in state["held"]]
