"""Answers for people and for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnemic_retrieval.murag import Answer

_TEXT = 70  # letters of an item's text


def show_answer(answer: Answer) -> None:
    """Print an answer with its sources."""
    console = Console()
    said = answer.text or ("no answer: the memory has nothing close to this" if not answer.is_sure else "(empty)")
    console.print(Text(said, style="bold"))
    table = Table("", "source", "score", "share", "text", "picture", box=None)
    cited = set(answer.cited)
    for citation in answer.citations:
        item = citation.item
        mark = "*" if item.id in cited else ""
        short = item.text if len(item.text) <= _TEXT else f"{item.text[: _TEXT - 3]}..."
        cells = (mark, item.id, f"{citation.score:.2f}", f"{citation.share:.0%}", short, item.image or "")
        table.add_row(*map(Text, cells))  # brackets in texts are no markup
    if answer.citations:
        console.print(table)


def as_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values."""
    cited = set(answer.cited)
    return {
        "answer": answer.text,
        "is_sure": answer.is_sure,
        "sources": [
            {
                "id": each.item.id,
                "score": each.score,
                "share": each.share,
                "is_cited": each.item.id in cited,
                "text": each.item.text,
                "image": each.item.image,
                "region": each.region,
                "metadata": dict(each.item.metadata),
            }
            for each in answer.citations
        ],
        "seconds": dict(answer.seconds),
    }
