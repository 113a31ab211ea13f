"""What the memories of a comparison are worth: means over seeds, paired intervals, error rates by length."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from mnemic_speech.metrics import ErrorCounts, paired_bootstrap, summarize

EDGES = (4, 8, 21, 41)  # words of the reference; a range holds its lower border
BASELINE = "none"

Errors = Sequence[ErrorCounts]


def figures(seeds: Mapping[int, Errors]) -> dict[str, Any]:
    """Return the error rates of one memory in one condition.

    Args:
        seeds: errors of every utterance, for each seed.
    """
    rates = [summarize(errors).rate for errors in seeds.values()]
    counts = [summarize(errors).counts for errors in seeds.values()]
    return {
        "wer": mean(rates),
        "wer_deviation": stdev(rates) if len(rates) > 1 else None,
        "wer_of_seeds": rates,
        **{
            name: mean(getattr(each, name) / max(each.length, 1) for each in counts)
            for name in ("substitutions", "deletions", "insertions")
        },
        "wer_by_words": _by_words(seeds.values()),
    }


def difference(seeds: Mapping[int, Errors], baseline: Mapping[int, Errors]) -> dict[str, Any]:
    """Return how much lower or higher the error rate of a memory is than without, with a paired 95 % interval.

    What is resampled is utterances, with the errors of all seeds together: seeds of the same utterance are no more
    independent than the words of a sentence are. The interval does not say how other seeds would differ.

    Args:
        seeds: errors of every utterance with the memory, for each seed.
        baseline: likewise without a memory, for the same seeds and utterances.

    Raises:
        UserError: if they are not of the same utterances.
    """
    compared = paired_bootstrap(_summed(seeds.values()), _summed(baseline[seed] for seed in seeds))
    interval = compared.difference
    return {
        "difference": interval.value,
        "difference_interval": [interval.low, interval.high],
        "share_better": compared.share_first_better,
    }


def markdown(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the figures as tables, one for each condition.

    Args:
        table: figures by condition and memory.
    """
    return "\n".join(_table(condition, memories) for condition, memories in table.items())


def _table(condition: str, memories: Mapping[str, Mapping[str, Any]]) -> str:
    ranges = list(next(iter(memories.values()))["wer_by_words"])
    by_words = " | ".join(f"{name} words" for name in ranges)
    lines = [
        f"## {condition}\n",
        f"| memory | WER % | deletions % | WER of each seed % | against none (95 % interval) | {by_words} |",
        f"|{'---|' * (5 + len(ranges))}",
    ]
    for memory, found in memories.items():
        singles = ", ".join(map(_percent, found["wer_of_seeds"]))
        cells = [memory, _spread(found), _percent(found["deletions"]), singles, _against(found)]
        cells += [_percent(found["wer_by_words"][name]) for name in ranges]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(found: Mapping[str, Any]) -> str:
    deviation = found["wer_deviation"]
    return _percent(found["wer"]) + ("" if deviation is None else f" ± {_percent(deviation)}")


def _against(found: Mapping[str, Any]) -> str:
    if "difference" not in found:
        return ""
    low, high = found["difference_interval"]
    return f"{100 * found['difference']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _by_words(seeds: Iterable[Errors]) -> dict[str, float]:
    """Return error rates by the number of words of the reference, over all seeds."""
    groups: list[list[ErrorCounts]] = [[] for _ in range(len(EDGES) + 1)]
    for errors in seeds:
        for counts in errors:
            groups[bisect_right(EDGES, counts.length)].append(counts)
    borders = [*(edge - 1 for edge in EDGES), None]
    names = [f"{low}-{'' if high is None else high}" for low, high in zip([0, *EDGES], borders, strict=True)]
    return {name: summarize(group).rate for name, group in zip(names, groups, strict=True) if group}


def _summed(seeds: Iterable[Errors]) -> list[ErrorCounts]:
    """Return for each utterance the errors of all seeds."""
    return [sum(same, ErrorCounts()) for same in zip(*seeds, strict=True)]
