"""``mnemic-anomaly compare``: scores of several memories at equal training budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mnemic_anomaly.options import CONFIGS
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Comparison, Run, Scores, Variant

MEMORY = "persistent"  # of a config that names none


def compare(
    config: str = "memmc_mae_generated",
    memories: tuple[Literal["persistent", "product_key", "none"], ...] = ("persistent", "product_key", "none"),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("runs/compare"),
    options: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, score them on held-out images, and write a table.

    Each network is scored on the labeled images of the test part, or of val without one, and on its normal images with
    a pasted lesion each. Differences to the baseline have intervals from resampled images. Finished runs are kept, a
    killed one is resumed, and another call with other memories or seeds adds to the table.

    Args:
        config: config of the runs.
        memories: memories to compare; the baseline is none, or the first.
        seeds: seeds of each.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: further options of fit, such as --trainer.max_epochs=4; those for one memory alone begin with its
            name, such as product_key:--model.lr=0.0001.
        json: print one JSON object as the last line.
    """
    from mnemic_anomaly.commands import train
    from mnemic_anomaly.comparison import CONDITIONS, METRICS, choose_condition, pair_images, score_condition
    from mnemic_kit.memory_option import memory_argument
    from mnemic_vision.memmc_mae import DetectorCheckpoint

    path = find_config(config, CONFIGS)
    variants = [Variant(memory, (memory_argument(path, memory, MEMORY),)) for memory in memories]

    def score(run: Run, conditions: Sequence[str]) -> Scores:
        data = run.fit(train.main).datamodule
        checkpoint = DetectorCheckpoint.load(run.checkpoint)
        chosen = {name: choose_condition(data, name) for name in conditions}
        return {
            name: score_condition(checkpoint, samples, name, run.folder) for name, samples in chosen.items() if samples
        }

    comparison = Comparison(
        "mnemic-anomaly",
        out,
        variants,
        seeds,
        METRICS,
        path,
        options,
        CONDITIONS,
        paired=pair_images(lambda name, seed: comparison.plan(Variant(name), seed).folder),
    )
    comparison.run(score, as_json=json)
