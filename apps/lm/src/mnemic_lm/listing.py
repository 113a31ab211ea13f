"""Lists on the command line, ``--seeds 0 1 2``."""

from collections.abc import Collection


def join_lists(arguments: list[str], options: Collection[str]) -> list[str]:
    """Return the arguments with ``--seeds 0 1 2`` in the form of a config, ``--seeds [0, 1, 2]``.

    Args:
        arguments: the words of a command line.
        options: those that take lists, with their dashes.

    Example:
        >>> join_lists(["--seeds", "0", "1", "--out", "x"], {"--seeds"})
        ['--seeds', '[0, 1]', '--out', 'x']
    """
    joined: list[str] = []
    values: list[str] = []
    for word in [*arguments, "--"]:
        if joined and joined[-1] in options and not word.startswith("--"):
            values.append(word)
            continue
        if values:
            joined.append(values[0] if len(values) == 1 and values[0].startswith("[") else f"[{', '.join(values)}]")
            values = []
        joined.append(word)
    return joined[:-1]
