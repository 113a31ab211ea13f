"""How well and how fast a trained network answers, with a memory and without."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from mnemic_ask.emat.scores import HITS, mean_scores, score_answer
from mnemic_ask.emat.sources import Example
from mnemic_ask.emat.speed import batches_to_time, time_batches
from mnemic_core.errors import UserError
from mnemic_retrieval.emat import KnownAnswer
from mnemic_retrieval.emat.checkpoint import EmatCheckpoint
from mnemic_retrieval.emat.memory import QUESTION

BATCH_SIZES = (1, 64)


def evaluate(
    checkpoint: EmatCheckpoint,
    examples: Sequence[Example],
    known: Sequence[KnownAnswer],
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> dict[str, Any]:
    """Return scores and speeds as plain values.

    Args:
        checkpoint: the network.
        examples: the questions.
        known: what the memory knows.
        batch_sizes: questions at a time, for speeds.

    Returns:
        ``with_memory``: see `mean_scores`, where hits are those of the ten best pairs; ``with_other_pairs``: of one
        without the pairs of these questions; ``without_memory``: of an empty one; ``speed``: by batch size, see
        `Speed.summary`; the numbers of questions and pairs.

    Raises:
        UserError: there are no questions or no pairs.
    """
    if not examples or not known:
        raise UserError(f"nothing to evaluate: {len(examples)} questions, {len(known)} known answers")
    memory, questions = checkpoint.new_memory(), [each.forms[0] for each in examples]
    threshold = checkpoint.settings.threshold
    without = memory.ask(questions)
    identities = memory.add(known)
    answers = memory.ask(questions, threshold=threshold)
    found = memory.look_up(questions, max(HITS))
    records = [
        score_answer(answer, example, citations)
        for answer, example, citations in zip(answers, examples, found, strict=True)
    ]
    tokens = checkpoint.tokenizer.batch([QUESTION + each for each in questions], memory.max_tokens)
    tokens = tokens.to(checkpoint.model.tokens.embedding.weight.device)
    speed = {
        size: time_batches(checkpoint.model, memory.table, batches_to_time(tokens, size), memory.max_tokens)
        for size in batch_sizes
    }
    asked = {each.known.question for each in examples}
    memory.remove(identities[torch.tensor([each.question in asked for each in known])])
    others = memory.ask(questions)
    return {
        "num_questions": len(examples),
        "num_known": len(known),
        "with_memory": mean_scores(records),
        "with_other_pairs": mean_scores([score_answer(*each) for each in zip(others, examples, strict=True)]),
        "without_memory": mean_scores([score_answer(*each) for each in zip(without, examples, strict=True)]),
        "speed": {str(size): found.summary() for size, found in speed.items()},
    }


def show_evaluation(summary: Mapping[str, Any], console: Console) -> None:
    """Print an evaluation as tables."""
    columns = ("with_memory", "with_other_pairs", "without_memory")
    scores = Table("score (%)", *(column.replace("_", " ") for column in columns), box=None)
    for name in summary["with_memory"]:
        shown = columns[:1] if name.startswith("hit") else columns
        values = (f"{100 * summary[column][name]:.1f}" for column in shown)
        scores.add_row(name.replace("hit_", "hit@").replace("_", " "), *values)
    console.print(f"{summary['num_questions']} questions, {summary['num_known']} known answers", highlight=False)
    console.print(scores)
    speeds = Table("batch", "questions/s", "encode ms", "search ms", "decode ms", box=None)
    for size, found in summary["speed"].items():
        speeds.add_row(size, *(f"{value:.4g}" for value in found.values()))
    console.print(speeds)
