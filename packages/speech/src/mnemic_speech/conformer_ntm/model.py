"""Conformer-NTM: encoder, memory, CTC and attention decoders."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core import LayerStates, MemoryState
from mnemic_core.errors import UserError
from mnemic_core.pretrained import PretrainedModel
from mnemic_speech.conformer import Conformer, ConformerState
from mnemic_speech.conformer_ntm.config import ConformerNtmConfig
from mnemic_speech.conformer_ntm.memory import EncoderMemory
from mnemic_speech.decoder import TransformerDecoder
from mnemic_speech.losses import add_sos_eos, ctc_loss, label_smoothing_loss, token_accuracy


@dataclass(frozen=True)
class Encoded:
    """Encoder output after the memory, and the new state.

    Attributes:
        hidden: frames after the memory, one per four feature frames.
        padding: True at frames to ignore.
        state: input of the next call: state of the memory from `ConformerNtm.encode`, of encoder and memory from
            `ConformerNtm.stream`.
    """

    hidden: Float[Tensor, "batch frame dim"]
    padding: Bool[Tensor, "batch frame"]
    state: MemoryState

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Valid frames of each row."""
        return (~self.padding).sum(1)


@dataclass(frozen=True)
class Losses:
    """Losses of a batch, in nats per utterance; 0 for a branch that was not built.

    Attributes:
        total: ``ctc_weight * ctc + (1 - ctc_weight) * attention``.
        ctc: negative log-likelihood of all alignments.
        attention: divergence of the decoder's predictions from the smoothed targets.
        accuracy: share of tokens predicted by the decoder with teacher forcing, 0 to 1.
        state: the memory after the batch, for the following utterances.
    """

    total: Float[Tensor, ""]
    ctc: Float[Tensor, ""]
    attention: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    state: MemoryState


