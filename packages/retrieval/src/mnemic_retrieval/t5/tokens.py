"""Token embedding and output layer of T5, which may be one, and such a pair on word vectors from elsewhere."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_retrieval.t5.config import T5Config


class Tokens(nn.Module, ABC):
    """Turns tokens into vectors, and a decoder's vectors into logits of the next token."""

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token dim"]:
        """Return the embedded tokens, without dropout, which the encoder and the decoder apply to what they get."""

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of the token that follows each one."""


class TokenLayer(Tokens):
    """Turns tokens into vectors, and the decoder's vectors into logits of the next token.

    Args:
        config: sizes, and whether both have the same weights.

    Attributes:
        output: the output layer; None if it is the embedding.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.scale = config.dim**-0.5 if config.scale_outputs else 1.0
        self.embedding = nn.Embedding(config.vocab_size, config.dim)  # of variance 1, as in T5
        self.output = None if config.tie_embeddings else nn.Linear(config.dim, config.vocab_size, bias=False)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=config.dim**-0.5)

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token dim"]:
        """Return the embedded tokens, without dropout, which the encoder and the decoder apply to what they get."""
        embedded: Tensor = self.embedding(tokens)
        return embedded

    def logits(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of the token that follows each one."""
        weight = self.embedding.weight if self.output is None else self.output.weight
        return F.linear(hidden * self.scale, weight)
