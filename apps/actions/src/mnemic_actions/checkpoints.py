"""Which checkpoint fits a stream, and a localizer that runs it as the options of a command say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.loading import name_some
from mnemic_vision.matr import Clock, EmissionRule, LocalizerCheckpoint, OnlineLocalizer
from mnemic_vision.matr.data import InputConfig, StreamKind

SHIPPED = Path(__file__).parent / "checkpoints"
DEMO = SHIPPED / "demo" / "generated.safetensors"  # never chosen for streams of a user
RATE_TOLERANCE = 1.4


@dataclass(frozen=True)
class RunOptions:
    """How a network is run.

    Args:
        delay: seconds for which actions are held back for a better one; None: that of the checkpoint.
        score: least score of an action; None: that of the checkpoint.
        without_memory: store no past window.
        device: where the network runs.
    """

    delay: float | None = None
    score: float | None = None
    without_memory: bool = False
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        check_at_least(0, **{"--delay": self.delay})
        if self.score is not None and not 0 <= self.score <= 1:
            raise UserError(f"--score must be between 0 and 1, got {self.score}")

    def localizer(self, checkpoint: LocalizerCheckpoint, clock: Clock | None = None) -> OnlineLocalizer:
        """Return a localizer that runs a checkpoint, with the clock of a stream."""
        checkpoint.to(self.device)
        settings = replace(checkpoint.settings, rule=self.rule(checkpoint))
        return replace(checkpoint, settings=settings).localizer(clock)

    def rule(self, checkpoint: LocalizerCheckpoint) -> EmissionRule:
        """Return the rule of a checkpoint with these options."""
        given: dict[str, Any] = {"delay": self.delay, "score": self.score}
        given |= {"flag": 1.0 if self.without_memory else None}
        # No flag is larger than 1, so that nothing is stored.
        return replace(checkpoint.settings.rule, **{name: value for name, value in given.items() if value is not None})


def find_checkpoint(path: Path | None, kind: StreamKind, channels: int) -> Path:
    """Return the checkpoint to run streams with.

    Args:
        path: what the user gave; None: the shipped one for such streams.
        kind: what a frame of the streams consists of, as far as it is in their files.
        channels: width of a frame.

    Raises:
        UserError: no shipped checkpoint takes such streams, or several do.
    """
    if path is not None:
        return path
    shipped = {file: LocalizerCheckpoint.load(file).settings.inputs for file in sorted(SHIPPED.glob("*.safetensors"))}
    fitting = [file for file, inputs in shipped.items() if _fits(inputs, kind, channels)]
    if len(fitting) > 1:  # arrays without a name, whose kind is unknown
        names = " and ".join(file.stem for file in fitting)
        raise UserError(f"{names} both take {channels} channels: give one of them with --checkpoint")
    if fitting:
        return fitting[0]
    known = "; ".join(
        f"{file.stem} takes {_describe(inputs.kind, inputs.channels)}" for file, inputs in shipped.items()
    )
    raise UserError(
        f"no shipped checkpoint takes {_describe(kind, channels)} ({known or 'none is installed'}): give --checkpoint"
    )


def load_for_streams(path: Path, kind: StreamKind, channels: int) -> LocalizerCheckpoint:
    """Return a checkpoint that takes such streams.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: it is damaged, or was trained on other features.
    """
    checkpoint = LocalizerCheckpoint.load(path)
    inputs = checkpoint.settings.inputs
    if not _fits(inputs, kind, channels):
        raise UserError(
            f"checkpoint {path.name} was trained on {_describe(inputs.kind, inputs.channels)}, but the stream has "
            f"{_describe(kind, channels)}: give features like those of its training, or another --checkpoint"
        )
    return checkpoint


def check_classes(path: Path, known: Sequence[str], given: Sequence[str]) -> None:
    """Refuse data of which a checkpoint knows no class.

    Raises:
        UserError: with some classes of both.
    """
    if given and not set(known) & set(given):
        raise UserError(
            f"checkpoint {path.name} knows the classes {name_some(known)}, but the data has {name_some(given)}: give "
            "another --checkpoint"
        )


def note_rate(frame_rate: float, trained: float) -> str:
    """Return advice for streams that run at a rate far from that of the training; empty for others.

    Example:
        >>> note_rate(30.0, trained=7.5)
        'note: 30 frames per second, but the network was trained at 7.5; --every 4 comes closest'
        >>> note_rate(7.0, trained=7.5)
        ''
    """
    ratio = frame_rate / trained
    if 1 / RATE_TOLERANCE <= ratio <= RATE_TOLERANCE:
        return ""
    advice = f"--every {round(ratio)} comes closest" if ratio > RATE_TOLERANCE else "results may be poor"
    return f"note: {frame_rate:.3g} frames per second, but the network was trained at {trained:g}; {advice}"


def _fits(inputs: InputConfig, kind: StreamKind, channels: int) -> bool:
    """Whether a network takes such frames; an array without a name may hold anything of the right width."""
    return inputs.channels == channels and (inputs.kind == kind or "plain" in {inputs.kind, kind})


def _describe(kind: StreamKind, channels: int) -> str:
    return f"{channels} channels of {'features' if kind == 'plain' else f'a {kind}'}"
