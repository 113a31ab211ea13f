"""Tables on the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from mnemic_track.metrics import TrackingScores

_HEADINGS = {"hota": "HOTA", "deta": "DetA", "assa": "AssA", "mota": "MOTA", "idf1": "IDF1", "id_switches": "switches"}


def scores_table(scores: TrackingScores, title: str, console: Console | None = None) -> None:
    """Print the scores of each sequence and of all together, in percent.

    Args:
        scores: total with its sequences.
        title: heading.
        console: where to print, the standard output if None.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("sequence")
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right")
    for name, part in sorted(scores.sequences.items()):
        table.add_row(name, *_cells(part.as_dict()))
    table.add_section()
    table.add_row("all", *_cells(scores.as_dict()), style="bold")
    (console or Console()).print(table)


def _cells(numbers: Mapping[str, float | int]) -> list[str]:
    return [str(numbers[name]) if name == "id_switches" else f"{100 * numbers[name]:.1f}" for name in _HEADINGS]
