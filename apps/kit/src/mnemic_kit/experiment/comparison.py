"""A grid of variants and seeds: each run is trained and scored once, kept, and compared with all in its folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from mnemic_core.errors import UserError
from mnemic_kit.configs import read_section
from mnemic_kit.experiment.report import markdown, plot
from mnemic_kit.experiment.run import RUN, Run, Scores, Variant, split_options
from mnemic_kit.experiment.summary import Found, Metric, Paired, Table, summarize
from mnemic_kit.figures import can_plot
from mnemic_kit.made_files import check_outputs
from mnemic_kit.output import show, show_json, write_json, write_text
from mnemic_kit.record import program_version, read_results

Score: TypeAlias = Callable[[Run, Sequence[str]], Scores]
"""Trains a run, as far as it is not, and scores it in these conditions; one that does not apply is left out."""


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where its runs are kept.

    A folder takes one comparison. Another call with other variants, seeds or conditions adds to it; one with another
    config, other general options or other settings is refused. ``compare.json`` in it holds

    - ``settings``: program, version, content of the config, options and all else that decides the scores,
    - ``baseline``, and ``variants`` with their options and notes,
    - ``metrics`` with label and direction,
    - ``scores``: by condition, variant and metric the value ``of_seeds``, their ``mean`` and ``deviation``, and the
      ``difference`` to the baseline, paired over seeds, with a 95 % interval (``low``, ``high``).

    Args:
        program: distribution of the app.
        out: folder of the runs.
        variants: what is compared; the baseline is that named ``none`` or ``none, ...``, or else the first.
        seeds: seeds of each.
        metrics: how scores are read, the most important first; the key is their name, what follows an ``@`` in a
            score's name is the point of a curve.
        config: file with the config of the trainings.
        options: further options of ``fit``; those for one variant alone begin with its name and a colon.
        conditions: names of what a run is scored on.
        settings: what else the scores depend on, as plain data.
        paired: differences that are not taken over seeds, see `summarize`.
    """

    program: str
    out: Path
    variants: Sequence[Variant]
    seeds: Sequence[int]
    metrics: Mapping[str, Metric]
    config: Path | None = None
    options: Sequence[str] = ()
    conditions: Sequence[str] = ("validation",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    paired: Paired | None = None

    def run(self, score: Score, *, as_json: bool = False) -> dict[str, Any]:
        """Train and score what is missing, write ``compare.json``, ``.md`` and ``.png``, and print the table.

        Args:
            score: trains and scores one run.
            as_json: print the content of ``compare.json``, which is also returned, as the last line.

        Raises:
            UserError: before any work, if there is nothing to compare or the folder holds another comparison.
        """
        if not self.variants or not self.seeds:
            raise UserError("a comparison needs at least one variant and one seed, got none")
        check_outputs(*(self.out / f"compare.{kind}" for kind in ("json", "md", "png")))
        planned = [self.plan(variant, seed) for seed in self.seeds for variant in self.variants]
        for run in [*self.kept(), *planned]:
            run.scores()  # refuses what is wrong before hours of training
        for run in planned:
            scores = run.scores()
            missing = [condition for condition in self.conditions if condition not in scores]
            if missing:
                run.keep({**scores, **score(run, missing)})
        return self._publish(as_json=as_json)

    def plan(self, variant: Variant, seed: int, file: str = RUN) -> Run:
        """Return the run of a variant with a seed; ``file`` is `STAGE` for a stage of training that variants share."""
        folder = self.out / f"{variant.name.replace(' ', '_')}-{seed}"
        shared, own = split_options(self.options, variant.name)
        made = replace(variant, options=(*variant.options, *own))
        return Run(made, seed, folder, self.config, shared, self.all_settings, file)

    @cached_property
    def all_settings(self) -> dict[str, Any]:
        """What every run of the folder has in common."""
        config = None if self.config is None else read_section(self.config)
        shared, _ = split_options(self.options, "")
        return {**program_version(self.program), "config": config, "options": shared, **self.settings}

    def kept(self) -> list[Run]:
        """Return the runs of earlier calls, with their variants as they were then."""
        runs = []
        for path in sorted(self.out.glob(f"*/{RUN}")):
            content = read_results(path)
            made = content["settings"]
            variant = Variant(made.get("variant", ""), tuple(made.get("variant_options", ())), content.get("note", ""))
            runs.append(Run(variant, made.get("seed", 0), path.parent, self.config, (), self.all_settings))
        return runs

    def _publish(self, *, as_json: bool) -> dict[str, Any]:
        path = self.out / "compare.json"
        earlier = read_results(path) if path.exists() else {}
        variants, found = self._all_found(earlier.get("variants", ()))
        without = [name for name in found if name.partition(",")[0] == "none"]
        candidates: list[Any] = [*without, earlier.get("baseline"), *found]
        baseline = next(name for name in candidates if name in found)
        table = summarize(found, self.metrics, baseline, self.paired)
        document = self._document(table, variants, baseline)
        text = markdown(table, self.metrics, baseline, {name: variant.note for name, variant in variants.items()})
        write_json(path, document)
        write_text(self.out / "compare.md", text)
        if can_plot():
            plot(table, self.metrics, self.out / "compare.png", program=self.program)
        show(text)
        if as_json:
            show_json(document)
        return document

    def _all_found(self, order: Iterable[str]) -> tuple[dict[str, Variant], Found]:
        """Return variants and scores of all runs in the folder, those of earlier calls first."""
        runs = sorted((run for run in self.kept() if run.scores()), key=lambda run: run.seed)
        variants = {run.variant.name: run.variant for run in runs}
        names = [name for name in [*order, *(variant.name for variant in self.variants)] if name in variants]
        variants = {name: variants[name] for name in [*names, *variants]}
        found: dict[str, dict[int, Scores]] = {name: {} for name in variants}
        for run in runs:
            found[run.variant.name][run.seed] = run.scores()
        return variants, found

    def _document(self, table: Table, variants: Mapping[str, Variant], baseline: str) -> dict[str, Any]:
        cells = {
            condition: {
                variant: {name: asdict(cell) for name, cell in cells.items()} for variant, cells in rows.items()
            }
            for condition, rows in table.items()
        }
        return {
            "settings": self.all_settings,
            "baseline": baseline,
            "variants": {name: {"options": each.options, "note": each.note} for name, each in variants.items()},
            "metrics": {name: {"label": each.label, "better": each.better} for name, each in self.metrics.items()},
            "scores": cells,
        }
