"""Pictures with captions, facts about what they show, and questions that need both."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_retrieval.data.json_lines import named, read_json_lines
from mnemic_retrieval.data.records import Query, Source

WHAT, KIND, WHICH, FACT = "what", "kind", "which", "fact"
"""Categories of questions: what a picture shows, what kind of thing that is, which picture has a caption, and facts
without a picture."""

_TRAIN = "train"
_WORDS = 3  # of a fact, some of which have a dozen


@dataclass(frozen=True)
class Fact:
    """What WordNet says of a word.

    Attributes:
        synset: its number.
        words: that name it.
        topic: such as ``animal``.
        gloss: explanation.
        hypernyms: what it is a kind of, the nearest first.
    """

    synset: str
    words: tuple[str, ...]
    topic: str
    gloss: str
    hypernyms: tuple[str, ...]

    @property
    def text(self) -> str:
        """The fact as one text.

        Example:
            >>> Fact("1", ("frog", "toad"), "animal", "tailless amphibian; can leap", ("amphibian",)).text
            'frog, toad, a kind of amphibian: tailless amphibian'
        """
        kind = f", a kind of {self.hypernyms[0]}" if self.hypernyms else ""
        return f"{', '.join(self.words[:_WORDS])}{kind}: {self.gloss.split(';')[0]}"


@dataclass(frozen=True)
class Stamp:
    """A picture with its caption.

    Attributes:
        id: unique.
        part: ``train``, ``val``, ``test`` or another one.
        category: such as ``animals``.
        caption: in English.
        image: path from the folder.
        entity: lemma, synset and hypernym of what is shown; empty where that is not known.
    """

    id: str
    part: str
    category: str
    caption: str
    image: str
    entity: Mapping[str, str]

    @property
    def synset(self) -> str:
        """Synset of the entity; empty without one."""
        return self.entity.get("synset", "")


@dataclass(frozen=True)
class StampFolder:
    """A folder with ``index.jsonl``, which names pictures, captions, parts and entities, and ``facts.jsonl``.

    Sources are captions (``caption:ID``), pictures with captions (``picture:ID``) and facts (``fact:SYNSET``). Each
    picture with an entity is asked what it is (its lemma) and what kind of thing it is (the hypernym, which only its
    fact says), and each picture is searched by its caption. In ``train`` there are also questions on facts without a
    picture, but on none whose entity a picture of another part shows.

    Attributes:
        root: the folder.
        facts: file with facts; None: that of the folder, or none where there is none.
        parts: whose pictures and captions are sources; None: all.
        has_views: whether pictures without captions are sources too (``view:ID``), which `WHICH` questions are about.
    """

    root: Path
    facts: Path | None = None
    parts: tuple[str, ...] | None = None
    has_views: bool = False

    def sources(self) -> Iterator[Source]:
        """Yield captions, pictures and facts.

        Raises:
            FileNotFoundError: a file is missing.
            UserError: a line is damaged.
        """
        for stamp in self.stamps:
            if self.parts is not None and stamp.part not in self.parts:
                continue
            about = {"part": stamp.part, "category": stamp.category}
            yield Source(f"caption:{stamp.id}", "text", stamp.caption, metadata=about)
            yield Source(f"picture:{stamp.id}", "image_text", stamp.caption, str(self.root / stamp.image), about)
            if self.has_views:
                yield self.view(stamp)
        for fact in self._facts.values():
            yield Source(f"fact:{fact.synset}", "text", fact.text, metadata={"category": fact.topic})

    def view(self, stamp: Stamp) -> Source:
        """Return a picture without its caption."""
        return Source(f"view:{stamp.id}", "image", "", str(self.root / stamp.image), {"part": stamp.part})

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of a part; errors as of `sources`."""
        for stamp in self.stamps:
            if stamp.part == split:
                yield from self._about_picture(stamp)
        if split == _TRAIN:
            held_back = {stamp.synset for stamp in self.stamps if stamp.part != split}
            for fact in self._facts.values():
                if fact.synset not in held_back:
                    yield from _about_fact(fact)

    @cached_property
    def stamps(self) -> list[Stamp]:
        """All pictures with captions."""
        found = []
        for place, record in read_json_lines(self.root / "index.jsonl"):
            with named(place):
                found.append(_stamp(record))
        if not found:
            raise UserError(f"{self.root / 'index.jsonl'} names no pictures")
        return found

    @cached_property
    def _facts(self) -> dict[str, Fact]:
        path = self.root / "facts.jsonl" if self.facts is None else self.facts
        if self.facts is None and not path.exists():
            return {}
        found = {}
        for place, line in read_json_lines(path):
            with named(place):
                found[line["synset"]] = Fact(
                    line["synset"], tuple(line["words"]), line["lexname"], line["gloss"], tuple(line["hypernyms"])
                )
        return found

    @cached_property
    def _with_synset(self) -> dict[str, list[Stamp]]:
        found = defaultdict(list)
        for stamp in self.stamps:
            found[stamp.synset].append(stamp)
        return found

    @cached_property
    def _with_caption(self) -> dict[str, list[Stamp]]:
        found = defaultdict(list)
        for stamp in self.stamps:
            found[stamp.caption].append(stamp)
        return found

    def _about_picture(self, stamp: Stamp) -> Iterator[Query]:
        shown = {f"view:{each.id}": 1 for each in self._with_caption[stamp.caption]}
        question = f"Which picture shows {_inside(stamp.caption)}?"
        yield Query(f"{WHICH}:{stamp.id}", question, category=WHICH, relevant=shown, modality="image")
        if not stamp.entity:
            return
        # Training knows nothing of the other parts, not even their captions.
        same = [each for each in self._with_synset[stamp.synset] if stamp.part != _TRAIN or each.part == _TRAIN]
        relevant = {f"caption:{each.id}": 1 for each in same}
        relevant |= {f"picture:{each.id}": 1 for each in same if each.id != stamp.id}
        image, lemma, hypernym = str(self.root / stamp.image), stamp.entity["lemma"], stamp.entity["hypernym"]
        yield Query(f"{WHAT}:{stamp.id}", "What is this?", (lemma,), image, WHAT, "", relevant)
        fact = {f"fact:{stamp.synset}": 2} if stamp.synset in self._facts else {}
        needed = {f"caption:{stamp.id}": 1} | fact | relevant  # those that are enough come first
        yield Query(f"{KIND}:{stamp.id}", "What kind of thing is this?", (hypernym,), image, KIND, "", needed)


def _about_fact(fact: Fact) -> Iterator[Query]:
    word, relevant = fact.words[0], {f"fact:{fact.synset}": 1}
    yield Query(f"word:{fact.synset}", f"What is this: {fact.gloss.split(';')[0]}?", (word,), None, FACT, "", relevant)
    if fact.hypernyms:
        question = f"What kind of thing is this? {word}"
        yield Query(f"kind:{fact.synset}", question, (fact.hypernyms[0],), None, FACT, "", relevant)


def _stamp(record: Mapping[str, Any]) -> Stamp:
    entity = {name: record["entity"][name] for name in ("lemma", "synset", "hypernym")} if record.get("entity") else {}
    return Stamp(record["id"], record["split"], record["category"], record["text"]["en"], record["image"], entity)


def _inside(caption: str) -> str:
    """Return a caption as a part of a sentence.

    Example:
        >>> _inside("A frog.")
        'a frog'
    """
    return caption[:1].lower() + caption[1:].rstrip(".! ")
