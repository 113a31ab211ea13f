"""``mnemic-transcribe compare``: what is the memory worth? Every memory, several seeds, one budget."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.devices import Device, find_device
from mnemic_kit.training import fit_or_resume
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.metrics import ErrorCounts
from mnemic_transcribe.batching import Clip
from mnemic_transcribe.commands import train
from mnemic_transcribe.comparison import BASELINE, difference, figures, markdown
from mnemic_transcribe.evaluation import evaluate_clips, open_clips
from mnemic_transcribe.noise import Noise
from mnemic_transcribe.plots import plot_comparison
from mnemic_transcribe.progress import audio_progress

Errors = dict[str, list[ErrorCounts]]  # by condition, for each utterance


def compare(
    config: str = "conformer_ntm_digits",
    memories: tuple[str, ...] = ("none", "release", "paper", "improved", "slot_attention"),
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("runs/comparison"),
    decodings: tuple[Decoding, ...] = ("attention", "joint", "ctc"),
    tests: tuple[str, ...] = (),
    noises: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    device: Device = "auto",
) -> None:
    """Train each memory with each seed, all else equal, test each in several ways, and write tables and a figure.

    Utterances are recognised as a whole, however long, with the weights of the last step. Runs that are finished are
    not repeated, and one that was killed goes on where it was: call it again.

    Args:
        config: config of the runs.
        memories: what to compare; intervals are against none, if it is among them.
        seeds: seeds of each.
        out: folder for the runs, comparison.json, comparison.md and comparison.png.
        decodings: ways of decoding.
        tests: further data to test on besides the config's validation data: a manifest or folder, and behind a colon
            its split, such as ../shared/data/speech_digits:dev_long.
        noises: test again with these, such as white:0 or babble:5 (kind and ratio in decibels).
        options: further options of fit, such as --trainer.max_steps=100; options for one memory alone begin with its
            name, such as slot_attention:--model.config.memory_options.num_slots=16.
        device: where to test; auto takes a GPU where there is one. Training has --trainer.accelerator in options.
    """
    added = [None, *map(Noise.parse, noises)]
    _check_names(tests)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, Errors]] = {memory: {} for memory in memories}
    for seed in seeds:
        for memory in memories:
            folder = out / f"{memory}-{seed}"
            arguments = [f"--config={config}", f"--seed_everything={seed}", *memory_arguments(config, memory, options)]
            found[memory][seed] = run_once(arguments, folder, decodings, tests, added, device)
    table = tabulate(found)
    facts = {"config": config, "seeds": list(seeds), "options": list(options), "conditions": table}
    with atomic_write(out / "comparison.json") as file:
        json.dump(facts, file, indent=1, allow_nan=False)
    with atomic_write(out / "comparison.md") as file:
        file.write(markdown(table))
    plot_comparison(table, out / "comparison.png")
    Console().print(markdown(table), markup=False, highlight=False, soft_wrap=True)


def memory_arguments(config: str, memory: str, options: Sequence[str] = ()) -> list[str]:
    """Return the options of fit for one memory; memory options in the config are for its own kind of memory.

    Args:
        config: name or file.
        memory: which memory.
        options: further options; those for one memory alone begin with its name and a colon.
    """
    section = yaml.safe_load(find_config(config, train.CONFIGS).read_text())["model"]["config"]
    machines = {"paper", "release", "improved"}  # understand the same options
    own = {section.get("memory", "paper")}
    chosen = [f"--model.config.memory={memory}"]
    if memory not in (machines if own <= machines else own):
        chosen.append("--model.config.memory_options={}")
    general = [option for option in options if option.startswith("-")]
    special = [option.removeprefix(f"{memory}:") for option in options if option.startswith(f"{memory}:")]
    return [*chosen, *general, *special]


def run_once(
    arguments: list[str],
    folder: Path,
    decodings: Sequence[Decoding],
    tests: Sequence[str],
    noises: Sequence[Noise | None],
    device: Device,
) -> Errors:
    """Train and test one network, as far as an earlier call has not; return its errors by condition.

    Args:
        arguments: options of fit.
        folder: of the run.
        decodings: ways of decoding.
        tests: further data, see `compare`.
        noises: what is added to the test data, None for nothing.
        device: where to test.
    """
    result = folder / "errors.json"
    wanted = [
        _name(data, noise, decoding)
        for data in ["validation", *map(_label, tests)]
        for noise in noises
        for decoding in decodings
    ]
    stored = _stored(result)
    if not stored.keys() >= set(wanted):
        validation = fit_or_resume(train.main, arguments, folder).datamodule.clips("val")
        recognizer = Recognizer.load(folder / "checkpoints" / "last.ckpt").to(find_device(device))
        sets = _test_sets(validation, tests, recognizer.settings)
        stored = test_once(recognizer, sets, decodings, noises, result)
    return {name: stored[name] for name in wanted}


def test_once(
    recognizer: Recognizer,
    sets: Iterable[tuple[str, list[Clip]]],
    decodings: Sequence[Decoding],
    noises: Sequence[Noise | None],
    result: Path,
) -> Errors:
    """Test one network in each way that the file of results lacks; return the errors by condition.

    Args:
        recognizer: the network.
        sets: names and utterances of the test data.
        decodings: ways of decoding.
        noises: what is added to the test data, None for nothing.
        result: file that takes what was found, and holds what an earlier call found.
    """
    stored, settings = _stored(result), recognizer.settings
    for data, clips in sets:
        for noise in noises:
            for decoding in decodings:
                name = _name(data, noise, decoding)
                if name not in stored:
                    transcriber = Transcriber(recognizer, replace(settings, decoding=decoding))
                    stored[name] = _errors(transcriber, clips, noise, f"{result.parent.name}: {name}")
                    with atomic_write(result) as file:
                        json.dump({each: list(map(asdict, errors)) for each, errors in stored.items()}, file)
    return stored


def tabulate(found: Mapping[str, Mapping[int, Errors]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures by condition and memory.

    Args:
        found: errors of every utterance by memory, seed and condition.
    """
    conditions = list(next(iter(next(iter(found.values())).values())))
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for condition in conditions:
        errors = {memory: {seed: runs[condition] for seed, runs in seeds.items()} for memory, seeds in found.items()}
        table[condition] = {memory: figures(seeds) for memory, seeds in errors.items()}
        for memory, seeds in errors.items():
            if BASELINE in errors and memory != BASELINE:
                table[condition][memory] |= difference(seeds, errors[BASELINE])
    return table


