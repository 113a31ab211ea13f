"""``mnemic-translate compare``: quality and latency of several memories at equal training budget."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from mnemic_core.errors import UserError
from mnemic_core.listing import memory_names
from mnemic_kit.configs import find_config
from mnemic_kit.devices import Device
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Variant
from mnemic_kit.parse import OneOf
from mnemic_translate.options import CONFIGS, Shift

MemoryName = Annotated[str, OneOf(lambda: memory_names(lambda entry: entry.fits_encoder and not entry.is_machine))]
BANK = "summary_bank"  # of a config that names none
PLACE = ("encoder", "memory")  # of a memory in the config of the network
METRICS = {
    "bleu": Metric("BLEU", digits=2),
    "chrf": Metric("chrF", digits=2),
    "laal_ms": Metric("LAAL, ms", None, digits=0),
    "real_time_factor": Metric("real-time factor", None, digits=3),
    "parameters": Metric("parameters", None, digits=0),
}


def compare(
    config: str = "augmented_memory_generated",
    memories: tuple[MemoryName, ...] = ("none", BANK),
    capacities: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0, 1),
    out: Path = Path("runs/compare"),
    ks: tuple[int, ...] = (3,),
    shift: Shift = "all",
    options: tuple[str, ...] = (),
    device: Device = "auto",
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, translate the test data as a stream, and write tables.

    Finished runs are kept, a killed one is resumed, and another call with other memories, seeds or k adds to the
    tables.

    Args:
        config: training config.
        memories: memories to compare; the baseline is none, or the first.
        capacities: numbers of summaries in the bank, each a row of its own; none: that of the config.
        seeds: seeds for each memory.
        out: folder for the runs, compare.json, compare.md and compare.png.
        ks: decisions that wait-k waits for, each a condition of its own.
        shift: which missing context of windows is replaced in translation.
        options: options of fit, such as --trainer.max_steps=100; prefixed with the name of a memory they apply only
            to it, such as slot_attention:--model.config.encoder.memory.options.num_slots=8.
        device: for tests; auto uses a GPU if available. For training use --trainer.accelerator in options.
        json: print one JSON object as the last line.
    """
    from mnemic_kit.devices import find_device
    from mnemic_speech.simultaneous import PolicyConfig, Translator
    from mnemic_translate.commands import train
    from mnemic_translate.evaluation import evaluate_clips

    path = find_config(config, CONFIGS)
    if not ks or min(ks) < 1:
        raise UserError(f"--ks must be numbers of at least 1, got {list(ks)}")
    conditions = {f"k={k}": k for k in ks}

    def score(run: Run, missing: Sequence[str]) -> Scores:
        clips = run.fit(train.main).datamodule.split("test", "test")
        translator = Translator.load(run.checkpoint).to(find_device(device))
        parameters = float(sum(each.numel() for each in translator.model.parameters()))
        found: dict[str, dict[str, float]] = {}
        for name in missing:
            settings = replace(translator.settings, policy=PolicyConfig(k=conditions[name]), shift=shift)
            evaluation = evaluate_clips(replace(translator, settings=settings), clips)
            scores = evaluation.summary() | {"parameters": parameters}
            found[name] = {metric: scores[metric] for metric in METRICS if scores[metric] is not None}
        return found

    Comparison(
        "mnemic-translate",
        out,
        make_variants(path, memories, capacities),
        seeds,
        METRICS,
        path,
        options,
        list(conditions),
        {"shift": shift},
    ).run(score, as_json=json)


def make_variants(config: Path, memories: Sequence[str], capacities: Sequence[int]) -> list[Variant]:
    """Return a variant for each memory, and for each number of summaries in the bank."""
    from mnemic_kit.memory_option import memory_argument

    if capacities and BANK not in memories:
        raise UserError(f"--capacities are those of {BANK}, which is not among the memories")
    variants = []
    for memory in memories:
        chosen = memory_argument(config, memory, BANK, PLACE)
        if memory != BANK or not capacities:
            variants.append(Variant(memory, (chosen,)))
            continue
        for capacity in capacities:
            size = f"--model.config.{'.'.join(PLACE)}.options.capacity={capacity}"
            variants.append(Variant(f"{memory}, {capacity}", (chosen, size)))
    return variants
