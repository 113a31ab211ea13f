"""Figures: what was heard in a recording and how the memory changed over it, and how memories compare.

Matplotlib (``pip install mnemic-transcribe[plots]``) is imported when a figure is drawn; no display is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from mnemic_kit.figures import COLOURS, open_figure
from mnemic_speech.transcript import Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = Mapping[str, Mapping[str, Mapping[str, Any]]]

_PROGRAM = "mnemic-transcribe"
_POINTS = 4000  # of a drawn waveform
_MEMORY_LINES = {"diversity": "slot diversity (cosine distance)", "read_entropy": "entropy of the read weights (share)"}


def plot_recording(
    waveform: Float[Tensor, " samples"],
    sample_rate: int,
    transcript: Transcript,
    history: Sequence[Mapping[str, float | int | None]],
    path: str | Path,
) -> None:
    """Draw a recording with its words, and how the memory was used over it.

    Args:
        waveform: the recording, at least one sample.
        sample_rate: in Hz.
        transcript: what was heard.
        history: mappings with ``time`` in seconds and the numbers of ``MemoryReport.as_dict()``; without any of them
            that can be drawn, the panel of the memory is left out.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.

    Raises:
        UserError: matplotlib is not installed.
    """
    lines = {
        name: label for name, label in _MEMORY_LINES.items() if any(each.get(name) is not None for each in history)
    }
    with open_figure(path, width=9.0, height=4.6 if lines else 2.6, program=_PROGRAM) as figure:
        panels = figure.subplots(2 if lines else 1, 1, sharex=True, squeeze=False)[:, 0]
        _draw_words(panels[0], waveform, sample_rate, transcript)
        for index, (name, label) in enumerate(lines.items()):
            points = [(each["time"], each[name]) for each in history if each.get(name) is not None]
            panels[1].plot(*zip(*points, strict=True), label=label, color=COLOURS[index])
        if lines:
            panels[1].set_title("Memory")
            panels[1].set_ylabel("distance, share")
            panels[1].set_ylim(bottom=-0.02)
            panels[1].legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0.2)
        panels[-1].set_xlabel("seconds")


def _draw_words(axes: "Axes", waveform: Tensor, sample_rate: int, transcript: Transcript) -> None:
    step = max(len(waveform) // _POINTS, 1)
    peaks = waveform[: len(waveform) // step * step].view(-1, step).abs().amax(1)
    times = [(index + 0.5) * step / sample_rate for index in range(len(peaks))]
    axes.fill_between(times, (-peaks).tolist(), peaks.tolist(), color="#B0B0B0", linewidth=0)
    top = float(peaks.max()) or 1.0
    for segment in transcript.segments:
        for word in segment.words:
            axes.axvspan(word.start, word.end, color=COLOURS[0], alpha=0.1 + 0.3 * word.confidence, linewidth=0)
            place = ((word.start + word.end) / 2, 1.12 * top)
            axes.text(*place, word.text, rotation=60, fontsize=7, ha="center", va="bottom")
    axes.set_ylim(-1.1 * top, 1.9 * top)
    axes.set_xlim(0, len(waveform) / sample_rate)
    axes.set_title("What was heard (darker: surer)")
    axes.set_ylabel("amplitude")


def plot_comparison(table: Table, path: str | Path) -> None:
    """Compare memories: error rates in each condition, the share of deletions, and error rates by length.

    Args:
        table: what `mnemic_transcribe.commands.compare.tabulate` returns; conditions end in their decoding.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.

    Raises:
        UserError: matplotlib is not installed.
    """
    sets: dict[str, dict[str, Mapping[str, Mapping[str, Any]]]] = {}
    for condition, memories in table.items():
        data, _, decoding = condition.rpartition(", ")
        sets.setdefault(data, {})[decoding] = memories
    with open_figure(path, width=9.5, height=0.8 + 2.7 * len(sets), program=_PROGRAM) as figure:
        rows = figure.subplots(len(sets), 2, squeeze=False)
        for (bars, lines), (data, decodings) in zip(rows, sets.items(), strict=True):
            _draw_rates(bars, data, decodings)
            _draw_lengths(lines, *next(iter(decodings.items())))
        handles, labels = rows[0][1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))


def _draw_rates(axes: "Axes", data: str, decodings: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    for column, memories in enumerate(decodings.values()):
        for index, found in enumerate(memories.values()):
            place = column + 0.8 * ((index + 0.5) / len(memories) - 0.5)
            look: dict[str, Any] = {"width": 0.72 / len(memories), "color": COLOURS[index % len(COLOURS)]}
            axes.bar(place, 100 * found["wer"], alpha=0.45, **look)
            axes.bar(place, 100 * found["deletions"], **look)
            singles = [100 * rate for rate in found["wer_of_seeds"]]
            axes.scatter([place] * len(singles), singles, s=9, color="#303030", zorder=3)
    axes.set_xticks(range(len(decodings)), decodings)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"{data}: errors (solid: deletions)", loc="left")
    axes.set_ylabel("WER (%)")


def _draw_lengths(axes: "Axes", decoding: str, memories: Mapping[str, Mapping[str, Any]]) -> None:
    for index, (memory, found) in enumerate(memories.items()):
        rates = [100 * rate for rate in found["wer_by_words"].values()]
        axes.plot(list(found["wer_by_words"]), rates, marker="o", label=memory, color=COLOURS[index % len(COLOURS)])
    axes.set_title(f"{decoding}, by length", loc="left")
    axes.set_xlabel("words said")
    axes.set_ylabel("WER (%)")
    highest = max(100 * rate for found in memories.values() for rate in found["wer_by_words"].values())
    axes.set_ylim(0, 1.08 * highest or 1)
