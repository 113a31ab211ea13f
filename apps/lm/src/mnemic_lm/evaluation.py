"""Bits per byte of a language model with and without its memory."""

from functools import partial
from typing import Any

from mnemic_core.markdown import markdown_table
from mnemic_kit.output import show, show_json
from mnemic_kit.record import Record
from mnemic_lm.checkpoints import LanguageCheckpoint
from mnemic_lm.model import LanguageModel
from mnemic_lm.plots import plot_curves
from mnemic_lm.scoring import score
from mnemic_lm.text import Corpus


def score_memory(
    model: LanguageModel, corpus: Corpus, segment_length: int, batch_size: int, *, shuffled: bool
) -> dict[str, Any]:
    """Return the bits per byte with the memory, without it and, on request, with the memory of another stream."""
    scored = partial(score, model, corpus, segment_length, batch_size=batch_size)
    found: dict[str, Any] = {
        "bits_per_byte": scored(),
        "off": scored(context=segment_length),
    }  # reset before every segment
    if shuffled:
        found["shuffled"] = scored(is_shuffled=True)
    return found


def describe(loaded: LanguageCheckpoint, corpus: Corpus) -> dict[str, Any]:
    """Return the properties of the model and of the text that a summary lists."""
    model = loaded.model
    memory = model.config.transformer.memory
    return {
        "memory": memory.name,
        "memory_size": memory.size,
        "looks_ahead": not memory.mechanism.is_causal,
        "state_bytes": model.init_state(1).nbytes,
        "parameters": model.num_parameters,
        "segment_length": loaded.settings.segment_length,
        "bytes": corpus.num_bytes,
        "tokens": corpus.num_tokens,
    }


def write_scores(summary: dict[str, Any], record: Record) -> None:
    """Write the scores and, if contexts or memory sizes were varied, a figure with the same name."""
    record.write(summary)
    curves = {"context (tokens)": summary["contexts"], "memory (items)": summary["memory_sizes"]}
    if any(curves.values()):
        names = {"bits_per_byte": "memory", "off": "memory off", "shuffled": "memory of another text"}
        marks = {names[key]: summary[key] for key in names if key in summary}
        plot_curves(curves, marks, record.path.with_suffix(".png"))


def show_scores(summary: dict[str, Any], *, as_json: bool) -> None:
    """Print the scores, and on request the summary as one line of JSON."""
    names = {"bits_per_byte": "segment and memory", "off": "segment", "shuffled": "segment and memory of another text"}
    scores = {text: summary[key] for key, text in names.items() if key in summary}
    scores |= {f"memory reset every {size} tokens": value for size, value in summary["contexts"].items()}
    scores |= {f"memory of {size} items": value for size, value in summary["memory_sizes"].items()}
    rows = [[text, f"{value:.4f}"] for text, value in scores.items()]
    table = markdown_table(["context", "bits per byte"], rows)
    show(f"{summary['data']}, memory {summary['memory']}\n\n{table}")
    if summary["looks_ahead"]:
        show("What this memory recalls depends on later tokens of the segment: too good by an unknown amount.")
    if as_json:
        show_json(summary)
