"""A BERT whose words are the tokens of a text, and their mean its vector, as in Sentence-BERT (arXiv 1908.10084)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import check_range
from mnemic_core.loading import load_exactly, read_state_dict, rename
from mnemic_core.weight_files import find_weights
from mnemic_retrieval.encoders.features import Features
from mnemic_retrieval.encoders.held import Held, HoldingEncoder
from mnemic_retrieval.tokenizers import END_ID, PAD_ID

_RENAMES = (
    (r"^(bert\.|0\.auto_model\.|model\.)", ""),
    (r"^embeddings\.(word|position|token_type)_embeddings", r"\1"),
    (r"^embeddings\.LayerNorm", "norm"),
    (r"^encoder\.layer\.", "blocks."),
    (r"attention\.output\.dense", "self_attn.out_proj"),
    (r"attention\.output\.LayerNorm", "norm1"),
    (r"intermediate\.dense", "linear1"),
    (r"\.output\.dense", ".linear2"),
    (r"\.output\.LayerNorm", ".norm2"),
)


@dataclass(frozen=True)
class SentenceConfig:
    """Sizes of the network; the defaults are those of all-MiniLM-L6-v2.

    Attributes:
        weights: file of a BERT, whose weights it keeps, see `find_weights`; they go into no checkpoint. None: it learns
            with the rest.
        vocab_size: number of tokens.
        dim: width of a token.
        num_layers: blocks.
        num_heads: attention heads.
        ffn_dim: hidden width of the feed-forward parts.
        max_tokens: longest text; the rest of a longer one is not read.
        start_id: token that begins every text.
        end_id: token that ends it; our tokenizers end texts with 1.
    """

    weights: str | None = None
    vocab_size: int = 30522
    dim: int = 384
    num_layers: int = 6
    num_heads: int = 12
    ffn_dim: int = 1536
    max_tokens: int = 512
    start_id: int = 101
    end_id: int = 102

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "vocab_size", "dim", "num_layers", "num_heads", "ffn_dim")
        check_range(self, 3, inf, "max_tokens")
        check_range(self, 0, self.vocab_size - 1, "start_id", "end_id")


class SentenceEncoder(HoldingEncoder):
    """Turns texts into words and one vector of length 1.

    A word is its state after the last block beside its embedding, both at the same scale: the former says what it means
    here, the latter which word it is, for networks that are to write it.

    Args:
        config: sizes, and where the weights are.

    Attributes:
        dim: width of a word, twice that of the network.

    Raises:
        FileNotFoundError: its weights are not there.
        UserError: they do not fit.

    Example:
        >>> config = SentenceConfig(vocab_size=9, dim=8, num_layers=1, num_heads=2, ffn_dim=16, start_id=2, end_id=3)
        >>> SentenceEncoder(config)(torch.tensor([[5, 6, 1], [7, 1, 0]])).tokens.shape
        torch.Size([2, 3, 16])
    """

    def __init__(self, config: SentenceConfig) -> None:
        super().__init__()
        self.config, self.dim = config, 2 * config.dim
        network = _Bert(config)
        if config.weights is not None:
            path = find_weights(config.weights)
            load_exactly(network, weights_from_bert(read_state_dict(path)), path)
        self.network = network if config.weights is None else Held(network)

    @property
    def word_vectors(self) -> Float[Tensor, "vocab dim"]:
        """The embedding of every token."""
        vectors: Tensor = self.bare.word.weight
        return vectors

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Features:
        """Encode texts.

        Args:
            tokens: of texts, which end with 1 and are filled with 0 behind; a row of padding is an empty text.
        """
        tokens = tokens[:, : self.config.max_tokens - 1]
        padding = tokens == PAD_ID
        with self.gradients():
            states: Tensor = self.bare(self._framed(tokens))
        is_read = F.pad(~padding, (1, 0), value=True)[..., None]
        summary = F.normalize((states * is_read).sum(1) / is_read.sum(1), dim=-1)
        halves = (states[:, 1:], F.embedding(tokens, self.word_vectors))
        words = torch.cat([F.layer_norm(half, half.shape[-1:]) for half in halves], -1)
        return Features(words, padding, summary * ~padding.all(1, keepdim=True), tokens)

    def _framed(self, tokens: Int[Tensor, "batch token"]) -> Int[Tensor, "batch place"]:
        ended = tokens.masked_fill(tokens == END_ID, self.config.end_id)
        return F.pad(ended, (1, 0), value=self.config.start_id)


class _Bert(nn.Module):
    def __init__(self, config: SentenceConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.dim)
        self.position = nn.Embedding(config.max_tokens, config.dim)
        self.token_type = nn.Embedding(2, config.dim)
        self.norm = nn.LayerNorm(config.dim, 1e-12)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, config.ffn_dim, 0.0, F.gelu, layer_norm_eps=1e-12, batch_first=True
            )
            for _ in range(config.num_layers)
        )
        for table in (self.word, self.position, self.token_type):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Int[Tensor, "batch place"]) -> Float[Tensor, "batch place dim"]:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x: Tensor = self.norm(self.word(tokens) + self.position(place) + self.token_type.weight[0])
        padding = tokens == PAD_ID
        for block in self.blocks:
            x = block(x, src_key_padding_mask=padding)
        return x


def weights_from_bert(weights: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Tensor]:
    """Return the weights of a BERT of Hugging Face's transformers by the names of ours; its pooler is left out."""
    named = {
        rename(name, _RENAMES): value
        for name, value in weights.items()
        if "pooler" not in name and not name.endswith("position_ids")
    }
    found: dict[str, Tensor] = {}
    for name, value in named.items():
        if ".attention.self." not in name:
            found[name] = value
            continue
        block, _, part = name.partition(".attention.self.")
        projection, kind = part.split(".")
        if projection == "query":
            parts = [named[f"{block}.attention.self.{each}.{kind}"] for each in ("query", "key", "value")]
            found[f"{block}.self_attn.in_proj_{kind}"] = torch.cat(parts)
    return found
