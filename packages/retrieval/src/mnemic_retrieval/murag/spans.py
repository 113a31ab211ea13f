"""Answers that are words of the items that were found."""

import re
from collections.abc import Sequence

from mnemic_retrieval.store import Hit
from mnemic_retrieval.t5.choices import Choices
from mnemic_retrieval.tokenizers import END_ID, Tokenizer

MAX_WORDS = 5
"""Words of the longest answer."""

_SIGN = re.compile(r"[,;:.!?()\"]+")


def span_choices(hits: Sequence[Sequence[Hit]], tokenizer: Tokenizer) -> Choices:
    """Return what may be answered: up to `MAX_WORDS` words that stand together in an item, without a sign between them.

    Args:
        hits: found items of each question; one without any may answer everything.
        tokenizer: of the answers.
    """
    return Choices([_tokens([hit.item.text for hit in row], tokenizer) for row in hits], END_ID)


def spans_of(text: str) -> list[str]:
    """Return the spans of a text, each once.

    Example:
        >>> spans_of("A frog: tailless.")
        ['A', 'A frog', 'frog', 'tailless']
    """
    rows = [part.split() for part in _SIGN.split(text)]
    ends = ((row, start, end) for row in rows for start in range(len(row)) for end in range(start, len(row)))
    spans = (" ".join(row[start : end + 1]) for row, start, end in ends if end - start < MAX_WORDS)
    return [*dict.fromkeys(spans)]


def _tokens(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(span) for span in dict.fromkeys(span for text in texts for span in spans_of(text))]