def _test_sets(
    validation: list[Clip], tests: Sequence[str], settings: TranscriptionSettings
) -> Iterator[tuple[str, list[Clip]]]:
    yield "validation", validation
    for test in tests:
        source, split = _source(test)
        clips, problems = open_clips(source, split, settings.text_style)
        if problems:
            raise UserError(f"a comparison needs all utterances of {test}: {problems[0]}")
        yield _label(test), clips


def _source(test: str) -> tuple[Path, str | None]:
    """Return path and split of test data."""
    path, _, split = test.rpartition(":") if ":" in test else (test, "", "")
    return Path(path), split or None


def _label(test: str) -> str:
    path, split = _source(test)
    return split or path.stem


def _check_names(tests: Sequence[str]) -> None:
    names = ["validation", *map(_label, tests)]
    if len(set(names)) < len(names):
        raise UserError(f"test data need names of their own, got {', '.join(names)}: rename a file or split")


def _errors(transcriber: Transcriber, clips: list[Clip], noise: Noise | None, title: str) -> list[ErrorCounts]:
    with audio_progress(title, sum(clip.seconds for clip in clips), Console(stderr=True)) as advance:
        evaluation = evaluate_clips(transcriber, clips, segmentation="never", noise=noise, advance=advance)
    if evaluation.problems:
        raise UserError(f"a comparison needs all utterances: {evaluation.problems[0]}")
    return evaluation.word_errors


def _stored(result: Path) -> Errors:
    found = json.loads(result.read_text()) if result.exists() else {}
    return {name: [ErrorCounts(**counts) for counts in errors] for name, errors in found.items()}


def _name(data: str, noise: Noise | None, decoding: Decoding) -> str:
    return ", ".join([data, *([] if noise is None else [str(noise)]), decoding])
