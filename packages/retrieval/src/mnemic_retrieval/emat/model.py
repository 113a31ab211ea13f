"""EMAT: the network between questions, a memory and answers."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core.pretrained import PretrainedModel
from mnemic_core.stores import RetrievedSlots
from mnemic_retrieval.emat.config import EmatConfig
from mnemic_retrieval.emat.encoder import EmatEncoder, QueryStage
from mnemic_retrieval.t5.decoder import T5Decoder
from mnemic_retrieval.t5.generation import generate_greedy
from mnemic_retrieval.t5.tokens import TokenLayer


class Emat(PretrainedModel):
    """An encoder-decoder that looks up keys and values between two of its layers.

    Attributes:
        memory_encoder: makes keys and values; ``encoder`` itself unless they have one of their own.

    Example:
        >>> from mnemic_retrieval.t5 import T5Config
        >>> t5 = T5Config(vocab_size=9, dim=8, num_heads=2, head_dim=4, ffn_dim=16, encoder_layers=3, decoder_layers=1)
        >>> model = Emat(EmatConfig(t5, key_layer=0, insert_layer=0, value_layer=1)).eval()
        >>> question = model.ask(torch.tensor([[3, 4, 1]]))
        >>> slots = model.encode_keys(torch.tensor([[5, 6, 1]])), model.encode_values(torch.tensor([[7, 1]]))
        >>> found = RetrievedSlots(*(part[None] for part in slots), torch.tensor([[True]]))
        >>> model.answer(question, found, max_tokens=3).shape[0]
        1
    """

    config_class = EmatConfig

    def __init__(self, config: EmatConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens, self.encoder, self.decoder = TokenLayer(config.t5), EmatEncoder(config), T5Decoder(config.t5)
        self.own_memory_encoder = EmatEncoder(config) if config.has_own_memory_encoder else None

    @property
    def memory_encoder(self) -> EmatEncoder:
        """The encoder of keys and values."""
        return self.encoder if self.own_memory_encoder is None else self.own_memory_encoder

    def encode_keys(self, tokens: Int[Tensor, "item token"]) -> Float[Tensor, "item slot dim"]:
        """Return the slots of keys, from tokens filled with ``pad_id`` behind."""
        return self.memory_encoder.keys(self.tokens(tokens), tokens == self.config.t5.pad_id)

    def encode_values(self, tokens: Int[Tensor, "item token"]) -> Float[Tensor, "item slot dim"]:
        """Return the slots of values."""
        return self.memory_encoder.values(self.tokens(tokens), tokens == self.config.t5.pad_id)

    def search_vectors(self, key_slots: Float[Tensor, "item slot dim"]) -> Float[Tensor, "item search"]:
        """Return the vectors by which keys are found."""
        return self.memory_encoder.search_vectors(key_slots)

    def ask(self, tokens: Int[Tensor, "batch token"]) -> QueryStage:
        """Encode questions as far as the vectors that the memory is searched with."""
        return self.encoder.start(self.tokens(tokens), tokens == self.config.t5.pad_id)

    def forward(
        self, question: QueryStage, memory: RetrievedSlots, outputs: Int[Tensor, "batch output"]
    ) -> Float[Tensor, "batch output vocab"]:
        """Return the logits of the token after each output token.

        Args:
            question: from `ask`.
            memory: what was found for it.
            outputs: inputs of the decoder, which begin with ``pad_id``.
        """
        return self.tokens.logits(self.decoder(self.tokens(outputs), *self.encoder.resume(question, memory)))

    def rebuild(
        self, slots: Float[Tensor, "item slot dim"], outputs: Int[Tensor, "item output"]
    ) -> Float[Tensor, "item output vocab"]:
        """Return the logits of the texts that slots of keys or values were made from: the decoder sees these alone."""
        source = self.memory_encoder.normalize(slots)
        padding = torch.zeros(source.shape[:2], dtype=torch.bool, device=source.device)
        return self.tokens.logits(self.decoder(self.tokens(outputs), source, padding))

    @torch.no_grad()
    def answer(self, question: QueryStage, memory: RetrievedSlots, max_tokens: int = 64) -> Int[Tensor, "batch output"]:
        """Return the answers, see `generate_greedy`."""
        return generate_greedy(self.tokens, self.decoder, *self.encoder.resume(question, memory), max_tokens)
