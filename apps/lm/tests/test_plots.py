import sys
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_lm.plots import plot_curves

CURVES = {"context (tokens)": {64: 2.5, 256: 2.2}, "memory (items)": {}}


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figures_are_written(tmp_path: Path, ending: str) -> None:
    plot_curves(CURVES, {"memory off": 2.6}, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").stat().st_size > 1000


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one curve"):
        plot_curves({"context": {}}, {}, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"written as \.png, \.svg or \.pdf"):
        plot_curves(CURVES, {}, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-lm\[plots\]'"):
        plot_curves(CURVES, {}, tmp_path / "a.png")
