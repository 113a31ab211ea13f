"""The smallest MATR network, whose untrained output depends on frames and memory."""

from collections.abc import Callable

import pytest
import torch

from mnemic_vision.matr import Matr, MatrConfig


@pytest.fixture
def config() -> MatrConfig:
    return MatrConfig(
        modalities=(3, 2),
        num_classes=3,
        dim=16,
        ffn_dim=12,
        encoder_layers=2,
        encoder_heads=4,
        decoder_layers=2,
        decoder_heads=2,
        window=6,
        num_queries=3,
        capacity=2,
    )


@pytest.fixture
def build() -> Callable[[MatrConfig], Matr]:
    """Return a maker of networks that flag every second window of noise, about."""

    def lively(config: MatrConfig) -> Matr:
        torch.manual_seed(0)
        model = Matr(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
            windows = model.windows(model.project(torch.randn(1, 64, config.num_features)))
            logits = model.eval().flag_logits(model.encode(windows))
            model.flag_head[-1].bias.sub_(logits.median())
            model.end_head[-1].bias.add_(0.5)  # most instances have ended, and begin before they end
            model.start_head[-1].bias.add_(1.0)
        return model

    return lively
