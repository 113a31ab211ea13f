"""The losses of a training step: which pairs its questions look up, encoded anew."""

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_ask.emat.batches import QuestionBatch
from mnemic_ask.emat.datamodule import EmatData
from mnemic_ask.emat.mined_pairs import MinedPairs
from mnemic_retrieval.emat import Emat
from mnemic_retrieval.emat.criterion import EmatLosses, EncodedQuestions, LossWeights, emat_losses, encode_step
from mnemic_retrieval.emat.lookup import look_up_mined, look_up_neighbors
from mnemic_retrieval.emat.mining import draw_pairs
from mnemic_retrieval.emat.pair_tokens import PairTokens


def pretraining_losses(
    model: Emat, batch: QuestionBatch, data: EmatData, self_prob: float, weights: LossWeights
) -> EmatLosses:
    """Return the losses of questions with neighbors of their own pairs."""
    number, device = model.config.num_values, batch.questions.device
    rows, neighbors = batch.places, None
    if data.neighbors is not None:
        found = data.neighbors[batch.places, :number].long()
        rows = torch.cat([rows, found.flatten()])
        neighbors = len(batch) + torch.arange(found.numel(), device=device).view(found.shape)
    encoded, keys, values = _encode(model, batch, data.pairs, rows)
    lookup = look_up_neighbors(encoded.scores, rows.to(device), number, self_prob, neighbors)
    return emat_losses(model, encoded, lookup, batch.labels, keys, values, weights)


def finetuning_losses(
    model: Emat, batch: QuestionBatch, data: EmatData, mined: MinedPairs, weights: LossWeights
) -> EmatLosses:
    """Return the losses of questions with right and wrong pairs of a large memory."""
    pairs, local = data.pairs, mined.of(batch.places)
    right = pairs.ids_of([each.answers for each in batch.examples])
    drawn = draw_pairs(local, pairs.answer_ids[local], right, mined.config)
    encoded, keys, values = _encode(model, batch, pairs, drawn.rows.flatten())
    lookup = look_up_mined(encoded.scores, drawn.to(batch.questions.device), model.config.num_values)
    return emat_losses(model, encoded, lookup, batch.labels, keys, values, weights)


def _encode(
    model: Emat, batch: QuestionBatch, pairs: PairTokens, rows: Int[Tensor, " pair"]
) -> tuple[EncodedQuestions, Int[Tensor, "pair key_token"], Int[Tensor, "pair value_token"]]:
    """Return questions and keys, and the tokens of the pairs."""
    device = batch.questions.device
    keys, values = pairs.questions(rows).to(device), pairs.answers(rows).to(device)
    return encode_step(model, batch.questions, keys), keys, values
