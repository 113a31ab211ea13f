import gzip
from pathlib import Path

import pytest
import torch

from mnemic_lm.text import Corpus, read_corpus, shuffled
from mnemic_lm.tokens import ByteCodec


def contents(corpus: Corpus) -> list[bytes]:
    return [bytes(document.tolist()) for document in corpus.documents]


def test_a_folder_is_read_in_the_order_of_names_with_what_is_compressed_below_it(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("plain")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / ".hidden").write_text("not this")
    (tmp_path / "empty").touch()
    corpus = read_corpus([tmp_path], ByteCodec())
    assert contents(corpus) == [b"packed", b"plain"]
    assert (corpus.num_bytes, corpus.num_tokens, corpus.bytes_per_token) == (11, 11, 1.0)


def test_any_bytes_are_a_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    assert contents(read_corpus([tmp_path / "binary"], ByteCodec())) == [bytes(range(256))]


@pytest.mark.parametrize("damaged", [b"no gzip", gzip.compress(bytes(1000))[:-9]], ids=["no gzip", "truncated"])
def test_a_damaged_file_is_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "bad.gz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"bad\.gz is damaged"):
        read_corpus([tmp_path / "bad.gz"], ByteCodec())


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no text file or folder"):
        read_corpus([tmp_path / "absent"], ByteCodec())
    with pytest.raises(ValueError, match="no text in"):
        read_corpus([tmp_path], ByteCodec())


def test_text_that_a_tokenizer_cannot_take_is_named(tmp_path: Path) -> None:
    class Utf8(ByteCodec):
        def encode(self, content: bytes) -> torch.Tensor:
            return super().encode(content.decode().encode())

    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="latin is not UTF-8"):
        read_corpus([tmp_path], Utf8())


def test_the_order_of_documents_follows_from_seed_and_epoch() -> None:
    corpus = Corpus(tuple(torch.tensor([number]) for number in range(8)), 256, 8)
    assert contents(shuffled(corpus, 1, 2)) == contents(shuffled(corpus, 1, 2))
    assert sorted(contents(shuffled(corpus, 1, 2))) == contents(corpus)
    assert contents(shuffled(corpus, 1, 2)) != contents(shuffled(corpus, 1, 3))
