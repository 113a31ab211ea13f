"""Plot of a translation beside its source: what was heard, and when each word was written."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap

from jaxtyping import Float
from torch import Tensor

from mnemic_kit.figures import COLORS, open_figure
from mnemic_speech.simultaneous import WrittenWord

_ROWS = 6  # of words, so that neighbors do not overlap
_LINE_LENGTH = 16  # of words written at the same time, in characters


def plot_translation(
    features: Float[Tensor, "frame mel"],
    frame_seconds: float,
    words: Sequence[WrittenWord],
    path: Path,
    title: str = "",
) -> None:
    """Write a picture of the source's features and of each word at the time when it was written.

    Args:
        features: log-mel features of the source.
        frame_seconds: seconds between them.
        words: the translation.
        path: file to write (.png, .svg or .pdf).
        title: above the picture.
    """
    duration = len(features) * frame_seconds
    with open_figure(path, 9.0, 4.2, program="mnemic-translate") as figure:
        heard, written = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        heard.imshow(features.T.numpy(), origin="lower", aspect="auto", extent=(0, duration, 0, features.shape[1]))
        heard.set(ylabel="mel band", title=title)
        heard.grid(visible=False)
        for place, (seconds, group) in enumerate(groupby(words, lambda word: word.seconds)):
            # What is written after the source is often long, and has the place right of it for itself.
            row = _ROWS - 1 - (0 if seconds >= duration else place % _ROWS)
            text = "\n".join(wrap(" ".join(word.text for word in group), _LINE_LENGTH))
            written.plot([seconds] * 2, [row, _ROWS], color="#B0B0B0", linewidth=0.8)
            written.text(seconds + duration / 200, row + 0.4, text, color=COLORS[0], va="top")
        written.axvline(duration, color="#808080", linestyle=":")
        written.set(xlabel="seconds of source that had been heard", ylabel="written", ylim=(-1, _ROWS), yticks=[])
        written.set_xlim(0, duration * 1.2)
