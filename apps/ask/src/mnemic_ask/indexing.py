"""Filling a memory from a folder or a file, and going on where it was left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from mnemic_core.errors import UserError
from mnemic_kit.progress import frame_progress
from mnemic_retrieval.batches import batches
from mnemic_retrieval.data import Source, StampFolder
from mnemic_retrieval.data.corpus import CORPUS, read_corpus
from mnemic_retrieval.data.pictures import source_hash
from mnemic_retrieval.murag import Assistant
from mnemic_retrieval.pictures import SUFFIXES
from mnemic_retrieval.store import Item, modality_of

TEXTS = (".txt", ".md")
_STEP = 64


@dataclass
class Indexed:
    """What came of filling a memory.

    Attributes:
        added: items that are new or have changed.
        unchanged: items that were there.
        duplicates: ids of items with the same picture or text as another one, and the id of that.
        problems: reasons for items that could not be read, one line each.
    """

    added: int = 0
    unchanged: int = 0
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)


def read_sources(path: Path) -> Iterator[Source]:
    """Yield the items of a data set, a file with one JSON object a line, or a folder of pictures and texts.

    A folder's pictures have the text of the same name (``frog.jpg``, ``frog.txt``) as caption; other texts are items of
    their own, one for each paragraph. Ids are paths from the folder.

    Raises:
        FileNotFoundError: there is nothing.
        UserError: a line is damaged, an id is there twice, or there is neither picture nor text.
    """
    if not path.exists():
        raise FileNotFoundError(f"nothing at {path}")
    if path.is_file():
        return read_corpus(path)
    if (path / CORPUS).is_file():
        return read_corpus(path / CORPUS)
    if (path / "index.jsonl").is_file():
        return StampFolder(path.resolve()).sources()
    return _read_folder(path)


def fill(assistant: Assistant, sources: Sequence[Source], console: Console) -> Indexed:
    """Put items into a memory, but those that are there already; one that cannot be read is left out.

    Args:
        assistant: the network with its memory.
        sources: the items.
        console: for the progress bar.
    """
    indexed = Indexed()
    first: dict[str, str] = {}
    with frame_progress("indexing", len(sources), console, "items") as advance:
        for part in batches(sources, _STEP):
            hashes = [None if source.image is None else source_hash(source.image) for source in part]
            for source, content in zip(part, hashes, strict=True):
                _note_duplicate(source, content, first, indexed)
            _add(assistant, _changed(assistant, part, hashes, indexed), indexed)
            for _ in part:
                advance()
    assistant.store.optimize()
    return indexed


def _add(assistant: Assistant, sources: Sequence[Source], indexed: Indexed) -> None:
    """Add items together, or one by one where one of them cannot be read."""
    try:
        assistant.add(sources)
        indexed.added += len(sources)
    except (UserError, OSError) as error:
        if len(sources) == 1:
            indexed.problems.append(UserError(f"{sources[0].id}: {error}"))
            return
        for source in sources:
            _add(assistant, [source], indexed)


def _changed(
    assistant: Assistant, sources: Sequence[Source], hashes: Sequence[str | None], indexed: Indexed
) -> list[Source]:
    """Return the sources that the memory lacks, or has otherwise."""
    known = assistant.store.get([source.id for source in sources])
    found = zip(sources, hashes, known, strict=True)
    changed = [source for source, content, item in found if item is None or not _is_same(source, content, item)]
    indexed.unchanged += len(sources) - len(changed)
    return changed


def _is_same(source: Source, content: str | None, item: Item) -> bool:
    facts = (source.text, source.image, dict(source.metadata), content)
    return facts == (item.text, item.image, dict(item.metadata), item.image_hash)


def _note_duplicate(source: Source, content: str | None, first: dict[str, str], indexed: Indexed) -> None:
    key = content or (f"text {source.text.strip()}" if source.image is None else source.id)
    other = first.setdefault(key, source.id)
    if other != source.id:
        indexed.duplicates.append((source.id, other))


def _read_folder(folder: Path) -> Iterator[Source]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() in TEXTS}
    if not pictures and not texts:
        raise UserError(f"{folder} has neither pictures ({', '.join(SUFFIXES)}) nor texts ({', '.join(TEXTS)})")
    for path in pictures:
        caption = texts.pop(path.with_suffix(""), None)
        text, image = "" if caption is None else " ".join(_read_text(caption).split()), str(path.absolute())
        yield Source(_name(path, folder), modality_of(text, image), text, image)
    for path in texts.values():
        paragraphs = [" ".join(part.split()) for part in _read_text(path).split("\n\n") if part.strip()]
        for number, paragraph in enumerate(paragraphs, 1):
            name = _name(path, folder) if len(paragraphs) == 1 else f"{_name(path, folder)}#{number}"
            yield Source(name, "text", paragraph, metadata={"file": _name(path, folder)})


def _read_text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace").replace("\0", " ")


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