class ConformerNtm(PretrainedModel):
    """Speech recognizer with a memory between encoder and decoder.

    Carvalho and Abad, "Memory-augmented conformer for improved end-to-end long-form ASR" (Interspeech 2023,
    arXiv:2309.13029). Both branches, CTC and attention, read the output of the memory. The paper resets the memory for
    every utterance; passing a state carries it over the segments of a recording.

    Attributes:
        ctc: linear layer to tokens; None with ``ctc_weight=0``.
        decoder: :class:`~mnemic_speech.decoder.TransformerDecoder`; None with ``ctc_weight=1``.

    Example:
        >>> from mnemic_speech.conformer import ConformerConfig
        >>> encoder = ConformerConfig(num_mels=20, dim=8, num_heads=2, ffn_dim=16, num_layers=1)
        >>> config = ConformerNtmConfig(vocab_size=5, encoder=encoder, decoder_layers=1, decoder_ffn_dim=16)
        >>> model = ConformerNtm(config).eval()
        >>> encoded = model.encode(torch.zeros(2, 61, 20), torch.tensor([61, 30]))
        >>> model.ctc_log_probs(encoded.hidden).shape, encoded.lengths
        (torch.Size([2, 14, 5]), tensor([14,  6]))
    """

    config_class = ConformerNtmConfig

    def __init__(self, config: ConformerNtmConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.encoder
        self.encoder = Conformer(sizes)
        self.memory = EncoderMemory(sizes.dim, config.memory, config.memory_segment)
        # A branch without a loss would stay untrained, and DDP refuses parameters without a gradient.
        self.ctc = nn.Linear(sizes.dim, config.vocab_size) if config.ctc_weight > 0 else None
        self.decoder: TransformerDecoder | None = None
        if config.ctc_weight < 1:
            self.decoder = TransformerDecoder(
                config.vocab_size,
                sizes.dim,
                sizes.num_heads,
                config.decoder_ffn_dim,
                config.decoder_layers,
                sizes.dropout,
            )

    def init_state(self, batch: int) -> MemoryState:
        """Return the memory before the first frame of ``batch`` recordings."""
        return self.memory.init_state(batch, device=self.encoder.norm.weight.device)

    def encode(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"] | None = None,
        state: MemoryState | None = None,
    ) -> Encoded:
        """Return the frames of complete utterances.

        Args:
            features: normalized features.
            lengths: feature frames of each utterance; None: all of them.
            state: memory after earlier utterances of the same recordings; None: initial memory.
        """
        hidden, padding = self.encoder(features, lengths)
        state = self.init_state(len(features)) if state is None else state
        hidden, state = self.memory(hidden, state, padding=padding)
        return Encoded(hidden, padding, state)

    def init_stream(self, batch: int) -> LayerStates:
        """Return the initial state of encoder and memory for ``batch`` streams.

        Raises:
            UserError: if the encoder cannot stream.
        """
        return LayerStates((self.encoder.init_state(batch), self.init_state(batch)))

    def stream(
        self,
        features: Float[Tensor, "batch time mel"],
        state: LayerStates,
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, " batch"] | None = None,
    ) -> Encoded:
        """Return the frames of the next ``4 chunk_size`` feature frames of each stream.

        Args:
            features: normalized features of the chunk.
            state: from :meth:`init_stream` or the previous chunk.
            padding: True at feature frames after the end of a stream, in its last chunk.
            reset: True at rows that start a new stream with this chunk.
        """
        of_encoder, of_memory = state.layers if len(state) == 2 else (state, state)
        if not isinstance(of_encoder, ConformerState):
            raise TypeError("expected the state of a stream (encoder and memory); begin with init_stream(batch)")
        hidden, of_encoder = self.encoder.stream(features, of_encoder, padding=padding, reset=reset)
        padding = self.encoder.chunk_padding(features, padding)
        hidden, of_memory = self.memory(hidden, of_memory, padding=padding, reset=reset)
        return Encoded(hidden, padding, LayerStates((of_encoder, of_memory)))

    def ctc_log_probs(self, hidden: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame vocab"]:
        """Return the log-probability of every token at every frame, in single precision.

        Raises:
            UserError: if the network has no CTC branch.
        """
        if self.ctc is None:
            raise UserError("this network has no CTC branch (ctc_weight=0): decode with attention alone")
        log_probs: Tensor = self.ctc(hidden).float().log_softmax(-1)
        return log_probs

    def loss(
        self,
        features: Float[Tensor, "batch time mel"],
        lengths: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch token"],
        token_lengths: Int[Tensor, " batch"],
        state: MemoryState | None = None,
    ) -> Losses:
        """Return the losses of transcribed utterances; see `encode` and `score`."""
        return self.score(self.encode(features, lengths, state), tokens, token_lengths)

    def score(
        self, encoded: Encoded, tokens: Int[Tensor, "batch token"], token_lengths: Int[Tensor, " batch"]
    ) -> Losses:
        """Return the losses of encoded utterances, such as those of a frozen encoder.

        Args:
            encoded: from `encode`, or its frames after another memory.
            tokens: the text, without start and end symbol; values beyond its length are ignored.
            token_lengths: tokens of each utterance.
        """
        ctc = attention = accuracy = torch.zeros((), device=encoded.hidden.device)
        if self.ctc is not None:
            ctc = ctc_loss(self.ctc_log_probs(encoded.hidden), encoded.lengths, tokens, token_lengths)
        if self.decoder is not None:
            read, targets = add_sos_eos(tokens, token_lengths, self.config.sos_eos_id)
            logits = self.decoder(read, encoded.hidden, encoded.padding)
            attention = label_smoothing_loss(logits, targets, self.config.label_smoothing)
            accuracy = token_accuracy(logits, targets)
        weight = self.config.ctc_weight
        total = weight * ctc + (1 - weight) * attention
        return Losses(total + _zero_of(encoded.state), ctc, attention, accuracy, encoded.state)


def _zero_of(state: MemoryState) -> Float[Tensor, ""] | float:
    """Return 0 with a gradient path to all tensors of a state.

    The last write has no other gradient, but DDP needs one for every parameter.
    """
    return sum((0.0 * tensor.sum() for tensor in state.tensors().values() if tensor.requires_grad), start=0.0)
