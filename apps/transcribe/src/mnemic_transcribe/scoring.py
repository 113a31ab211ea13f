"""How well transcripts of validation or test utterances agree with what was said."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mnemic_speech.metrics import character_errors, summarize, word_errors


@dataclass(frozen=True)
class Heard:
    """What was recognised in one utterance.

    Args:
        id: name of the utterance.
        reference: what was said.
        hypothesis: what was recognised.
    """

    id: str
    reference: str
    hypothesis: str


def error_rates(heard: Sequence[Heard]) -> dict[str, float]:
    """Return the error rates of a set in words and characters, and the parts of the one in words.

    Args:
        heard: one entry for each utterance.

    Example:
        >>> error_rates([Heard("a", "one two three four", "one too three")])["wer"]
        0.5
    """
    words = summarize(word_errors(each.reference, each.hypothesis) for each in heard)
    characters = summarize(character_errors(each.reference, each.hypothesis) for each in heard)
    length = max(words.counts.length, 1)
    return {
        "wer": words.rate,
        "cer": characters.rate,
        "substitutions": words.counts.substitutions / length,
        "deletions": words.counts.deletions / length,
        "insertions": words.counts.insertions / length,
    }


def gather(heard: list[Heard], num_processes: int) -> list[Heard]:
    """Return what all processes heard, in the order of the names.

    Args:
        heard: of this process. Processes get equally many batches, so that some are done twice; what was heard twice
            counts once.
        num_processes: how many there are.
    """
    if num_processes > 1:
        parts: list[list[Heard]] = [[] for _ in range(num_processes)]
        torch.distributed.all_gather_object(parts, heard)
        heard = [each for part in parts for each in part]
    return sorted(set(heard), key=lambda each: each.id)
