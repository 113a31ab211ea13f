"""``mnemic-lm evaluate``: bits per byte with, without and with less memory."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mnemic_kit.devices import Device, find_device
from mnemic_kit.made_files import check_outputs


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
    """Print the bits per byte of a text with the memory, without it, and with less of it.

    Args:
        checkpoint: file of mnemic-lm fit.
        data: text file, plain or .gz, or a folder of them.
        contexts: numbers of tokens after which the memory is reset; each a multiple of the segment, or shorter than it.
        memory_sizes: capacities of the memory to score with; only where the weights do not depend on it.
        shuffled: also score with every stream reading the memory of another one.
        batch_size: streams that the text is cut into; each starts with an empty memory.
        device: auto uses a GPU if available.
        out: folder for scores.json and scores.png, which shows the contexts and sizes.
        json: print one JSON object as the last line.
    """
    from mnemic_kit.record import open_record
    from mnemic_lm.checkpoints import LanguageCheckpoint, with_memory_size
    from mnemic_lm.evaluation import describe, score_memory, show_scores, write_scores
    from mnemic_lm.scoring import score
    from mnemic_lm.text import read_corpus

    loaded = LanguageCheckpoint.load(checkpoint).to(find_device(device))
    segment_length = loaded.settings.segment_length
    corpus = read_corpus([data], loaded.codec)
    smaller = {size: with_memory_size(loaded.model, size) for size in memory_sizes}  # before the work
    record = None
    if out is not None:
        check_outputs(out / "scores.json", out / "scores.png")
        options = {"contexts": contexts, "memory_sizes": memory_sizes, "shuffled": shuffled}
        options |= {"batch_size": batch_size, "device": device}
        files = {"checkpoint": checkpoint, "data": data}
        record = open_record(out / "scores.json", "mnemic-lm", options, files)
    started = time.perf_counter()
    summary = score_memory(loaded.model, corpus, segment_length, batch_size, shuffled=shuffled)
    scored = partial(score, corpus=corpus, segment_length=segment_length, batch_size=batch_size)
    summary["contexts"] = {size: scored(loaded.model, context=size) for size in contexts}
    summary["memory_sizes"] = {size: scored(model) for size, model in smaller.items()}
    summary |= describe(loaded, corpus) | {"checkpoint": str(checkpoint), "data": str(data)}
    summary["seconds"] = round(time.perf_counter() - started, 3)
    if record is not None:
        write_scores(summary, record)
    show_scores(summary, as_json=json)
