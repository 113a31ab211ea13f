import io
from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_retrieval.tokenizers import (
    ByteTokenizer,
    FileTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    read_tokenizer,
    tokenizer_from_state,
)

TEXTS = ["question: who sang?", "Größe 10 €", "a b c", "the quick brown fox", ""]


def sentencepiece_model(**special: int) -> bytes:
    library = pytest.importorskip("sentencepiece")
    written = io.BytesIO()
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} | special
    library.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS * 9),
        model_writer=written,
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
    )
    return written.getvalue()


def word_file() -> str:
    library = pytest.importorskip("tokenizers")
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2}
    for text in TEXTS:
        for word in text.split():
            words.setdefault(word, len(words))
    made = library.Tokenizer(library.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    return str(made.to_str())


@pytest.fixture(params=["bytes", "sentencepiece", "tokenizers"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "bytes":
        return ByteTokenizer()
    return (
        SentencePieceTokenizer(sentencepiece_model())
        if request.param == "sentencepiece"
        else FileTokenizer(word_file())
    )


def test_texts_survive(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.batch(TEXTS, max_tokens=64)
    assert tokenizer.texts(tokens) == TEXTS
    assert 2 < int(tokens.max()) < tokenizer.vocab_size


def test_rows_end_and_are_cut(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.batch(["a b c the quick", "a"], max_tokens=3)
    assert tokens.shape == (2, 3)
    assert tokens[0, -1] == 1
    assert (tokens == 1).sum(1).tolist() == [1, 1]
    assert tokenizer.batch([], max_tokens=3).shape == (0, 1)


def test_what_follows_the_end_is_not_read(tokenizer: Tokenizer) -> None:
    row = torch.tensor([[*tokenizer.encode("a b"), 1, *tokenizer.encode("c")]])
    assert tokenizer.texts(row) == ["a b"]


def test_its_state_makes_it_again(tokenizer: Tokenizer) -> None:
    again = tokenizer_from_state(tokenizer.state())
    assert again.vocab_size == tokenizer.vocab_size
    assert torch.equal(again.batch(TEXTS, 64), tokenizer.batch(TEXTS, 64))


def test_files_are_read_by_their_ending(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(sentencepiece_model())
    (tmp_path / "tokenizer.json").write_text(word_file())
    for name, kind in {"spiece.model": SentencePieceTokenizer, "tokenizer.json": FileTokenizer}.items():
        assert isinstance(read_tokenizer(tmp_path / name), kind)
    with pytest.raises(FileNotFoundError):
        read_tokenizer(tmp_path / "none.json")


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    for name, content in {"a.json": b"{}", "b.json": b"\xff\xfe", "c.model": b"nothing"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_tokenizer(tmp_path / name)
    (tmp_path / "d.model").write_bytes(sentencepiece_model(pad_id=-1, eos_id=2, unk_id=0, bos_id=1))
    with pytest.raises(UserError, match="padding -1 and end 2, expected 0 and 1"):
        read_tokenizer(tmp_path / "d.model")


@pytest.mark.parametrize(
    "state",
    [{"kind": "runes"}, {}, {"kind": "sentencepiece"}, {"kind": "sentencepiece", "model": "!"}, {"kind": "tokenizers"}],
)
def test_a_damaged_state_is_refused(state: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"unknown tokenizer 'runes'|is damaged"):
        tokenizer_from_state(state)
