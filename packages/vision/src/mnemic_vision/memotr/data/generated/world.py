"""Generated tracking sequences of people who cross, hide and return."""

from dataclasses import dataclass, field
from math import floor, sin
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from PIL import Image, ImageFilter
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.generated.scenery import Obstacle, draw_background, random_obstacles
from mnemic_vision.memotr.data.generated.sprites import NUM_PHASES, SPRITE_ASPECT, Sprite, draw_person
from mnemic_vision.memotr.data.generated.walkers import Walker, person_height, simulate_walkers
from mnemic_vision.memotr.data.mot import write_mot_layout
from mnemic_vision.memotr.data.sequence import Annotations, ObjectRow, TrackingSequence

_SHAKE = 0.02  # amplitude of the camera's movement, in image heights
_NOISE = 5  # standard deviation of the sensor noise, of 255
_MAX_OBJECTS = 200
_LARGE_ROWS = 224  # image height above which people are drawn larger
_MASK_ROWS = 128  # height of the masks for visibility


class GeneratedSequences:
    """Synthetic videos of people on a square, drawn on demand from a seed, without files.

    They need memory: people of different appearance, and twins of the same, cross each other, disappear for a while
    behind pillars, kiosks, billboards and hedges, turn around there, and return with the same identity. People enter
    and leave, change their distance and speed, and the camera shakes.

    Args:
        seed: random seed; a sequence is the same for every ``num_sequences``.
        num_sequences: number of sequences.
        num_frames: length of each.
        size: (height, width) in pixels, at least 64 each.
        num_objects: approximate number of people at the same time.
        has_obstacles: whether people disappear behind things; without, they hide each other only.
        min_visibility: people with a smaller visible share have no ground truth in a frame; 0 keeps them all.
        frame_rate: frames per second; the movement does not depend on it.

    Attributes:
        sequences: named ``generated-SEED-000`` and so on.

    Example:
        >>> world = GeneratedSequences(seed=0, num_sequences=1, num_frames=2, size=(96, 128))
        >>> sequence = world.sequences[0]
        >>> sequence.name, sequence.image(0).shape, sequence.target_rows(0).boxes.shape[1]
        ('generated-0-000', torch.Size([3, 96, 128]), 4)
    """

    def __init__(
        self,
        seed: int = 0,
        num_sequences: int = 8,
        num_frames: int = 100,
        size: tuple[int, int] = (192, 256),
        *,
        num_objects: int = 8,
        has_obstacles: bool = True,
        min_visibility: float = 0.1,
        frame_rate: float = 10.0,
    ) -> None:
        if min(size) < 64:
            raise UserError(f"size must be at least 64 pixels high and wide to show people, got {size}")
        if min(num_sequences, num_frames, num_objects) < 1:
            given = f"{num_sequences}, {num_frames} and {num_objects}"
            raise UserError(f"num_sequences, num_frames and num_objects must be at least 1, got {given}")
        if num_objects > _MAX_OBJECTS:
            raise UserError(f"num_objects must be at most {_MAX_OBJECTS}, got {num_objects}")
        if not 0 <= min_visibility <= 1:
            raise UserError(f"min_visibility must be from 0 to 1, got {min_visibility}")
        scenes = [
            make_scene((seed, index), num_frames, size, num_objects, has_obstacles=has_obstacles)
            for index in range(num_sequences)
        ]
        self.sequences = [
            TrackingSequence(
                name=f"generated-{seed}-{index:03d}",
                frames=scene,
                image_size=size,
                frame_rate=frame_rate,
                annotations=annotate(scene, min_visibility),
            )
            for index, scene in enumerate(scenes)
        ]

    def write_mot_layout(self, folder: str | Path) -> None:
        """Write all sequences into a folder in the layout of MOTChallenge."""
        write_mot_layout(self.sequences, folder)


@dataclass(frozen=True)
class _Placed:
    """A picture with its place in the frame in pixels; nearer objects have a larger depth."""

    depth: float
    left: float
    top: float
    width: float
    height: float
    sprite: Sprite
    walker: int | None = None  # index of a person; None: an obstacle


