"""Settings of MuRAG's networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from mnemic_core.errors import check_range
from mnemic_retrieval.t5.config import T5Config


@dataclass(frozen=True)
class TowerConfig:
    """A vision transformer of timm, whose patch tokens are used.

    Attributes:
        name: of the architecture.
        options: further arguments of `timm.create_model`, such as sizes.
        is_frozen: whether it keeps its weights in training.
    """

    name: str = "vit_large_patch16_224"
    options: Mapping[str, Any] = field(default_factory=dict)
    is_frozen: bool = False


@dataclass(frozen=True)
class MuragConfig:
    """Settings of the network.

    The paper joins a T5 and a ViT; how, could not be read beyond that: the order of the sequence, the place of the
    retrieval vector and its normalization are choices of ours.

    Attributes:
        t5: encoder-decoder for words and patches.
        tower: network that makes patches.
        normalize: whether retrieval vectors have length 1.
        temperature: by which products of retrieval vectors are divided in training; where it begins, if it is learned.
    """

    t5: T5Config = field(default_factory=T5Config)
    tower: TowerConfig = field(default_factory=TowerConfig)
    normalize: bool = True
    temperature: float = 0.05

    def __post_init__(self) -> None:
        check_range(self, 1e-6, inf, "temperature")


def murag_base() -> MuragConfig:
    """Return sizes into which released weights of T5 v1.1 base and a ViT-L/16 load."""
    return MuragConfig()


def murag_tiny(vocab_size: int = 259) -> MuragConfig:
    """Return sizes for tests and small pictures: 32 pixels in 16 patches, fewer than a million weights."""
    t5 = T5Config(vocab_size, 64, num_heads=4, head_dim=16, ffn_dim=128, encoder_layers=2, decoder_layers=2)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return MuragConfig(t5, TowerConfig("vit_tiny_patch16_224", sizes))
