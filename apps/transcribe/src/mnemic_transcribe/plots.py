"""Plot of the transcript of a recording and the use of the memory over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from mnemic_kit.figures import COLORS, open_figure, varies
from mnemic_speech.transcript import Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 4000  # of the drawn waveform
_MEMORY_LINES = {"diversity": "slot diversity (cosine distance)", "read_entropy": "entropy of the read weights (share)"}


def plot_recording(
    waveform: Float[Tensor, " samples"],
    sample_rate: int,
    transcript: Transcript,
    history: Sequence[Mapping[str, float | int | None]],
    path: str | Path,
) -> None:
    """Draw a recording with its words, and the use of the memory over time.

    Args:
        waveform: the recording, at least one sample.
        sample_rate: in Hz.
        transcript: recognized words with times.
        history: mappings with ``time`` in seconds and the values of ``MemoryReport.as_dict()``; without one that
            changes there is no memory panel.
        path: image to write, see `open_figure`.
    """
    lines = {name: label for name, label in _MEMORY_LINES.items() if varies(history, name)}
    with open_figure(path, width=9.0, height=4.6 if lines else 2.6, program="mnemic-transcribe") as figure:
        panels = figure.subplots(2 if lines else 1, 1, sharex=True, squeeze=False)[:, 0]
        _draw_words(panels[0], waveform, sample_rate, transcript)
        for index, (name, label) in enumerate(lines.items()):
            points = [(each["time"], each[name]) for each in history if each.get(name) is not None]
            panels[1].plot(*zip(*points, strict=True), label=label, color=COLORS[index])
        if lines:
            panels[1].set_title("Memory")
            panels[1].set_ylabel("distance, share")
            panels[1].set_ylim(bottom=-0.02)
            panels[1].legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0.2)
        panels[-1].set_xlabel("seconds")


def _draw_words(axes: "Axes", waveform: Float[Tensor, " samples"], sample_rate: int, transcript: Transcript) -> None:
    step = max(len(waveform) // _POINTS, 1)
    # Peaks of short spans, since a subsampled waveform would hide short sounds.
    peaks = waveform[: len(waveform) // step * step].view(-1, step).abs().amax(1)
    times = [(index + 0.5) * step / sample_rate for index in range(len(peaks))]
    axes.fill_between(times, (-peaks).tolist(), peaks.tolist(), color="#B0B0B0", linewidth=0)
    top = float(peaks.max()) or 1.0  # a silent recording still needs an axis
    for segment in transcript.segments:
        for word in segment.words:
            axes.axvspan(word.start, word.end, color=COLORS[0], alpha=0.1 + 0.3 * word.confidence, linewidth=0)
            place = ((word.start + word.end) / 2, 1.12 * top)
            axes.text(*place, word.text, rotation=60, fontsize=7, ha="center", va="bottom")
    axes.set_ylim(-1.1 * top, 1.9 * top)
    axes.set_xlim(0, len(waveform) / sample_rate)
    axes.set_title("Recognized words (darker: more confident)")
    axes.set_ylabel("amplitude")
