import unicodedata

import pytest

from mnemic_core.errors import UserError
from mnemic_speech.simultaneous.latency import Emission, score_sentence
from mnemic_speech.simultaneous.quality import latency_units, score_quality


def test_scores_are_those_of_sacrebleu_with_their_signature() -> None:
    found = score_quality(["der Hund läuft schnell", "nein"], ["der Hund rennt schnell", "ja"])
    assert 0 < found.bleu < 100
    assert 0 < found.chrf < 100
    assert "tok:13a" in found.bleu_signature
    assert "version:" in found.chrf_signature


def test_more_translations_than_references_are_refused() -> None:
    for hypotheses, references in ((["a", "b"], ["a"]), (["a"], ["a", "b"]), ([], [])):
        with pytest.raises(UserError, match="each reference needs a translation"):
            score_quality(hypotheses, references)


def test_perfect_chinese_is_100_and_its_latency_counts_characters() -> None:
    text = "一只小狗在睡觉"
    assert score_quality([text], [text], "zh-Hans").bleu == pytest.approx(100)
    units = latency_units(text, "zh")
    assert len(units) == 7
    delays = tuple(1000.0 * (place + 1) for place in range(7))
    assert score_sentence(Emission(delays, 7000.0, len(units)))["AL"] == 1000
    assert score_sentence(Emission(delays, 7000.0, len(text.split())))["AL"] < -10_000  # as one word


def test_composed_and_decomposed_letters_are_the_same() -> None:
    text = "ein süßer Hund läuft"
    assert score_quality([unicodedata.normalize("NFD", text)], [text]).bleu == 100


def test_an_empty_translation_counts() -> None:
    assert score_quality([""], ["ein Hund"]).bleu == 0
    assert score_quality(["ein Hund schläft hier", ""], ["ein Hund schläft hier", "und dort"]).bleu < 100
