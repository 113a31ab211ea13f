"""Tests of a recognizer for `compare`: error rates per condition, and differences paired over utterances."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.experiment import Difference, Metric, Paired, read_conditions
from mnemic_kit.output import write_json
from mnemic_kit.record import Record, content_digest
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.data.batching import Clip
from mnemic_speech.metrics import ErrorCounts, group_by_range, paired_bootstrap, summarize
from mnemic_transcribe.evaluation import evaluate_with_progress, open_clips
from mnemic_transcribe.noise import Noise

ERRORS = "errors.json"  # in the folder of a run: errors of each utterance by condition
EDGES = (4, 8, 21, 41)  # bounds in words of the reference; a range includes its lower bound
METRICS = {  # label, better direction, factor to percent, decimals
    "wer": Metric("WER (%)", "lower", 100.0, 2),
    "deletions": Metric("deletions (%)", "lower", 100.0, 2),
    "substitutions": Metric("substitutions (%)", "lower", 100.0, 2),
    "insertions": Metric("insertions (%)", "lower", 100.0, 2),
}

Errors = Sequence[ErrorCounts]  # of every utterance


def error_scores(errors: Errors) -> dict[str, float]:
    """Return the error rates of one run in one condition, in total and by reference length."""
    total = summarize(errors)
    groups = group_by_range(((counts.length, counts) for counts in errors), EDGES, step=1)
    by_words = {f"wer@{name} words": summarize(group).rate for name, group in groups.items() if group}
    return {"wer": total.rate, **total.counts.shares(), **by_words}


def over_utterances(errors: Sequence[Errors], baseline: Sequence[Errors]) -> Difference:
    """Return the difference of an error rate to the baseline's, with a paired 95 % interval.

    Utterances are resampled, with the errors of all seeds summed, since seeds of the same utterance are not
    independent. The interval does not cover the variation over other seeds.

    Raises:
        UserError: if the utterances differ.
    """
    compared = paired_bootstrap(_summed(errors), _summed(baseline))
    interval = compared.difference
    return Difference(interval.value, interval.low, interval.high, compared.share_first_better, "utterances")


def pair_utterances(read: Callable[[str, int], Mapping[str, Errors]]) -> Paired:
    """Return a function for differences of word error rates paired over utterances, in place of those over seeds.

    Args:
        read: maps variant and seed to the errors of each utterance by condition.
    """

    def paired(condition: str, metric: str, variant: str, baseline: str, seeds: Sequence[int]) -> Difference | None:
        if metric != "wer":
            return None
        own, other = ([read(name, seed)[condition] for seed in seeds] for name in (variant, baseline))
        return over_utterances(own, other)

    return paired


def read_errors(out: Path, variant: str, seed: int) -> dict[str, list[ErrorCounts]]:
    """Return the errors of each utterance of one run, by condition."""
    return _stored(out / f"{variant}-{seed}" / ERRORS)


def run_tests(
    recognizer: Recognizer,
    sets: Iterable[tuple[str, list[Clip]]],
    decodings: Sequence[Decoding],
    noises: Sequence[Noise | None],
    result: Path,
) -> dict[str, list[ErrorCounts]]:
    """Test a network in each condition missing in the results file; return the errors by condition.

    Args:
        recognizer: the network.
        sets: names and utterances of the test data.
        decodings: decoding methods.
        noises: added to the test data; None: no noise.
        result: results file, with the conditions of earlier calls.
    """
    stored, settings = _stored(result), recognizer.settings
    for data, clips in sets:
        for noise, decoding in product(noises, decodings):
            name = condition_name(data, noise, decoding)
            if name not in stored:
                transcriber = Transcriber(recognizer, replace(settings, decoding=decoding))
                stored[name] = _errors(transcriber, clips, noise, f"{result.parent.name}: {name}")
                # After each condition, so that an interrupted test continues there.
                write_json(result, {each: list(map(asdict, errors)) for each, errors in stored.items()})
    return stored


def open_tests(
    validation: list[Clip], sources: Mapping[str, str | None], settings: TranscriptionSettings
) -> Iterator[tuple[str, list[Clip]]]:
    """Yield names and utterances of the test data.

    Args:
        validation: utterances of the validation data.
        sources: path and split by name, None for the validation data.
        settings: of the recognizer; they define the normalization of references.

    Raises:
        UserError: if an utterance cannot be read.
    """
    for label, test in sources.items():
        if test is None:
            yield label, validation
            continue
        clips, problems = open_clips(*_split(test), settings.text_style)
        if problems:
            raise UserError(f"a comparison needs all utterances of {test}: {problems[0]}")
        yield label, clips


def _split(test: str) -> tuple[Path, str | None]:
    """Return path and split of test data."""
    path, _, split = test.rpartition(":") if ":" in test else (test, "", "")
    return Path(path), split or None


def name_tests(tests: Sequence[str]) -> dict[str, str]:
    """Return test data by name."""
    labels = [split or path.stem for path, split in map(_split, tests)]
    if len({"validation", *labels}) <= len(labels):
        names = ", ".join(["validation", *labels])
        raise UserError(f"test data need distinct names, got {names}: rename a file or split")
    return dict(zip(labels, tests, strict=True))


def check_source(out: Path, label: str, test: str | None) -> None:
    """Refuse a name that an earlier call used for other test data."""
    if test is None:
        return
    path, _ = _split(test)
    record = Record(out / f"test-{label}.json", {"source": test, "content": content_digest(path)})
    if record.read() is None:
        out.mkdir(parents=True, exist_ok=True)
        record.write({})


def _errors(transcriber: Transcriber, clips: list[Clip], noise: Noise | None, title: str) -> list[ErrorCounts]:
    evaluation = evaluate_with_progress(transcriber, clips, title, segmentation="never", noise=noise)
    if evaluation.problems:
        raise UserError(f"a comparison needs all utterances: {evaluation.problems[0]}")
    return evaluation.word_errors


def _stored(result: Path) -> dict[str, list[ErrorCounts]]:
    found = read_conditions(result)
    return {name: [ErrorCounts(**counts) for counts in errors] for name, errors in found.items()}


def condition_name(data: str, noise: Noise | None, decoding: Decoding) -> str:
    """Return the name of a condition, such as ``validation, white:5, ctc``."""
    return ", ".join([data, *([] if noise is None else [str(noise)]), decoding])


def _summed(seeds: Sequence[Errors]) -> list[ErrorCounts]:
    """Return the errors of each utterance, summed over seeds."""
    return [sum(same, ErrorCounts()) for same in zip(*seeds, strict=True)]
