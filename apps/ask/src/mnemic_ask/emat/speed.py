"""Questions a second, split into what the time is spent on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.stores import KeyValueMemory
from mnemic_retrieval.emat import Emat
from mnemic_retrieval.t5.generation import generate_greedy

WARM_UP, LAST = 2, 1
"""Batches at either end that the published protocol leaves out."""


@dataclass(frozen=True)
class Speed:
    """Seconds of some questions.

    Attributes:
        num_questions: that were timed.
        encode: both halves of the encoder.
        search: and reading what was found.
        decode: writing the answers.
    """

    num_questions: int
    encode: float
    search: float
    decode: float

    def summary(self) -> dict[str, float]:
        """Return questions a second, and milliseconds a question."""
        parts = {"encode": self.encode, "search": self.search, "decode": self.decode}
        per_question = {f"{name}_ms": 1000 * seconds / self.num_questions for name, seconds in parts.items()}
        return {"queries_per_second": self.num_questions / sum(parts.values()), **per_question}


def batches_to_time(
    tokens: Int[Tensor, "question token"], batch_size: int, questions: int = 200
) -> list[Int[Tensor, "batch token"]]:
    """Return batches of questions, repeated until at least ten batches and 200 questions are timed."""
    check_at_least(1, batch_size=batch_size, questions=questions)
    number = WARM_UP + max(10, -(-questions // batch_size)) + LAST
    places = torch.arange(number * batch_size) % len(tokens)
    return [tokens[part] for part in places.split(batch_size)]


@torch.no_grad()
def time_batches(
    model: Emat, table: KeyValueMemory, batches: Sequence[Int[Tensor, "batch token"]], max_tokens: int
) -> Speed:
    """Return the time of answering batches, as published: greedy, without the first two batches and the last one.

    Wall time of a clock that only goes forward; turning text into tokens and back is not included.

    Args:
        model: network in evaluation mode.
        table: its memory.
        batches: tokens of questions, on the device of the network.
        max_tokens: of an answer.
    """
    timed = batches[WARM_UP : len(batches) - LAST]
    check_at_least(1, batches=len(timed))
    for batch in batches[:WARM_UP]:
        _stages(model, table, batch, max_tokens)
    spent = [_stages(model, table, batch, max_tokens) for batch in timed]
    return Speed(sum(map(len, timed)), *(sum(part) for part in zip(*spent, strict=True)))


def _stages(
    model: Emat, table: KeyValueMemory, batch: Int[Tensor, "batch token"], max_tokens: int
) -> tuple[float, float, float]:
    """Return the seconds of encoding, searching and decoding a batch."""
    times = [_now(batch)]
    stage = model.ask(batch)
    times.append(_now(batch))
    _, found = table.search(stage.vector.cpu(), model.config.num_values)
    memory = table.gather(found).to(batch.device)
    times.append(_now(batch))
    source, padding = model.encoder.resume(stage, memory)
    times.append(_now(batch))
    generate_greedy(model.tokens, model.decoder, source, padding, max_tokens)
    times.append(_now(batch))
    first, search, second, decode = (after - before for before, after in pairwise(times))
    return first + second, search, decode


def _now(batch: Int[Tensor, "batch token"]) -> float:
    if batch.is_cuda:
        torch.cuda.synchronize(batch.device)  # kernels run after their calls have returned
    return time.perf_counter()
