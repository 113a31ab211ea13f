"""All losses of a training step (arXiv 2210.16773, section 3)."""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_core.stores import RetrievedSlots
from mnemic_retrieval.emat.encoder import QueryStage
from mnemic_retrieval.emat.lookup import Lookup
from mnemic_retrieval.emat.losses import autoencoding_loss, matching_loss
from mnemic_retrieval.emat.model import Emat
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses beside that of the answer, which has 1; the defaults are those of pre-training.

    Attributes:
        keys: of rebuilding questions from their keys.
        values: of rebuilding answers from their values.
        matching: of finding the key that belongs to a question.
    """

    keys: float = 0.5
    values: float = 0.5
    matching: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0, inf, "keys", "values", "matching")


@dataclass(frozen=True)
class EmatLosses:
    """Losses of a step, in nats.

    Attributes:
        total: their weighted sum.
        answer: of writing the answers.
        keys: see `LossWeights`; 0 where the weight is.
        values: likewise.
        matching: likewise.
    """

    total: Float[Tensor, ""]
    answer: Float[Tensor, ""]
    keys: Float[Tensor, ""]
    values: Float[Tensor, ""]
    matching: Float[Tensor, ""]


@dataclass(frozen=True)
class EncodedQuestions:
    """Questions with the pairs of a step as far as they are needed to search.

    Attributes:
        stage: the questions in the encoder.
        keys: of the pairs.
        vectors: search vectors of these.
    """

    stage: QueryStage
    keys: Float[Tensor, "pair slot dim"]
    vectors: Float[Tensor, "pair search"]

    @property
    def scores(self) -> Float[Tensor, "batch pair"]:
        """Inner products, in single precision: they decide between close neighbors."""
        return self.stage.vector.float() @ self.vectors.float().mT


def encode_step(
    model: Emat, questions: Int[Tensor, "batch token"], key_tokens: Int[Tensor, "pair key_token"]
) -> EncodedQuestions:
    """Encode questions and the keys of pairs."""
    keys = model.encode_keys(key_tokens)
    return EncodedQuestions(model.ask(questions), keys, model.search_vectors(keys))


def emat_losses(
    model: Emat,
    encoded: EncodedQuestions,
    lookup: Lookup,
    labels: Int[Tensor, "batch output"],
    key_tokens: Int[Tensor, "pair key_token"],
    value_tokens: Int[Tensor, "pair value_token"],
    weights: LossWeights,
) -> EmatLosses:
    """Return the losses of questions that look up some of a step's pairs.

    Args:
        model: the network.
        encoded: from `encode_step`.
        lookup: what the questions look up.
        labels: tokens of the answers, -100 at padding.
        key_tokens: questions of the pairs.
        value_tokens: answers of the pairs.
        weights: of the losses.
    """
    own, nothing = lookup.candidates[: len(labels)], labels.new_zeros((), dtype=torch.float32)
    # Values cost most: only those are encoded that are read or rebuilt.
    needed = torch.cat([lookup.memory.flatten().clamp(min=0), own])
    places, found = needed.unique(return_inverse=True)
    values = model.encode_values(value_tokens[places])
    of_memory, of_own = found[: lookup.memory.numel()].view_as(lookup.memory), found[lookup.memory.numel() :]
    memory = RetrievedSlots(encoded.keys[lookup.memory.clamp(min=0)], values[of_memory], lookup.memory >= 0)
    pad = model.config.t5.pad_id
    answer = sequence_loss(model(encoded.stage, memory, shifted(labels, pad)), labels)
    rebuilt = {
        "keys": (weights.keys, encoded.keys[own], key_tokens[own]),
        "values": (weights.values, values[of_own], value_tokens[own]),
    }
    parts = {
        name: autoencoding_loss(model, slots, tokens.masked_fill(tokens == pad, IGNORED)) if weight else nothing
        for name, (weight, slots, tokens) in rebuilt.items()
    }
    vectors = encoded.vectors[lookup.candidates]
    matching = (
        matching_loss(encoded.stage.vector, vectors, lookup.targets, lookup.allowed) if weights.matching else nothing
    )
    total = answer + weights.keys * parts["keys"] + weights.values * parts["values"] + weights.matching * matching
    return EmatLosses(total, answer, parts["keys"], parts["values"], matching)