@dataclass(frozen=True)
class Scene:
    """One generated video; its frames are drawn by index.

    Attributes:
        seed: of the sequence.
        size: (height, width) in pixels.
        num_frames: length.
        walkers: all people; the identity of one is its index plus 1.
        obstacles: which hide people.
        background: larger than the frames, because the camera moves.
        noise: larger than the frames, which add random crops of it.
        shadow: mask of a shadow, scaled to each person and obstacle.
    """

    seed: tuple[int, int]
    size: tuple[int, int]
    num_frames: int
    walkers: list[Walker] = field(repr=False)
    obstacles: list[Obstacle] = field(repr=False)
    background: Image.Image = field(repr=False)
    noise: Int16[np.ndarray, "tile_height tile_width 1"] = field(repr=False)
    shadow: Image.Image = field(repr=False)

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]:
        height, width = self.size
        down, right = self.camera(index)
        margin = (self.background.height - height) // 2
        canvas = self.background.crop((margin - right, margin - down, margin - right + width, margin - down + height))
        placed = self.placed(index)
        for item in placed:
            self._paste_shadow(canvas, item)
        for item in placed:
            shape = (max(1, round(item.width)), max(1, round(item.height)))
            picture = item.sprite.picture.resize(shape, Image.Resampling.BILINEAR)
            canvas.paste(picture, (round(item.left), round(item.top)), picture)
        room = self.noise.shape[0] - height
        y, x = np.random.default_rng((*self.seed, index)).integers(0, room, 2)
        noisy = (np.asarray(canvas) + self.noise[y : y + height, x : x + width]).clip(0, 255).astype(np.uint8)
        return torch.from_numpy(noisy).permute(2, 0, 1)

    def _paste_shadow(self, canvas: Image.Image, item: _Placed) -> None:
        spread, thickness = max(2, round(item.width * 1.1)), max(2, round(item.width * 0.34))
        corner = (round(item.left - 0.05 * item.width), round(item.top + item.height - 0.6 * thickness))
        canvas.paste((30, 28, 34), corner, self.shadow.resize((spread, thickness)))

    def camera(self, index: int) -> tuple[int, int]:
        """Return the shift of the image (down, right) in pixels in a frame."""
        shift = [
            0.7 * sin(index / period + self.seed[1]) + 0.3 * sin(index / (period / 3.7) + self.seed[0])
            for period in (9.0, 13.0)
        ]
        return round(shift[0] * 0.5 * _SHAKE * self.size[0]), round(shift[1] * _SHAKE * self.size[0])

    def placed(self, index: int) -> list[_Placed]:
        """Return the people and obstacles of a frame, the farthest first."""
        down, right = self.camera(index)
        rows = self.size[0]

        def place(x: float, y: float, width: float, height: float, sprite: Sprite, walker: int | None) -> _Placed:
            return _Placed(y, x * rows - width / 2 + right, y * rows - height + down, width, height, sprite, walker)

        items = []
        for obstacle in self.obstacles:
            width, height = map(float, obstacle.sprite.picture.size)
            items.append(place(obstacle.x, obstacle.base, width, height, obstacle.sprite, None))
        for number, walker in enumerate(self.walkers):
            step = index - walker.start
            if 0 <= step < len(walker.feet):
                x, y = map(float, walker.feet[step])
                height = person_height(y) * walker.stature * rows
                items.append(place(x, y, height * SPRITE_ASPECT, height, self._sprite(walker, step), number))
        return sorted(items, key=lambda item: item.depth)

    def _sprite(self, walker: Walker, step: int) -> Sprite:
        phase = floor(walker.phases[step] * NUM_PHASES) % NUM_PHASES
        is_large = self.size[0] > _LARGE_ROWS
        return draw_person(walker.look, phase, faces_left=bool(walker.faces_left[step]), is_large=is_large)


def make_scene(
    seed: tuple[int, int], num_frames: int, size: tuple[int, int], num_objects: int, *, has_obstacles: bool = True
) -> Scene:
    """Return the scene of one sequence.

    Args:
        seed: seed of the set, and index of the sequence.
        num_frames: length.
        size: (height, width) in pixels.
        num_objects: approximate number of people at the same time.
        has_obstacles: whether there are things to hide behind.
    """
    generator = np.random.default_rng(seed)
    rows, aspect = size[0], size[1] / size[0]
    obstacles = random_obstacles(generator, aspect, rows) if has_obstacles else []
    background = draw_background(generator, size, margin=round(2 * _SHAKE * rows) + 1)
    noise = generator.normal(0, _NOISE, (rows + 64, size[1] + 64, 1)).astype(np.int16)
    blurred = Image.new("L", (64, 32))
    blurred.paste(110, (10, 8, 54, 24))
    hideouts = [obstacle.hideout for obstacle in obstacles]
    return Scene(
        seed=seed,
        size=size,
        num_frames=num_frames,
        walkers=simulate_walkers(generator, num_frames, num_objects, aspect, hideouts),
        obstacles=obstacles,
        background=background,
        noise=noise,
        shadow=blurred.filter(ImageFilter.GaussianBlur(6)),
    )


def annotate(scene: Scene, min_visibility: float) -> Annotations:
    """Return the boxes of people with a visible share of at least ``min_visibility`` in a frame.

    Boxes enclose the complete person, also where hidden or outside the image.
    """
    objects: list[ObjectRow] = []
    for index in range(scene.num_frames):
        placed = scene.placed(index)
        for item, visibility in zip(placed, _visibility(placed, scene.size), strict=True):
            if item.walker is not None and visibility >= min_visibility:
                objects.append((index, item.walker + 1, 0, _box(item), visibility))
    return Annotations.from_objects(objects, np.ones(scene.num_frames, dtype=bool))


def _box(item: _Placed) -> tuple[float, float, float, float]:
    left, top, width, height = item.sprite.box
    corner = item.left + left * item.width, item.top + top * item.height
    return *corner, width * item.width, height * item.height


def _visibility(placed: list[_Placed], size: tuple[int, int]) -> Float[np.ndarray, " item"]:
    """Return the visible share of each item, not hidden by nearer ones or the image border."""
    scale = _MASK_ROWS / size[0]
    owners = Image.new("L", (round(size[1] * scale), _MASK_ROWS))
    totals = np.ones(len(placed))
    for number, item in enumerate(placed):
        shape = (max(1, round(item.width * scale)), max(1, round(item.height * scale)))
        outline = item.sprite.outline.resize(shape, Image.Resampling.NEAREST)
        totals[number] = max(1, outline.histogram()[255])
        owners.paste(number + 1, (round(item.left * scale), round(item.top * scale)), outline)
    return np.array(owners.histogram()[1 : len(placed) + 1]) / totals
