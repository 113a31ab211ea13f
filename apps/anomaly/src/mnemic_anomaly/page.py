"""One page of results that needs no other file: a histogram, and all images sorted by score."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from mnemic_anomaly.options import PAGE

_BINS = 30
_WIDTH, _HEIGHT = 640, 160


@dataclass(frozen=True)
class Entry:
    """An image on the page.

    Attributes:
        name: of the image.
        score: its score.
        scaled: its score between 0 and 1; None without thresholds.
        is_anomalous: whether the score is at or above the threshold; None without thresholds.
        thumbnail: data address of the picture.
        truth: 0 normal, 1 anomalous, None unknown.
        link: address of the full picture, relative to the page; None: there is none.
    """

    name: str
    score: float
    scaled: float | None
    is_anomalous: bool | None
    thumbnail: str
    truth: int | None = None
    link: str | None = None


def make_page(title: str, notes: Sequence[str], entries: Sequence[Entry], threshold: float | None) -> str:
    """Return the page.

    Args:
        title: heading.
        notes: lines below it.
        entries: the images, in any order.
        threshold: score from which an image is anomalous; None: unknown.
    """
    ordered = sorted(entries, key=lambda entry: -entry.score)
    return Template(files("mnemic_anomaly").joinpath(PAGE).read_text("utf-8")).substitute(
        title=escape(title),
        notes="".join(f"<p>{escape(note)}</p>" for note in notes),
        histogram=histogram(entries, threshold),
        cards="\n".join(_card(entry) for entry in ordered),
    )


def histogram(entries: Sequence[Entry], threshold: float | None) -> str:
    """Return a histogram of the scores as SVG; known anomalous images are drawn in another color."""
    scores = np.array([entry.score for entry in entries])
    ends = [*scores.tolist(), *([] if threshold is None else [threshold])]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    high = high if high > low else low + 1
    counts = {
        kind: np.histogram([e.score for e in entries if (e.truth == 1) == (kind == "b")], _BINS, (low, high))[0]
        for kind in ("a", "b")
    }
    top = max(1, int((counts["a"] + counts["b"]).max()))
    bars, step = [], _WIDTH / _BINS
    for place in range(_BINS):
        base = 0.0
        for kind in ("a", "b"):
            tall = _HEIGHT * int(counts[kind][place]) / top
            y, base = _HEIGHT - base - tall, base + tall
            bars.append(
                f'<rect class="{kind}" x="{place * step:.1f}" y="{y:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"/>'
            )
    line = ""
    if threshold is not None:
        x = _WIDTH * (threshold - low) / (high - low)
        line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT}"/>'
    label = f"scores from {low:.4g} to {high:.4g}" + ("" if threshold is None else f", threshold {threshold:.4g}")
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="histogram, {label}"'
    return (
        f"<figure><svg {box}>{''.join(bars)}{line}"
        f"</svg><figcaption>{len(entries)} images, {label}</figcaption></figure>"
    )


def _card(entry: Entry) -> str:
    verdict = {True: "anomalous", False: "normal", None: ""}[entry.is_anomalous]
    scaled = "" if entry.scaled is None else f"{entry.scaled:.2f} "
    truth = {0: "labeled normal", 1: "labeled anomalous", None: ""}[entry.truth]
    name = escape(entry.name)
    picture = f'<img src="{entry.thumbnail}" alt="anomaly map over {name}" loading="lazy">'
    if entry.link is not None:
        picture = f'<a href="{escape(entry.link)}">{picture}</a>'
    return (
        f'<article class="{verdict}">{picture}<h2>{name}</h2><p><b>{scaled}{verdict}</b> score {entry.score:.4g}</p>'
        f"<p>{truth}</p></article>"
    )
