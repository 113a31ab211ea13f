import os
import pickle
import struct
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import convert_thumos14

GENERATOR = np.random.default_rng(0)
FEATURES = {
    name: {part: GENERATOR.normal(size=(5, 3)).astype(np.float32) for part in ("rgb", "flow")} for name in ("v1", "v2")
}


class OldPickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its texts."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_string(self, text: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)

    dispatch[bytes] = save_string


def as_python_2(content: Any) -> bytes:
    file = BytesIO()
    OldPickler(file, protocol=2).dump(content)
    return file.getvalue()


PICKLES = {f"protocol {number}": pickle.dumps(FEATURES, protocol=number) for number in range(6)}
PICKLES["Python 2"] = as_python_2(FEATURES)
PICKLES["NumPy 1"] = PICKLES["protocol 2"].replace(b"numpy._core", b"numpy.core")


@pytest.mark.filterwarnings("ignore:numpy.core")
@pytest.mark.parametrize("name", PICKLES)
def test_features_come_out_as_they_were(name: str, tmp_path: Path) -> None:
    (tmp_path / "f.pickle").write_bytes(PICKLES[name])
    assert convert_thumos14(tmp_path / "f.pickle", tmp_path / "out") == ["v1", "v2"]
    for video, parts in FEATURES.items():
        for part, expected in parts.items():
            assert_array_equal(np.load(tmp_path / "out" / part / f"{video}.npy"), expected)
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"v1": Harmful()}), r"holds (posix|nt).mkdir\): refused"),
        (pickle.dumps({"v1": {"rgb": np.array([Harmful()])}}), r"mkdir\): refused"),
        (pickle.dumps({"v1": {"rgb": np.array([[None]])}}), "expected floats .* got shape"),
        (pickle.dumps({"../v1": {"rgb": np.zeros((2, 2))}}), "cannot be the name of a file"),
        (pickle.dumps({"v1": {"audio": np.zeros((2, 2))}}), "v1: expected arrays named rgb and flow"),
        (pickle.dumps([1, 2]), "holds a list"),
        (PICKLES["protocol 4"][:-20], "was truncated"),
        (b"no pickle", "refused|cut off"),
    ],
)
def test_anything_else_is_refused_without_running_it(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.pickle").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        convert_thumos14("f.pickle", "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["f.pickle"]


def test_a_stopped_conversion_continues(tmp_path: Path) -> None:
    (tmp_path / "f.pickle").write_bytes(PICKLES["protocol 4"])
    convert_thumos14(tmp_path / "f.pickle", tmp_path)
    (tmp_path / "rgb" / "v1.npy").unlink()
    kept = (tmp_path / "rgb" / "v2.npy").stat()
    convert_thumos14(tmp_path / "f.pickle", tmp_path)
    assert (tmp_path / "rgb" / "v2.npy").stat().st_mtime_ns == kept.st_mtime_ns
    assert_array_equal(np.load(tmp_path / "rgb" / "v1.npy"), FEATURES["v1"]["rgb"])
