"""``mnemic-ask evaluate``: score a network on a data set."""

from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def evaluate(
    data: Path,
    facts: Path | None = None,
    split: str | None = None,
    checkpoint: Path | None = None,
    out: Path | None = None,
    json: bool = False,
    device: Device = "auto",
) -> None:
    """Print how well questions are answered: with memory, without, from its texts alone, and with the right items.

    A folder of stamps (index.jsonl) makes a memory of all captions, the facts and the pictures that are not asked
    about; each asked picture is asked what it shows (entity) and what kind of thing that is (hypernym). recall, mrr,
    map and ndcg are of the pictures sought by their captions, among the pictures of the split and among all; those that
    begin with evidence are of the items that answer a question. Other data sets have such items alone.

    Args:
        data: folder of stamps, of our own layout (corpus.jsonl, queries.jsonl, qrels.tsv) or of MultimodalQA, or the
            JSON file of WebQA.
        facts: file with facts for a folder of stamps; default: its facts.jsonl.
        split: whose questions are asked; default: what is not for training.
        checkpoint: weights; default: the shipped ones.
        out: folder for scores.json.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_ask.evaluation import evaluate_task, open_task
    from mnemic_ask.evaluation_report import show_scores
    from mnemic_ask.opening import SHIPPED, open_checkpoint
    from mnemic_kit.output import show_json
    from mnemic_kit.record import open_record

    if out is not None:
        check_outputs(out / "scores.json")
    task, network = open_task(data, facts, split), open_checkpoint(checkpoint, device)
    record = None
    if out is not None:
        files = {"data": data, "facts": facts, "checkpoint": checkpoint or SHIPPED}
        record = open_record(out / "scores.json", "mnemic-ask", {"split": split, "device": device}, files)
    about = {"data": str(data), "split": split, "checkpoint": str(checkpoint or SHIPPED.name)}
    summary = evaluate_task(network, task, Console(stderr=True)) | about
    if record is not None:
        record.write(summary)
    show_scores(summary)
    if json:
        show_json(summary)
