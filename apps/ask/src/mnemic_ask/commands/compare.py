"""``mnemic-ask compare``: forms of the reader, with memory and without, at equal training budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from mnemic_ask.options import CONFIGS
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Variant

Form: TypeAlias = Literal["fid", "fid_cached", "concat"]  # of mnemic_retrieval.murag, whose import is slow
METRICS = {
    "em": Metric("EM"),
    "f1": Metric("F1"),
    "citation_f1": Metric("citation F1"),
    "parameters": Metric("parameters", None, digits=0),
}
NO_MEMORY = "none"


def compare(
    config: str = "murag_generated",
    readers: tuple[Form, ...] = ("fid",),
    items: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0, 1),
    out: Path = Path("runs/compare"),
    options: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Train each form of the reader with each seed, all else equal, and a network without memory; write tables.

    Finished runs are kept, a killed one is resumed, and another call with other forms or seeds adds to the tables.

    Args:
        config: training config.
        readers: forms of the reader to compare.
        items: numbers of items that an answer is read from, each a row of its own; none: that of the config.
        seeds: seeds for each row.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: options of fit, such as --trainer.max_steps=100.
        json: print one JSON object as the last line.
    """
    from rich.console import Console

    from mnemic_ask.commands import train
    from mnemic_ask.evaluation import answer_rows, task_of
    from mnemic_ask.murag.mining import remember
    from mnemic_ask.scoring import Mode, means
    from mnemic_retrieval.murag import MuragCheckpoint

    def score(run: Run, missing: Sequence[str]) -> Scores:
        fitted = run.fit(train.main)
        opened = fitted.datamodule.split("test", "test")
        task = task_of(config, [*opened.sources.values()], opened.queries, fitted.model.metric)
        network = MuragCheckpoint.load(run.checkpoint)
        mode: Mode = "none" if run.variant.name == NO_MEMORY else "memory"
        rows = answer_rows(remember(network, task.sources), task, mode, Console(stderr=True))
        scores = means(rows) | {"parameters": float(sum(each.numel() for each in network.model.parameters()))}
        kept = {name: scores[name] for name in METRICS if name in scores}
        return dict.fromkeys(missing, kept)

    path = find_config(config, CONFIGS)
    variants = make_variants(readers, items)
    Comparison("mnemic-ask", out, variants, seeds, METRICS, path, options, ["test"]).run(score, as_json=json)


def make_variants(readers: Sequence[Form], items: Sequence[int]) -> list[Variant]:
    """Return a variant without memory, and one for each form and number of items."""
    variants = [Variant(NO_MEMORY, ("--model.no_memory_share=1",))]
    for reader in readers:
        form = f"--model.config.reader={reader}"
        if not items:
            variants.append(Variant(reader, (form,)))
        variants += [Variant(f"{reader}, {number}", (form, f"--model.config.num_items={number}")) for number in items]
    return variants
