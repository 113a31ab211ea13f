"""One encoder for pictures, texts and both, of items and of questions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core import MemoryState
from mnemic_retrieval.murag.config import MuragConfig
from mnemic_retrieval.murag.towers import VisionTower
from mnemic_retrieval.t5.blocks import masked_bias
from mnemic_retrieval.t5.encoder import T5Encoder
from mnemic_retrieval.t5.tokens import TokenLayer

_KINDS = 2  # pairs of a word with something else, and of others


@dataclass(frozen=True)
class Encoded(MemoryState):
    """What the encoder makes of items or questions.

    Attributes:
        hidden: the pool, patches and words.
        padding: True at what a row lacks.
        vector: by which items are found.
    """

    hidden: Float[Tensor, "batch place dim"]
    padding: Bool[Tensor, "batch place"]
    vector: Float[Tensor, "batch dim"]


class JointEncoder(nn.Module):
    """Encodes ``[pool, patches, words]`` with the blocks of T5; the retrieval vector is what the pool becomes.

    Between words position bias is that of T5. Patches have positions from their own network: pairs with one share a
    learned number for each head, as do pairs of a word with a patch or the pool.

    Args:
        config: sizes.
        tokens: token layer, shared with the decoder.

    Attributes:
        kinds: added to patches and to words, so that the two differ from the start.
    """

    def __init__(self, config: MuragConfig, tokens: TokenLayer) -> None:
        super().__init__()
        dim, heads = config.t5.dim, config.t5.num_heads
        self.config, self.tokens = config, tokens
        self.tower, self.stack = VisionTower(config.tower), T5Encoder(config.t5)
        self.project = nn.Sequential(nn.Linear(self.tower.dim, dim), nn.LayerNorm(dim))
        self.kinds = nn.Parameter(0.02 * torch.randn(2, dim))
        self.pool = nn.Parameter(torch.randn(dim))
        self.pair_bias = nn.Parameter(torch.zeros(_KINDS, heads))

    def forward(
        self,
        tokens: Int[Tensor, "batch token"],
        images: Float[Tensor, "batch 3 height width"] | None = None,
        has_image: Bool[Tensor, " batch"] | None = None,
    ) -> Encoded:
        """Encode items or questions of any modality.

        Args:
            tokens: texts, filled with ``pad_id`` behind; a row of padding is one without a text.
            images: pictures with values in [0, 1]; None: there are none in the batch.
            has_image: False at rows without a picture, whose values do not matter; None: all have one.
        """
        text_padding = tokens == self.config.t5.pad_id
        words = self.tokens(tokens) + self.kinds[1].to(self.pool.dtype)
        patches = self._patches(images, has_image, words)
        pool = self.pool.expand(len(tokens), 1, -1)
        x = torch.cat([pool, patches, words], 1)
        padding = torch.cat([self._patch_padding(patches, has_image), text_padding], 1)
        bias = masked_bias(self._bias(1 + patches.shape[1], tokens.shape[1]), ~padding[:, None, None])
        hidden = self.stack.finish(self.stack.run(self.stack.dropout(x), bias))
        vector = F.normalize(hidden[:, 0], dim=-1) if self.config.normalize else hidden[:, 0]
        return Encoded(hidden, padding, vector)

    def _patches(
        self,
        images: Float[Tensor, "batch 3 height width"] | None,
        has_image: Bool[Tensor, " batch"] | None,
        words: Float[Tensor, "batch token dim"],
    ) -> Float[Tensor, "batch patch dim"]:
        if images is None:
            return words[:, :0]
        if has_image is not None:
            images = images.masked_fill(~has_image[:, None, None, None], 0)  # a mask does not hide a NaN
        patches: Tensor = self.project(self.tower(images)) + self.kinds[0]
        return patches.to(words.dtype)

    def _patch_padding(
        self, patches: Float[Tensor, "batch patch dim"], has_image: Bool[Tensor, " batch"] | None
    ) -> Bool[Tensor, "batch place"]:
        """Return True at patches of rows without a picture; never at the pool."""
        padding = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
        if has_image is not None:
            padding = padding | ~has_image[:, None]
        return F.pad(padding, (1, 0), value=False)

    def _bias(self, num_others: int, num_words: int) -> Float[Tensor, "1 head place place"]:
        with_word, others = self.pair_bias[:, :, None, None]  # head 1 1
        upper = torch.cat([others.expand(-1, num_others, num_others), with_word.expand(-1, num_others, num_words)], 2)
        lower = torch.cat([with_word.expand(-1, num_words, num_others), self.stack.position_bias(num_words)[0]], 2)
        return torch.cat([upper, lower], 1)[None]
