"""Checkpoint of a network that answers from a memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_range
from mnemic_retrieval.checkpoint import TextCheckpoint
from mnemic_retrieval.murag.model import Murag

Loaded = TypeVar("Loaded", bound="MuragCheckpoint")


@dataclass(frozen=True)
class MuragSettings:
    """How a trained network searches and answers.

    Attributes:
        hops: searches for a question. With 2, half of the items are found by the question, the others by the question
            together with the text of the best of these, such as the fact about what a caption names.
        threshold: abstain where no item of the first search reaches this score; None: never.
        has_spans: whether answers are limited to words that stand together in the items that were found.
        max_answer_tokens: longest answer.
        max_question_tokens: of the text of a question; the rest is cut off.
        max_item_tokens: of the text of an item, likewise.
    """

    hops: int = 1
    threshold: float | None = None
    has_spans: bool = False
    max_answer_tokens: int = 64
    max_question_tokens: int = 64
    max_item_tokens: int = 128

    def __post_init__(self) -> None:
        check_range(self, 1, 2, "hops")
        check_range(self, 1, inf, "max_answer_tokens")
        check_range(self, 2, inf, "max_question_tokens", "max_item_tokens")


@dataclass(frozen=True)
class MuragCheckpoint(TextCheckpoint[Murag, MuragSettings], kind="murag"):
    """A trained network with everything between questions, items and answers.

    Networks that keep the weights of files elsewhere are told by checksums, and their files must be there.

    Raises:
        UserError: the tokenizer has more tokens than the network.
    """

    def __post_init__(self) -> None:
        tokens, outputs = self.tokenizer.vocab_size, self.model.config.t5.vocab_size
        if tokens > outputs:
            raise UserError(
                f"the parts do not fit together: {tokens} tokens in the tokenizer, {outputs} in the network"
            )

    def describe_parts(self) -> dict[str, Any]:
        """Return the tokenizer, and the checksums of weights that are kept elsewhere."""
        return super().describe_parts() | {"held": _digests(self.model)}

    @classmethod
    def from_header(cls: type[Loaded], header: Mapping[str, Any], source: str | Path) -> Loaded:
        """Return a checkpoint with untrained weights, and those that are kept elsewhere.

        Raises:
            UserError: these are not those of training, or the header is damaged.
        """
        made = super().from_header(header, source)
        expected = deserialize(dict[str, str], header.get("held"), source, "held")
        if (found := _digests(made.model)) != expected:
            raise UserError(f"{source} was trained with other encoders ({expected}) than are installed ({found})")
        return made


def _digests(model: Murag) -> dict[str, str]:
    encoder = model.encoder
    digests = {"pictures": encoder.pictures.digest}
    return digests if encoder.sentences is None else digests | {"sentences": encoder.sentences.digest}
