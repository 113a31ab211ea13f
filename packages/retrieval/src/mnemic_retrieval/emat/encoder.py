"""The encoder of EMAT: makes keys, values and queries, and goes on with what was found."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.stores import RetrievedSlots
from mnemic_retrieval.emat.config import EmatConfig
from mnemic_retrieval.emat.key_heads import build_key_head
from mnemic_retrieval.t5.blocks import NORM_EPS, masked_bias
from mnemic_retrieval.t5.encoder import T5Encoder


@dataclass(frozen=True)
class QueryStage:
    """Questions on their way through the encoder, before the memory enters.

    Attributes:
        vector: what the memory is searched with.
        hidden: prefix and tokens after the layers so far.
        padding: True at tokens to ignore.
        next_layer: that follows.
    """

    vector: Float[Tensor, "batch search"]
    hidden: Float[Tensor, "batch token dim"]
    padding: Bool[Tensor, "batch token"]
    next_layer: int


class EmatEncoder(nn.Module):
    """T5's encoder with a prefix, in which early layers make the query and later ones read the result.

    Keys, values and questions go through the same layers. A question's pass is `start`, a search by the caller, and
    `resume`; `advance` runs the layers that do not wait for the search.

    Args:
        config: sizes and layers.

    Attributes:
        memory_bias: added to the attention logits of each head between a retrieved slot and anything; None if position
            bias ends with the insertion.
    """

    def __init__(self, config: EmatConfig) -> None:
        super().__init__()
        self.config = config
        self.stack = T5Encoder(config.t5)
        self.prefix = nn.Parameter(torch.randn(config.prefix_length, config.t5.dim))
        self.key_head = build_key_head(config)
        self.key_norm = nn.RMSNorm(config.t5.dim, NORM_EPS)
        self.adapter = None if config.search_dim is None else nn.Linear(config.t5.dim, config.search_dim)
        keeps_bias = config.bias_after_insertion == "recompute"
        self.memory_bias = nn.Parameter(torch.zeros(config.t5.num_heads)) if keeps_bias else None

    def keys(
        self, x: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch slot dim"]:
        """Return the slots of keys, not normalized, from embedded tokens."""
        slots: Tensor = self.key_head(*self._run_to(x, padding, self.config.key_layer))
        return slots

    def values(
        self, x: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch slot dim"]:
        """Return the slots of values from embedded tokens: the hidden states of the prefix."""
        hidden, _ = self._run_to(x, padding, self.config.value_layer)
        return hidden[:, : self.config.prefix_length]

    def normalize(self, slots: Float[Tensor, "batch slot dim"]) -> Float[Tensor, "batch slot dim"]:
        """Return normalized slots, from which texts are rebuilt and search vectors made."""
        normalized: Tensor = self.stack.dropout(self.key_norm(slots))
        return normalized

    def search_vectors(self, key_slots: Float[Tensor, "batch slot dim"]) -> Float[Tensor, "batch search"]:
        """Return the vectors whose inner products rank keys for a question."""
        mean = self.normalize(key_slots).mean(1)
        return mean if self.adapter is None else self.adapter(mean)

    def start(self, x: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]) -> QueryStage:
        """Encode embedded questions as far as their search vectors."""
        hidden, padding = self._run_to(x, padding, self.config.key_layer)
        vector = self.search_vectors(self.key_head(hidden, padding))
        return QueryStage(vector, hidden, padding, self.config.key_layer + 1)

    def advance(self, stage: QueryStage) -> QueryStage:
        """Run the layers up to the insertion, which need no memory."""
        stop = self.config.insert_layer + 1
        hidden = self.stack.run(stage.hidden, self._bias(stage.padding), stage.next_layer, stop)
        return QueryStage(stage.vector, hidden, stage.padding, stop)

    def resume(
        self, stage: QueryStage, memory: RetrievedSlots
    ) -> tuple[Float[Tensor, "batch place dim"], Bool[Tensor, "batch place"]]:
        """Return the encoded slots, prefix and tokens, and True at what is to be ignored of them.

        Raises:
            UserError: the slots have another shape than those of this encoder.
        """
        config = self.config
        _check_slots(memory, config)
        stage = self.advance(stage)
        keys, values = (part.flatten(1, 2).to(stage.hidden.dtype) for part in (memory.keys, memory.values))
        number = keys.shape[1]
        hidden = torch.cat([keys, stage.hidden], 1)
        ignored = ~memory.allowed.repeat_interleave(config.prefix_length, 1)
        padding = torch.cat([ignored, stage.padding], 1)
        bias = self._bias(padding, number)
        hidden = self.stack.run(hidden, bias, stage.next_layer, config.value_layer + 1)
        hidden = torch.cat([hidden[:, :number] + values, hidden[:, number:]], 1)
        hidden = self.stack.run(hidden, bias, config.value_layer + 1)
        return self.stack.finish(hidden), padding

    def _run_to(
        self, x: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"], layer: int
    ) -> tuple[Float[Tensor, "batch place dim"], Bool[Tensor, "batch place"]]:
        """Return prefix and tokens after a layer, and True at padding."""
        prefix = self.prefix.to(x.dtype).expand(len(x), -1, -1)
        hidden = self.stack.dropout(torch.cat([prefix, x], 1))
        padding = F.pad(padding, (self.config.prefix_length, 0), value=False)
        return self.stack.run(hidden, self._bias(padding), stop=layer + 1), padding

    def _bias(
        self, padding: Bool[Tensor, "batch place"], num_inserted: int = 0
    ) -> Float[Tensor, "batch head place place"]:
        """Return the position bias, with what is not to be attended to masked."""
        number = padding.shape[1] - num_inserted
        if num_inserted and self.memory_bias is None:
            bias = self.prefix.new_zeros(1, 1, padding.shape[1], padding.shape[1])
        else:
            bias = self.stack.position_bias(number)
        if num_inserted and self.memory_bias is not None:
            whole = self.memory_bias[None, :, None, None].expand(-1, -1, *[padding.shape[1]] * 2).clone()
            whole[..., num_inserted:, num_inserted:] = bias
            bias = whole
        return masked_bias(bias, ~padding[:, None, None])


def _check_slots(memory: RetrievedSlots, config: EmatConfig) -> None:
    wanted = (config.prefix_length, config.t5.dim)
    for name, slots in {"keys": memory.keys, "values": memory.values}.items():
        if slots.shape[2:] != wanted:
            raise UserError(
                f"{name} must have {wanted[0]} slots of width {wanted[1]}, got {tuple(slots.shape[2:])}: "
                "was the memory made by another network?"
            )
