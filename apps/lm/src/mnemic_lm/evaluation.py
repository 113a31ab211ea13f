"""What the memory of a language model is worth, and how much of it."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_kit.atomic_files import atomic_write
from mnemic_lm.checkpoints import Checkpoint
from mnemic_lm.model import LanguageModel, looks_ahead, memory_size
from mnemic_lm.plots import plot_curves
from mnemic_lm.scoring import score
from mnemic_lm.text import Corpus


def memory_worth(
    model: LanguageModel, corpus: Corpus, segment_length: int, batch_size: int, *, shuffled: bool
) -> dict[str, Any]:
    """Return the bits per byte with the memory, without it and, if asked for, with that of another stream."""
    scored = partial(score, model, corpus, segment_length, batch_size=batch_size)
    found: dict[str, Any] = {"bits_per_byte": scored(), "off": scored(context=segment_length)}
    if shuffled:
        found["shuffled"] = scored(is_shuffled=True)
    return found


def facts(loaded: Checkpoint, corpus: Corpus) -> dict[str, Any]:
    """Return what else is known of a model and a text."""
    model = loaded.model
    size = memory_size(model.config)
    return {
        "memory": model.config.memory,
        "memory_size": None if size is None else size[1],
        "looks_ahead": looks_ahead(model.config.memory),
        "state_bytes": model.init_state(1).nbytes,
        "parameters": model.num_parameters,
        "segment_length": loaded.segment_length,
        "bytes": corpus.num_bytes,
        "tokens": corpus.num_tokens,
    }


def write_scores(summary: dict[str, Any], out: Path) -> None:
    """Write ``scores.json`` and, where sizes were compared, ``scores.png`` to a folder."""
    with atomic_write(out / "scores.json") as file:
        file.write(json.dumps(summary, indent=1) + "\n")
    curves = {"context (tokens)": summary["contexts"], "memory (items)": summary["memory_sizes"]}
    if any(curves.values()):
        names = {"bits_per_byte": "memory", "off": "memory off", "shuffled": "memory of another text"}
        plot_curves(curves, {names[key]: summary[key] for key in names if key in summary}, out / "scores.png")


def show_scores(summary: dict[str, Any], *, as_json: bool) -> None:
    """Print the scores, and on request the summary as one line of JSON."""
    table = Table(title=f"{summary['data']}, memory {summary['memory']}", title_justify="left")
    table.add_column("what it sees")
    table.add_column("bits per byte", justify="right")
    names = {"bits_per_byte": "segment and memory", "off": "segment", "shuffled": "segment and memory of another text"}
    rows = {text: summary[key] for key, text in names.items() if key in summary}
    rows |= {f"memory afresh after {size} tokens": value for size, value in summary["contexts"].items()}
    rows |= {f"memory of {size} items": value for size, value in summary["memory_sizes"].items()}
    for text, value in rows.items():
        table.add_row(text, f"{value:.4f}")
    console = Console()
    console.print(table)
    if summary["looks_ahead"]:
        console.print("What this memory recalls depends on later tokens of the segment: too good by an unknown amount.")
    if as_json:
        sys.stdout.write(json.dumps(summary, allow_nan=False) + "\n")
