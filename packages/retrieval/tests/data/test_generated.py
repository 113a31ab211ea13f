from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mnemic_core.errors import UserError
from mnemic_retrieval.data import GeneratedShapes, Query
from mnemic_retrieval.data.colored_shapes import COLORS, SHAPES

SPLITS = ("train", "val", "test")
NUMBERS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> GeneratedShapes:
    return GeneratedShapes(tmp_path_factory.mktemp("pictures"), number=200)


def all_queries(data: GeneratedShapes) -> list[Query]:
    return [query for split in SPLITS for query in data.queries(split)]


def answers_by_picture(data: GeneratedShapes) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for query in all_queries(data):
        (source,), (answer,) = query.relevant, query.answers
        found.setdefault(source, {})[query.category] = answer
    return found


def is_drawn(picture: str, color: str) -> np.ndarray:
    """Return where a picture has a color."""
    return (np.asarray(Image.open(picture)) == COLORS[color]).all(-1)


def kind_of(mask: np.ndarray) -> str:
    """Return the kind of a shape by its share of the box around it, its middle and its symmetry."""
    share, (height, width) = mask.mean(), mask.shape
    if not mask[height // 2, width // 2]:
        return "ring"
    if share > 0.7:
        return "square" if share == 1 else "circle"
    if np.array_equal(mask, mask[::-1]):
        return "cross"
    return "triangle" if mask[-1].mean() > 0.8 else "star"


@pytest.mark.parametrize("size", [32, 64, 200])
def test_answers_agree_with_the_pixels(size: int, tmp_path: Path) -> None:
    data = GeneratedShapes(tmp_path, number=100, size=size)
    answers = answers_by_picture(data)
    for source in data.sources():
        of_it = answers[source.id]
        areas = {color: int(is_drawn(str(source.image), color).sum()) for color in COLORS}
        assert [color for color, area in areas.items() if area] == [of_it["color"]]
        shapes, number = ndimage.label(is_drawn(str(source.image), of_it["color"]), np.ones((3, 3)))
        assert NUMBERS[number - 1] == of_it["number"]
        if size >= 64:  # smaller ones have too few pixels for the rule above
            kinds = {kind_of(shapes[box] > 0) for box in ndimage.find_objects(shapes)}
            assert kinds == {of_it["shape"]}


def test_questions_of_yes_or_no_name_the_color_in_half_of_the_cases(data: GeneratedShapes) -> None:
    answers, number = answers_by_picture(data), Counter[str]()
    for query in all_queries(data):
        if query.category == "YesNo":
            (source,) = query.relevant
            is_right = query.question.endswith(f" {answers[source]['color']}?")
            assert query.answers == ("yes" if is_right else "no",)
            number.update(query.answers)
    assert 0.4 < number["yes"] / number.total() < 0.6


def test_captions_find_one_picture_and_give_no_answer_away(tmp_path: Path) -> None:
    data = GeneratedShapes(tmp_path, number=1000, size=32)
    captions = {source.id: source.text for source in data.sources()}
    places = [text.removeprefix("A picture from ").removesuffix(".") for text in captions.values()]
    assert len(set(places)) == 1000
    words = {word for place in places for word in place.split()}
    assert not words & {*COLORS, *SHAPES, *NUMBERS, "yes", "no"}
    for query in all_queries(data):
        (source,) = query.relevant
        assert captions[source][len("A picture from ") : -1] in query.question


def test_pictures_of_different_parts_differ_and_all_are_sources(data: GeneratedShapes) -> None:
    parts = {split: {source for query in data.queries(split) for source in query.relevant} for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {"train": 160, "val": 20, "test": 20}
    assert set().union(*parts.values()) == {source.id for source in data.sources()}
    with pytest.raises(UserError, match="split must be one of train, val, test, got 'dev'"):
        list(data.queries("dev"))


def test_the_same_numbers_give_the_same_data(data: GeneratedShapes, tmp_path: Path) -> None:
    again, other = (GeneratedShapes(tmp_path, number=200, seed=seed) for seed in (0, 1))
    assert all_queries(again) == all_queries(data)
    assert all_queries(other) != all_queries(data)
    pictures = [[Path(str(source.image)).read_bytes() for source in each.sources()] for each in (data, again, other)]
    assert pictures[0] == pictures[1]
    assert not set(pictures[0]) & set(pictures[2])
    more = GeneratedShapes(tmp_path, number=400)  # which begins with the same ones
    assert list(more.queries("val"))[:80] == list(data.queries("val"))


def test_pictures_are_drawn_once_and_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, save, saved = GeneratedShapes(tmp_path / "new", number=20), Image.Image.save, Counter[str]()

    def interrupted(picture: Image.Image, path: Path) -> None:
        saved.update(["pictures"])
        if saved.total() == 15:
            raise OSError("no space left")
        save(picture, path)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(OSError, match="no space"):
        list(data.sources())
    assert list((tmp_path / "new").iterdir()) == []
    for _ in range(2):
        assert all(Path(str(source.image)).exists() for source in data.sources())
    assert saved.total() == 15 + 20


@pytest.mark.parametrize(("name", "value"), [("number", 2501), ("number", 0), ("size", 16), ("seed", -1)])
def test_numbers_out_of_range_are_refused(name: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{name} must be between"):
        GeneratedShapes(tmp_path, **{name: value})
