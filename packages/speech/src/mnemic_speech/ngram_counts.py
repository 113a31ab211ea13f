"""N-gram counts in arrays, and Kneser-Ney smoothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemic_core.errors import UserError


@dataclass(frozen=True)
class NgramLevel:
    """All n-grams of one length, numbered after all shorter ones; the empty n-gram is 0.

    Attributes:
        first: number of the first.
        keys: ``vocab_size`` times the number of the n-gram without its last token, plus this token; ascending.
        suffix: number of the n-gram without its first token.
        counts: how often the last token follows the context.
        is_start: True if it begins with the start symbol, so that no token can precede it.
    """

    first: int
    keys: Int[np.ndarray, " ngram"]
    suffix: Int[np.ndarray, " ngram"]
    counts: Int[np.ndarray, " ngram"]
    is_start: Bool[np.ndarray, " ngram"]


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
    # Tokens from each position to the end of its text.
    left = np.repeat(lengths.cumsum(), lengths) - np.arange(len(tokens))
    beginning = left == np.repeat(lengths, lengths)
    node = np.zeros(len(tokens), dtype=np.int64)  # number of the n-gram that begins at each position
    levels: list[NgramLevel] = []
    first = 1
    for length in range(1, order + 1):
        (starts,) = (left >= length).nonzero()
        keys, where, index = np.unique(
            node[starts] * vocab_size + tokens[starts + length - 1], return_index=True, return_inverse=True
        )
        # The start symbol is only ever a context, never a predicted token.
        counts = np.bincount(index, weights=~beginning[starts] if length == 1 else None, minlength=len(keys))
        suffix = node[starts[where] + 1] if length > 1 else np.zeros(len(keys), dtype=np.int64)
        is_start = beginning[starts[where]] & (length > 1)
        levels.append(NgramLevel(first, keys, suffix, counts.astype(np.int64), is_start))
        node = np.zeros(len(tokens), dtype=np.int64)
        node[starts] = first + index
        first += len(keys)
    return levels


def kneser_ney(
    levels: Sequence[NgramLevel], vocab_size: int
) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Return the log-probability and the backoff of the empty n-gram and all others, smoothed by interpolation.

    The longest n-grams use their counts, shorter ones their continuation counts (distinct preceding tokens), except at
    the start of a text, where none precedes (Chen and Goodman 1999, equations 20 to 24). The discount of a length is
    ``n1 / (n1 + 2 n2)`` with the numbers of n-grams that count once and twice. The probability left by the unigrams
    is uniform over the vocabulary.
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


def _discount(counts: Int[np.ndarray, " ngram"]) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Clamped for small texts: with no n-gram seen once unseen tokens would get probability 0, and with none seen
    # twice all singletons would be discounted to 0.
    return min(max(once / max(once + 2 * twice, 1), 0.1), 0.9)
