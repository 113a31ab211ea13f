"""The MATR network: from windows of frames and the memory of earlier windows to action instances."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core import MemoryState
from mnemic_core.layers import build_mlp
from mnemic_core.pretrained import PretrainedModel
from mnemic_vision.initialization import init_xavier
from mnemic_vision.matr.config import MatrConfig
from mnemic_vision.matr.layers import Decoder, DecoderLayer, EncoderLayer, SegmentEncoder
from mnemic_vision.matr.output import MatrOutput
from mnemic_vision.matr.past_windows import Frames, build_past_windows
from mnemic_vision.matr.positions import memory_positions, recency_positions


class Matr(PretrainedModel):
    """Finds the actions that end near the newest frame of a window (arXiv 2408.02957).

    A segment encoder reads the window and flags whether it overlaps an action; flagged windows enter the memory.
    Queries decode the ends of actions from the window, then their starts from the memory.

    A lane is one sequence of windows, each of which begins where the one before ends. A stream with a window at every
    frame has as many lanes as a window has frames: the window that ends at frame ``t`` belongs to lane ``t % window``.
    Any number of lanes of any streams make a batch, and the caller keeps their state.

    Args:
        config: sizes.

    Example:
        >>> config = MatrConfig(modalities=(6,), num_classes=2, dim=8, ffn_dim=8, encoder_heads=2, window=4, capacity=2)
        >>> model = Matr(config).eval()
        >>> windows = model.windows(model.project(torch.zeros(1, 4 + 3, 6)))  # four windows of one stream
        >>> output, state = model(windows, model.init_state(lanes=4), now=torch.arange(4))
        >>> output.classes.shape
        torch.Size([4, 10, 3])
    """

    config_class = MatrConfig
    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: MatrConfig) -> None:
        super().__init__()
        self.config = config
        dim, queries = config.dim, config.num_queries
        share = dim // len(config.modalities)
        self.register_buffer("feature_mean", torch.zeros(config.num_features))
        self.register_buffer("feature_scale", torch.ones(config.num_features))
        self.projections = nn.ModuleList(nn.Linear(width, share) for width in config.modalities)
        self.flag_token = nn.Parameter(torch.randn(dim))
        self.encoder = _build_encoder(config)
        self.queries = nn.Parameter(torch.randn(2 * queries, dim))  # of classes, then of boundaries
        self.query_position = nn.Parameter(torch.randn(queries, dim))
        self.end_decoder, self.start_decoder = _build_decoder(config), _build_decoder(config)
        self.past_windows = build_past_windows(config)
        self.class_head = build_mlp([2 * dim, dim, config.num_classes + 1])
        self.region_head = build_mlp([dim, dim, config.num_regions])
        self.start_head = _build_offset_head(dim, config.num_regions)
        self.end_head = _build_offset_head(dim, 1)
        self.flag_head = build_mlp([dim, dim, 1])
        for part in (self.encoder, self.end_decoder, self.start_decoder):
            init_xavier(part)

    def init_state(self, lanes: int) -> MemoryState:
        """Return empty memories."""
        return self.past_windows.init_state(lanes, self.flag_token.device)

    def reset(self, state: MemoryState, rows: Bool[Tensor, " lane"]) -> MemoryState:
        """Return the state with empty memories at lanes that begin a new stream."""
        return self.past_windows.reset(state, rows)

    def standardize(self, mean: Float[Tensor, " feature"], deviation: Float[Tensor, " feature"]) -> None:
        """Set mean and deviation of the features in the training data, by which they are normalized."""
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(1 / deviation.clamp(min=1e-6))

    def project(self, features: Float[Tensor, "*batch frame feature"]) -> Float[Tensor, "*batch frame dim"]:
        """Return the tokens of frames; frames before a stream are zero features."""
        if self.config.standardizes:
            features = (features - self.feature_mean) * self.feature_scale
        parts = features.split(list(self.config.modalities), dim=-1)
        return torch.cat([layer(part) for layer, part in zip(self.projections, parts, strict=True)], dim=-1)

    def windows(self, tokens: Float[Tensor, "stream frame dim"]) -> Float[Tensor, "lane window dim"]:
        """Return all windows of consecutive frames, the windows of a stream in a row."""
        unfolded = tokens.unfold(1, self.config.window, 1)  # stream lane dim window
        return unfolded.transpose(2, 3).flatten(0, 1)

    def forward(
        self,
        windows: Float[Tensor, "lane window dim"],
        state: MemoryState,
        now: Int[Tensor, " lane"],
        store: Bool[Tensor, " lane"] | None = None,
        flag_threshold: float = 0.5,
    ) -> tuple[MatrOutput, MemoryState]:
        """Return the instances of windows and the memories after them.

        Args:
            windows: projected frames, oldest first.
            state: memories of the lanes.
            now: index of the newest frame of each window in its stream.
            store: True at windows to store, as training knows them; None: those with a flag.
            flag_threshold: probability of the flag above which a window is stored.
        """
        encoded = self.encode(windows)
        flag = self.flag_logits(encoded)
        frames, stored = self.past_windows(windows, state, now)
        output = self.predict(self.decode_ends(encoded), frames, flag)
        kept = output.has_action(flag_threshold) if store is None else store
        return output, state.replace_rows(kept, stored)

    def remember(
        self,
        windows: Float[Tensor, "lane past window dim"],
        now: Int[Tensor, "lane past"],
        stored: Bool[Tensor, "lane past"],
    ) -> MemoryState:
        """Return memories of the given earlier windows, stored from the first to the last.

        Args:
            windows: projected frames.
            now: index of the newest frame of each window.
            stored: True at windows to store.
        """
        state = self.init_state(len(windows))
        for window, newest, is_stored in zip(windows.unbind(1), now.unbind(1), stored.unbind(1), strict=True):
            _, written = self.past_windows(window, state, newest)
            state = state.replace_rows(is_stored, written)
        return state

    def encode(self, windows: Float[Tensor, "lane window dim"]) -> Float[Tensor, "lane token dim"]:
        """Return the encoded frames of windows and, last, the encoded flag token."""
        tokens = torch.cat([windows, self.flag_token.expand(len(windows), 1, -1)], dim=1)
        encoded: Tensor = self.encoder(tokens, self._recency(windows.device))
        return encoded

    def flag_logits(self, encoded: Float[Tensor, "lane token dim"]) -> Float[Tensor, " lane"]:
        """Return the logit of the probability that a window overlaps an action."""
        logits: Tensor = self.flag_head(encoded[:, -1])
        return logits[:, 0]

    def decode_ends(self, encoded: Float[Tensor, "lane token dim"]) -> Float[Tensor, "lane query dim"]:
        """Return the queries after the end decoder."""
        position = self._recency(encoded.device)[:-1]
        keys_values = self.end_decoder.keys_and_values(encoded[:, :-1], position)
        queries = self.queries.expand(len(encoded), -1, -1)
        ends: Tensor = self.end_decoder(queries, self.paired_position, keys_values)
        return ends

    def predict(
        self, ends: Float[Tensor, "lane query dim"], frames: Frames, flag: Float[Tensor, " lane"]
    ) -> MatrOutput:
        """Return the instances, given the output of the end decoder and the frames for the start decoder."""
        position = memory_positions(frames.window_age, frames.frame_age, self.config.window, self.config.dim)
        keys_values = self.start_decoder.keys_and_values(frames.tokens, position)
        allowed = (frames.window_age >= 0)[:, None] if self.config.masks_empty else None
        starts = self.start_decoder(ends, self.paired_position, keys_values, allowed)
        return self.apply_heads(ends, starts, flag)

    def apply_heads(
        self,
        ends: Float[Tensor, "lane query dim"],
        starts: Float[Tensor, "lane query dim"],
        flag: Float[Tensor, " lane"],
    ) -> MatrOutput:
        """Return the instances, given the outputs of both decoders."""
        (end_class, end_boundary), (start_class, start_boundary) = ends.chunk(2, dim=1), starts.chunk(2, dim=1)
        outputs = (
            self.class_head(torch.cat([end_class, start_class], dim=-1)),
            self.region_head(start_boundary),
            self.start_head(start_boundary),
            self.end_head(end_boundary)[..., 0],
            flag,
        )
        return MatrOutput(*(output.float() for output in outputs))  # bfloat16 would round times to a frame or more

    @property
    def paired_position(self) -> Float[Tensor, "query dim"]:
        """Positions of all queries: class and boundary queries share theirs."""
        return self.query_position.repeat(2, 1)

    def _recency(self, device: torch.device) -> Float[Tensor, "token dim"]:
        return recency_positions(self.config.window, self.config.dim, device)


def _build_encoder(config: MatrConfig) -> SegmentEncoder:
    sizes = config.dim, config.encoder_heads, config.ffn_dim, config.dropout, config.attention_dropout
    return SegmentEncoder([EncoderLayer(*sizes) for _ in range(config.encoder_layers)], config.dim)


def _build_decoder(config: MatrConfig) -> Decoder:
    sizes = config.dim, config.decoder_heads, config.ffn_dim, config.dropout, config.attention_dropout
    return Decoder([DecoderLayer(*sizes) for _ in range(config.decoder_layers)], config.dim)


def _build_offset_head(dim: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, size))
