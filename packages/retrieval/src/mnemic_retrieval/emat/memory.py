"""Questions and answers as a memory, and new questions to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core import session
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.stores import KeyValueMemory
from mnemic_core.stores.key_value_memory import Precision
from mnemic_retrieval.batches import batches
from mnemic_retrieval.emat.model import Emat
from mnemic_retrieval.tokenizers import Tokenizer

Memory = TypeVar("Memory", bound="QuestionMemory")

QUESTION, ANSWER = "question: ", "answer: "
"""What texts begin with in the released code."""


@dataclass(frozen=True)
class KnownAnswer:
    """A question and its answers.

    Attributes:
        question: the question.
        answers: all that are right; the first one is stored as the value.
        source: where it is from, of JSON types.
    """

    question: str
    answers: tuple[str, ...]
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.question.strip() or not self.answers or not self.answers[0].strip():
            raise UserError(f"a known answer needs a question and an answer, got {self.question!r}, {self.answers!r}")


class Citation(NamedTuple):
    """A known answer that was looked up.

    Attributes:
        score: inner product of its key and the question.
        identity: of the pair in the memory.
        known: the pair.
    """

    score: float
    identity: int
    known: KnownAnswer


@dataclass(frozen=True)
class Answer:
    """What the network wrote.

    Attributes:
        text: the answer; empty where it abstains.
        citations: what it looked up, best first.
        is_sure: whether the best citation reached the threshold.
    """

    text: str
    citations: tuple[Citation, ...]
    is_sure: bool


class QuestionMemory:
    """A network with a table of questions and answers, which grows and shrinks without training.

    Args:
        model: trained network; put into evaluation mode.
        tokenizer: of its tokens.
        precision: of stored keys and values.
        max_tokens: longest question or answer; the rest is cut off.

    Raises:
        UserError: the tokenizer has more tokens than the network.

    Example:
        >>> from mnemic_retrieval.emat import EmatConfig
        >>> from mnemic_retrieval.t5 import T5Config
        >>> from mnemic_retrieval.tokenizers import ByteTokenizer
        >>> t5 = T5Config(259, dim=8, num_heads=2, head_dim=4, ffn_dim=16, encoder_layers=3, decoder_layers=1)
        >>> memory = QuestionMemory(Emat(EmatConfig(t5, 2, 0, 0, 1, 2)), ByteTokenizer())
        >>> identities = memory.add([KnownAnswer("who sang?", ("Ada",), {"page": 3})])
        >>> answer = memory.ask(["who sang?"])[0]  # of a network that is not trained
        >>> answer.citations[0].known.source
        {'page': 3}
    """

    def __init__(
        self, model: Emat, tokenizer: Tokenizer, *, precision: Precision = "float16", max_tokens: int = 64
    ) -> None:
        check_at_least(2, max_tokens=max_tokens)
        if tokenizer.vocab_size > model.config.t5.vocab_size:
            raise UserError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the network {model.config.t5.vocab_size}: "
                "give the tokenizer that it was trained with"
            )
        self.model, self.tokenizer, self.max_tokens = model.eval(), tokenizer, max_tokens
        config = model.config
        self.table = KeyValueMemory(
            config.t5.dim,
            num_slots=config.prefix_length,
            search_dim=config.search_dim,
            precision=precision,
            maker=fingerprint(model),
        )

    def __len__(self) -> int:
        """Return the number of known answers."""
        return len(self.table)

    @torch.no_grad()
    def add(
        self, known: Sequence[KnownAnswer], batch_size: int = 64, advance: Callable[[int], object] = lambda _: None
    ) -> Int[Tensor, " pair"]:
        """Encode questions and answers, and return their identities, ascending and never reused.

        Args:
            known: questions and answers.
            batch_size: pairs that are encoded at a time.
            advance: called with the number of pairs after each batch, for a progress bar.
        """
        identities = [torch.empty(0, dtype=torch.long)]
        for batch in batches(known, batch_size):
            keys = self.model.encode_keys(self._tokens([QUESTION + each.question for each in batch]))
            values = self.model.encode_values(self._tokens([ANSWER + each.answers[0] for each in batch]))
            payloads = [
                {"question": each.question, "answers": list(each.answers), "source": dict(each.source)}
                for each in batch
            ]
            vectors = self.model.search_vectors(keys)
            identities.append(self.table.add(vectors.cpu(), keys.cpu(), values.cpu(), payloads))
            advance(len(batch))
        return torch.cat(identities)

    def remove(self, identities: Int[Tensor, " pair"]) -> None:
        """Forget known answers, none of them if one is unknown, which is a ``UserError``."""
        self.table.remove(identities)

    def ask(self, questions: Sequence[str], batch_size: int = 64, threshold: float | None = None) -> list[Answer]:
        """Return an answer to each question.

        Args:
            questions: the questions.
            batch_size: questions that are read at a time.
            threshold: abstain where no key's score reaches it; None: never.
        """
        return [answer for batch in batches(questions, batch_size) for answer in self._ask(batch, threshold)]

    @torch.no_grad()
    def look_up(self, questions: Sequence[str], k: int, batch_size: int = 64) -> list[tuple[Citation, ...]]:
        """Return the best ``k`` known answers for each question, best first, and write no answer."""
        found: list[tuple[Citation, ...]] = []
        for batch in batches(questions, batch_size):
            vectors = self.model.ask(self._tokens([QUESTION + question for question in batch])).vector
            found += map(self._cite, *self.table.search(vectors.cpu(), k))
        return found

    def save(self, folder: str | Path) -> None:
        """Write the table; the network is saved on its own. A failure keeps what was there."""
        self.table.save(folder)

    @classmethod
    def load(
        cls: type[Memory],
        folder: str | Path,
        model: Emat,
        tokenizer: Tokenizer,
        *,
        mapped: bool = False,
        max_tokens: int = 64,
    ) -> Memory:
        """Return a memory that `save` wrote, for the network that made it.

        Args:
            folder: of the table.
            model: the network.
            tokenizer: of its tokens.
            mapped: memory-map keys and values, for a table larger than main memory.
            max_tokens: longest question or answer.

        Raises:
            FileNotFoundError: there is none.
            UserError: it is damaged, or another network made it.
        """
        table = KeyValueMemory.load(folder, maker=fingerprint(model), mapped=mapped)
        memory = cls(model, tokenizer, precision=table.precision, max_tokens=max_tokens)
        memory.table = table
        return memory

    @torch.no_grad()
    def _ask(self, questions: Sequence[str], threshold: float | None) -> Iterator[Answer]:
        stage = self.model.ask(self._tokens([QUESTION + question for question in questions]))
        scores, found = self.table.search(stage.vector.cpu(), self.model.config.num_values)
        memory = self.table.gather(found).to(stage.hidden.device)
        texts = self.tokenizer.texts(self.model.answer(stage, memory, self.max_tokens))
        for text, row_scores, row in zip(texts, scores, found, strict=True):
            citations = self._cite(row_scores, row)
            is_sure = threshold is None or (bool(citations) and citations[0].score >= threshold)
            yield Answer(text if is_sure else "", citations, is_sure)

    def _cite(self, scores: Float[Tensor, " k"], found: Int[Tensor, " k"]) -> tuple[Citation, ...]:
        citations = []
        for score, identity in zip(scores.tolist(), found.tolist(), strict=True):
            if identity >= 0:
                payload = self.table.payload(identity)
                known = KnownAnswer(payload["question"], tuple(payload["answers"]), payload["source"])
                citations.append(Citation(score, identity, known))
        return tuple(citations)

    def _tokens(self, texts: Sequence[str]) -> Int[Tensor, "text token"]:
        return self.tokenizer.batch(texts, self.max_tokens).to(self.model.encoder.prefix.device)


def fingerprint(model: Emat) -> str:
    """Return what tells networks apart whose keys and values differ: a checksum of the weights that make them."""
    encoder = {f"encoder.{name}": weight for name, weight in model.memory_encoder.state_dict().items()}
    return session.fingerprint(model, encoder | {"tokens": model.tokens.embedding.weight})[:16]
