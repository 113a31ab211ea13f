import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_kit.experiment import Metric, summarize
from mnemic_kit.experiment.report import markdown, plot

METRICS = {"wer": Metric("WER (%)", "lower", 100.0, 2), "size": Metric("size", None, digits=0)}
FOUND = {
    "none": {
        0: {"dev": {"wer": 0.5, "wer@0-3 words": 0.5, "wer@4- words": 0.5, "size": 8.0}},
        1: {"dev": {"wer": 0.75, "wer@0-3 words": 0.75, "wer@4- words": 0.5, "size": 8.0}},
    },
    "window": {0: {"dev": {"wer": 0.25, "wer@0-3 words": 0.25, "wer@4- words": 0.5, "size": 9.0}}},
}
TABLE = summarize(FOUND, METRICS, "none")


def squeezed(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_the_table_has_mean_and_spread_each_seed_and_the_difference() -> None:
    text = squeezed(markdown(TABLE, METRICS, "none"))
    assert text.startswith(
        "| variant | WER (%) | WER (%), 0-3 words | WER (%), 4- words | size | WER (%) of each seed |"
    )
    assert "| none | 62.50 ± 17.68 | 62.50 ± 17.68 | 50.00 ± 0.00 | 8 | 50.00, 75.00 | |" in text
    assert "| window | 25.00 | 25.00 | 50.00 | 9 | 25.00 | -25.00 (one seed) |" in text


def test_conditions_have_headings_where_there_are_several_and_notes_are_footnotes() -> None:
    several = summarize({"none": {0: {"dev": {"wer": 0.5}, "test": {"wer": 0.5}}}}, METRICS, "none")
    text = markdown(several, METRICS, "none", {"none": "Looks ahead.", "other": "Never."})
    assert text.count("## ") == 2
    assert "## dev" in text
    assert "| none (*) |" in text
    assert text.endswith("(*) Looks ahead.")
    assert "Never" not in text


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figures_are_written(tmp_path: Path, ending: str) -> None:
    plot(TABLE, METRICS, tmp_path / f"compare.{ending}", program="mnemic-kit")
    assert (tmp_path / f"compare.{ending}").stat().st_size > 1000


def test_a_figure_names_variants_metrics_conditions_and_points(tmp_path: Path) -> None:
    plot(TABLE, METRICS, tmp_path / "compare.svg", program="mnemic-kit")
    drawn = (tmp_path / "compare.svg").read_text()
    labels = ("none", "window", "dev", "WER (%), lower is better", "0-3 words")
    assert all(f"<!-- {label} -->" in drawn for label in labels)
    assert "<!-- size" not in drawn
    plot(TABLE, METRICS, tmp_path / "compare.png", program="mnemic-kit")
    with Image.open(tmp_path / "compare.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
        assert image.size == (1136, 384)


def test_a_curve_shows_chance_and_the_points_of_training(tmp_path: Path) -> None:
    metrics = {name: replace(metric, chance=0.5, trained={"0-3 words"}) for name, metric in METRICS.items()}
    for name, each in {"plain": METRICS, "marked": metrics}.items():
        plot(TABLE, each, tmp_path / f"{name}.svg", program="mnemic-kit")
    plain, marked = ((tmp_path / f"{name}.svg").read_text() for name in ("plain", "marked"))
    for label in ("chance", "trained"):
        assert f"<!-- {label} -->" in marked
        assert f"<!-- {label} -->" not in plain


def test_what_cannot_be_drawn_is_refused_and_leaves_the_earlier_picture(tmp_path: Path) -> None:
    (tmp_path / "compare.png").write_text("earlier")
    with pytest.raises(UserError, match=r"at least one seed for each variant, got none in \['dev'\]"):
        plot({"dev": {}}, METRICS, tmp_path / "compare.png", program="mnemic-kit")
    with pytest.raises(UserError, match=r"written as \.png, \.svg or \.pdf"):
        plot(TABLE, METRICS, tmp_path / "compare.gif", program="mnemic-kit")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_failing_plot_leaves_the_earlier_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compare.png").write_text("earlier")
    monkeypatch.setattr("mnemic_kit.experiment.report._draw_seeds", lambda *arguments: {}["hota"])
    with pytest.raises(KeyError, match="hota"):
        plot(TABLE, METRICS, tmp_path / "compare.png", program="mnemic-kit")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-lm\[plots\]'"):
        plot(TABLE, METRICS, tmp_path / "compare.png", program="mnemic-lm")
