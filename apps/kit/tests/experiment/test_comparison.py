import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.experiment import STAGE, Comparison, Metric, Run, Variant

METRICS = {"loss": Metric("loss", "lower"), "size": Metric("size", None, digits=0)}
NONE, WINDOW = Variant("none"), Variant("window", ("--memory=window",), note="Looks ahead.")
SCORES = {"none": 1.0, "window": 0.5, "none, window 16": 1.0}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time that figures take; one test draws them."""
    monkeypatch.setattr("mnemic_kit.experiment.comparison.can_plot", lambda: False)


class Scorer:
    """Scores a variant by its name and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, run: Run, conditions: Sequence[str]) -> dict[str, dict[str, float]]:
        self.asked += [f"{run.folder.name} {condition}" for condition in conditions]
        return {name: {"loss": SCORES[run.variant.name] + run.seed, "size": 8.0} for name in conditions}


def compare(
    out: Path, variants: Sequence[Variant] = (NONE, WINDOW), seeds: Sequence[int] = (0,), **changes: object
) -> tuple[dict[str, object], list[str]]:
    """Return the written document and what was asked of the scorer."""
    score = Scorer()
    Comparison("mnemic-kit", out, variants, seeds, METRICS, **changes).run(score)
    return json.loads((out / "compare.json").read_text()), score.asked


def test_each_variant_is_scored_with_each_seed_once(tmp_path: Path) -> None:
    first, asked = compare(tmp_path, seeds=(0, 1))
    assert asked == [f"{name}-{seed} validation" for seed in (0, 1) for name in ("none", "window")]
    second, asked = compare(tmp_path, seeds=(0, 1))
    assert (second, asked) == (first, [])
    (tmp_path / "none-0" / "run.json").unlink()
    (tmp_path / "none-0").rmdir()
    third, asked = compare(tmp_path, seeds=(0, 1))
    assert (third, asked) == (first, ["none-0 validation"])


def test_other_variants_seeds_and_conditions_add_to_the_table(tmp_path: Path) -> None:
    compare(tmp_path, [NONE])
    _, asked = compare(tmp_path, [WINDOW], seeds=(1,))
    assert asked == ["window-1 validation"]
    document, asked = compare(tmp_path, [NONE], conditions=["test"])
    assert asked == ["none-0 test"]
    assert {name: list(rows) for name, rows in document["scores"].items()} == {
        "validation": ["none", "window"],
        "test": ["none"],
    }
    assert document["scores"]["validation"]["none"]["loss"]["of_seeds"] == {"0": 1.0}
    assert document["scores"]["validation"]["window"]["loss"]["of_seeds"] == {"1": 1.5}
    assert list(document["variants"]) == ["none", "window"]


def test_the_document_has_one_schema(tmp_path: Path) -> None:
    document, _ = compare(tmp_path, seeds=(0, 1))
    assert list(document) == ["settings", "baseline", "variants", "metrics", "scores"]
    assert document["baseline"] == "none"
    assert document["variants"]["window"] == {"options": ["--memory=window"], "note": "Looks ahead."}
    assert document["metrics"]["loss"] == {"label": "loss", "better": "lower"}
    assert document["scores"]["validation"]["window"]["loss"] == {
        "of_seeds": {"0": 0.5, "1": 1.5},
        "mean": 1.0,
        "deviation": pytest.approx(0.5**0.5),
        "difference": {"mean": -0.5, "low": -0.5, "high": -0.5, "share_better": 1.0, "over": "seeds"},
    }


def test_the_baseline_is_none_or_the_first_that_ever_was(tmp_path: Path) -> None:
    other = Variant("none", ("--memory=none",))
    assert compare(tmp_path / "a", [WINDOW, other])[0]["baseline"] == "none"
    SCORES["first"] = 2.0
    assert compare(tmp_path / "b", [Variant("first")])[0]["baseline"] == "first"
    assert compare(tmp_path / "b", [WINDOW])[0]["baseline"] == "first"


