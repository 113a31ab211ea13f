"""The network of the simultaneous translator: segment encoder and wait-k decoder."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.pretrained import PretrainedModel
from mnemic_speech.decoder import TransformerDecoder
from mnemic_speech.losses import add_sos_eos
from mnemic_speech.simultaneous.config import Shift, SimultaneousConfig
from mnemic_speech.simultaneous.encoder import SegmentEncoder
from mnemic_speech.simultaneous.wait_k import wait_k_visible

IGNORED = -1


class AugmentedMemoryTransformer(PretrainedModel):
    """Translates, or transcribes, speech while it is spoken (arXiv 2011.00033, shiftable context 2307.01377).

    Example:
        >>> from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig
        >>> encoder = SegmentEncoderConfig(num_mels=8, dim=8, num_heads=2, ffn_dim=16, num_layers=1, conv_channels=2,
        ...     segments=SegmentConfig(16, 8, 8))
        >>> config = SimultaneousConfig(vocab_size=9, encoder=encoder, decoder_layers=1, decoder_ffn_dim=16, ratio=2)
        >>> model = AugmentedMemoryTransformer(config).eval()
        >>> features, lengths = torch.randn(2, 50, 8), torch.tensor([50, 30])
        >>> model(features, lengths, torch.tensor([[8, 1, 2], [8, 3, 4]]), k=3).shape
        torch.Size([2, 3, 9])
    """

    config_class = SimultaneousConfig

    def __init__(self, config: SimultaneousConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.encoder
        self.encoder = SegmentEncoder(sizes)
        self.decoder = TransformerDecoder(
            config.vocab_size,
            sizes.dim,
            sizes.num_heads,
            config.decoder_ffn_dim,
            config.decoder_layers,
            sizes.dropout,
            style="fairseq",
        )

    def forward(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        k: int | Int[Tensor, " batch"],
        shift: Shift | None = None,
    ) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of the token after each given one, which sees what wait-k has read by then.

        Args:
            features: normalized features of complete recordings.
            lengths: feature frames of each.
            tokens: inputs of the decoder, beginning with the start symbol.
            k: decisions before the first token; one number, or one of each recording.
            shift: of windows; None: that of training.
        """
        frames, valid = self.encoder(features, lengths, shift)
        padding = torch.arange(frames.shape[1], device=frames.device) >= valid[:, None]
        visible = wait_k_visible(tokens.shape[1], frames.shape[1], valid, k, self.config.ratio)
        logits: Tensor = self.decoder(tokens, frames, padding, visible=visible)
        return logits

    def loss(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        text: Int[Tensor, "batch token"],
        text_lengths: Int[Tensor, " batch"],
        k: int | Int[Tensor, " batch"],
        smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the texts, in nats per token, end included.

        Args:
            features: normalized features of complete recordings.
            lengths: feature frames of each.
            text: tokens of each text without start and end.
            text_lengths: tokens of each.
            k: decisions before the first token.
            smoothing: probability that is spread over all tokens; the released commands leave it at 0.
        """
        inputs, targets = add_sos_eos(text, text_lengths, self.config.sos_eos_id, IGNORED)
        logits = self(features, lengths, inputs, k).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)
