"""The pairs that belong to each training question, searched again as the network changes."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_ask.emat.datamodule import EmatData
from mnemic_core.deserialize import deserialize
from mnemic_retrieval.emat import Emat
from mnemic_retrieval.emat.mining import MiningConfig, encode_vectors, nearest_pairs

KEY = "mined_pairs"
"""Where a checkpoint has them."""


class MinedPairs:
    """The best pairs of the memory for each training question, by the weights of the last search.

    They are part of the state of a training: weights change after a search, so that they do not follow from those of a
    checkpoint.

    Args:
        config: how many, and how often they are searched again.
    """

    def __init__(self, config: MiningConfig) -> None:
        self.config = config
        self._local: Int[Tensor, "question local"] | None = None
        self._step = -1

    def is_due(self, epoch: int, step: int, *, begins_epoch: bool) -> bool:
        """Return whether to search before the step."""
        if self._local is None:
            return True
        if self.config.every_n_steps is not None:
            return step % self.config.every_n_steps == 0 and step != self._step
        return begins_epoch and epoch % self.config.every_n_epochs == 0

    @torch.no_grad()
    def search(self, model: Emat, data: EmatData, step: int) -> None:
        """Encode all pairs and all questions, and keep the best pairs of each question in 4 bytes."""
        was_training = model.training
        model.eval()
        device = model.tokens.embedding.weight.device
        queries = torch.cat([model.ask(tokens.to(device)).vector for tokens in data.questions_in_order()])
        vectors = encode_vectors(model, data.pairs)
        self._local = nearest_pairs(queries, vectors, self.config.local_size).int().cpu()
        self._step = step
        model.train(was_training)

    def of(self, places: Int[Tensor, " batch"]) -> Int[Tensor, "batch local"]:
        """Return the numbers of the pairs of some questions, best first."""
        assert self._local is not None, "search comes first"
        return self._local[places].long()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"local": self._local, "step": self._step}

    def restore(self, state: object, source: str) -> None:
        """Continue with the pairs of a checkpoint; a damaged one is a ``UserError``."""
        given: dict[str, Any] = deserialize(dict[str, Any], state, source, KEY)
        self._local = deserialize(Tensor | None, given.get("local"), source, f"{KEY}.local")
        self._step = deserialize(int, given.get("step"), source, f"{KEY}.step")
