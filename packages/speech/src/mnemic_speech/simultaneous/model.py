"""The network of the simultaneous translator: segment encoder and wait-k decoder."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_core.pretrained import PretrainedModel
from mnemic_speech.decoder import TransformerDecoder
from mnemic_speech.losses import add_sos_eos, ctc_loss, token_accuracy
from mnemic_speech.simultaneous.config import Shift, SimultaneousConfig
from mnemic_speech.simultaneous.encoder import SegmentEncoder
from mnemic_speech.simultaneous.wait_k import wait_k_visible

IGNORED = -1


@dataclass(frozen=True)
class TranslationLosses:
    """Losses of a batch, in nats per token.

    Attributes:
        total: ``ctc_weight * ctc + (1 - ctc_weight) * attention``.
        attention: cross-entropy of the decoder, ends included.
        ctc: negative log-likelihood of all alignments; 0 without a CTC branch.
        accuracy: share of tokens that the decoder predicts with teacher forcing, 0 to 1.
    """

    total: Float[Tensor, ""]
    attention: Float[Tensor, ""]
    ctc: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


class AugmentedMemoryTransformer(PretrainedModel):
    """Translates, or transcribes, speech while it is spoken (arXiv 2011.00033, shiftable context 2307.01377).

    Attributes:
        ctc: linear layer from encoder frames to tokens; None with ``ctc_weight=0``.

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
        # A branch without a loss would stay untrained, and DDP refuses parameters without a gradient.
        self.ctc = nn.Linear(sizes.dim, config.vocab_size) if config.ctc_weight > 0 else None

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
        return self.predict(frames, valid, tokens, k)

    def predict(
        self,
        frames: Float[Tensor, "batch frame dim"],
        valid: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        k: int | Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of `forward` for encoder frames, of which ``valid`` are those of each recording."""
        padding = torch.arange(frames.shape[1], device=frames.device) >= valid[:, None]
        visible = wait_k_visible(tokens.shape[1], frames.shape[1], valid, k, self.config.ratio)
        logits: Tensor = self.decoder(tokens, frames, padding, visible=visible)
        return logits

    def ctc_log_probs(self, frames: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame vocab"]:
        """Return the log-probability of every token at every frame, in single precision.

        Raises:
            UserError: if the network has no CTC branch.
        """
        if self.ctc is None:
            raise UserError("this network has no CTC branch (ctc_weight=0)")
        log_probs: Tensor = self.ctc(frames).float().log_softmax(-1)
        return log_probs

    def loss(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        text: Int[Tensor, "batch token"],
        text_lengths: Int[Tensor, " batch"],
        k: int | Int[Tensor, " batch"],
        smoothing: float = 0.0,
    ) -> TranslationLosses:
        """Return the losses of recordings and their texts; see `SegmentEncoder` and `score`."""
        frames, valid = self.encoder(features, lengths)
        return self.score(frames, valid, text, text_lengths, k, smoothing)

    def score(
        self,
        frames: Float[Tensor, "batch frame dim"],
        valid: Int[Tensor, " batch"],
        text: Int[Tensor, "batch token"],
        text_lengths: Int[Tensor, " batch"],
        k: int | Int[Tensor, " batch"],
        smoothing: float = 0.0,
    ) -> TranslationLosses:
        """Return the losses of encoded recordings, such as those of a frozen encoder.

        Args:
            frames: of the encoder.
            valid: frames of each recording.
            text: tokens of each text without start and end.
            text_lengths: tokens of each.
            k: decisions before the first token.
            smoothing: probability that is spread over all tokens; the released commands leave it at 0.
        """
        inputs, targets = add_sos_eos(text, text_lengths, self.config.sos_eos_id, IGNORED)
        logits = self.predict(frames, valid, inputs, k).float()
        attention = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
        )
        ctc = torch.zeros_like(attention)
        if self.ctc is not None:
            per_recording = ctc_loss(self.ctc_log_probs(frames), valid, text, text_lengths)
            ctc = per_recording * len(text) / text_lengths.sum().clamp(min=1)
        weight = self.config.ctc_weight
        accuracy = token_accuracy(logits, targets, IGNORED)
        return TranslationLosses(weight * ctc + (1 - weight) * attention, attention, ctc, accuracy)
