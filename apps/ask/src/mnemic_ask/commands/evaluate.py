"""``mnemic-ask evaluate``: score a network on a data set."""

from pathlib import Path

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def evaluate(
    data: Path,
    facts: Path | None = None,
    known: Path | None = None,
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
    begin with evidence are of the items that answer a question. Other data sets have such items alone. An EMAT is asked
    the questions of a file, and its speed is measured.

    Args:
        data: folder of stamps, of our own layout (corpus.jsonl, queries.jsonl, qrels.tsv) or of MultimodalQA, or the
            JSON file of WebQA. For an EMAT: questions with answers, a JSON object a line, or WordNet's data.noun.
        facts: file with facts for a folder of stamps; default: its facts.jsonl.
        known: for an EMAT, questions with answers that fill its memory; default: those of WordNet's nouns.
        split: whose questions are asked; default: what is not for training.
        checkpoint: weights; default: the shipped ones.
        out: folder for scores.json.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from mnemic_ask.evaluating import evaluate_emat, evaluate_murag
    from mnemic_ask.opening import SHIPPED, is_emat
    from mnemic_kit.output import show_json
    from mnemic_kit.record import open_record

    if out is not None:
        check_outputs(out / "scores.json")
    weights = checkpoint or SHIPPED
    record = None
    if out is not None:
        files = {"data": data, "facts": facts, "known": known, "checkpoint": weights}
        record = open_record(out / "scores.json", "mnemic-ask", {"split": split, "device": device}, files)
    if checkpoint is not None and is_emat(checkpoint):
        summary = evaluate_emat(checkpoint, data, known, split, device)
    else:
        summary = evaluate_murag(checkpoint, data, facts, split, device)
    summary |= {"data": str(data), "split": split, "checkpoint": str(checkpoint or SHIPPED.name)}
    if record is not None:
        record.write(summary)
    if json:
        show_json(summary)
