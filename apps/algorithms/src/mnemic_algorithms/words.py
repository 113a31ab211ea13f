"""Lists on the command line."""

from collections.abc import Collection


def join_lists(arguments: list[str], names: Collection[str]) -> list[str]:
    """Return the arguments with ``--seeds 0 1 2`` in the form of a config, ``--seeds [0, 1, 2]``.

    Args:
        arguments: words of a command line.
        names: options that take lists.

    Example:
        >>> join_lists(["--seeds", "0", "1", "--out", "x"], {"--seeds"})
        ['--seeds', '[0, 1]', '--out', 'x']
    """
    joined: list[str] = []
    values: list[str] = []
    for word in [*arguments, "--"]:
        if joined and joined[-1] in names and not word.startswith("--"):
            values.append(word)
            continue
        if values:
            is_list = len(values) == 1 and values[0].startswith("[")
            joined.append(values[0] if is_list else f"[{', '.join(values)}]")
            values = []
        joined.append(word)
    return joined[:-1]
