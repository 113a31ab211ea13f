"""Questions and answers made of WordNet's nouns: a small open set on which a memory can be trained and measured."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file
from mnemic_retrieval.data.json_lines import named, read_json_lines
from mnemic_retrieval.emat import KnownAnswer

# What the memory holds, by relation.
KNOWN = {"kind": "what kind of thing is {word}?", "word": "which word means {gloss}?"}
# How training asks; tests ask in a way that neither the memory nor training has.
TRAINED = {
    "kind": (
        "{word} is a kind of what?",
        "name the thing that {word} is a kind of",
        "{word}: what is it?",
        "tell me what {word} is",
    ),
    "word": (
        "{gloss}: what is it called?",
        "name this: {gloss}",
        "what is called {gloss}?",
        "tell me the word for {gloss}",
    ),
}
TESTED = {"kind": "of what kind is {word}?", "word": "{gloss}: name the word"}

_GLOSS_WORDS = 8
_HYPERNYMS = {"@", "@i"}


@dataclass(frozen=True)
class Noun:
    """A word with what WordNet says about it.

    Attributes:
        word: the first word of its first sense.
        words: all of that sense.
        kinds: what it is a kind of, in any of its senses.
        gloss: beginning of the definition of its first sense.
    """

    word: str
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    gloss: str

    def known(self) -> dict[str, KnownAnswer]:
        """Return what a memory is to know, by relation."""
        return {relation: self._ask(relation, form) for relation, form in KNOWN.items() if self._answers(relation)}

    def asked(self) -> dict[str, KnownAnswer]:
        """Return the questions of a test, which are phrased otherwise, by relation."""
        return {relation: self._ask(relation, TESTED[relation]) for relation in self.known()}

    def asked_in_training(self, relation: str) -> tuple[str, ...]:
        """Return the ways in which training asks for a relation."""
        return tuple(self._ask(relation, form).question for form in TRAINED[relation])

    def _ask(self, relation: str, form: str) -> KnownAnswer:
        source = {"word": self.word, "relation": relation}
        return KnownAnswer(form.format(word=self.word, gloss=self.gloss), self._answers(relation), source)

    def _answers(self, relation: str) -> tuple[str, ...]:
        return self.kinds if relation == "kind" else self.words


def read_nouns(path: str | Path) -> list[Noun]:
    """Return the nouns of a file, each word once.

    Args:
        path: one JSON object a line with ``words``, ``gloss`` and ``hypernyms``, or WordNet's own ``data.noun``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a line is of another form.
    """
    check_file(path)
    senses = _json_senses(path) if Path(path).suffix == ".jsonl" else _wordnet_senses(path)
    nouns: dict[str, Noun] = {}
    for sense in senses:
        first = nouns.setdefault(sense.word.lower(), sense)
        nouns[sense.word.lower()] = replace(first, kinds=tuple(dict.fromkeys((*first.kinds, *sense.kinds))))
    if not nouns:
        raise UserError(f"{path} has no nouns: give data.noun of WordNet 3, or its facts as JSON lines")
    return list(nouns.values())


def _json_senses(path: str | Path) -> Iterator[Noun]:
    for place, line in read_json_lines(path):
        with named(place):
            words = tuple(map(str, line["words"]))
            yield Noun(words[0], words, tuple(map(str, line["hypernyms"])), _shorten(line["gloss"]))


def _wordnet_senses(path: str | Path) -> Iterator[Noun]:
    """Yield the senses of a file of WordNet 3; its format is described in the manual page wndb(5)."""
    rows = [line.split(" | ", 1) for line in Path(path).read_text("utf-8").splitlines() if not line.startswith("  ")]
    try:
        fields = {row.split()[0]: row.split()[1:] for row, _ in rows}
        words = {name: _words(found) for name, found in fields.items()}
        for row, gloss in rows:
            name = row.split()[0]
            kinds = tuple(words[kind][0] for kind in _hypernyms(fields[name]))
            yield Noun(words[name][0], words[name], kinds, _shorten(gloss))
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} is no data.noun of WordNet 3 ({error!r})") from error


def _words(fields: list[str]) -> tuple[str, ...]:
    """Return the words of a sense, whose fields are file, part of speech, a number in base 16, and pairs."""
    number = int(fields[2], 16)
    if len(fields) < 4 + 2 * number:  # the number of pointers follows
        raise ValueError(f"{number} words, but {len(fields)} fields")
    return tuple(word.replace("_", " ") for word in fields[3 : 3 + 2 * number : 2])


def _hypernyms(fields: list[str]) -> Iterable[str]:
    """Return the names of more general senses; every pointer has four fields, kind and target first."""
    pointers = fields[4 + 2 * int(fields[2], 16) :]
    return [target for kind, target in zip(pointers[::4], pointers[1::4], strict=False) if kind in _HYPERNYMS]


def _shorten(gloss: str) -> str:
    """Return the first part of a definition, without examples and remarks."""
    first = re.split(r"[;\"]", re.sub(r"\([^)]*\)", " ", gloss))[0]
    return " ".join(first.split()[:_GLOSS_WORDS]) or gloss.strip()
