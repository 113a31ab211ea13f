"""Text files, plain or compressed, as sequences of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_lm.text_files import read_text_file
from mnemic_lm.tokens import Codec


@dataclass(frozen=True)
class Corpus:
    """The documents of a text.

    Attributes:
        documents: the tokens of each, at least one token.
        start_token: precedes the first token of each.
        num_bytes: bytes of all documents.
    """

    documents: tuple[Shaped[Tensor, " _token"], ...]
    start_token: int
    num_bytes: int

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents."""
        return sum(len(document) for document in self.documents)

    @property
    def bytes_per_token(self) -> float:
        """Mean number of bytes per token."""
        return self.num_bytes / self.num_tokens


def read_corpus(paths: Sequence[Path], codec: Codec) -> Corpus:
    """Read files and folders; each file is one document, and an empty one is left out.

    Args:
        paths: text files, see `read_text_file`, and folders, of which all files that are not hidden are read, at any
            depth, sorted by name.
        codec: encodes the content.

    Raises:
        FileNotFoundError: if a path does not exist.
        UserError: if a file is damaged or cannot be encoded, or there is no text at all.

    Example:
        >>> import tempfile
        >>> from mnemic_lm.tokens import ByteCodec
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b", "a"):
        ...     _ = (folder / name).write_text(2 * name)
        >>> [document.tolist() for document in read_corpus([folder], ByteCodec()).documents]
        [[97, 97], [98, 98]]
    """
    documents, num_bytes = [], 0
    for path in (file for given in paths for file in _files(given)):
        content = read_text_file(path)
        try:
            tokens = codec.encode(content)
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 ({error.reason}): a tokenizer needs text, bytes take any") from error
        if len(tokens):
            documents.append(tokens)
            num_bytes += len(content)
    if not documents:
        raise UserError(f"no text in {', '.join(map(str, paths))}: give a file that is not empty, or a folder of them")
    return Corpus(tuple(documents), codec.num_tokens, num_bytes)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no text file or folder at {path}")
    below = ((file, file.relative_to(path).parts) for file in path.rglob("*") if file.is_file())
    return sorted(file for file, parts in below if not any(part.startswith(".") for part in parts))


def shuffled(corpus: Corpus, seed: int, epoch: int) -> Corpus:
    """Return the documents in a random order, determined by seed and epoch."""
    generator = torch.Generator().manual_seed((seed << 32) + epoch)  # distinct for all pairs
    order = torch.randperm(len(corpus.documents), generator=generator).tolist()
    return Corpus(tuple(corpus.documents[index] for index in order), corpus.start_token, corpus.num_bytes)
