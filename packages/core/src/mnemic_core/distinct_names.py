"""Names of items that come from several sources."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def with_distinct_names(
    sources: Sequence[Sequence[Item]], name_of: Callable[[Item], str], rename: Callable[[Item, str], Item]
) -> list[Item]:
    """Return the items of all sources; a name that several sources have begins with the number of its source.

    Results are kept by name, so that items of one name would replace one another.

    Args:
        sources: items of each source.
        name_of: gives the name of an item.
        rename: returns an item under another name.

    Example:
        >>> with_distinct_names([["street", "park"], ["street"]], str, lambda item, name: name)
        ['1-street', 'park', '2-street']
    """
    times = Counter(name for items in sources for name in set(map(name_of, items)))
    return [
        rename(item, f"{number}-{name_of(item)}") if times[name_of(item)] > 1 else item
        for number, items in enumerate(sources, start=1)
        for item in items
    ]
