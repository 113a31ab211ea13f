"""Markdown tables that also read well as plain text."""

import re
from collections.abc import Sequence

PADDED_WIDTH = 140  # wider tables are not padded: one long cell would change every line of a diff
_NUMBER = re.compile(r"[≥+-]?\s?\d|-?$")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table without a final line break; columns of numbers are aligned to the right.

    Args:
        head: headings of the columns.
        rows: cells, one for each heading.

    Example:
        >>> print(markdown_table(["length", "accuracy"], [["20", "99.8"], ["100", "7.5"]]))
        | length | accuracy |
        | ------ | -------: |
        | 20     |     99.8 |
        | 100    |      7.5 |
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    if sum(widths) + 3 * len(widths) + 1 > PADDED_WIDTH:
        widths = [0] * len(columns)
    is_right = [index > 0 and all(map(_NUMBER.match, column[1:])) for index, column in enumerate(columns)]
    rule = [("-" * max(3, width))[:-1] + (":" if right else "-") for width, right in zip(widths, is_right, strict=True)]
    lines = [
        [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_right, strict=True)
        ]
        for row in (head, *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
