"""Quality of translations: BLEU and chrF of sacrebleu, with their signatures."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnemic_core.errors import UserError

_NO_SPACES = {"zh": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
"""Languages whose words are not separated by spaces, with sacrebleu's tokenizer for them."""


_RESAMPLES = 1000


@dataclass(frozen=True)
class QualityScores:
    """Scores of a set of translations.

    Attributes:
        bleu: 0 to 100.
        chrf: chrF2, 0 to 100.
        bleu_signature: sacrebleu's settings and version.
        chrf_signature: likewise.
    """

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_quality(hypotheses: Sequence[str], references: Sequence[str], language: str = "de") -> QualityScores:
    """Return the scores of translations, one reference each.

    Both are brought into the canonical composed form of Unicode first. Empty translations count.

    Args:
        hypotheses: translations.
        references: of the same sentences.
        language: code of the target language, which decides how BLEU finds words.

    Raises:
        UserError: there is none, or not as many of both, which sacrebleu would score all the same.

    Example:
        >>> score_quality(["ein kleiner Hund schläft"], ["ein kleiner Hund schläft"]).bleu
        100.0
    """
    from sacrebleu.metrics.bleu import BLEU  # slow, and not needed to translate
    from sacrebleu.metrics.chrf import CHRF

    made, wanted = _normalized(hypotheses, references)
    bleu, chrf = BLEU(tokenize=_tokenizer(language)), CHRF()
    scores = [round(metric.corpus_score(made, [wanted]).score, 6) for metric in (bleu, chrf)]
    return QualityScores(scores[0], scores[1], str(bleu.get_signature()), str(chrf.get_signature()))


def bleu_interval(hypotheses: Sequence[str], references: Sequence[str], language: str = "de") -> tuple[float, float]:
    """Return a 95 % interval of BLEU over resampled sentences; arguments and errors are those of `score_quality`."""
    from sacrebleu.metrics.bleu import BLEU

    made, wanted = _normalized(hypotheses, references)
    found = BLEU(tokenize=_tokenizer(language)).corpus_score(made, [wanted], n_bootstrap=_RESAMPLES)
    low, high = found._mean - found._ci, found._mean + found._ci
    return round(max(0.0, low), 6), round(min(100.0, high), 6)


def latency_units(text: str, language: str = "de") -> list[str]:
    """Return the units whose latency counts: words, or characters of languages that write no spaces.

    Example:
        >>> latency_units("ein Hund"), latency_units("一只 狗", "zh")
        (['ein', 'Hund'], ['一', '只', '狗'])
    """
    text = unicodedata.normalize("NFC", text)
    return text.split() if has_spaces(language) else list("".join(text.split()))


def has_spaces(language: str) -> bool:
    """Return whether words of a language are separated by spaces."""
    return _base(language) not in _NO_SPACES


def join_words(words: Iterable[str], language: str) -> str:
    """Return words as a text.

    Example:
        >>> join_words(["ein", "Hund"], "de"), join_words(["一只", "狗"], "zh")
        ('ein Hund', '一只狗')
    """
    return (" " if has_spaces(language) else "").join(words)


def _normalized(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
    if len(hypotheses) != len(references) or not references:
        raise UserError(f"each reference needs a translation, got {len(hypotheses)} for {len(references)}")
    made, wanted = ([unicodedata.normalize("NFC", text) for text in texts] for texts in (hypotheses, references))
    return made, wanted


def _tokenizer(language: str) -> str:
    """Return the name of sacrebleu's tokenizer for a language."""
    return _NO_SPACES.get(_base(language), "13a")


def _base(language: str) -> str:
    """Return the language of a code with a region or script, such as ``zh-Hans``."""
    return language.replace("_", "-").partition("-")[0].lower()
