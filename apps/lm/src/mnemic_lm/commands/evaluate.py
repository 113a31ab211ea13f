"""``mnemic-lm evaluate``: what is the memory worth, and how much of it?"""

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.devices import Device
from mnemic_kit.parse import call, join_lists
from mnemic_lm.checkpoints import Checkpoint, load_checkpoint, with_memory_size
from mnemic_lm.model import LanguageModel, looks_ahead, memory_size
from mnemic_lm.plots import plot_curves
from mnemic_lm.scoring import score
from mnemic_lm.text import Corpus, read_corpus


def evaluate(
    checkpoint: Path,
    data: Path,
    contexts: Sequence[int] = (),
    memory_sizes: Sequence[int] = (),
    shuffled: bool = False,
    batch_size: int = 8,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print the bits per byte of a text with the memory, without it, and for less of it.

    Args:
        checkpoint: file of mnemic-lm fit.
        data: text file, plain or .gz, or a folder of them.
        contexts: begin the memory afresh after so many tokens, for each of these; multiples of the segment, or
            less than one.
        memory_sizes: let the memory hold so many items, for each of these; not where the weights depend on it.
        shuffled: also let every stream read the memory of another one.
        batch_size: streams that the text is cut into; each begins without memory.
        device: where to run; auto takes a GPU where there is one.
        out: folder for scores.json and scores.png, which shows the contexts and sizes.
        json: print one JSON object as the last line.
    """
    loaded = load_checkpoint(checkpoint, device)
    corpus = read_corpus([data], loaded.codec)
    smaller = {size: with_memory_size(loaded.model, size) for size in memory_sizes}  # mistakes show before the work
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    summary = memory_worth(loaded.model, corpus, loaded.segment_length, batch_size, shuffled=shuffled)
    scored = partial(score, corpus=corpus, segment_length=loaded.segment_length, batch_size=batch_size)
    summary["contexts"] = {size: scored(loaded.model, context=size) for size in contexts}
    summary["memory_sizes"] = {size: scored(model) for size, model in smaller.items()}
    summary |= _facts(loaded, corpus) | {"checkpoint": str(checkpoint), "data": str(data)}
    summary["seconds"] = round(time.perf_counter() - started, 3)
    if out is not None:
        _write(summary, out)
    _show(summary, as_json=json)


def memory_worth(
    model: LanguageModel, corpus: Corpus, segment_length: int, batch_size: int, *, shuffled: bool
) -> dict[str, Any]:
    """Return the bits per byte with the memory, without it and, if asked for, with that of another stream."""
    scored = partial(score, model, corpus, segment_length, batch_size=batch_size)
    found: dict[str, Any] = {"bits_per_byte": scored(), "off": scored(context=segment_length)}
    if shuffled:
        found["shuffled"] = scored(is_shuffled=True)
    return found


def _facts(loaded: Checkpoint, corpus: Corpus) -> dict[str, Any]:
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


def _write(summary: dict[str, Any], out: Path) -> None:
    with atomic_write(out / "scores.json") as file:
        file.write(json.dumps(summary, indent=1) + "\n")
    curves = {"context (tokens)": summary["contexts"], "memory (items)": summary["memory_sizes"]}
    if any(curves.values()):
        names = {"bits_per_byte": "memory", "off": "memory off", "shuffled": "memory of another text"}
        plot_curves(curves, {names[key]: summary[key] for key in names if key in summary}, out / "scores.png")


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
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
        print(json.dumps(summary, allow_nan=False))


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    words = [word.replace("--memory-sizes", "--memory_sizes") for word in arguments]
    call(evaluate, program, join_lists(words, {"--contexts", "--memory_sizes"}))
