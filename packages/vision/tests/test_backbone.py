from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter

from mnemic_core.classifier_weights import IMAGENET_MEAN, IMAGENET_STD
from mnemic_vision.backbone import TimmBackbone, build_backbone, load_backbone, load_headless

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_resnet50_equals_torchvision_with_batch_norm_in_evaluation_mode(tmp_path: Path) -> None:
    classifier = resnet50(weights=None)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pth")
    backbone = build_backbone("resnet50")
    load_backbone(backbone, tmp_path / "resnet50.pth")
    layers = {f"layer{stage}": str(stage) for stage in (2, 3, 4)}
    with torch.no_grad():
        expected = IntermediateLayerGetter(classifier.eval(), layers)(IMAGES).values()
        for feature, theirs in zip(backbone.train()(IMAGES), expected, strict=True):
            assert_close(feature, theirs, atol=1e-4, rtol=1e-4)
    trained = {name.split(".")[1] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize(("name", "levels"), [("test_efficientnet", 2), ("test_convnext", 1), ("resnet18", 3)])
def test_timm_models_return_maps_of_the_announced_sizes(name: str, levels: int) -> None:
    backbone = build_backbone(name, levels)
    features = backbone(IMAGES)
    assert len(features) == levels
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        assert feature.shape == (1, channels, 64 // stride, 64 // stride)


def test_timm_features_equal_those_of_the_loaded_classifier(tmp_path: Path) -> None:
    classifier = timm.create_model("test_efficientnet", pretrained=False).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    backbone = TimmBackbone("test_efficientnet", num_levels=1).eval()
    load_backbone(backbone, tmp_path / "weights.pth")
    with torch.no_grad():
        last = classifier.forward_intermediates(IMAGES, intermediates_only=True)[-1]
        assert_close(backbone(IMAGES)[0], last)


def test_training_leaves_the_statistics_of_batch_norm_alone() -> None:
    backbone = build_backbone("test_efficientnet", 1).train()
    before = {name: tensor.clone() for name, tensor in backbone.named_buffers()}
    backbone(IMAGES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.named_buffers())


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.5, 0.5), (0.4, 0.5, 0.6))])
def test_files_of_efficientnet_lite_match_their_own_preprocessing(
    tmp_path: Path, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    donor = build_backbone("tf_efficientnet_lite0", 1).eval()
    weights = {name: value for name, value in donor.body.state_dict().items() if not name.endswith("tracked")}
    names = ["_conv_stem.weight", *(f"_other.{index}" for index in range(1, len(weights)))]
    torch.save(dict(zip(names, weights.values(), strict=True)), tmp_path / "lite0.pth")
    backbone = build_backbone("tf_efficientnet_lite0", 1).eval()
    load_headless(backbone.body, tmp_path / "lite0.pth", mean, std)
    pixels = torch.rand(1, 3, 64, 64) * 255
    center, deviation = (torch.tensor(values)[:, None, None] for values in (mean, std))
    with torch.no_grad():
        theirs = donor.body.bn1(donor.body.conv_stem((pixels - 127) / 128))
        ours = backbone.body.bn1(backbone.body.conv_stem((pixels / 255 - center) / deviation))
    inside = (..., slice(1, -1), slice(1, -1))  # what lies beyond the border is another color there
    assert_close(ours[inside], theirs[inside], atol=1e-4, rtol=1e-4)


def test_an_unknown_name_is_refused_with_similar_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'net_lite0'.*similar: efficientnet_lite0"):
        build_backbone("net_lite0")
    with pytest.raises(ValueError, match="backbone_levels of resnet50 must be 1, 2 or 3, got 4"):
        build_backbone("resnet50", 4)
    with pytest.raises(ValueError, match="backbone_levels of test_convnext must be 1 to 4, got 5"):
        build_backbone("test_convnext", 5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_convnext", pretrained=False).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not have the weights .*: \d+ of \d+ are missing"):
        load_backbone(build_backbone("test_efficientnet", 1), tmp_path / "other.pth")


def test_a_backbone_from_scratch_trains_all_layers_and_batch_norm() -> None:
    fresh, loaded = (build_backbone("test_resnet", 2, is_pretrained=flag) for flag in (False, True))
    assert all(parameter.requires_grad for parameter in fresh.parameters())
    assert not all(parameter.requires_grad for parameter in loaded.parameters())
    norms = [[m.training for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)] for net in (fresh, loaded)]
    assert all(norms[0])
    assert not any(norms[1])
