import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic_speech.text import (
    CharTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
    normalize_text,
    tokenizer_from_state,
)

TEXTS = ["THE CAT SAT ON THE MAT", "A CAT AND A DOG", "THE DOG'S MAT", "IT IS THE CAT'S HAT"]


MAKERS = {
    "char": lambda: CharTokenizer.from_texts(TEXTS),
    "word": lambda: WordTokenizer.from_texts(TEXTS),
    "unigram": lambda: SentencePieceTokenizer.train(TEXTS, vocab_size=22),
    "marked ends": lambda: SentencePieceTokenizer.train(TEXTS, vocab_size=22, marks_end=True),
    "bpe": lambda: SentencePieceTokenizer.train(TEXTS, vocab_size=22, kind="bpe"),
}


@pytest.fixture(params=MAKERS.values(), ids=list(MAKERS), scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    made: Tokenizer = request.param()
    return made


def test_known_text_comes_back(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode(tokenizer.encode(text, strict=True)) for text in TEXTS] == TEXTS


def test_tokens_of_text_are_neither_blank_nor_end(tokenizer: Tokenizer) -> None:
    tokens = {token for text in TEXTS for token in tokenizer.encode(text)}
    assert tokens <= set(range(2, tokenizer.sos_eos_id))
    assert (tokenizer.blank_id, tokenizer.sos_eos_id) == (0, tokenizer.vocab_size - 1)


def test_blanks_and_ends_give_no_text(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(TEXTS[0])
    framed = [tokenizer.sos_eos_id, tokens[0], tokenizer.blank_id, *tokens[1:], tokenizer.sos_eos_id]
    assert tokenizer.decode(framed) == TEXTS[0]


def test_word_spans_are_the_words_of_any_tokens(tokenizer: Tokenizer) -> None:
    @given(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=12))
    def agree(tokens: list[int]) -> None:
        spans = tokenizer.word_spans(tokens)
        assert [tokenizer.decode(tokens[first:last]) for first, last in spans] == tokenizer.decode(tokens).split()

    agree()


def test_a_word_is_known_to_be_complete_where_pieces_mark_ends() -> None:
    marked, plain = (SentencePieceTokenizer.train(TEXTS, vocab_size=22, marks_end=mark) for mark in (True, False))
    for text in TEXTS:
        tokens = marked.encode(text)
        starts = [first for first, _ in marked.word_spans(tokens)]
        assert all(marked.ends_word(tokens[:end]) for end in [*starts[1:], len(tokens)])
        assert not any(
            marked.ends_word(tokens[: last - 1]) for first, last in marked.word_spans(tokens) if last > first + 1
        )
        assert not plain.ends_word(plain.encode(text))
    assert CharTokenizer(" ab").ends_word([3, 4, 2])


def test_unknown_characters_are_named_or_become_unknown(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("THE CAFÉ DOG")
    assert 1 in tokens
    words = tokenizer.decode(tokens).split()
    assert (words[0], words[2]) == ("THE", "DOG")
    assert words[1].endswith("<unk>")
    with pytest.raises(ValueError, match=r"not in the vocabulary: .*É"):
        tokenizer.encode("THE CAFÉ DOG", strict=True)


def test_state_goes_through_json_and_pickle(tokenizer: Tokenizer) -> None:
    state = json.loads(json.dumps(tokenizer.state()))
    for copy in (tokenizer_from_state(state), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
        assert copy.state() == tokenizer.state()


def test_tokens_outside_of_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for token in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"token {token} is outside"):
            tokenizer.decode([token])


def test_sentence_pieces_have_the_numbers_of_espnet() -> None:
    tokenizer = SentencePieceTokenizer.train(TEXTS, vocab_size=22)
    processor = tokenizer._processor
    assert tokenizer.vocab_size == 22 == processor.get_piece_size()
    listed = ["<blank>", "<unk>", *[processor.id_to_piece(i) for i in range(3, 22)], "<sos/eos>"]  # its token list
    assert tokenizer.encode(TEXTS[3]) == [listed.index(piece) for piece in processor.encode_as_pieces(TEXTS[3])]


def test_training_sentence_pieces_is_deterministic() -> None:
    first, second = (SentencePieceTokenizer.train(TEXTS, vocab_size=22).state() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("texts", "size", "reason"), [([], 10, "no text"), (TEXTS, 900, "too high"), (TEXTS, 5, "5 vs")]
)
def test_untrainable_vocabularies_say_why(texts: list[str], size: int, reason: str) -> None:
    with pytest.raises(ValueError, match=f"cannot train {size} SentencePiece tokens: .*{reason}"):
        SentencePieceTokenizer.train(texts, vocab_size=size)


@pytest.mark.parametrize("model", [b"", b"no model"], ids=["empty", "text"])
def test_other_bytes_are_no_sentencepiece_model(model: bytes) -> None:
    with pytest.raises(ValueError, match=r"SentencePiece model"):
        SentencePieceTokenizer(model)


@pytest.mark.parametrize(
    ("kind", "pieces", "message"),
    [
        (CharTokenizer, "", "at least one piece"),
        (CharTokenizer, "aba", "names 'a' more than once"),
        (CharTokenizer, ["a", "bc"], "single characters, got 'bc'"),
        (WordTokenizer, ["one", "two three"], "no spaces and are not empty, got 'two three'"),
    ],
)
def test_wrong_vocabularies_are_refused(kind: type[CharTokenizer], pieces: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(pieces)


def test_unknown_kinds_of_state_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'phone', expected char, word or sentencepiece"):
        tokenizer_from_state({"kind": "phone"})


@pytest.mark.parametrize(
    ("text", "style", "expected"),
    [
        ("Mr. Brown\u2019s co\u00adoperation \u2014 \u201cfine\u201d!", "upper", "MR BROWN'S COOPERATION FINE"),
        ("'quoted' and rock''n''roll", "lower", "quoted and rock n roll"),
        ("na\u0131ve cafe\u0301_\ufb01n", "lower", "na\u0131ve caf\u00e9 fin"),
        ("\u00bfQu\u00e9? 50 % & more", "lower", "qu\u00e9 50 more"),
        (" as  IT\tis, 'TIS\n", "keep", "as IT is, 'TIS"),
        ("\ufeff...", "upper", ""),
        ("\u0130'nci", "lower", "i\u0307'nci"),
    ],
)
def test_normal_form(text: str, style: str, expected: str) -> None:
    assert normalize_text(text, style) == expected


@given(st.text("aB'\u2019 -\t.\u00e9\u0301\u00df\u0130\ufb013_", max_size=12), st.sampled_from(["lower", "keep"]))
def test_normal_form_is_reached_at_once(text: str, style: str) -> None:
    once = normalize_text(text, style)
    assert normalize_text(once, style) == once
