"""Copying words of what is read into the answer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemic_retrieval.murag.reader import Reading
from mnemic_retrieval.tokenizers import END_ID


class CopyHead(nn.Module):
    """Mixes the decoder's distribution over words with one over the words that it reads (arXiv 1704.04368).

    A word that was never an answer in training can then be one after few steps.

    Args:
        dim: width of the decoder.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.gate = nn.Linear(dim, 1)

    def forward(
        self, hidden: Float[Tensor, "batch token dim"], logits: Float[Tensor, "batch token vocab"], reading: Reading
    ) -> Float[Tensor, "batch token vocab"]:
        """Return log-probabilities of the next token.

        Args:
            hidden: what the decoder made of each token.
            logits: of the next token without copying.
            reading: what is read.
        """
        is_word = (reading.ids > END_ID) & ~reading.padding
        lowest = torch.finfo(torch.float32).min
        scores = (self.query(hidden) @ self.key(reading.hidden).mT).float() * hidden.shape[-1] ** -0.5
        weights = scores.masked_fill(~is_word[:, None], lowest).softmax(-1)
        share = self.gate(hidden).float().sigmoid() * is_word.any(1)[:, None, None]
        written = (1 - share) * logits.float().softmax(-1)
        ids = reading.ids[:, None].expand(weights.shape)
        mixed: Tensor = written.scatter_add(2, ids, share * weights * is_word[:, None])
        return mixed.clamp(min=torch.finfo(torch.float32).tiny).log()
