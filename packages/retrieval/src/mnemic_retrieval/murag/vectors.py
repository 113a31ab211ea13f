"""Retrieval vectors in the space of sentences, into which pictures come by the names of their classes."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_retrieval.batches import batches
from mnemic_retrieval.encoders import Features, PictureEncoder, SentenceEncoder
from mnemic_retrieval.tokenizers import Tokenizer

_NAMES_AT_A_TIME = 50


class SummaryVectors(nn.Module):
    """The vector of a text is that of its sentence; a picture's is the mean of class names by their probabilities.

    The latter is ConSE (arXiv 1312.5650), which needs no training and knows the classes of its classifier alone. A
    linear layer on the mean patch, which begins with 0, adds what training pairs teach. Of a picture with a text both
    count, by a gate on the text: a caption tells more than its picture, "What is this?" tells nothing.

    Questions are phrased differently from the items that answer them: a second linear layer, initialized to 0 as well,
    is added to the text vectors of questions only. Without it, the nearest items to "What kind of thing is this? A
    frog." are captions, not facts.

    Args:
        pictures: classifier.
        sentences: encoder of texts.
        dropout: of the mean patch.

    Attributes:
        class_vectors: of the class names, see `set_classes`.
    """

    class_vectors: Float[Tensor, "klass dim"]

    def __init__(self, pictures: PictureEncoder, sentences: SentenceEncoder, dropout: float) -> None:
        super().__init__()
        self.dim = sentences.config.dim
        self.register_buffer("class_vectors", torch.zeros(pictures.num_classes, self.dim))
        self.norm, self.dropout = nn.LayerNorm(pictures.dim, elementwise_affine=False), nn.Dropout(dropout)
        self.learned, self.gate = nn.Linear(pictures.dim, self.dim), nn.Linear(self.dim, 1)
        self.question_layer = nn.Linear(self.dim, self.dim)
        for layer in (self.learned, self.gate, self.question_layer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def set_classes(self, names: Sequence[Sequence[str]], sentences: SentenceEncoder, tokenizer: Tokenizer) -> None:
        """Set the vector of each class to the mean of those of its names.

        Args:
            names: one or more for each class, such as its name and its definition.
            sentences: encoder of the names.
            tokenizer: of the encoder.
        """
        rows = []
        for part in batches(names, _NAMES_AT_A_TIME):
            texts = [name for each in part for name in each]
            made = sentences(tokenizer.batch(texts, 64).to(self.class_vectors.device)).summary
            rows += [vectors.mean(0) for vectors in made.split([len(each) for each in part])]
        self.class_vectors.copy_(F.normalize(torch.stack(rows), dim=-1))

    def forward(
        self,
        words: Features,
        pictures: Features | None,
        has_picture: Bool[Tensor, " batch"] | None,
        *,
        is_question: bool,
    ) -> Float[Tensor, "batch dim"]:
        """Return the vectors of items or questions, not normalized."""
        text = words.summary + self.question_layer(words.summary) if is_question else words.summary
        if pictures is None:
            return text
        seen = pictures.summary @ self.class_vectors
        seen = seen + self.learned(self.dropout(self.norm(pictures.tokens.mean(1))))
        if has_picture is None:
            has_picture = torch.ones(len(seen), dtype=torch.bool, device=seen.device)
        has_text = (~words.padding).any(1)
        share = torch.where(has_text[:, None], self.gate(words.summary).sigmoid(), 0.0)
        share = torch.where(has_picture[:, None], share, 1.0)
        vector: Tensor = (1 - share) * F.normalize(seen, dim=-1) + share * text
        return vector


@cache
def imagenet_names() -> tuple[tuple[str, str], ...]:
    """Return the name of each of ImageNet's 1000 classes, and all its names with its definition in WordNet."""
    from timm.data.imagenet_info import ImageNetInfo  # reads its files when it is made

    info: Any = ImageNetInfo("imagenet-1k")  # without types
    names, full = (
        [info.index_to_description(index, detailed=is_long) for index in range(info.num_classes())]
        for is_long in (False, True)
    )
    return tuple((name.split(",")[0], long) for name, long in zip(names, full, strict=True))
