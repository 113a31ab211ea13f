"""The movement of the people in generated scenes.

Lengths are in image heights, x to the right from 0 and y downwards from 0 to 1. The ground is a plane seen obliquely
from above, so people are smaller the higher their feet are in the image.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from mnemic_vision.memotr.data.generated.sprites import Look, random_look

NEAREST, FARTHEST = 1.02, 0.38  # range of y of feet
_FORESHORTENING = 0.5  # of steps towards the camera
_STRIDE = 0.75  # length of two steps in body heights
_TWIN_PROB = 0.2  # probability of the same look as the person before


def person_height(y: float) -> float:
    """Return the height of an average person whose feet are at ``y``."""
    return 0.16 + 0.20 * (y - FARTHEST) / (1 - FARTHEST)


class Hideout(NamedTuple):
    """A place hidden by an obstacle: its center, and half of its width."""

    x: float
    y: float
    reach: float


@dataclass(frozen=True)
class Walker:
    """A person, from entering the scene in frame ``start`` to leaving it.

    Attributes:
        look: appearance; twins share it.
        stature: height relative to the average.
        start: first frame.
        feet: position (x, y) in each frame from there on.
        phases: phase of the stride, 0 to 1.
        faces_left: True where the person faces left instead of right.
    """

    look: Look
    stature: float
    start: int
    feet: Float32[np.ndarray, "frame 2"]
    phases: Float32[np.ndarray, " frame"]
    faces_left: Bool[np.ndarray, " frame"]


def simulate_walkers(
    generator: np.random.Generator, num_frames: int, num_objects: int, aspect: float, hideouts: list[Hideout]
) -> list[Walker]:
    """Return the people of a sequence, about ``num_objects`` at the same time in an image of width ``aspect``."""
    walkers: list[Walker] = []
    for place in range(num_objects):
        start = 0
        while start < num_frames:
            is_first_twin = place == 1 and start == 0
            is_twin = is_first_twin or (len(walkers) > 0 and generator.random() < _TWIN_PROB)
            look = walkers[0 if is_first_twin else -1].look if is_twin else random_look(generator)
            route = _route(generator, aspect, hideouts, starts_inside=start == 0 and place % 3 > 0)
            walkers.append(_walk(generator, look, route, start, num_frames))
            start += len(walkers[-1].feet) + int(generator.integers(2, 12))
    return walkers


class _Stop(NamedTuple):
    x: float
    y: float
    pause: int = 0


def _route(
    generator: np.random.Generator, aspect: float, hideouts: list[Hideout], *, starts_inside: bool
) -> list[_Stop]:
    """Return start, one stop and end of a way; two of three people stop in a hideout, and some turn back there."""
    margin = 0.12
    from_left = generator.random() < 0.5
    before, after = (-margin, aspect + margin) if from_left else (aspect + margin, -margin)
    first_x = float(generator.uniform(0.1, aspect - 0.1)) if starts_inside else before
    stops = [_Stop(first_x, _random_y(generator))]
    if hideouts and generator.random() < 0.67:
        hideout = hideouts[int(generator.integers(len(hideouts)))]
        x = hideout.x + hideout.reach * float(generator.uniform(-0.2, 0.2))
        stops.append(_Stop(x, hideout.y, int(generator.integers(0, 25)) if generator.random() < 0.6 else 0))
        after = before if generator.random() < 0.4 else after
    else:
        stops.append(_Stop(float(generator.uniform(0.2, aspect - 0.2)), _random_y(generator)))
    return [*stops, _Stop(after, _random_y(generator))]


def _random_y(generator: np.random.Generator) -> float:
    return float(generator.uniform(FARTHEST + 0.06, NEAREST - 0.04))


def _walk(generator: np.random.Generator, look: Look, route: list[_Stop], start: int, num_frames: int) -> Walker:
    """Simulate a person on a route, at a varying pace and with smooth turns."""
    pace = float(generator.uniform(0.06, 0.12))  # body heights a frame
    rhythm, offset = generator.uniform(15, 40), generator.uniform(0, 2 * np.pi)
    position, velocity = np.array(route[0][:2]), np.zeros(2)
    remaining, pause, phase, faces_left = list(route[1:]), 0, float(generator.random()), route[1].x < route[0].x
    feet, phases, sides = [], [], []
    for frame in range(start, num_frames):
        feet.append(position.copy())
        phases.append(phase % 1)
        sides.append(faces_left)
        way = np.array(remaining[0][:2]) - position
        distance = float(np.hypot(way[0], way[1] / _FORESHORTENING))
        height = person_height(float(position[1]))
        step = pace * height * (1 + 0.4 * np.sin(frame / rhythm * 2 * np.pi + offset))
        if pause == 0 and distance < 2 * step:
            pause = remaining.pop(0).pause
            if not remaining:
                break
        target = np.zeros(2) if pause else way / max(distance, 1e-6) * step
        pause = max(0, pause - 1)
        velocity += 0.35 * (target - velocity)
        position += velocity
        phase += float(np.hypot(velocity[0], velocity[1] / _FORESHORTENING)) / (_STRIDE * height)
        if abs(velocity[0]) > 0.1 * step:
            faces_left = bool(velocity[0] < 0)
    return Walker(
        look=look,
        stature=float(generator.uniform(0.9, 1.1)),
        start=start,
        feet=np.array(feet, dtype=np.float32),
        phases=np.array(phases, dtype=np.float32),
        faces_left=np.array(sides, dtype=bool),
    )
