"""Small image files in the folders that a layout needs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture
def write_image(tmp_path: Path) -> Write:
    """Write an image whose pixels depend on its name, or a mask with a square of anomalous pixels."""

    def write(name: str, *, mask: bool = False, size: tuple[int, int] = (24, 20)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mask:
            pixels = np.zeros(size, dtype=np.uint8)
            pixels[4:12, 8:16] = 255
        else:
            pixels = np.random.default_rng(list(name.encode())).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write
