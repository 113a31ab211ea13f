"""The tokens of a memory's questions and answers, for training, in which keys and values change with the weights."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_retrieval.batches import batches
from mnemic_retrieval.emat.memory import ANSWER, QUESTION, KnownAnswer
from mnemic_retrieval.metrics.squad import normalize_answer
from mnemic_retrieval.tokenizers import PAD_ID, Tokenizer

NO_ANSWER = -1
"""Fills rows of answers."""


class PairTokens:
    """Tokens and answers of pairs, in 4 bytes a token, since PAQ has 65 million pairs.

    Args:
        known: the pairs.
        tokenizer: of the network.
        max_tokens: longest question or answer; the rest is cut off.

    Example:
        >>> from mnemic_retrieval.tokenizers import ByteTokenizer
        >>> known = [KnownAnswer("who?", ("Ada",)), KnownAnswer("where?", ("here",)), KnownAnswer("she?", ("ada",))]
        >>> pairs = PairTokens(known, ByteTokenizer(), max_tokens=20)
        >>> pairs.answers(torch.tensor([0, 1])).shape
        torch.Size([2, 13])
        >>> pairs.answer_ids.tolist(), pairs.ids_of([("Ada", "here"), ("there",)]).tolist()
        ([0, 1, 0], [[0, 1], [-1, -1]])
    """

    def __init__(self, known: Sequence[KnownAnswer], tokenizer: Tokenizer, max_tokens: int) -> None:
        self._questions = _Rows([QUESTION + each.question for each in known], tokenizer, max_tokens)
        self._answers = _Rows([ANSWER + each.answers[0] for each in known], tokenizer, max_tokens)
        self._ids: dict[str, int] = {}
        self.answer_ids = torch.tensor(
            [self._ids.setdefault(normalize_answer(each.answers[0]), len(self._ids)) for each in known]
        )

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.answer_ids)

    def questions(self, rows: Int[Tensor, " pair"]) -> Int[Tensor, "pair token"]:
        """Return the tokens from which keys are made."""
        return self._questions.of(rows)

    def answers(self, rows: Int[Tensor, " pair"]) -> Int[Tensor, "pair token"]:
        """Return the tokens from which values are made."""
        return self._answers.of(rows)

    def ids_of(self, answers: Sequence[Sequence[str]]) -> Int[Tensor, "question answer"]:
        """Return the numbers in `answer_ids` of each question's right answers, filled with -1."""
        found = [[self._ids.get(normalize_answer(each), NO_ANSWER) for each in row] for row in answers]
        ids = torch.full((len(found), max(map(len, found), default=1)), NO_ANSWER)
        for place, row in enumerate(found):
            ids[place, : len(row)] = torch.tensor(row)
        return ids


class _Rows:
    """Rows of tokens of different lengths, one after the other."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int, block: int = 1024) -> None:
        parts, lengths = [torch.empty(0, dtype=torch.int32)], [torch.zeros(1, dtype=torch.long)]
        for part in batches(texts, block):
            tokens = tokenizer.batch(part, max_tokens)
            parts.append(tokens[tokens != PAD_ID].int())
            lengths.append((tokens != PAD_ID).sum(1))
        self._tokens, self._ends = torch.cat(parts), torch.cat(lengths).cumsum(0)

    def of(self, rows: Int[Tensor, " row"]) -> Int[Tensor, "row token"]:
        starts, lengths = self._ends[rows], self._ends[rows + 1] - self._ends[rows]
        place = torch.arange(int(lengths.max()) if len(rows) else 0)
        is_filled = place < lengths[:, None]
        found = torch.full(is_filled.shape, PAD_ID)
        found[is_filled] = self._tokens[(starts[:, None] + place)[is_filled]].long()
        return found
