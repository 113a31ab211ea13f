"""From texts and pictures to the joint encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor

from mnemic_retrieval.data.pictures import read_source_picture
from mnemic_retrieval.encoders import Features
from mnemic_retrieval.encoders.cache import FeatureCache
from mnemic_retrieval.murag.encoder import Encoded
from mnemic_retrieval.murag.model import Murag
from mnemic_retrieval.pictures import as_tensor
from mnemic_retrieval.tokenizers import Tokenizer

Picture: TypeAlias = Image | Float[Tensor, "3 height width"] | str
"""A picture in RGB, its values in [0, 1] at the size of the network, or where it is."""


@dataclass(frozen=True)
class Entry:
    """An item or question before it is encoded.

    Attributes:
        text: its text; may be empty beside a picture.
        image: its picture.
    """

    text: str
    image: Picture | None = None


class EntryEncoder:
    """Encodes items and questions, and keeps the features of encoders that do not learn.

    Args:
        model: the network.
        tokenizer: of its texts.
        is_alone: see `FeatureCache`.
    """

    def __init__(self, model: Murag, tokenizer: Tokenizer, *, is_alone: bool = False) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._words, self._pictures = (FeatureCache(is_alone=is_alone) for _ in range(2))

    def __call__(self, entries: Sequence[Entry], max_tokens: int) -> Encoded:
        """Return encoded questions.

        Args:
            entries: at least one.
            max_tokens: of their texts; the rest is cut off.

        Raises:
            FileNotFoundError: a picture is not where it should be.
            UserError: a picture is damaged.
        """
        encoded: Encoded = self.model.encoder(*self._features(entries, max_tokens), is_question=True)
        return encoded

    def items(self, entries: Sequence[Entry], max_tokens: int) -> Encoded:
        """Return encoded items as the reader needs them: only ``fid_cached`` reads what they became alone."""
        needs_hidden = self.model.config.reader == "fid_cached"
        encoded: Encoded = self.model.encoder(*self._features(entries, max_tokens), needs_hidden=needs_hidden)
        return encoded

    def vectors(self, entries: Sequence[Entry], max_tokens: int, *, is_question: bool) -> Float[Tensor, "entry dim"]:
        """Return retrieval vectors alone, which is less work where they are summaries of pretrained encoders."""
        return self.model.encoder.vectors_of(*self._features(entries, max_tokens), is_question=is_question)

    def _features(
        self, entries: Sequence[Entry], max_tokens: int
    ) -> tuple[Features, Features | None, Bool[Tensor, " entry"] | None]:
        words = self._read([entry.text for entry in entries], max_tokens)
        has_picture = torch.tensor([entry.image is not None for entry in entries])
        if not bool(has_picture.any()):
            return words, None, None
        seen = self._see([entry.image for entry in entries if entry.image is not None])
        # Rows without a picture get the first one, which is masked.
        row = (has_picture.cumsum(0) - 1).clamp(min=0)
        device = seen.tokens.device
        return words, seen.index_select(row.to(device)), has_picture.to(device)

    def _read(self, texts: Sequence[str], max_tokens: int) -> Features:
        tokens = self._tokens(texts, max_tokens)
        encoder = self.model.encoder
        if encoder.sentences is None or not encoder.sentences.is_held:
            return encoder.read(tokens.to(encoder.pool.device))
        keys = [tuple(row) for row in tokens.tolist()]
        return self._words.get(keys, lambda rows: encoder.read(_cut(tokens[rows]).to(encoder.pool.device)))

    def _tokens(self, texts: Sequence[str], max_tokens: int) -> Int[Tensor, "text token"]:
        """Return tokens; an empty text is a row of padding."""
        tokens = self.tokenizer.batch(texts, max_tokens)
        is_empty = torch.tensor([not text.strip() for text in texts])
        return tokens.masked_fill(is_empty[:, None], 0)

    def _see(self, pictures: Sequence[Picture]) -> Features:
        encoder = self.model.encoder
        places = [picture for picture in pictures if isinstance(picture, str)]
        if not encoder.pictures.is_held or len(places) < len(pictures):  # those of users rarely come again
            return encoder.see(self._load(pictures))
        return self._pictures.get(places, lambda rows: encoder.see(self._load([places[row] for row in rows])))

    def _load(self, pictures: Sequence[Picture]) -> Float[Tensor, "picture 3 height width"]:
        size, device = self.model.encoder.pictures.image_size, self.model.encoder.pool.device
        loaded = [picture if isinstance(picture, Tensor) else _at_size(picture, size) for picture in pictures]
        return torch.stack(loaded).to(device)


def _at_size(picture: Image | str, size: tuple[int, int]) -> Float[Tensor, "3 height width"]:
    return as_tensor(read_source_picture(picture) if isinstance(picture, str) else picture, size)


def _cut(tokens: Int[Tensor, "text token"]) -> Int[Tensor, "text fewer"]:
    """Return rows without columns that are padding everywhere."""
    return tokens[:, : max(1, int((tokens != 0).any(0).sum()))]
