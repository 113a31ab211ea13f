"""Counting n-grams in arrays, and Kneser-Ney smoothing of the counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mnemic_core.errors import UserError


@dataclass(frozen=True)
class NgramLevel:
    """All n-grams of one length; they are numbered after all shorter ones, the empty one being 0.

    Attributes:
        first: number of the first.
        keys: ``vocab_size`` times the number of the n-gram without its last token, plus this token; ascending.
        suffix: number of the n-gram without its first token.
        counts: how often the last token follows the others.
        is_start: True if it begins with the start symbol, so that nothing can stand before it.
    """

    first: int
    keys: Int[np.ndarray, " ngram"]
    suffix: Int[np.ndarray, " ngram"]
    counts: Int[np.ndarray, " ngram"]
    is_start: np.ndarray


def count_ngrams(texts: Iterable[Sequence[int]], order: int, vocab_size: int, sos_eos: int) -> list[NgramLevel]:
    """Return the n-grams of each length up to ``order``, with start and end symbol around each text.

    Raises:
        UserError: if there is no text or a token out of range.
    """
    sentences = [np.array([sos_eos, *text, sos_eos], dtype=np.int64) for text in texts]
    if not sentences:
        raise UserError("there is no text to count, expected at least one")
    tokens = np.concatenate(sentences)
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        found = f"{tokens.min()}..{tokens.max()}"
        raise UserError(f"tokens must be in 0..{vocab_size - 1}, got {found}; take the vocab_size of their tokenizer")
    lengths = np.array([len(sentence) for sentence in sentences])
    left = np.repeat(lengths.cumsum(), lengths) - np.arange(
        len(tokens)
    )  # tokens from each place to the end of its text
    beginning = left == np.repeat(lengths, lengths)
    node = np.zeros(len(tokens), dtype=np.int64)  # number of the n-gram that begins at each place
    levels: list[NgramLevel] = []
    first = 1
    for length in range(1, order + 1):
        (places,) = (left >= length).nonzero()
        keys, where, index = np.unique(
            node[places] * vocab_size + tokens[places + length - 1], return_index=True, return_inverse=True
        )
        # The start symbol is what texts begin with and never what follows.
        counts = np.bincount(index, weights=~beginning[places] if length == 1 else None, minlength=len(keys))
        suffix = node[places[where] + 1] if length > 1 else np.zeros(len(keys), dtype=np.int64)
        is_start = beginning[places[where]] & (length > 1)
        levels.append(NgramLevel(first, keys, suffix, counts.astype(np.int64), is_start))
        node = np.zeros(len(tokens), dtype=np.int64)
        node[places] = first + index
        first += len(keys)
    return levels


def kneser_ney(
    levels: Sequence[NgramLevel], vocab_size: int
) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Return the log-probability and the backoff of the empty n-gram and all others, smoothed by interpolation.

    The longest n-grams count as they are, shorter ones by the number of different tokens before them, but for those at
    the start of a text, which have none (Chen and Goodman 1999, equations 20 to 24). The discount of a length is
    ``n1 / (n1 + 2 n2)`` with the numbers of n-grams that count once and twice. What the unigrams leave is spread
    evenly over the vocabulary.
    """
    num_nodes = levels[-1].first + len(levels[-1].keys)
    prob, backoff = np.full(num_nodes, 1 / vocab_size), np.ones(num_nodes)
    for index, level in enumerate(levels):
        counts = level.counts
        if index + 1 < len(levels):
            before = np.bincount(levels[index + 1].suffix - level.first, minlength=len(counts))
            counts = np.where(level.is_start, counts, before)
        parent = level.keys // vocab_size
        total = np.bincount(parent, weights=counts)
        discounted = np.maximum(counts - _discount(counts), 0)
        explicit = np.bincount(parent, weights=discounted)
        used = np.unique(parent)
        backoff[used] = 1 - explicit[used] / total[used]
        nodes = slice(level.first, level.first + len(counts))
        prob[nodes] = discounted / total[parent] + backoff[parent] * prob[level.suffix]
    return np.log(prob).astype(np.float32), np.log(backoff).astype(np.float32)


def _discount(counts: np.ndarray) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # In a small text nothing may occur once, and unknown words would be impossible, or nothing twice, and counts of
    # one would be forgotten.
    return min(max(once / max(once + 2 * twice, 1), 0.1), 0.9)
