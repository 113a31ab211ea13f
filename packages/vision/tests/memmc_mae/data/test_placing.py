import numpy as np
import pytest

from mnemic_vision.memmc_mae.data.blob import Blob
from mnemic_vision.memmc_mae.data.placing import Ground, local_variation


def body_image(height: int, width: int) -> np.ndarray:
    """A grey ellipse with a dark cavity, on black, brighter to the right."""
    y, x = np.indices((height, width)) / np.array([height, width]).reshape(2, 1, 1) - 0.5
    image = np.where(np.hypot(x / 0.4, y / 0.4) < 1, 0.5 + x, 0.0)
    return np.where(np.hypot(x, y) < 0.1, 0.02, image)


@pytest.mark.parametrize("size", [(224, 224), (150, 260), (64, 64)])
def test_shapes_lie_inside_the_body(size: tuple[int, int]) -> None:
    ground, generator = Ground.of_image(body_image(*size)), np.random.default_rng(0)
    y, x = np.indices(size) / np.array(size).reshape(2, 1, 1) - 0.5
    body = np.hypot(x / 0.4, y / 0.4) < 1
    for _ in range(40):
        blob = Blob(0.02, aspect=1.5, angle=generator.uniform(0, 3))
        inside = Blob(0.02, 1.5, blob.angle, (), ground.draw_center(blob, generator)).radii(*size) <= 1
        assert body[inside].mean() > 0.93


def test_bright_places_are_likelier() -> None:
    ground, generator = Ground.of_image(body_image(224, 224)), np.random.default_rng(0)
    columns = [ground.draw_center(Blob(0.01), generator)[1] for _ in range(300)]
    assert np.mean(np.array(columns) > 0.5) > 0.6


def test_a_shape_too_large_for_the_body_and_a_black_image_get_a_place() -> None:
    generator = np.random.default_rng(0)
    row, column = Ground.of_image(body_image(100, 100)).draw_center(Blob(0.9), generator)
    assert abs(row - 0.5) < 0.2
    assert abs(column - 0.5) < 0.2
    assert 0 <= Ground.of_image(np.zeros((100, 100))).draw_center(Blob(0.01), generator)[0] <= 1


def test_variation_is_the_deviation_of_fine_noise_at_any_size() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.1, (200, 200))
    assert local_variation(noise) == pytest.approx(0.1, rel=0.05)
    assert local_variation(np.kron(noise, np.ones((3, 3)))) == pytest.approx(0.1, rel=0.25)
    assert local_variation(np.full((64, 64), 0.5)) == 0.03
