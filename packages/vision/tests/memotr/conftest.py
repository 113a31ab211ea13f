"""The smallest MeMOTR network, and clips for it."""

from collections.abc import Callable

import pytest
import torch

from mnemic_vision.memotr import ClipBatch, Memotr, MemotrConfig, Target, build_memotr


@pytest.fixture
def config() -> MemotrConfig:
    return MemotrConfig(
        dim=32,
        num_heads=4,
        memory_heads=4,
        ffn_dim=32,
        num_levels=2,
        encoder_points=2,
        decoder_points=2,
        encoder_layers=1,
        decoder_layers=3,
        num_queries=6,
        num_classes=2,
        capacity=8,
        backbone="test_efficientnet",
        backbone_levels=2,
    )


@pytest.fixture
def build() -> Callable[[MemotrConfig], Memotr]:
    """Return a maker of networks whose untrained boxes depend on the image and whose scores lie around 0.5."""

    def lively(config: MemotrConfig) -> Memotr:
        torch.manual_seed(0)
        model = build_memotr(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.startswith("backbone"):
                    parameter.add_(0.1 * torch.randn_like(parameter))
            for head in model.class_heads:
                torch.nn.init.zeros_(head.bias)
        return model.eval()

    return lively


@pytest.fixture
def make_clip() -> Callable[..., ClipBatch]:
    """Return a maker of clips of random images in which objects drift; ``counts`` has the objects of each sample."""

    def clip(counts: list[int], frames: int = 2, num_classes: int = 2, seed: int = 0) -> ClipBatch:
        random = torch.Generator().manual_seed(seed)
        images = torch.randn(len(counts), frames, 3, 64, 64, generator=random)
        starts = [torch.rand(count, 4, generator=random) * 0.3 + 0.2 for count in counts]
        labels = [torch.randint(num_classes, (count,), generator=random) for count in counts]
        targets = [
            [
                Target(start + 0.02 * frame, label, torch.arange(len(label)) + 100 * sample)
                for sample, (start, label) in enumerate(zip(starts, labels, strict=True))
            ]
            for frame in range(frames)
        ]
        return ClipBatch(images, torch.zeros(len(counts), 64, 64, dtype=torch.bool), targets)

    return clip
