"""``mnemic-ask index``: put pictures and texts into a memory."""

from pathlib import Path

from mnemic_kit.devices import Device

SHOWN = 10  # duplicates


def index(
    source: Path,
    /,
    memory: str,
    checkpoint: Path | None = None,
    fields: tuple[str, ...] = (),
    device: Device = "auto",
    json: bool = False,
) -> None:
    """Put pictures and texts into a memory, such as: index photos --memory runs/memory.

    A folder may hold pictures, each with a text of the same name (frog.jpg, frog.txt) as its caption, and other texts,
    whose paragraphs are items of their own; or a data set (corpus.jsonl, or index.jsonl of stamps). A file has one JSON
    object a line: id, text, image, meta. The same command again adds what is new or has changed and goes on after an
    interruption. Items with the same picture or text are listed; those that cannot be read are left out, with exit
    code 2.

    Args:
        source: folder or file.
        memory: folder of the memory, or URL of a PostgreSQL database; made where there is none.
        checkpoint: weights; default: the shipped ones. A memory can only be asked with the network that made it.
        fields: metadata to filter by, each NAME:TYPE with str, int, float, bool or tags; fixed when a memory is made.
        device: auto uses a GPU if available.
        json: print one JSON object as the last line.
    """
    from rich.console import Console

    from mnemic_ask.fields import parse_fields
    from mnemic_ask.indexing import fill, read_sources
    from mnemic_ask.opening import open_or_create
    from mnemic_kit.output import show, show_json
    from mnemic_kit.problems import Problems

    wanted = parse_fields(fields)
    sources = [*read_sources(source)]
    assistant = open_or_create(memory, checkpoint, device, wanted)
    with assistant.store:
        indexed = fill(assistant, sources, Console(stderr=True))
        number = assistant.store.count()
    show(f"{indexed.added} items added, {indexed.unchanged} there already; the memory holds {number}")
    for identity, other in indexed.duplicates[:SHOWN]:
        show(f"the same content: {identity} and {other}")
    if len(indexed.duplicates) > SHOWN:
        show(f"and {len(indexed.duplicates) - SHOWN} more with the same content as another item")
    if json:
        counts = {"added": indexed.added, "unchanged": indexed.unchanged, "items": number}
        show_json({**counts, "duplicates": len(indexed.duplicates), "unreadable": len(indexed.problems)})
    problems = Problems(indexed.problems)
    problems.num_done = indexed.added + indexed.unchanged
    problems.end("left out")
