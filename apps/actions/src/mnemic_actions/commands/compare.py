"""``mnemic-actions compare``: scores of several memories at equal training budget."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from mnemic_actions.options import CONFIGS, MemoryName
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Comparison, Run, Scores, Variant

MEMORY = "segment_queue"  # of a config that names none


def compare(
    config: str = "matr_generated",
    memories: tuple[MemoryName, ...] = ("segment_queue", "none", "exponential", "window", "gated_fifo"),
    windows: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("runs/compare"),
    options: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, score them on the validation streams, and write a table.

    Each network is scored on the streams as recorded and with their actions in two other orders, so that a learned
    order does not count. Differences to the baseline have intervals from resampled streams. Finished runs are kept, a
    killed one is resumed, and another call with other memories, windows or seeds adds to the table.

    Args:
        config: config of the runs.
        memories: memories to compare; the baseline is none, or the first.
        windows: lengths of the window in frames, each with every memory; none: that of the config. Where the start of
            an action lies in an earlier window, only memory can tell it.
        seeds: seeds of each.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: further options of fit, such as --trainer.max_epochs=4; those for one memory alone begin with its
            name, such as window:--model.lr=0.0001.
        json: print one JSON object as the last line.
    """
    from mnemic_actions.commands import train
    from mnemic_actions.comparison import CONDITIONS, METRICS, pair_streams, score_condition
    from mnemic_kit.memory_option import memory_argument
    from mnemic_vision.matr import LocalizerCheckpoint

    path = find_config(config, CONFIGS)
    variants = [
        Variant(
            name_variant(memory, window),
            (memory_argument(path, memory, MEMORY), *([] if window is None else [f"--model.config.window={window}"])),
        )
        for window, memory in product(windows or (None,), memories)
    ]

    def score(run: Run, conditions: Sequence[str]) -> Scores:
        streams = run.fit(train.main).datamodule.split("val")
        checkpoint = LocalizerCheckpoint.load(run.checkpoint)
        return {name: score_condition(checkpoint, streams, name, run.folder) for name in conditions}

    comparison = Comparison(
        "mnemic-actions",
        out,
        variants,
        seeds,
        METRICS,
        path,
        options,
        tuple(CONDITIONS),
        paired=pair_streams(lambda name, seed: comparison.plan(Variant(name), seed).folder),
    )
    comparison.run(score, as_json=json)


def name_variant(memory: str, window: int | None) -> str:
    """Return the row of the table of a memory with a window.

    Example:
        >>> name_variant("none", 16)
        'none, window 16'
    """
    return memory if window is None else f"{memory}, window {window}"
