"""Attention decoder of a recognizer: a transformer over tokens with cross-attention to encoder frames."""

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState
from mnemic_core.errors import UserError, check_choice
from mnemic_core.layers import FeedForward, MultiHeadAttention
from mnemic_speech.token_scorer import BeamState, select_beams

NORM_EPS = 1e-12  # as ESPnet, instead of torch's 1e-5

DecoderStyle = Literal["espnet", "fairseq"]


@dataclass(frozen=True)
class DecoderSource(MemoryState):
    """Keys and values of the cross-attention, computed once for all hypotheses of an utterance.

    Attributes:
        keys: of the frames, for each block.
        values: of the frames, for each block.
        allowed: True at frames to attend to.
    """

    keys: Float[Tensor, "batch layer head frame head_dim"]
    values: Float[Tensor, "batch layer head frame head_dim"]
    allowed: Bool[Tensor, "batch frame"]


@dataclass(frozen=True)
class DecoderState(BeamState):
    """Self-attention cache of the hypotheses.

    Attributes:
        keys: of the tokens so far, for each block; zeros in unused capacity.
        values: likewise.
        length: tokens so far, the start symbol included; the same for all hypotheses of an utterance.
        source: keys and values of the encoder frames.
    """

    keys: Float[Tensor, "batch beam layer head token head_dim"]
    values: Float[Tensor, "batch beam layer head token head_dim"]
    length: Int[Tensor, " batch"]
    source: DecoderSource

    def reorder(self, parents: Int[Tensor, "batch beam"]) -> "DecoderState":
        """Return the state with the hypotheses of each beam replaced by those at ``parents``."""
        return replace(self, keys=select_beams(self.keys, parents), values=select_beams(self.values, parents))

    def reserve(self, num_tokens: int) -> "DecoderState":
        """Return the state with capacity for ``num_tokens`` tokens, doubled when exceeded.

        Doubling keeps the cost of growing below that of the steps and memory near the length of the text, which is
        unknown: an utterance of 1500 frames may have as many tokens but typically has 200.
        """
        capacity = self.keys.shape[-2]
        if num_tokens <= capacity:
            return self
        more = (0, 0, 0, max(num_tokens, 2 * capacity) - capacity)
        return replace(self, keys=F.pad(self.keys, more), values=F.pad(self.values, more))


