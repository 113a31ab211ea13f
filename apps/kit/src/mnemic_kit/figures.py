"""Figures in one style, written when they are complete.

Matplotlib is imported when a figure is drawn; no display is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Palette of Okabe and Ito: distinct for all kinds of color vision.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_FLAT = 0.05  # spread of shares and distances up to which a line is flat
_STYLE: dict[Any, Any] = {  # the stubs of matplotlib list every key as a literal
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#808080",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def varies(history: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Return whether a number of a history changes enough to be seen; a flat line says less than a sentence."""
    values = [value for entry in history if (value := entry.get(name)) is not None]
    return bool(values) and max(values) - min(values) > _FLAT


def can_plot() -> bool:
    """Return whether matplotlib is installed; without it commands leave their pictures out."""
    return find_spec("matplotlib") is not None


@contextmanager
def open_figure(path: str | Path, width: float, height: float, *, program: str) -> Iterator["Figure"]:
    """Open an empty figure in our style that is written when the block ends.

    Args:
        path: the picture to write (.png, .svg or .pdf); its folder must exist.
        width: in inches.
        height: in inches.
        program: distribution whose extra ``plots`` brings matplotlib, for the message without it.

    Yields:
        The figure.

    Raises:
        UserError: the file has another ending, or matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure  # not pyplot, which would look for a display
    except ModuleNotFoundError as error:
        raise UserError(f"plots need matplotlib; install it with: pip install '{program}[plots]'") from error
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in {"png", "svg", "pdf"}:
        raise UserError(f"a plot is written as .png, .svg or .pdf, got {path}")
    with rc_context(_STYLE), atomic_write(path, "wb") as file:
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(file, format=kind, dpi=160)
