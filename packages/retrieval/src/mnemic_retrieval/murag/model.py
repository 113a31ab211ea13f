"""MuRAG: the network between questions, items and answers."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemic_core import session
from mnemic_core.pretrained import PretrainedModel
from mnemic_retrieval.encoders import SentenceEncoder
from mnemic_retrieval.encoders.word_tokens import WordTokens
from mnemic_retrieval.murag.config import MuragConfig
from mnemic_retrieval.murag.copying import CopyHead
from mnemic_retrieval.murag.encoder import Encoded, JointEncoder
from mnemic_retrieval.murag.reader import Evidence, Reader, Reading
from mnemic_retrieval.t5.choices import Choices
from mnemic_retrieval.t5.decoder import T5Decoder
from mnemic_retrieval.t5.generation import generate_greedy
from mnemic_retrieval.t5.tokens import TokenLayer, Tokens


class Murag(PretrainedModel):
    """An encoder of items and questions, and a decoder that reads both (arXiv 2210.02928).

    Example:
        >>> from mnemic_retrieval.murag import murag_tiny
        >>> model = Murag(murag_tiny()).eval()
        >>> question = model.encoder(model.encoder.read(torch.tensor([[70, 71, 1]])))
        >>> model.answer(model.reader(model.encoder, question), max_tokens=3).shape[0]
        1
    """

    config_class = MuragConfig

    def __init__(self, config: MuragConfig) -> None:
        super().__init__()
        self.config = config
        sentences = None if config.sentences is None else SentenceEncoder(config.sentences)
        tokens: Tokens = TokenLayer(config.t5) if sentences is None else WordTokens(sentences, config.t5.dim)
        self.encoder = JointEncoder(config, tokens, sentences)
        self.reader, self.decoder = Reader(config), T5Decoder(config.t5)
        self.copy = CopyHead(config.t5.dim) if config.copies else None
        self.log_temperature = nn.Parameter(torch.tensor(config.temperature).log())

    @property
    def tokens(self) -> Tokens:
        """Token layer of encoder and decoder."""
        return self.encoder.tokens

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """By which products of retrieval vectors are divided in training."""
        return self.log_temperature.exp()

    def read(self, question: Encoded, evidence: Evidence | None = None) -> Reading:
        """Return what the decoder attends to for a question, see `Reader`."""
        reading: Reading = self.reader(self.encoder, question, evidence)
        return reading

    def forward(self, reading: Reading, outputs: Int[Tensor, "batch output"]) -> Float[Tensor, "batch output vocab"]:
        """Return the logits of the token after each output token.

        Args:
            reading: from `read`.
            outputs: inputs of the decoder, which begin with ``pad_id``.
        """
        return self._logits(self.decoder(self.tokens(outputs), reading.hidden, reading.padding), reading)

    @torch.no_grad()
    def answer(
        self, reading: Reading, max_tokens: int = 64, choices: Choices | None = None
    ) -> Int[Tensor, "batch output"]:
        """Return the answers, see `generate_greedy`."""
        return generate_greedy(
            self.tokens,
            self.decoder,
            reading.hidden,
            reading.padding,
            max_tokens,
            choices,
            lambda hidden: self._logits(hidden, reading),
        )

    @torch.no_grad()
    def attention(self, reading: Reading, outputs: Int[Tensor, "batch output"]) -> Float[Tensor, "batch place"]:
        """Return how much an answer attended to each place of what it was read from; a row sums to 1.

        Args:
            reading: from `read`.
            outputs: answers, which end with ``end_id`` and are filled with ``pad_id``.
        """
        inputs = torch.cat([torch.full_like(outputs[:, :1], self.config.t5.pad_id), outputs[:, :-1]], 1)
        weights = self.decoder.source_weights(self.tokens(inputs), reading.hidden, reading.padding)
        is_written = (outputs != self.config.t5.pad_id)[..., None]
        share: Tensor = (weights * is_written).sum(1) / is_written.sum(1).clamp(min=1)
        return share

    def _logits(self, hidden: Float[Tensor, "batch token dim"], reading: Reading) -> Float[Tensor, "batch token vocab"]:
        logits = self.tokens.logits(hidden)
        if self.copy is None:
            return logits
        mixed: Tensor = self.copy(hidden, logits, reading)
        return mixed


def fingerprint(model: Murag) -> str:
    """Return what tells networks apart whose retrieval vectors differ: a checksum of the weights that make them."""
    encoder = model.encoder
    if encoder.vectors is None:
        weights = {name: weight for name, weight in encoder.state_dict().items() if name != "tokens.output.weight"}
    else:
        parts = {"pictures": encoder.pictures, "vectors": encoder.vectors, "sentences": encoder.sentences}
        named = {name: part.state_dict() for name, part in parts.items() if part is not None}
        weights = {f"{name}.{key}": weight for name, state in named.items() for key, weight in state.items()}
    digests = [part.digest for part in (encoder.pictures, encoder.sentences) if part is not None]
    return session.fingerprint(model, weights, " ".join([*digests, model.config.reducer]))[:16]