class TransformerDecoder(nn.Module):
    """Pre-norm transformer decoder with sinusoidal positions, as in ESPnet or fairseq (arXiv:1706.03762).

    Args:
        vocab_size: tokens, the shared start and end symbol included.
        dim: width of frames and tokens; even.
        num_heads: attention heads; must divide ``dim``.
        ffn_dim: hidden width of the feed-forward parts.
        num_layers: blocks.
        dropout: of embeddings, attention weights, hidden units and residual branches.
        style: whose positions, epsilon of the norms and output layer, which fairseq has without a bias.

    Example:
        >>> decoder = TransformerDecoder(vocab_size=5, dim=8, num_heads=2, ffn_dim=16, num_layers=1)
        >>> hidden, padding = torch.randn(3, 7, 8), torch.zeros(3, 7, dtype=torch.bool)
        >>> decoder(torch.tensor([[4, 1, 2]] * 3), hidden, padding).shape
        torch.Size([3, 3, 5])
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        num_layers: int,
        dropout: float = 0.1,
        style: DecoderStyle = "espnet",
    ) -> None:
        super().__init__()
        if dim % 2 or dim % num_heads:
            raise UserError(f"dim must be even and a multiple of num_heads, got dim={dim}, num_heads={num_heads}")
        check_choice(DecoderStyle, style=style)
        self.dim, self.num_heads, self.style = dim, num_heads, style
        epsilon = NORM_EPS if style == "espnet" else 1e-5
        self.embedding = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(DecoderBlock(dim, num_heads, ffn_dim, dropout, epsilon) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim, epsilon)
        self.output = nn.Linear(dim, vocab_size, bias=style == "espnet")
        if style == "fairseq":  # so that positions are not drowned by embeddings, which are multiplied by sqrt(dim)
            for layer in (self.embedding, self.output):
                nn.init.normal_(layer.weight, std=dim**-0.5)

    def forward(
        self,
        tokens: Int[Tensor, "batch token"],
        hidden: Float[Tensor, "batch frame dim"],
        padding: Bool[Tensor, "batch frame"],
        token_padding: Bool[Tensor, "batch token"] | None = None,
        visible: Bool[Tensor, "batch token frame"] | None = None,
    ) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of the token that follows each of ``tokens``.

        Args:
            tokens: inputs, beginning with the start symbol.
            hidden: the encoder's frames.
            padding: True at frames to ignore.
            token_padding: True at tokens to ignore. Padding is at the end, where no other token attends to it, so this
                only changes the logits of the padding itself: golden tests need it, training does not.
            visible: True at frames that a token may attend to, as in simultaneous translation; None: all. Each token
                needs one.
        """
        allowed = None
        if token_padding is not None:
            causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
            allowed = causal & ~token_padding[:, None]
        return self._run(tokens[:, None], self._source(hidden, padding), allowed, visible)[:, 0]

    def log_prob(
        self,
        tokens: Int[Tensor, "batch beam token"],
        lengths: Int[Tensor, "batch beam"],
        hidden: Float[Tensor, "batch frame dim"],
        padding: Bool[Tensor, "batch frame"],
        *,
        sos_eos: int,
    ) -> Float[Tensor, "batch beam"]:
        """Return the log-probability of complete hypotheses, end symbol included.

        ``tokens`` have no start and end symbol and are ignored beyond their lengths; for the rest see `forward`.
        """
        place = torch.arange(tokens.shape[-1] + 1, device=tokens.device)
        inputs = F.pad(tokens, (1, 0), value=sos_eos)
        targets = F.pad(tokens, (0, 1), value=sos_eos).masked_fill(place >= lengths[..., None], sos_eos)
        log_probs = self._run(inputs, self._source(hidden, padding), None).float().log_softmax(-1)
        chosen = log_probs.gather(-1, targets[..., None])[..., 0]
        return chosen.masked_fill(place > lengths[..., None], 0).sum(-1)

    def init_state(
        self,
        hidden: Float[Tensor, "batch frame dim"],
        padding: Bool[Tensor, "batch frame"],
        max_length: int,
        beam: int = 1,
    ) -> DecoderState:
        """Return the state of empty hypotheses, with capacity for ``max_length`` tokens including the start symbol."""
        source = self._source(hidden, padding)
        shape = (len(hidden), beam, len(self.blocks), self.num_heads, max_length, self.dim // self.num_heads)
        empty = hidden.new_zeros(shape)
        length = torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
        return DecoderState(empty, empty, length, source)

    def extend_source(
        self,
        source: DecoderSource,
        hidden: Float[Tensor, "batch frame dim"],
        padding: Bool[Tensor, "batch frame"],
    ) -> DecoderSource:
        """Return the source with further frames, of which padding stays where it is and is not attended to."""
        more = self._source(hidden, padding)
        return DecoderSource(
            torch.cat([source.keys, more.keys], dim=3),
            torch.cat([source.values, more.values], dim=3),
            torch.cat([source.allowed, ~padding], dim=1),
        )

    def step(
        self, tokens: Int[Tensor, "batch beam"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch beam vocab"], DecoderState]:
        """Return the log-probability of every token that may follow ``tokens``, and the state that includes them.

        The state needs capacity for one more token: see its ``reserve``.
        """
        x = self._embed(tokens[..., None], state.length[:, None, None])
        keys, values = state.keys.clone(), state.values.clone()  # the given state must not change
        position = torch.arange(keys.shape[-2], device=keys.device)
        allowed = (position <= state.length[:, None]).repeat_interleave(tokens.shape[1], dim=0)[:, None]
        for layer, block in enumerate(self._blocks()):
            y = block.attention_norm(x).flatten(0, 1)
            key, value = block.attention.keys_and_values(y)
            _write(keys[:, :, layer], key, state.length)
            _write(values[:, :, layer], value, state.length)
            past = keys[:, :, layer].flatten(0, 1), values[:, :, layer].flatten(0, 1)
            x = x + block.attention(y, *past, allowed).view_as(x)
            x = block.cross_attend(x, *_layer(state.source, layer))
        log_probs = self._logits(x)[:, :, 0].float().log_softmax(-1)
        return log_probs, replace(state, keys=keys, values=values, length=state.length + 1)

    def _run(
        self,
        tokens: Int[Tensor, "batch beam token"],
        source: DecoderSource,
        allowed: Bool[Tensor, "batch query token"] | None,
        visible: Bool[Tensor, "batch token frame"] | None = None,
    ) -> Float[Tensor, "batch beam token vocab"]:
        """Return logits; ``allowed`` None is causal, ``visible`` is for a single hypothesis of each utterance."""
        x = self._embed(tokens, torch.arange(tokens.shape[-1], device=tokens.device))
        for layer, block in enumerate(self._blocks()):
            y = block.attention_norm(x).flatten(0, 1)
            found = block.attention(y, *block.attention.keys_and_values(y), allowed, is_causal=allowed is None)
            x = x + self.dropout(found.view_as(x))
            keys, values, seen = _layer(source, layer)
            x = block.cross_attend(x, keys, values, seen if visible is None else seen & visible)
        return self._logits(x)

    def _source(self, hidden: Float[Tensor, "batch frame dim"], padding: Bool[Tensor, "batch frame"]) -> DecoderSource:
        hidden = hidden.masked_fill(padding[..., None], 0)  # a weight of 0 does not hide a NaN
        pairs = [block.source_attention.keys_and_values(hidden) for block in self._blocks()]
        # An utterance of padding only attends to zeros: a softmax over no frame would be NaN.
        allowed = ~padding | padding.all(1, keepdim=True)
        return DecoderSource(
            torch.stack([key for key, _ in pairs], 1), torch.stack([value for _, value in pairs], 1), allowed
        )

    def _embed(
        self, tokens: Int[Tensor, "batch beam token"], position: Int[Tensor, "*any"]
    ) -> Float[Tensor, "batch beam token dim"]:
        x = self.embedding(tokens) * self.dim**0.5
        positions = sinusoidal_positions if self.style == "espnet" else split_positions
        y: Tensor = self.dropout(x + positions(position, self.dim).to(x.dtype))
        return y

    def _logits(self, x: Float[Tensor, "batch beam token dim"]) -> Float[Tensor, "batch beam token vocab"]:
        y: Tensor = self.output(self.norm(x))
        return y

    def _blocks(self) -> list["DecoderBlock"]:
        return [cast(DecoderBlock, block) for block in self.blocks]


class DecoderBlock(nn.Module):
    """Pre-norm residual block of self-attention, cross-attention and feed-forward network."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, epsilon: float) -> None:
        super().__init__()
        self.attention, self.source_attention = (MultiHeadAttention(dim, num_heads, dropout=dropout) for _ in range(2))
        self.ffn = FeedForward(dim, ffn_dim, F.relu, dropout)
        self.attention_norm, self.source_norm, self.ffn_norm = (nn.LayerNorm(dim, epsilon) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def cross_attend(
        self,
        x: Float[Tensor, "batch beam token dim"],
        keys: Float[Tensor, "batch head frame head_dim"],
        values: Float[Tensor, "batch head frame head_dim"],
        allowed: Bool[Tensor, "batch _ frame"],
    ) -> Float[Tensor, "batch beam token dim"]:
        """Return the tokens after cross-attention and feed-forward network.

        All tokens of all hypotheses of an utterance are queries of one attention, so keys are not repeated per beam.
        """
        found = self.source_attention(self.source_norm(x).flatten(1, 2), keys, values, allowed)
        x = x + self.dropout(found.view_as(x))
        y: Tensor = x + self.dropout(self.ffn(self.ffn_norm(x)))
        return y


def sinusoidal_positions(position: Int[Tensor, "*position"], dim: int) -> Float[Tensor, "*position dim"]:
    """Return sines on even and cosines on odd channels (arXiv:1706.03762, section 3.5)."""
    frequency = 10_000.0 ** (-torch.arange(0, dim, 2, device=position.device) / dim)
    angle = position[..., None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def split_positions(position: Int[Tensor, "*position"], dim: int) -> Float[Tensor, "*position dim"]:
    """Return first all sines, then all cosines, of places counted from 2, as in fairseq."""
    half = dim // 2
    frequency = torch.exp(torch.arange(half, device=position.device) * (-math.log(10_000) / (half - 1)))
    angle = (position[..., None] + 2) * frequency
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, dim - 2 * half))


def _layer(source: DecoderSource, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    return source.keys[:, layer], source.values[:, layer], source.allowed[:, None]


def _write(
    cache: Float[Tensor, "batch beam head token head_dim"],
    new: Float[Tensor, "hypothesis head 1 head_dim"],
    position: Int[Tensor, " batch"],
) -> None:
    """Write keys or values of one token per hypothesis in place, at a position per utterance."""
    rows = torch.arange(len(cache), device=cache.device)
    cache[rows, :, :, position] = new.to(cache.dtype)[:, :, 0].unflatten(0, cache.shape[:2])
