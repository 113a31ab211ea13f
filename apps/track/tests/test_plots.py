import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_track.plots import plot_memory

pytest.importorskip("matplotlib", reason="needs mnemic-track[plots]")

REPORT = {
    "written": 5,
    "capacity": 16,
    "share_used": 5 / 16,
    "diversity": 0.4,
    "age_mean": 3.5,
    "age_max": 9,
    "bytes_per_row": 1024.0,
    "memory_mass": 0.6,
    "read_entropy": 0.8,
}


def history(**changes: float | None) -> list[dict[str, float | None]]:
    """Return reports whose shares and distances change."""
    frames = ({**REPORT, "frame": frame, "tracks": frame % 3} for frame in range(10, 16))
    moving = ("diversity", "memory_mass", "read_entropy")
    return [{**each, **{name: each[name] - each["frame"] / 100 for name in moving}, **changes} for each in frames]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
        return image.size


def test_the_memory_report_becomes_a_picture(tmp_path: Path) -> None:
    plot_memory(history(), tmp_path / "memory.png")
    assert size(tmp_path / "memory.png") == (1200, 1104)


def test_panels_without_any_number_are_left_out(tmp_path: Path) -> None:
    # The numbers of one frame are missing: its panels stay, with a gap.
    plot_memory([{"frame": 9}, *history(memory_mass=None, read_entropy=None)], tmp_path / "memory.svg")
    drawn = (tmp_path / "memory.svg").read_text()
    titles = ["Memory in use", "Attention on memory", "Slot diversity", "Age of the slots"]
    assert [f"<!-- {title} -->" in drawn for title in titles] == [True, False, True, True]


def test_shares_and_distances_that_stay_the_same_are_left_out(tmp_path: Path) -> None:
    plot_memory(history(diversity=0.97, memory_mass=0.5, read_entropy=1.0), tmp_path / "memory.svg")
    drawn = (tmp_path / "memory.svg").read_text()
    titles = ["Memory in use", "Attention on memory", "Slot diversity", "Age of the slots"]
    assert [f"<!-- {title} -->" in drawn for title in titles] == [True, False, False, True]


@pytest.mark.parametrize("empty", [[], [{"frame": 3, "written": None}]])
def test_a_history_without_numbers_is_an_error(tmp_path: Path, empty: list[dict[str, float | None]]) -> None:
    with pytest.raises(ValueError, match="holds no number to draw"):
        plot_memory(empty, tmp_path / "memory.png")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf, got .*memory\.bmp"):
        plot_memory(history(), tmp_path / "memory.bmp")


def test_a_failing_plot_leaves_the_earlier_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.png").write_text("earlier")
    monkeypatch.setattr("mnemic_track.plots._draw_panel", lambda *arguments: {}["hota"])
    with pytest.raises(KeyError, match="hota"):
        plot_memory(history(), tmp_path / "memory.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-track\[plots\]'"):
        plot_memory(history(), tmp_path / "memory.png")


def test_tracking_a_frame_imports_nothing_slow_that_it_does_not_need() -> None:
    code = """
import sys
import numpy as np
import mnemic_track.plots
from mnemic_vision.memotr import MemotrConfig, Thresholds, Tracker, build_memotr

sizes = {"dim": 32, "num_heads": 2, "memory_heads": 2, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 2}
model = build_memotr(MemotrConfig(**sizes, num_queries=4, capacity=4)).eval()
Tracker(model, Thresholds(), 128, 128)(np.zeros((128, 128, 3), np.uint8))
print({"matplotlib", "timm", "torch._dynamo", "sympy", "lightning"} & {*sys.modules})
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"
