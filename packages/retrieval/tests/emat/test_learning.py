"""EMAT learns to answer from its memory: facts are new in every step, so that none can be learned by heart."""

from itertools import product

import pytest
import torch
from torch import nn

from mnemic_core.stores import RetrievedSlots
from mnemic_retrieval.emat import Emat, EmatConfig, KnownAnswer, QuestionMemory, autoencoding_loss, matching_loss
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted
from mnemic_retrieval.tokenizers import ByteTokenizer

NAMES = [
    "".join(parts) for parts in product(("ba", "ko", "mi", "ru", "ta", "se", "no", "vi"), ("lo", "ri", "da"), "nsxkm")
]
COLORS = ["red", "blue", "green", "white", "black", "pink", "gold", "gray"]
STEPS, BATCH, MAX_TOKENS = 500, 32, 40


def facts(number: int, generator: torch.Generator) -> list[KnownAnswer]:
    names = torch.randperm(len(NAMES), generator=generator)[:number].tolist()
    colors = torch.randint(len(COLORS), (number,), generator=generator).tolist()
    return [
        KnownAnswer(f"color of {NAMES[name]}?", (COLORS[color],)) for name, color in zip(names, colors, strict=True)
    ]


def loss_of(model: Emat, known: list[KnownAnswer]) -> torch.Tensor:
    """All losses of the paper, with the batch itself as the memory."""
    tokenizer = ByteTokenizer()
    questions = tokenizer.batch([f"question: {each.question}" for each in known], MAX_TOKENS)
    values = tokenizer.batch([f"answer: {each.answers[0]}" for each in known], MAX_TOKENS)
    labels, question_labels, value_labels = (
        tokens.masked_fill(tokens == 0, IGNORED)
        for tokens in (tokenizer.batch([each.answers[0] for each in known], MAX_TOKENS), questions, values)
    )
    key_slots, value_slots = model.encode_keys(questions), model.encode_values(values)
    vectors, stage = model.search_vectors(key_slots), model.ask(questions)
    found = (stage.vector @ vectors.mT).topk(model.config.num_values).indices
    memory = RetrievedSlots(key_slots[found], value_slots[found], torch.ones_like(found, dtype=torch.bool))
    generation = sequence_loss(model(stage, memory, shifted(labels, pad_id=0)), labels)
    rebuilding = autoencoding_loss(model, key_slots, question_labels) + autoencoding_loss(
        model, value_slots, value_labels
    )
    return generation + matching_loss(stage.vector, vectors, torch.arange(len(known))) + 0.5 * rebuilding


@pytest.fixture(scope="module")
def trained() -> Emat:
    torch.manual_seed(0)
    t5 = T5Config(259, 96, 4, 24, 192, 4, 2, "relu", tie_embeddings=True, scale_outputs=True, dropout=0.0)
    model = Emat(EmatConfig(t5, key_layer=1, insert_layer=1, value_layer=2, num_values=4))
    optimizer, generator = torch.optim.AdamW(model.parameters(), 1e-3), torch.Generator().manual_seed(1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 100) * (1 - step / STEPS))
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, facts(BATCH, generator)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def share_right(memory: QuestionMemory, known: list[KnownAnswer]) -> float:
    answers = memory.ask([each.question for each in known])
    return sum(answer.text == each.answers[0] for answer, each in zip(answers, known, strict=True)) / len(known)


@pytest.mark.slow
def test_facts_are_answered_as_long_as_they_are_in_memory(trained: Emat) -> None:
    known = facts(100, torch.Generator().manual_seed(99))
    memory = QuestionMemory(trained, ByteTokenizer(), precision="int8", max_tokens=MAX_TOKENS)
    assert share_right(memory, known) < 0.3  # an eighth by chance
    identities = memory.add(known)
    assert share_right(memory, known) > 0.9
    memory.remove(identities[:50])
    assert share_right(memory, known[:50]) < 0.3
    assert share_right(memory, known[50:]) > 0.9
    changed = [KnownAnswer(each.question, (COLORS[(COLORS.index(each.answers[0]) + 1) % 8],)) for each in known[:50]]
    memory.add(changed)
    assert share_right(memory, changed) > 0.9
