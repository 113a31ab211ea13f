"""What the demo asks about, and the pictures that it finds as an answer."""

from collections.abc import Sequence

from mnemic_core.errors import UserError
from mnemic_retrieval.data import StampFolder
from mnemic_retrieval.data.stamps import Stamp
from mnemic_retrieval.murag import Answer, Citation
from mnemic_retrieval.store import Eq, Filter, Hit, Not

PICTURES: Filter = Not(Eq("modality", "text"))


def choose_stamp(folder: StampFolder, split: str, identity: str | None) -> Stamp:
    """Return the picture to ask about.

    Raises:
        FileNotFoundError: there is no such folder.
        UserError: the part has no picture with an entity of that id.
    """
    known = [stamp for stamp in folder.stamps if stamp.part == split and stamp.entity]
    chosen = [stamp for stamp in known if identity in {None, stamp.id}]
    if not chosen:
        names = ", ".join(stamp.id for stamp in known[:4])
        raise UserError(
            f"{folder.root} has no picture {identity or ''} with an entity in {split!r}: choose {names} ..."
        )
    return chosen[0]


def found_pictures(hits: Sequence[Hit]) -> Answer:
    """Return pictures that were searched as an answer, the caption of the best one."""
    citations = tuple(Citation(hit.score, hit.item, float(place == 0)) for place, hit in enumerate(hits))
    return Answer(hits[0].item.text if hits else "", citations, bool(hits))