def test_none_with_an_addition_to_its_name_is_a_baseline_too(tmp_path: Path) -> None:
    variants = [WINDOW, Variant("none, window 16", ("--memory=none",))]
    assert compare(tmp_path, variants)[0]["baseline"] == "none, window 16"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"options": ["--steps=3"]}, r"options: --steps=2 there, --steps=3 here"),
        ({"settings": {"strings": 4}}, r"strings: not set there, 4 here"),
        ({"variants": [Variant("none", ("--lr=1",))]}, r"variant_options: none there, --lr=1 here"),
        ({"options": ["--steps=2", "none:--lr=1"]}, r"variant_options: none there, --lr=1 here"),
    ],
)
def test_other_settings_are_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    compare(tmp_path, [NONE], options=["--steps=2"])
    before = (tmp_path / "compare.json").read_text()
    with pytest.raises(UserError, match=rf"none-0/run\.json .*\({named}\); give another --out"):
        compare(tmp_path, **{"variants": [WINDOW, NONE], "options": ["--steps=2"], **changes})
    assert (tmp_path / "compare.json").read_text() == before
    assert not (tmp_path / "window-0").exists()


def test_a_changed_config_is_refused_by_its_content(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text("trainer: {max_steps: 2}\n")
    compare(tmp_path / "out", [NONE], config=config)
    config.write_text("trainer: {max_steps: 3}\n")
    with pytest.raises(UserError, match=r"\(config.trainer.max_steps: 2 there, 3 here\)"):
        compare(tmp_path / "out", [WINDOW], config=config)


def test_a_folder_that_holds_an_unknown_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none-0" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="none-0 holds a run whose settings are not known; give another --out"):
        compare(tmp_path)


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one variant and one seed"):
        compare(tmp_path, [])
    with pytest.raises(UserError, match="at least one variant and one seed"):
        compare(tmp_path, seeds=())


def test_a_run_that_was_killed_is_not_in_the_table_and_its_settings_are_known(tmp_path: Path) -> None:
    def killed(run: Run, conditions: Sequence[str]) -> dict[str, dict[str, float]]:
        return run.fit(lambda program, arguments: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        Comparison("mnemic-kit", tmp_path, [NONE], [0], METRICS, options=["--steps=2"]).run(killed)
    document, _ = compare(tmp_path, [WINDOW], options=["--steps=2"])
    assert list(document["variants"]) == ["window"]
    with pytest.raises(UserError, match=r"options: --steps=2 there, --steps=3 here"):
        compare(tmp_path, [NONE], options=["--steps=3"])


def test_options_of_fit_come_in_the_order_in_which_they_win(tmp_path: Path) -> None:
    options = ["--a=1", "window:--b=2", "none:--c=3"]
    comparison = Comparison("mnemic-kit", tmp_path, [WINDOW], [3], METRICS, options=options)
    assert comparison.plan(WINDOW, 3).arguments("--stage=1") == [
        "--seed_everything=3",
        "--stage=1",
        "--a=1",
        "--memory=window",
        "--b=2",
    ]
    config = tmp_path / "tiny.yaml"
    config.write_text("")
    comparison = Comparison("mnemic-kit", tmp_path, [NONE], [0], METRICS, config)
    assert comparison.plan(NONE, 0).arguments()[0] == f"--config={config}"


def test_a_stage_that_runs_share_is_trained_and_guarded_but_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    monkeypatch.setattr(
        "mnemic_kit.experiment.run.fit_or_resume", lambda main, arguments, folder: trained.append(folder)
    )

    def score(run: Run, conditions: Sequence[str]) -> dict[str, dict[str, float]]:
        stage = comparison.plan(Variant("detector"), run.seed, STAGE)
        stage.fit(lambda program, arguments: None)
        return {name: {"loss": 1.0} for name in conditions}

    comparison = Comparison("mnemic-kit", tmp_path, [NONE, WINDOW], [0], METRICS)
    assert list(comparison.run(score)["variants"]) == ["none", "window"]
    assert set(trained) == {tmp_path / "detector-0"}
    assert (tmp_path / "detector-0" / "stage.json").exists()


def test_the_last_line_is_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Comparison("mnemic-kit", tmp_path, [NONE], [0], METRICS).run(Scorer(), as_json=True)
    *table, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == json.loads((tmp_path / "compare.json").read_text())
    assert "\n".join(table) + "\n" == (tmp_path / "compare.md").read_text()


def test_the_picture_is_left_out_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"none-0", "window-0", "compare.json", "compare.md"}
    monkeypatch.setattr("mnemic_kit.experiment.comparison.can_plot", lambda: True)
    compare(tmp_path)
    assert (tmp_path / "compare.png").stat().st_size > 1000
