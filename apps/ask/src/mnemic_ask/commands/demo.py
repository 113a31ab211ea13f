"""``mnemic-ask demo``: fill a memory with pictures, and ask it three questions."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs


def demo(
    data: Path = Path("../shared/data/stamps"),
    split: str = "test",
    picture: str | None = None,
    sought: str = "an animal with a long neck",
    out: Path = Path("runs/demo-ask"),
    checkpoint: Path | None = None,
    device: Device = "auto",
) -> None:
    """Put captions, facts and pictures into a memory, ask about a picture that is not in it, and look for another one.

    The memory stays in out/memory for run and serve.

    Args:
        data: folder of stamps.
        split: of the pictures that are left out of the memory.
        picture: id of the picture to ask about; default: the first with an entity.
        sought: what the third question looks for.
        out: folder for the memory and page.html.
        checkpoint: weights; default: the shipped ones.
        device: auto uses a GPU if available.
    """
    from rich.console import Console

    from mnemic_ask.answering import show_answer
    from mnemic_ask.demonstration import PICTURES, choose_stamp, found_pictures
    from mnemic_ask.indexing import fill
    from mnemic_ask.opening import open_or_create
    from mnemic_ask.page import make_page
    from mnemic_ask.scoring import question_of
    from mnemic_kit.output import show, write_text
    from mnemic_retrieval.data import StampFolder
    from mnemic_retrieval.data.stamps import KIND, WHAT
    from mnemic_retrieval.murag import Question

    if not sought.strip():
        raise UserError("--sought is empty: say what the picture should show")
    page, folder = out / "page.html", StampFolder(data.resolve())
    check_outputs(page)
    stamp = choose_stamp(folder, split, picture)
    queries = {query.id: query for query in folder.queries(split)}
    asked = [question_of(queries[f"{category}:{stamp.id}"]) for category in (WHAT, KIND)]
    out.mkdir(parents=True, exist_ok=True)
    assistant = open_or_create(str(out / "memory"), checkpoint, device)
    shown = str(folder.root / stamp.image)
    with assistant.store:
        fill(assistant, [source for source in folder.sources() if source.image != shown], Console(stderr=True))
        seeking = Question(f"Which picture shows {sought}?")
        answers = [*zip(asked, assistant.ask(asked), strict=True)]
        answers.append((seeking, found_pictures(assistant.search([seeking], 4, PICTURES)[0])))
    for question, answer in answers:
        show(f"\n{question.text}{'' if question.image is None else f' ({stamp.id})'}")
        show_answer(answer)
    write_text(page, make_page("Three questions to a memory of pictures", answers))
    show(f"\nwritten: {page}")
