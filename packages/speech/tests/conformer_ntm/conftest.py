"""The smallest Conformer-NTM with each memory, and utterances for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mnemic_core import MemoryConfig
from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig

TINY = ConformerNtmConfig(
    vocab_size=6,
    encoder=ConformerConfig(num_mels=9, dim=8, num_heads=2, ffn_dim=12, num_layers=1, kernel_size=3, dropout=0.0),
    decoder_layers=1,
    decoder_ffn_dim=12,
    memory_segment=3,
)
MEMORIES: dict[str, dict[str, Any]] = {
    "none": {},
    "turing_release": {"slots": 5, "width": 4},
    "turing_paper": {"slots": 5, "width": 4},
    "turing_improved": {"slots": 5, "width": 4},
    "slot_attention": {"num_slots": 3, "num_heads": 2},
    "exponential": {"decay": 0.3},
    "window": {"capacity": 4, "detach": "never"},
    "transformer_xl": {"capacity": 4, "num_heads": 2, "detach": "never"},
}


@pytest.fixture
def memories() -> dict[str, dict[str, Any]]:
    """Return the options of each memory by its name."""
    return MEMORIES


@pytest.fixture(params=MEMORIES)
def memory_name(request: pytest.FixtureRequest) -> str:
    """Return the name of one memory after the other."""
    return str(request.param)


@pytest.fixture
def build() -> Callable[..., ConformerNtm]:
    """Return a maker of networks by the name of the memory, with further settings of network and encoder."""

    def network(memory: str = "turing_paper", encoder: dict[str, Any] | None = None, **settings: Any) -> ConformerNtm:
        torch.manual_seed(0)
        sizes = replace(TINY.encoder, **encoder or {})
        options = {"memory": MemoryConfig(memory, MEMORIES[memory]), **settings}
        model = ConformerNtm(replace(TINY, encoder=sizes, **options))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("scale"):  # at 0 nothing that is recalled could be seen
                    parameter.fill_(0.5)
        return model

    return network


@pytest.fixture
def utterances() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, their lengths, tokens and their lengths of two utterances, nothing legal after their ends."""
    torch.manual_seed(1)
    features = torch.randn(2, 47, 9)
    features[1, 30:] = torch.nan
    return features, torch.tensor([47, 30]), torch.tensor([[2, 3, 4, 2], [3, 2, -1, -1]]), torch.tensor([4, 2])
