from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import get_model, get_model_weights

from mnemic_core.classifier_weights import load_headless
from mnemic_core.errors import UserError
from mnemic_vision.frame_features.networks import build_network, feature_dim, video_models

CLIPS = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def randomize_norms(network: nn.Module) -> None:
    """Give batch norms statistics that matter."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


@torch.no_grad()
def test_a_video_feature_is_what_the_classifier_of_the_loaded_file_sees(tmp_path: Path) -> None:
    classifier = get_model("r3d_18", weights=None).eval()
    randomize_norms(classifier)
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    network = build_network("r3d_18")
    load_headless(network.body, tmp_path / "weights.pth")
    preset = get_model_weights("r3d_18").DEFAULT.transforms(crop_size=(32, 32), resize_size=(32, 32))
    assert_close(classifier.fc(network(CLIPS)), classifier(preset(CLIPS)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_image_feature_is_what_the_classifier_of_the_loaded_file_sees(tmp_path: Path) -> None:
    classifier = timm.create_model("test_efficientnet", pretrained=False).eval()
    randomize_norms(classifier)
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    network = build_network("test_efficientnet")
    load_headless(network.body, tmp_path / "weights.pth")
    images = (CLIPS[:, 0] / 255 - 0.5) / 0.5  # by its default_cfg
    assert_close(classifier.classifier(network(CLIPS[:, :1])), classifier(images), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", video_models())
def test_every_video_model_tells_its_width_without_computing(name: str) -> None:
    with torch.device("meta"):
        modules = [*get_model(name, weights=None).modules()]
    head = next(module for module in reversed(modules) if isinstance(module, nn.Linear | nn.Conv3d))
    width = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    assert feature_dim(name, clip_length=16, size=224) == width


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit"])
def test_image_models_tell_their_width_without_computing(name: str) -> None:
    assert feature_dim(name, 1, 160) == build_network(name)(CLIPS.new_zeros(1, 1, 3, 160, 160)).shape[1]


def test_random_weights_are_the_same_each_time_and_leave_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (build_network("test_efficientnet").state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("name", "clip_length", "size", "message"),
    [
        ("mvit_v2_s", 8, 224, "mvit_v2_s cannot take 8 frames of 224 x 224 pixels; use clip_length 16 and size 224"),
        ("s3d", 16, 112, "s3d cannot take 16 frames of 112 x 112 pixels; use clip_length 14 and size 224"),
        ("vit_tiny_patch16_224", 1, 100, "cannot take 1 frames of 100 x 100 pixels; use size 224"),
        ("resnet18", 16, 224, "resnet18 is an image model: clip_length must be 1, got 16; or use a video model"),
        ("s3dd", 1, 224, "unknown backbone 's3dd': use mc3_18, .* or a timm model name"),
    ],
)
def test_unusable_models_are_refused_in_one_line(name: str, clip_length: int, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        feature_dim(name, clip_length, size)
