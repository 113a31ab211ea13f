"""Questions a second of EMAT at the paper's size: T5 base, ten pairs a question, slots in int8.

Weights and memory are random, which does not change the cost, except that answers do not end: each has ``max_tokens``
tokens, more than most answers to questions have. The published protocol leaves out the
first two batches and the last one. Published: 1000 questions a second on a GPU (arXiv 2210.16773).
"""

from dataclasses import replace
from typing import Any, Literal

import torch
from common.report import resident_bytes, run

from mnemic_ask.emat.speed import batches_to_time, time_batches
from mnemic_core.errors import check_at_least
from mnemic_core.stores import ExactIndex, KeyValueMemory
from mnemic_retrieval.emat import Emat, EmatConfig, emat_async, emat_serial


def random_memory(config: EmatConfig, pairs: int) -> KeyValueMemory:
    """Return a table of random keys and values.

    Keys and values are the same numbers, and nothing is copied: a million pairs then fit into 5 GB.
    """
    dim, slots = config.t5.dim, config.prefix_length
    table = KeyValueMemory(dim, num_slots=slots, search_dim=config.search_dim, precision="int8")
    vectors = torch.randn(pairs, config.search_dim or dim)
    stored, scale = torch.randint(-127, 128, (pairs, slots, dim), dtype=torch.int8), torch.full((pairs, slots, 1), 0.01)
    tensors = {"keys": vectors, "identities": torch.arange(pairs)}
    tensors |= {f"attached.{part}": stored for part in ("keys", "values")}
    tensors |= {f"attached.{part}_scale": scale for part in ("keys", "values")}
    content = {"dim": vectors.shape[1], "next_identity": pairs, "payloads": [{}] * pairs}
    table._index = ExactIndex.from_snapshot(tensors, content)
    return table


def question_memory(
    pairs: tuple[int, ...] = (100_000, 1_000_000),
    batch_sizes: tuple[int, ...] = (1, 64),
    tokens: int = 20,
    max_tokens: int = 8,
    questions: int = 20,
    search_dim: int | None = None,
    variant: Literal["serial", "async"] = "serial",
    device: Literal["cpu", "cuda"] = "cpu",
) -> dict[str, Any]:
    """Time questions.

    Args:
        pairs: sizes of the memory.
        batch_sizes: questions at a time.
        tokens: of a question.
        max_tokens: of an answer.
        questions: least number that is timed.
        search_dim: width of search vectors; default: that of tokens.
        variant: FKSV or SKSV.
        device: of the network; the memory is searched on the CPU.
    """
    check_at_least(2, tokens=tokens)
    torch.manual_seed(0)
    config = replace(emat_serial() if variant == "serial" else emat_async(), search_dim=search_dim)
    model = Emat(config).eval().to(device)
    asked = torch.randint(3, config.t5.vocab_size, (max(batch_sizes), tokens)).to(device)
    sizes = []
    for number in pairs:
        table = random_memory(config, number)
        speeds = {
            str(size): time_batches(model, table, batches_to_time(asked, size, questions), max_tokens).summary()
            for size in batch_sizes
        }
        sizes.append({"pairs": number, "resident_bytes": resident_bytes(), "batch_size": speeds})
        del table
    return {
        "variant": variant,
        "k": config.num_values,
        "search_dim": config.search_dim or config.t5.dim,
        "question_tokens": tokens,
        "answer_tokens": max_tokens,
        "sizes": sizes,
    }


if __name__ == "__main__":
    run(question_memory)
