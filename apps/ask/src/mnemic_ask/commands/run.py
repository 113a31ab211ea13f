"""``mnemic-ask run``: ask a memory."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def run(
    question: str,
    /,
    memory: str,
    image: Path | None = None,
    where: str | None = None,
    checkpoint: Path | None = None,
    threshold: float | None = None,
    out: Path | None = None,
    json: bool = False,
    device: Device = "auto",
) -> None:
    """Answer a question from a memory, such as: run "What is this?" --image frog.jpg --memory runs/memory.

    Below the answer are the items that it was read from, with the score by which each was found and its share of the
    attention while the answer was written; those that the answer rests on are marked.

    Args:
        question: what to ask.
        memory: folder of the memory, or URL of a database; see index.
        image: picture that belongs to the question.
        where: only items that satisfy a filter, such as "year >= 2000 and modality == 'text'".
        checkpoint: weights; default: the shipped ones.
        threshold: give no answer where no item reaches this score; default: as the checkpoint says.
        out: folder for answer.html, a page with the sources and their pictures.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from mnemic_ask.answering import as_json, show_answer
    from mnemic_ask.opening import open_assistant
    from mnemic_ask.page import make_page
    from mnemic_kit.output import show, show_json, write_text
    from mnemic_retrieval.murag import Question
    from mnemic_retrieval.pictures import read_picture
    from mnemic_retrieval.store import parse_filter

    if not question.strip() and image is None:
        raise UserError("the question is empty: give a text, an --image or both")
    if out is not None:
        check_outputs(out / "answer.html")
    condition = None if where is None else parse_filter(where)
    asked = Question(question, None if image is None else read_picture(image))
    assistant = open_assistant(memory, checkpoint, device)
    if threshold is not None:
        assistant.abstain_below(threshold)
    with assistant.store:
        answer = assistant.ask([asked], condition)[0]
    show_answer(answer)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "answer.html", make_page("Answer", [(asked, answer)]))
        show(f"written: {out / 'answer.html'}")
    if json:
        show_json(as_json(answer))
