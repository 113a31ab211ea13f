"""``mnemic-translate evaluate``: score a translator on utterances with translations."""

from pathlib import Path
from typing import Any

from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_translate.options import PolicyName, Shift


def evaluate(
    data: Path,
    to: str | None = None,
    split: str | None = None,
    checkpoint: Path | None = None,
    policy: PolicyName | None = None,
    k: int | None = None,
    n: int | None = None,
    shift: Shift | None = None,
    out: Path | None = None,
    json: bool = False,
    device: Device = "auto",
) -> None:
    """Print BLEU, chrF and latency on utterances, each of which is translated while it is spoken.

    Latency is measured as SimulEval does: AL, LAAL, DAL and ATD in milliseconds, AP as a share, and the same with the
    time of computing (ca). Utterances that cannot be read are listed and skipped; the exit code is then 2.

    Args:
        data: a jsonl manifest, a tsv with the column path and one for each language, a table of CoVoST 2, or the folder
            of a language pair of MuST-C.
        to: language of the translations; default: that of the checkpoint.
        split: part of MuST-C, such as tst-COMMON.
        checkpoint: weights; default: the shipped ones, English to German.
        policy: wait_k, local_agreement or hold_n; default: that of the checkpoint.
        k: decisions of 320 ms that wait_k waits for before the first token.
        n: tokens that hold_n holds back.
        shift: which missing context of windows is replaced: all is shiftable context; default: as the checkpoint.
        out: folder for scores.json and instances.log, which SimulEval and OmniSTEval can score.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_kit.record import open_record
    from mnemic_translate.checkpoints import SHIPPED, InferenceOptions, open_translator
    from mnemic_translate.evaluation import evaluate_with_progress, open_clips
    from mnemic_translate.evaluation_report import show_scores, write_instances

    if out is not None:
        check_outputs(out / "scores.json", out / "instances.log")
    options = InferenceOptions(to, policy, k, n, shift)
    translator = open_translator(checkpoint, options, device)
    clips, problems = open_clips(data, translator.source, translator.target, split)
    record = None
    if out is not None:
        given: dict[str, Any] = {**vars(options), "split": split, "device": device}
        record = open_record(
            out / "scores.json", "mnemic-translate", given, {"data": data, "checkpoint": checkpoint or SHIPPED}
        )
    evaluation = evaluate_with_progress(translator, clips, data.name, Console(stderr=True))
    evaluation.problems[:0] = problems  # rows of the manifest first, then unreadable files
    settings, memory = translator.settings, translator.model.config.encoder.memory.name
    summary = evaluation.summary() | {
        "data": str(data),
        "checkpoint": str(checkpoint or SHIPPED.name),
        "to": translator.target,
        "policy": settings.policy.name,
        "k": settings.policy.k if settings.policy.name == "wait_k" else None,
        "shift": settings.shift,
        "memory": memory,
    }
    if record is not None:
        write_instances(record.path.with_name("instances.log"), evaluation.records)
        record.write(summary)
    show_scores(summary, evaluation.problems, as_json=json)
