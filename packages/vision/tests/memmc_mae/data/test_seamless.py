import numpy as np
import pytest

from mnemic_vision.memmc_mae.data.seamless import fit_border


def disk(side: int, radius: float, center: float = 0.5) -> np.ndarray:
    y, x = (np.indices((side, side)) + 0.5) / side - center
    return np.asarray(np.hypot(x, y) < radius)


@pytest.mark.parametrize("side", [40, 300])
def test_a_piece_that_differs_by_a_plane_becomes_the_target(side: int) -> None:
    # A plane is harmonic, so the correction undoes it, up to the coarse grid of a large piece.
    target = np.random.default_rng(0).random((1, side, side))
    plane = np.linspace(-0.3, 0.4, side)[None, :, None] + np.linspace(0.1, -0.2, side)[None, None]
    fitted = fit_border(target + plane, target, disk(side, 0.3))
    assert np.abs(fitted - target).max() < (1e-9 if side < 96 else 0.02)


def test_outside_nothing_changes_and_inside_the_discrete_poisson_equation_holds() -> None:
    generator, inside = np.random.default_rng(1), disk(40, 0.3)
    piece, target = generator.random((2, 40, 40)), generator.random((2, 40, 40))
    fitted = fit_border(piece, target, inside)
    assert np.array_equal(fitted[:, ~inside], target[:, ~inside])
    laplacian = [4 * x - sum(np.roll(x, step, axis) for axis in (1, 2) for step in (1, -1)) for x in (fitted, piece)]
    differs = np.zeros_like(inside)
    differs[inside] = np.abs(laplacian[0] - laplacian[1])[:, inside].max(0) > 1e-9
    assert not differs.any()


def test_a_piece_at_the_edge_of_the_image_is_fitted_to_the_other_sides() -> None:
    target, inside = np.full((1, 40, 40), 0.5), disk(40, 0.3, center=0.0)
    assert np.allclose(fit_border(np.zeros_like(target), target, inside), 0.5)


def test_an_empty_place_returns_the_target() -> None:
    target = np.ones((1, 8, 8))
    assert np.array_equal(fit_border(np.zeros_like(target), target, np.zeros((8, 8), dtype=bool)), target)
