import bz2
import codecs
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
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


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("name", ["packed", "packed.txt"])
def test_packed_files_are_unpacked_whatever_their_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(pack(b"a text"))
    assert read_corpus([tmp_path], ByteCodec()).num_bytes == 6


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_encodings_become_utf_8(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    (tmp_path / "a.txt").write_bytes((mark + "één").encode(encoding))
    (document,) = read_corpus([tmp_path], ByteCodec()).documents
    assert bytes(document.tolist()).decode() == "één"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 rest", "a zip archive"),
        (b"(\xb5/\xfd rest", "zstd"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8\x00", "UTF-16"),
        (gzip.compress(b"PK\x03\x04 rest"), "a zip archive"),
    ],
    ids=["zip", "zstd", "broken utf-16", "packed zip"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.txt .*{message}"):
        read_corpus([tmp_path], ByteCodec())


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
