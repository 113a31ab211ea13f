"""Random changes of training streams with their actions: other orders, speeds, sides, directions and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log, pi

import numpy as np
from jaxtyping import Float32

from mnemic_core.errors import UserError, check_range
from mnemic_vision.matr.data.pieces import Piece, as_stream, cut_at_idle, join_pieces
from mnemic_vision.matr.data.stream import ActionStream, StreamKind

# Joints of the first Kinect, in its order: hip, spine, neck, head, left arm (shoulder, elbow, wrist, hand), right arm,
# left leg (hip, knee, ankle, foot), right leg. Here each with the one of the other side in its place.
MIRRORED_JOINTS = (0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15)
# A mirror that reverses x reverses an acceleration's x, but the two other components of a rotation.
MIRRORED_SENSOR = np.array([-1, 1, 1, 1, -1, -1], dtype=np.float32)
GYROSCOPE = slice(3, 6)


@dataclass(frozen=True)
class StreamAugmentation:
    """Strengths of the changes; 0 switches one off.

    Attributes:
        shuffle: probability of putting the actions of a stream into another order.
        mix: probability, in a shuffled stream, of replacing a piece by one of another stream.
        drop: probability, in a shuffled stream, of leaving a piece out.
        idle: greatest share of the idle time before and after the action of a piece that is cut away.
        speed: greatest relative change of speed; 0.3 makes a piece up to 1.3 times as fast or as slow.
        mirror: probability of exchanging left and right of a skeleton or sensor.
        rotation: greatest angle in degrees, of a skeleton about the vertical axis, of a sensor about any axis.
        scale: greatest relative change of all values.
        proportions: standard deviation of further relative changes: of each joint's distance from the hip and of each
            direction, or of each of the two sensors.
        noise: standard deviation of what is added to every value, in its unit.
    """

    shuffle: float = 0.8
    mix: float = 0.3
    drop: float = 0.1
    idle: float = 0.0
    speed: float = 0.3
    mirror: float = 0.5
    rotation: float = 20.0
    scale: float = 0.1
    proportions: float = 0.0
    noise: float = 0.01

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "shuffle", "mix", "drop", "idle", "mirror")
        check_range(self, 0, 180, "rotation")
        check_range(self, 0, 0.9, "scale")
        check_range(self, 0, inf, "speed", "proportions", "noise")

    def __call__(
        self, streams: Sequence[ActionStream], kind: StreamKind, *, index: int, epoch: int = 0, seed: int = 0
    ) -> ActionStream:
        """Return one of the streams, changed; the same numbers give the same result.

        Args:
            streams: the training streams, of which others give pieces; best kept in memory.
            kind: what a frame consists of; features have neither sides nor directions.
            index: of the stream to change.
            epoch: epoch of the training.
            seed: seed of the training.

        Raises:
            UserError: sides or directions of the frames are not known.

        Example:
            >>> frames = np.arange(60, dtype=np.float32).reshape(10, 6)
            >>> stream = ActionStream.of_frames("walk", frames, (), frame_time=0.1)
            >>> off = StreamAugmentation(shuffle=0.0, speed=0.0, mirror=0.0, rotation=0.0, scale=0.0, noise=0.0)
            >>> np.array_equal(off([stream], "sensor", index=0).load(), frames)
            True
        """
        generator = np.random.default_rng((seed, epoch, index))
        pieces, stream = cut_at_idle(streams[index]), streams[index]
        if generator.random() < self.shuffle:
            pieces = [self._trim(piece, generator) for piece in self._shuffle(pieces, streams, generator)]
            # Each piece as if by another person: no two are neighbors any more, so that all are joined smoothly.
            pieces = [replace(self._change(piece, kind, generator), number=-1) for piece in pieces]
            return as_stream(join_pieces(pieces, kind), stream)
        changed = join_pieces([self._change_speed(piece, kind, generator) for piece in pieces], kind)
        return as_stream(replace(changed, frames=self._change_values(changed.frames, kind, generator)), stream)

    def _shuffle(
        self, pieces: list[Piece], streams: Sequence[ActionStream], generator: np.random.Generator
    ) -> list[Piece]:
        kept = [piece for piece in pieces if generator.random() >= self.drop] or pieces[:1]
        shuffled = [kept[place] for place in generator.permutation(len(kept))]
        for place in np.flatnonzero(generator.random(len(shuffled)) < self.mix):
            others = cut_at_idle(streams[int(generator.integers(len(streams)))])
            # Never the neighbor of what is before it, which would be joined as if nothing had been cut.
            shuffled[place] = replace(others[int(generator.integers(len(others)))], number=-1)
        return shuffled

    def _trim(self, piece: Piece, generator: np.random.Generator) -> Piece:
        """Return a piece with less idle time around its actions."""
        if not self.idle or not piece.actions:
            return piece
        length = len(piece.frames)
        before = int(min(action.start for action in piece.actions) * generator.uniform(0, self.idle))
        after = int((length - max(action.end for action in piece.actions)) * generator.uniform(0, self.idle))
        actions = tuple(
            replace(each, start=each.start - before, end=min(each.end, length - after) - before)
            for each in piece.actions
        )
        return replace(piece, frames=piece.frames[before : length - after], actions=actions)

    def _change(self, piece: Piece, kind: StreamKind, generator: np.random.Generator) -> Piece:
        piece = self._change_speed(piece, kind, generator)
        return replace(piece, frames=self._change_values(piece.frames, kind, generator))

    def _change_speed(self, piece: Piece, kind: StreamKind, generator: np.random.Generator) -> Piece:
        limit = log(1 + self.speed)
        length = len(piece.frames)
        changed = max(1, round(length / np.exp(generator.uniform(-limit, limit))))
        if changed == length:
            return piece
        frames = resample(piece.frames, changed)
        if kind == "sensor":
            frames[:, GYROSCOPE] *= length / changed  # who moves faster turns faster
        factor = changed / length
        actions = tuple(replace(each, start=each.start * factor, end=each.end * factor) for each in piece.actions)
        return replace(piece, frames=frames, actions=actions)

    def _change_values(
        self, frames: Float32[np.ndarray, "frame channel"], kind: StreamKind, generator: np.random.Generator
    ) -> Float32[np.ndarray, "frame channel"]:
        is_mirrored = generator.random() < self.mirror
        angle = generator.uniform(-self.rotation, self.rotation) * pi / 180
        axis = np.array([0.0, 1.0, 0.0]) if kind == "skeleton" else generator.standard_normal(3)
        if kind != "plain" and is_mirrored:
            frames = mirror(frames, kind)
        if kind != "plain" and angle:
            frames = rotate(frames, axis, angle)
        if kind != "plain" and self.proportions:
            frames = self._change_proportions(frames, kind, generator)
        scale = 1 + generator.uniform(-self.scale, self.scale)
        noise = generator.standard_normal(frames.shape, dtype=np.float32)
        changed: Float32[np.ndarray, "frame channel"] = frames * np.float32(scale) + np.float32(self.noise) * noise
        return changed

    def _change_proportions(
        self, frames: Float32[np.ndarray, "frame channel"], kind: StreamKind, generator: np.random.Generator
    ) -> Float32[np.ndarray, "frame channel"]:
        parts = frames.reshape(len(frames), -1, 3)
        strength = np.float32(self.proportions)
        factors: Float32[np.ndarray, "part axis"] = strength * generator.standard_normal(
            (parts.shape[1], 1), np.float32
        )
        if kind == "skeleton":
            factors = factors + strength * generator.standard_normal(3, np.float32)
        fixed = parts[:, :1] if kind == "skeleton" else np.zeros_like(parts[:, :1])
        changed: Float32[np.ndarray, "frame part axis"] = fixed + (parts - fixed) * np.exp(factors)
        return changed.reshape(frames.shape)


def resample(frames: Float32[np.ndarray, "frame channel"], length: int) -> Float32[np.ndarray, "changed channel"]:
    """Return frames at another speed by linear interpolation."""
    places = np.minimum(np.arange(length) * (len(frames) / length), len(frames) - 1)
    before = places.astype(int)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (places - before).astype(np.float32)[:, None]
    resampled: Float32[np.ndarray, "changed channel"] = frames[before] * (1 - share) + frames[after] * share
    return resampled


def mirror(frames: Float32[np.ndarray, "frame channel"], kind: StreamKind) -> Float32[np.ndarray, "frame channel"]:
    """Return a skeleton of the first Kinect, or a sensor at the other wrist, with left and right exchanged.

    Raises:
        UserError: it has other joints or channels.
    """
    expected = 3 * len(MIRRORED_JOINTS) if kind == "skeleton" else len(MIRRORED_SENSOR)
    if frames.shape[1] != expected:
        what = "the 20 joints of the first Kinect" if kind == "skeleton" else "an accelerometer and a gyroscope"
        raise UserError(f"mirror needs {what}, {expected} channels, got {frames.shape[1]}: set mirror to 0")
    if kind == "sensor":
        mirrored: Float32[np.ndarray, "frame channel"] = frames * MIRRORED_SENSOR
        return mirrored
    joints = frames.reshape(len(frames), -1, 3)[:, list(MIRRORED_JOINTS)]
    return (joints * np.array([-1, 1, 1], dtype=np.float32)).reshape(len(frames), -1)


def rotate(
    frames: Float32[np.ndarray, "frame channel"], axis: np.ndarray, angle: float
) -> Float32[np.ndarray, "frame channel"]:
    """Return the vectors that each three channels form, rotated.

    Args:
        frames: one row each.
        axis: direction of the axis, of any length above 0.
        angle: in radians.

    Raises:
        UserError: the channels are not a multiple of three.
    """
    if frames.shape[1] % 3:
        raise UserError(
            f"rotation needs x, y and z of each joint or sensor, got {frames.shape[1]} channels: set it to 0"
        )
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])  # Rodrigues' formula
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    rotated: Float32[np.ndarray, "frame channel"] = frames.reshape(-1, 3) @ matrix.T.astype(np.float32)
    return rotated.reshape(frames.shape)
