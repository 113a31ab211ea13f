"""Sources of questions with answers: files of public sets, or WordNet's nouns."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from mnemic_ask.emat.wordnet import Noun, read_nouns
from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_kit.seeding import hashed_seed
from mnemic_retrieval.data.questions import read_questions
from mnemic_retrieval.emat import KnownAnswer

Part = Literal["all", "train", "val", "test"]
"""Share of WordNet's words; every word is in one of the last three."""

_TENTHS: tuple[Part, ...] = ("val", "test", *(("train",) * 8))


@dataclass(frozen=True)
class Example:
    """A question, and what a memory knows of it.

    Attributes:
        forms: ways to ask; training draws one, tests take the first.
        answers: all that are right.
        known: the pair of a memory that answers it.
        relation: kind of question, by which scores are split; may be empty.
    """

    forms: tuple[str, ...]
    answers: tuple[str, ...]
    known: KnownAnswer
    relation: str = ""


@dataclass(frozen=True)
class QuestionSource:
    """One source of questions and answers.

    Args:
        name: ``questions`` is a file of NQ, TriviaQA, PAQ or KILT; ``wordnet`` asks for WordNet's nouns by their
            definitions, and for what they are kinds of.
        path: file with one JSON object a line; for ``wordnet`` also ``data.noun``.
        part: of the words of ``wordnet``. Questions of ``train`` neither name a word of another part nor have one as an
            answer, and are phrased otherwise than all others.
        limit: most questions; null for all.
    """

    name: Literal["questions", "wordnet"]
    path: Path
    part: Part = "all"
    limit: int | None = None

    def __post_init__(self) -> None:
        check_choice(Part, part=self.part)
        check_range(self, 1, inf, "limit")

    def __str__(self) -> str:
        """Return a short description."""
        return f"{self.path}{'' if self.part == 'all' else f' ({self.part})'}"

    def open(self) -> list[Example]:
        """Return the questions.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: a line is malformed, or no question is left.
        """
        if self.name == "questions":
            found = [Example((each.question,), each.answers, each) for each in read_questions(self.path, self.limit)]
        else:
            nouns = [noun for noun in read_nouns(self.path) if self.part in ("all", part_of(noun.word))]
            found = [example for noun in nouns for example in self._of_noun(noun)][: self.limit]
        if not found:
            raise UserError(f"{self} has no questions")
        return found

    def _of_noun(self, noun: Noun) -> Iterator[Example]:
        asked = noun.asked()
        for relation, known in noun.known().items():
            answers = known.answers
            if self.part != "train":
                yield Example((asked[relation].question,), answers, known, relation)
            elif all(part_of(answer) == "train" for answer in answers):
                # The answer that the memory gives: another right one could not be copied from it.
                yield Example(noun.asked_in_training(relation), answers[:1], known, relation)


def part_of(word: str) -> Part:
    """Return the part that a word belongs to, the same in every file.

    Example:
        >>> part_of("frog") == part_of("Frog")
        True
    """
    return _TENTHS[hashed_seed("wordnet", word.lower()) % len(_TENTHS)]
