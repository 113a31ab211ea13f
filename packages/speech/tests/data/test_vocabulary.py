from pathlib import Path

import pytest

from mnemic_speech.data.vocabulary import Vocabulary

TEXTS = ["THE CAT SAT ON THE MAT", "A HAT ON THE CAT", "THAT IS A MAT"] * 5


def test_the_default_writes_the_transcripts_of_librispeech() -> None:
    tokenizer = Vocabulary().open([])
    text = "IT'S THE QUICK BROWN FOX JUMPS OVER A LAZY DOG"
    assert tokenizer.decode(tokenizer.encode(text, strict=True)) == text


def test_words_are_those_of_the_list() -> None:
    assert Vocabulary("words", words=("no", "yes")).open([]).encode("yes no") == [3, 2]


def test_a_sentencepiece_model_is_trained_once_and_then_read(tmp_path: Path) -> None:
    vocabulary = Vocabulary("sentencepiece", file=tmp_path / "new" / "unigram.model", size=16)
    trained = vocabulary.open(TEXTS)
    read = vocabulary.open(pytest.fail(text) for text in "no text is needed")
    assert trained.vocab_size == read.vocab_size == 16
    assert read.decode(read.encode(TEXTS[0], strict=True)) == TEXTS[0]


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.model").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"bad\.model: not a SentencePiece model"):
        Vocabulary("sentencepiece", file=tmp_path / "bad.model").open(TEXTS)


def test_sentencepiece_without_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="needs file"):
        Vocabulary("sentencepiece")


def test_an_empty_list_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one piece"):
        Vocabulary("words").open([])
