"""A token layer on the word vectors of a sentence encoder."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_retrieval.encoders.sentences import SentenceEncoder
from mnemic_retrieval.t5.tokens import Tokens


class WordTokens(Tokens):
    """Embeds and writes tokens through the word vectors of a sentence encoder, with a linear layer on either side.

    A word that training never showed as an output is written like all others, since its vector is known.

    Args:
        sentences: whose word vectors are used; it is no part of this module.
        dim: width of the decoder.
    """

    def __init__(self, sentences: SentenceEncoder, dim: int) -> None:
        super().__init__()
        self._sentences = (sentences,)  # in a tuple torch does not find it: it is a part of the encoder
        width = sentences.config.dim
        self.enter, self.leave = nn.Linear(width, dim, bias=False), nn.Linear(dim, width, bias=False)

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token dim"]:
        """Return the embedded tokens."""
        vectors = F.embedding(tokens, self._sentences[0].word_vectors)
        embedded: Tensor = self.enter(F.layer_norm(vectors, vectors.shape[-1:]))  # of variance 1, as in T5
        return embedded

    def logits(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of the token that follows each one."""
        return F.linear(self.leave(hidden), self._sentences[0].word_vectors)
