"""Times of words, extended from where CTC emits their tokens to where their sound begins and ends."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from mnemic_speech.transcript import Word

_STEP = 0.01  # seconds from one level to the next; each is measured over two steps
_PRE_EMPHASIS = 0.97  # hum is left out, and the beginning of a word is often a weak hiss
_ABOVE_FLOOR = 3.0  # decibels above the quietest tenth of the recording
_BELOW_PEAK = 40.0  # decibels below the loudest place of a word
_LONGEST_DIP = 0.15  # seconds of silence within a word, such as before a "t"
_LONGEST = 1.0  # seconds that are added at one end
_NEARBY = 0.2  # seconds on both sides of a word in which its loudest place is looked for


def extend_words(words: Sequence[Word], samples: Float[Tensor, " samples"], sample_rate: int) -> tuple[Word, ...]:
    """Return the words with their beginnings and ends where their sound begins and ends.

    CTC emits a token within few frames, often one, somewhere in its sound. From there each word is extended over the
    frames that are loud, as far as the quietest place between it and the next one; words never overlap.

    Args:
        words: in the order of time, with times in the recording.
        samples: the recording.
        sample_rate: in Hz.

    Example:
        >>> import torch
        >>> tone = torch.cat([torch.zeros(800), torch.sin(torch.arange(1600.0)), torch.zeros(800)])
        >>> [(word.start, word.end) for word in extend_words([Word("one", 0.2, 0.24)], tone, 8000)]
        [(0.1, 0.3)]
    """
    levels = _levels(samples, round(_STEP * sample_rate))
    if not words or not len(levels):
        return tuple(words)
    places = [_frames(word, len(levels)) for word in words]
    borders = [0, *(_quietest(levels, first[1], second[0]) for first, second in pairwise(places)), len(levels)]
    floor, reach = float(levels.quantile(0.1)), round(_NEARBY / _STEP)
    extended = []
    for word, (first, last), low, high in zip(words, places, borders, borders[1:], strict=False):
        nearby = levels[max(low, first - reach) : min(high, last + reach)]
        limit = max(floor + _ABOVE_FLOOR, float(nearby.max()) - _BELOW_PEAK)
        is_loud = (levels > limit).tolist()
        start = first - max(_reach(is_loud[low:first][::-1]) - 1, 0)  # a level is measured up to a step later
        end = last + _reach(is_loud[last:high])
        extended.append(replace(word, start=start * _STEP, end=min(end * _STEP, len(samples) / sample_rate)))
    return tuple(extended)


def _levels(samples: Float[Tensor, " samples"], step: int) -> Float[Tensor, " frame"]:
    """Return the level of each step in decibels."""
    emphasized = samples[1:] - _PRE_EMPHASIS * samples[:-1]
    if len(emphasized) < 2 * step:
        return samples[:0]
    power = emphasized.double().unfold(0, 2 * step, step).square().mean(1)
    return 10 * (power + 1e-10).log10().float()


def _frames(word: Word, count: int) -> tuple[int, int]:
    """Return the first frame of a word and the one after its last, at least one within the recording."""
    first = min(max(round(word.start / _STEP), 0), count - 1)
    return first, min(max(round(word.end / _STEP), first + 1), count)


def _quietest(levels: Float[Tensor, " frame"], first: int, last: int) -> int:
    """Return the quietest frame between two words."""
    return first + int(levels[first:last].argmin()) if last > first else first


def _reach(is_loud: Sequence[bool]) -> int:
    """Return the number of frames up to the last loud one, before a silence longer than within a word."""
    reached = 0
    for frame, loud in enumerate(is_loud[: round(_LONGEST / _STEP)], 1):
        if loud:
            reached = frame
        elif frame - reached > _LONGEST_DIP / _STEP:
            break
    return reached
