"""``mnemic-transcribe compare``: error rates of several memories at equal training budget."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

from mnemic_core.listing import memory_names
from mnemic_kit.configs import find_config
from mnemic_kit.devices import Device, find_device
from mnemic_kit.experiment import Comparison, Run, Scores, Variant
from mnemic_kit.parse import OneOf
from mnemic_speech.conformer_ntm.decoding import Decoding

MemoryName = Annotated[str, OneOf(lambda: memory_names(lambda entry: entry.fits_encoder))]


def compare(
    config: str = "conformer_ntm_digits",
    memories: tuple[MemoryName, ...] = ("none", "turing_release", "turing_paper", "turing_improved", "slot_attention"),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("runs/compare"),
    decodings: tuple[Decoding, ...] = ("attention", "joint", "ctc"),
    tests: tuple[str, ...] = (),
    noises: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    device: Device = "auto",
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, test in several conditions, and write tables and a plot.

    Utterances are recognized without segmentation, with the weights of the last step. Finished runs are kept, a
    killed one is resumed, and another call with other memories, seeds, tests, noises or decodings adds to the tables.

    Args:
        config: training config.
        memories: memories to compare; the baseline is none, or the first.
        seeds: seeds for each memory.
        out: folder for the runs, compare.json, compare.md and compare.png.
        decodings: decoding methods to test.
        tests: test data in addition to the config's validation data: a manifest or folder, and after a colon its
            split, such as ../shared/data/speech_digits:dev_long.
        noises: noises to test with as well, such as white:0 or babble:5 (kind and ratio in decibels).
        options: options of fit, such as --trainer.max_steps=100; prefixed with the name of a memory they apply only
            to it, such as slot_attention:--model.config.memory.options.num_slots=16.
        device: for tests; auto uses a GPU if available. For training use --trainer.accelerator in options.
        json: print one JSON object as the last line.
    """
    from mnemic_kit.memory_option import memory_argument
    from mnemic_speech.conformer_ntm.checkpoint import Recognizer
    from mnemic_transcribe import comparison
    from mnemic_transcribe.commands import train
    from mnemic_transcribe.noise import Noise

    added = [None, *map(Noise.parse, noises)]
    sources = {"validation": None, **comparison.name_tests(tests)}
    path = find_config(config, train.CONFIGS)

    def score(run: Run, conditions: Sequence[str]) -> Scores:
        validation = run.fit(train.main).datamodule.clips("val")
        recognizer = Recognizer.load(run.checkpoint).to(find_device(device))
        sets = comparison.open_tests(validation, sources, recognizer.settings)
        errors = comparison.run_tests(recognizer, sets, decodings, added, run.folder / comparison.ERRORS)
        return {name: comparison.error_scores(errors[name]) for name in conditions}

    # Before hours of training.
    for label, source in sources.items():
        comparison.check_source(out, label, source)
    Comparison(
        "mnemic-transcribe",
        out,
        [Variant(memory, (memory_argument(path, memory, "turing_paper"),)) for memory in memories],
        seeds,
        comparison.METRICS,
        path,
        options,
        [comparison.condition_name(*each) for each in product(sources, added, decodings)],
        paired=comparison.pair_utterances(partial(comparison.read_errors, out)),
    ).run(score, as_json=json)
