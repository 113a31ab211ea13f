"""Names of items that come from several sources."""

from collections import Counter
from collections.abc import Sequence


def distinct_names(sources: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the names of the items of each source; one that several sources have begins with its source's number.

    Results are kept by name, so that items of one name would replace one another.

    Example:
        >>> distinct_names([["street", "park"], ["street"]])
        [['1-street', 'park'], ['2-street']]
    """
    times = Counter(name for names in sources for name in set(names))
    return [
        [f"{number}-{name}" if times[name] > 1 else name for name in names]
        for number, names in enumerate(sources, start=1)
    ]
