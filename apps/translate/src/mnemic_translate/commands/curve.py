"""``mnemic-translate curve``: quality against latency over k."""

from functools import cache
from itertools import product
from pathlib import Path

from mnemic_core.errors import UserError, check_at_least
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_translate.options import Shift


def curve(
    data: Path,
    to: str | None = None,
    split: str | None = None,
    checkpoints: tuple[Path, ...] = (),
    ks: tuple[int, ...] = (1, 3, 5, 7),
    shifts: tuple[Shift, ...] = ("all", "none"),
    out: Path = Path("runs/curve"),
    json: bool = False,
    device: Device = "auto",
) -> None:
    """Translate utterances with several k, and write the curve of BLEU against latency, with and without shifts.

    Each k of each checkpoint and shift is one evaluation, kept in out and not repeated by another call. Utterances that
    cannot be read are listed and skipped; the exit code is then 2.

    Args:
        data: as for evaluate.
        to: language of the translations; default: that of the checkpoint.
        split: part of MuST-C, such as tst-COMMON.
        checkpoints: weights to compare; default: the shipped ones.
        ks: decisions of 320 ms that wait-k waits for.
        shifts: which missing context of windows is replaced; all is shiftable context.
        out: folder for curve.json, curve.md and curve.png, and the points, each with its translations in a log as
            evaluate writes it.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from mnemic_kit.figures import can_plot
    from mnemic_kit.output import show, show_json, write_json, write_text
    from mnemic_kit.problems import Problems
    from mnemic_kit.record import open_record
    from mnemic_kit.result_files import unique_names
    from mnemic_translate.checkpoints import SHIPPED, InferenceOptions, open_translator, with_options
    from mnemic_translate.curves import as_table, measure_point, plot_curves
    from mnemic_translate.evaluation import open_clips

    if not ks or not shifts:
        raise UserError("a curve needs at least one k and one shift")
    check_at_least(1, **{"--ks": min(ks)})
    check_outputs(*(out / f"curve.{kind}" for kind in ("json", "md", "png")))
    points, problems, paths = [], list[str](), checkpoints or (SHIPPED,)
    translators = [open_translator(path, InferenceOptions(to), device) for path in paths]
    open_once = cache(open_clips)  # most checkpoints have the same languages
    for path, title, translator in zip(paths, unique_names(paths), translators, strict=True):
        clips, wrong = open_once(data, translator.source, translator.target, split)
        given = {"to": translator.target, "split": split, "device": device}
        for shift, k in product(shifts, ks):
            changed = with_options(translator, InferenceOptions(None, "wait_k", k, None, shift))
            name, settings = f"{title}-{shift}-k{k}", given | {"k": k, "shift": shift}
            record = open_record(
                out / "points" / f"{name}.json", "mnemic-translate", settings, {"data": data, "weights": path}
            )
            scores, wrong_here = measure_point(changed, clips, record)
            points.append({"checkpoint": title, "shift": shift, "k": k, **scores})
            problems += [problem for problem in wrong + wrong_here if problem not in problems]
    text = as_table(points)
    write_json(out / "curve.json", {"points": points})
    write_text(out / "curve.md", text)
    if can_plot():
        plot_curves(points, out / "curve.png", program="mnemic-translate")
    show(text)
    if json:
        show_json({"points": points})
    found = Problems([UserError(problem) for problem in problems])
    found.show("left out")
    found.exit_on_any()
