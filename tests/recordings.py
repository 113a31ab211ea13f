"""A fixture that writes small recordings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

MakeAudio = Callable[..., Path]


@pytest.fixture
def make_audio(tmp_path: Path) -> MakeAudio:
    """Write a ramp of a given length below the test's folder; every sample tells where it is."""

    def write(name: str, seconds: float = 1.0, sample_rate: int = 1000, **kind: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.arange(round(seconds * sample_rate)) / 32768
        soundfile.write(path, samples, sample_rate, subtype="PCM_16", **kind)
        return path

    return write
