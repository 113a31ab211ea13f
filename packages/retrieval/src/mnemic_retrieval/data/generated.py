"""Generated pictures of colored shapes, with questions that their captions do not answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mnemic_core.errors import check_choice, check_range
from mnemic_core.temporary_files import remove, temporary_path
from mnemic_retrieval.data.colored_shapes import COLORS, MOST_SHAPES, SHAPES, Scene
from mnemic_retrieval.data.records import Query, Source

Split = Literal["train", "val", "test"]

# Words of places; none of them is an answer.
_KIND_WORDS = (
    "ancient bright broken busy calm cheap clean cold crowded dusty empty famous foreign forgotten frozen "
    "gloomy grand hidden hollow humble icy lonely lost loud lovely misty modern muddy narrow noisy old "
    "peaceful pleasant poor proud quiet rainy remote rich rocky rural sandy secret shady silent sleepy "
    "snowy sunny warm windy"
)
_PLACE_WORDS = (
    "airport attic bakery balcony barn bay beach bridge cabin camp canal castle cave cellar chapel "
    "church city cliff desert dock farm ferry field forest garden gate harbor hill hotel island kitchen "
    "lake library market meadow mill museum office palace park pier port prison river school shop stable "
    "station tower village"
)
_KINDS, _PLACES = _KIND_WORDS.split(), _PLACE_WORDS.split()
_NUMBERS = ("one", "two", "three", "four")
MOST_ITEMS = len(_KINDS) * len(_PLACES)


@dataclass(frozen=True)
class GeneratedShapes:
    """A data set of pictures whose captions name a place, and questions on what is shown there.

    An answer needs both: the caption, to find the picture of that place among all, and the picture, of one to four
    shapes of one kind and color. Each picture has four questions: its color, its shape, the number of shapes, and
    whether a color is shown, which is so in half of them. Of ten pictures eight are asked about in ``train``, one in
    ``val`` and one in ``test``; all of them are sources. The same numbers give the same data.

    Attributes:
        folder: pictures are drawn into a folder in it, when they are first needed.
        number: of pictures.
        size: side of the pictures, pixels.
        seed: another one gives other data.
    """

    folder: Path
    number: int = 2000
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 10, MOST_ITEMS, "number")
        check_range(self, 32, 4096, "size")
        check_range(self, 0, 2**32, "seed")

    def sources(self) -> Iterator[Source]:
        """Yield the pictures with their captions.

        Raises:
            OSError: the pictures cannot be written.
        """
        pictures = self._pictures()
        for index, place in enumerate(self._places()):
            yield Source(_id(index), "image_text", f"A picture from {place}.", str(pictures / _file(index)))

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of ``train``, ``val`` or ``test``."""
        check_choice(Split, split=split)
        for index, place in enumerate(self._places()):
            if _split(index) == split:
                yield from self._questions(index, place)

    def _questions(self, index: int, place: str) -> Iterator[Query]:
        scene, asked = self._scene(index), self._asked_color(index)
        for category, question, answer in (
            ("color", f"What color is shown at {place}?", scene.color),
            ("shape", f"What shape is shown at {place}?", scene.shape),
            ("number", f"How many shapes are shown at {place}?", _NUMBERS[scene.number - 1]),
            ("YesNo", f"Is the color shown at {place} {asked}?", "yes" if asked == scene.color else "no"),
        ):
            yield Query(
                f"{_id(index)}-{category}",
                question,
                (answer,),
                category=category,
                keywords=answer,
                relevant={_id(index): 1},
            )

    def _places(self) -> list[str]:
        """Return the place of each picture, a different pair of words."""
        order = np.random.default_rng((self.seed, 0)).permutation(MOST_ITEMS)[: self.number].tolist()
        return [f"the {_KINDS[place // len(_PLACES)]} {_PLACES[place % len(_PLACES)]}" for place in order]

    def _scene(self, index: int) -> Scene:
        key = (self.seed, 1, index)
        color, shape, more = np.random.default_rng(key).integers((len(COLORS), len(SHAPES), MOST_SHAPES)).tolist()
        return Scene([*COLORS][color], [*SHAPES][shape], 1 + more, (*key, 0))

    def _asked_color(self, index: int) -> str:
        generator, shown = np.random.default_rng((self.seed, 2, index)), self._scene(index).color
        others = [color for color in COLORS if color != shown]
        return shown if generator.random() < 0.5 else others[int(generator.integers(len(others)))]

    def _pictures(self) -> Path:
        """Return the folder of the pictures, which is there completely or not at all."""
        folder = self.folder / f"shapes-{self.number}-{self.size}-{self.seed}"
        if folder.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(folder)
        temporary.mkdir()
        try:
            for index in range(self.number):
                self._scene(index).draw(self.size).save(temporary / _file(index))
            if not folder.exists():  # another process may have been faster
                temporary.rename(folder)
        finally:
            remove(temporary)
        return folder


def _split(index: int) -> Split:
    """Return the part of a picture, which does not depend on how many there are."""
    splits: tuple[Split, ...] = get_args(Split)
    return splits[max(0, index % 10 - 7)]


def _id(index: int) -> str:
    return f"picture {index}"


def _file(index: int) -> str:
    return f"{index:04d}.png"
