"""What the network sees of a raw frame: the same numbers for a whole stream and frame by frame."""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_vision.matr.data.stream import StreamKind

SKELETON_AXES = 3
# Differences of joints are about a fifth of the deviations of the joints themselves, at 7.5 frames per second.
SKELETON_DIFFERENCE_SCALE = 5.0
SKELETON_DIFFERENCE_LIMIT = 2.0  # 0.4 m from frame to frame: who tracks a body loses it at times


@dataclass(frozen=True)
class InputConfig:
    """How raw frames become features.

    Joints of a skeleton are taken relative to the first one, the hip, so that they do not depend on where a person
    stands. With differences, the hip's own movement remains in its differences. Those of a skeleton are scaled and
    limited, since body tracking jumps.

    Attributes:
        kind: what a frame consists of.
        channels: width of a raw frame; for a skeleton x, y and z in meters of each joint, the hip first.
        differences: append the change of every channel since the frame before, zero in the first one.

    Example:
        >>> config = InputConfig("sensor", channels=2, differences=True)
        >>> config.to_features(torch.tensor([[1.0, 0.0], [3.0, 1.0]])).tolist()
        [[1.0, 0.0, 0.0, 0.0], [3.0, 1.0, 2.0, 1.0]]
    """

    kind: StreamKind = "plain"
    channels: int = 4096
    differences: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "channels")
        if self.kind == "skeleton" and (self.channels % SKELETON_AXES or self.channels < 2 * SKELETON_AXES):
            raise UserError(f"channels of a skeleton must be 3 for each of 2 joints or more, got {self.channels}")

    @property
    def num_features(self) -> int:
        """Width of the features."""
        positions = self.channels - (SKELETON_AXES if self.kind == "skeleton" else 0)
        return positions + (self.channels if self.differences else 0)

    def check(self, channels: int) -> None:
        """Refuse raw frames of another width.

        Raises:
            UserError: with both widths.
        """
        if channels != self.channels:
            raise UserError(
                f"a frame has {channels} channels, but the model was made for {self.channels} ({self.kind}): "
                "give it the features that it was trained on"
            )

    def to_features(
        self, raw: Float[Tensor, "*streams frame channel"], previous: Float[Tensor, "*streams channel"] | None = None
    ) -> Float[Tensor, "*streams frame feature"]:
        """Return the features of consecutive frames, of one stream or of several at the same time.

        Args:
            raw: frames of a stream, or its next ones.
            previous: the last raw frame before them; None at the beginning. Where only some of several streams begin,
                their first frame itself.

        Raises:
            UserError: the frames have another width.

        Example:
            >>> config, raw = InputConfig("skeleton", channels=6, differences=True), torch.randn(5, 6)
            >>> continued = config.to_features(raw[3:], previous=raw[2])
            >>> torch.equal(continued, config.to_features(raw)[3:])
            True
        """
        self.check(raw.shape[-1])
        positions = _relative_to_hip(raw)[..., SKELETON_AXES:] if self.kind == "skeleton" else raw
        if not self.differences:
            return positions
        return torch.cat([positions, self._differences(raw, previous)], dim=-1)

    def _differences(
        self, raw: Float[Tensor, "*streams frame channel"], previous: Float[Tensor, "*streams channel"] | None
    ) -> Float[Tensor, "*streams frame channel"]:
        first = raw[..., :1, :] if previous is None else previous[..., None, :]
        frames = torch.cat([first, raw], dim=-2)
        if self.kind != "skeleton":
            return frames.diff(dim=-2)
        hip, joints = frames[..., :SKELETON_AXES], _relative_to_hip(frames)[..., SKELETON_AXES:]
        differences = torch.cat([hip, joints], dim=-1).diff(dim=-2) * SKELETON_DIFFERENCE_SCALE
        return differences.clamp(-SKELETON_DIFFERENCE_LIMIT, SKELETON_DIFFERENCE_LIMIT)


def _relative_to_hip(frames: Float[Tensor, "*streams frame channel"]) -> Float[Tensor, "*streams frame channel"]:
    joints: Tensor = frames.unflatten(-1, (-1, SKELETON_AXES))
    return (joints - joints[..., :1, :]).flatten(-2)
