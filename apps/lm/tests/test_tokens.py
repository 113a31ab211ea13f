from importlib.util import find_spec
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_lm import tokens
from mnemic_lm.tokens import ByteCodec, open_codec

NEEDS_TOKENIZERS = pytest.mark.skipif(find_spec("tokenizers") is None, reason="needs the tokenizers package")


def test_bytes_come_back_as_the_text_they_were() -> None:
    codec = ByteCodec()
    decode = codec.decoder()
    assert "".join([decode(token) for token in codec.encode("Wörter, 語".encode()).tolist()]) == "Wörter, 語"


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    decode = ByteCodec().decoder()
    assert decode(0xC3) == ""
    assert decode(None) == "\N{REPLACEMENT CHARACTER}"


def test_an_absent_tokenizer_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no tokenizer file at"):
        open_codec(tmp_path / "tokenizer.json")


def test_without_the_package_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(tokens, "import_module", absent)
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(UserError, match=r"pip install 'mnemic-lm\[tokenizers\]'"):
        open_codec(path)


@NEEDS_TOKENIZERS
def test_a_tokenizer_file_gives_tokens_that_decode_to_the_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(["the memory"] * 4, trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    codec = open_codec(tmp_path / "tokenizer.json")
    encoded, decode = codec.encode("the memory é".encode()).tolist(), codec.decoder()
    assert len(encoded) < 12
    assert "".join([decode(token) for token in encoded]) + decode(None) == "the memory é"


@NEEDS_TOKENIZERS
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected a tokenizer\.json"):
        open_codec(tmp_path / "tokenizer.json")
