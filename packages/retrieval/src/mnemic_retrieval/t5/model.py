"""T5: encoder, decoder and token layer."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.pretrained import PretrainedModel
from mnemic_retrieval.t5.config import T5Config
from mnemic_retrieval.t5.decoder import T5Decoder
from mnemic_retrieval.t5.encoder import T5Encoder
from mnemic_retrieval.t5.generation import generate_greedy
from mnemic_retrieval.t5.tokens import TokenLayer

IGNORED = -100


class T5(PretrainedModel):
    """Maps text to text (arXiv 1910.10683).

    Example:
        >>> config = T5Config(
        ...     vocab_size=9, dim=8, num_heads=2, head_dim=4, ffn_dim=16, encoder_layers=1, decoder_layers=1)
        >>> model, tokens = T5(config).eval(), torch.tensor([[3, 4, 1], [5, 1, 0]])
        >>> model(tokens, torch.tensor([[0, 7], [0, 8]])).shape
        torch.Size([2, 2, 9])
        >>> model.generate(tokens, max_tokens=4).shape[0]
        2
    """

    config_class = T5Config

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.tokens, self.encoder, self.decoder = TokenLayer(config), T5Encoder(config), T5Decoder(config)

    def forward(
        self, tokens: Int[Tensor, "batch token"], outputs: Int[Tensor, "batch output"]
    ) -> Float[Tensor, "batch output vocab"]:
        """Return the logits of the token after each output token.

        Args:
            tokens: inputs, filled with ``pad_id`` behind.
            outputs: inputs of the decoder, which begin with ``pad_id``.
        """
        encoded, padding = self.encode(tokens)
        return self.tokens.logits(self.decoder(self.tokens(outputs), encoded, padding))

    def encode(
        self, tokens: Int[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch token dim"], Bool[Tensor, "batch token"]]:
        """Return the encoded tokens, and True at padding."""
        padding = tokens == self.config.pad_id
        return self.encoder(self.tokens(tokens), padding), padding

    @torch.no_grad()
    def generate(self, tokens: Int[Tensor, "batch token"], max_tokens: int = 64) -> Int[Tensor, "batch output"]:
        """Return the likeliest next tokens one by one, ends included; see `generate_greedy`."""
        return generate_greedy(self.tokens, self.decoder, *self.encode(tokens), max_tokens)


def sequence_loss(
    logits: Float[Tensor, "batch token vocab"], labels: Int[Tensor, "batch token"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of labels in nats per token, without those that are `IGNORED`.

    Args:
        logits: of each token.
        labels: tokens that are right.
        smoothing: probability spread over all tokens.
    """
    flat = logits.flatten(0, 1).float()
    return F.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)


def shifted(labels: Int[Tensor, "batch token"], pad_id: int) -> Int[Tensor, "batch token"]:
    """Return the inputs of the decoder for labels: the start symbol and all but the last of them."""
    return F.pad(labels[:, :-1], (1, 0), value=pad_id).masked_fill(F.pad(labels[:, :-1], (1, 0)) == IGNORED, pad_id)
