import sys
from pathlib import Path

import pytest

from mnemic_algorithms.plots import plot_accuracy, plot_costs
from mnemic_core.errors import UserError

CURVES = {"rnn": [{10: 0.9, 20: 0.6}, {10: 1.0, 20: 0.5}], "stack_rnn": [{10: 1.0, 20: 1.0}]}
LABELS = {"title": "reverse_string", "chance": 0.5, "max_length": 10}


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written(tmp_path: Path, suffix: str) -> None:
    plot_accuracy(CURVES, tmp_path / f"curves.{suffix}", **LABELS)
    assert (tmp_path / f"curves.{suffix}").stat().st_size > 1000


def test_a_picture_names_machines_chance_and_training_lengths(tmp_path: Path) -> None:
    plot_accuracy(CURVES, tmp_path / "curves.svg", **LABELS)
    text = (tmp_path / "curves.svg").read_text()
    assert all(f"<!-- {label} -->" in text for label in ("rnn", "stack_rnn", "chance", "trained"))


def test_costs_of_many_memories_are_drawn(tmp_path: Path) -> None:
    stream = [{"tokens": 16, "seconds": 0.1, "peak_bytes": 100}, {"tokens": 32, "seconds": 0.1, "peak_bytes": 100}]
    result = {"stream": stream, "state_bytes_per_row": 8, "recall_distance": 3, "recall_reaches_start": True}
    plot_costs({f"memory {index}": result for index in range(30)}, tmp_path / "costs.svg")
    text = (tmp_path / "costs.svg").read_text()
    assert "<!-- memory 29 -->" in text
    assert "or more -->" in text


@pytest.mark.parametrize("curves", [{}, {"rnn": []}])
def test_nothing_to_draw_is_refused_and_leaves_no_file(tmp_path: Path, curves: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError, match="at least one seed for each variant"):
        plot_accuracy(curves, tmp_path / "curves.png", **LABELS)
    with pytest.raises(ValueError, match="at least one mechanism"):
        plot_costs({}, tmp_path / "costs.png")
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        plot_accuracy(CURVES, tmp_path / "curves.gif", **LABELS)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"mnemic-algorithms\[plots\]"):
        plot_accuracy(CURVES, tmp_path / "curves.png", **LABELS)
