"""Online localization of actions: frames in, finished actions out."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.report import MemoryReport
from mnemic_core.session import Session
from mnemic_vision.matr.actions import DetectedAction
from mnemic_vision.matr.clock import Clock
from mnemic_vision.matr.data.features import InputConfig
from mnemic_vision.matr.emission import Candidate, EmissionRule, Emitter, find_candidates
from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.output import MatrOutput
from mnemic_vision.matr.streaming.engine import StreamingMatr


class OnlineLocalizer(Session):
    """Finds the actions of a stream while it runs, each as soon as it has ended.

    Args:
        model: trained network.
        inputs: what a raw frame consists of.
        classes: names of the classes.
        clock: when the frames are.
        rule: when an action is emitted; None: as in the paper.

    Attributes:
        flag: probability that the newest window overlaps an action; 0 before the first frame.

    Example:
        >>> from mnemic_vision.matr import MatrConfig
        >>> config = MatrConfig(modalities=(6,), num_classes=2, dim=8, ffn_dim=8, encoder_heads=2, window=4, capacity=2)
        >>> localizer = OnlineLocalizer(Matr(config), InputConfig("plain", channels=6), ("run", "jump"), Clock(0.1))
        >>> isinstance(localizer.push(np.zeros(6, dtype=np.float32)), list)
        True
    """

    session_kind = "action localization session"

    def __init__(
        self,
        model: Matr,
        inputs: InputConfig,
        classes: tuple[str, ...],
        clock: Clock,
        rule: EmissionRule | None = None,
    ) -> None:
        if inputs.num_features != model.config.num_features or len(classes) != model.config.num_classes:
            raise UserError(
                f"the network takes {model.config.num_features} features and has {model.config.num_classes} classes, "
                f"but the input gives {inputs.num_features} and {len(classes)} classes are named"
            )
        self.model, self.inputs, self.classes, self.clock = model.eval(), inputs, classes, clock
        self.rule = rule or EmissionRule()
        self.reset()

    @cached_property
    def engine(self) -> StreamingMatr:
        """The network frame by frame; made when it is needed, since it copies the weights and `localize` does not."""
        return StreamingMatr(self.model, flag_threshold=self.rule.flag)

    def reset(self) -> None:
        """Begin another stream."""
        if "engine" in vars(self):
            self.engine.reset(0)
        self.emitter = Emitter(self.rule, self._horizon())
        self.flag = 0.0
        self._previous: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the stream so far."""
        return int(self.engine.now[0]) + 1

    @property
    def windows_in_memory(self) -> int:
        """Windows in memory, over all lanes."""
        return self.engine.windows_in_memory()[0]

    @torch.no_grad()
    def push(self, frame: Float[np.ndarray | Tensor, " channel"]) -> list[DetectedAction]:
        """Return the actions that are known with the next frame.

        Args:
            frame: raw frame, of the width that ``inputs`` has.

        Raises:
            UserError: the frame has another width, or contains NaN or infinity.
        """
        raw = torch.as_tensor(frame, dtype=torch.float32)
        if not raw.isfinite().all():
            raise UserError(f"frame {self.num_frames} contains NaN or infinity: repair it or leave it out")
        self.inputs.check(raw.shape[-1])
        features = self.inputs.to_features(raw[None], self._previous)
        self._previous = raw.clone()
        output = self.engine.step(features)
        self.flag = float(output.flag.sigmoid())
        (candidates,) = self._find(output, torch.tensor([self.num_frames - 1]))
        return [self._name(each) for each in self.emitter.push(candidates, self._now())]

    def finish(self) -> list[DetectedAction]:
        """Return the actions that are held back, at the end of a stream."""
        return [self._name(each) for each in self.emitter.flush(self._now())]

    def localize(self, frames: Float[np.ndarray | Tensor, "frame channel"]) -> list[DetectedAction]:
        """Return all actions of a recorded stream; the same as frame by frame, but in batches of windows.

        The localizer starts from an empty memory and is reset afterwards.
        """
        return [action for step in self.follow(frames) for action in step.actions]

    @torch.no_grad()
    def follow(self, frames: Float[np.ndarray | Tensor, "frame channel"]) -> Iterator["FollowedFrame"]:
        """Yield what is known at each frame of a recorded stream; see `localize`."""
        self.reset()
        features = self.inputs.to_features(torch.as_tensor(frames, dtype=torch.float32))
        stored = 0
        for output, now in run_windows(self.model, features, self.rule.flag):
            flags, has_action = output.flag.sigmoid().tolist(), output.has_action(self.rule.flag).tolist()
            for row, (frame, candidates) in enumerate(zip(now.tolist(), self._find(output, now), strict=True)):
                time = self._time(frame)
                stored += has_action[row]
                actions = [self._name(each) for each in self.emitter.push(candidates, time)]
                if frame == len(features) - 1:
                    actions += [self._name(each) for each in self.emitter.flush(time)]
                yield FollowedFrame(time, flags[row], stored, actions)
        self.reset()

    def report(self) -> MemoryReport:
        """Return the use of the memory."""
        return self.engine.report()

    def session_model(self) -> Matr:
        """Return the network."""
        return self.model

    def session_settings(self) -> dict[str, Any]:
        """Return inputs, classes, clock and rule."""
        return {
            "classes": list(self.classes),
            "inputs": asdict(self.inputs),
            "clock": asdict(self.clock),
            "rule": asdict(self.rule),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stream."""
        previous = {} if self._previous is None else {"frame": self._previous}
        parts = {"engine": self.engine.state_dict(), "emitter": self.emitter.state_dict()}
        return {**parts, "previous": previous, "flag": self.flag}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a stream."""
        self.engine.load_state_dict(state["engine"])
        self.emitter.load_state_dict(state["emitter"])
        self._previous, self.flag = state["previous"].get("frame"), float(state["flag"])

    def _find(self, output: MatrOutput, now: Int[Tensor, " lane"]) -> list[list[Candidate]]:
        return find_candidates(output, now, self.clock, self.model.config.window, self.rule)

    def _time(self, frame: int) -> float:
        return round(self.clock.time(frame), 2)

    def _now(self) -> float:
        return self._time(max(self.num_frames - 1, 0))

    def _horizon(self) -> float:
        windows = inf if self.rule.horizon is None else self.rule.horizon
        seconds: float = windows * self.model.config.window * self.clock.frame_time
        return seconds

    def _name(self, candidate: Candidate) -> DetectedAction:
        label, emitted = self.classes[candidate.label], round(candidate.seen + self.clock.lookahead, 2)
        return DetectedAction(label, candidate.score, candidate.start, candidate.end, emitted)


@dataclass(frozen=True)
class FollowedFrame:
    """What is known at a frame.

    Attributes:
        time: of the frame in seconds.
        flag: probability that the window overlaps an action.
        num_written: windows written to memory so far.
        actions: emitted at this frame.
    """

    time: float
    flag: float
    num_written: int
    actions: list[DetectedAction]


def run_windows(
    model: Matr, features: Float[Tensor, "frame feature"], flag_threshold: float = 0.5
) -> Iterator[tuple[MatrOutput, Int[Tensor, " lane"]]]:
    """Yield what the network predicts for all windows of a recorded stream, as many at once as there are lanes.

    Args:
        model: trained network.
        features: of all frames.
        flag_threshold: probability of the flag above which a window is stored.

    Yields:
        Output, and the index of the newest frame of each window.
    """
    window, length = model.config.window, len(features)
    device = model.flag_token.device
    blocks = -(-length // window)
    padded = features.new_zeros(window - 1 + blocks * window, features.shape[1])
    padded[window - 1 : window - 1 + length] = features
    state = model.init_state(window)
    for start in range(0, length, window):
        tokens = model.project(padded[None, start : start + 2 * window - 1].to(device))
        now = torch.arange(start, start + window)
        output, state = model(model.windows(tokens), state, now.to(device), flag_threshold=flag_threshold)
        number = min(window, length - start)
        yield output.rows(number), now[:number]
