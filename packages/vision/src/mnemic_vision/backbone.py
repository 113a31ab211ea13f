"""Multi-scale feature maps from torchvision's ResNet-50 or any timm model with ``features_only``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from mnemic_core.classifier_weights import load_headless
from mnemic_core.errors import UserError
from mnemic_vision.late_compiler import late_compiler

if TYPE_CHECKING:
    from timm.models import FeatureInfo

with late_compiler():
    from torchvision.models import resnet50
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.ops import FrozenBatchNorm2d

FROZEN_STRIDE = 4


class ResNet50(nn.Module):
    """The deepest 1 to 3 stages (strides 8, 16, 32) of ResNet-50, with frozen batch norm and early stages."""

    def __init__(self, num_levels: int = 3) -> None:
        super().__init__()
        if not 1 <= num_levels <= 3:
            raise UserError(f"backbone_levels of resnet50 must be 1, 2 or 3, got {num_levels}")
        network = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
        names = [f"layer{stage}" for stage in range(5 - num_levels, 5)]
        self.body = IntermediateLayerGetter(network, {name: name for name in names})
        self.channels = (512, 1024, 2048)[-num_levels:]
        self.strides = (8, 16, 32)[-num_levels:]
        for name, parameter in self.body.named_parameters():
            if not name.startswith(("layer2", "layer3", "layer4")):
                parameter.requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Return the feature maps, finest first."""
        return list(self.body(_channels_last(images)).values())


class TimmBackbone(nn.Module):
    """The deepest feature maps of a timm model.

    Args:
        name: timm model with ``features_only``, such as ``tf_efficientnet_lite0``.
        num_levels: number of feature maps.
        is_pretrained: keep the batch norm statistics, since batches are small, and freeze stages finer than stride 8,
            which cost most of the backward pass. To train from scratch, use False.
    """

    def __init__(self, name: str, num_levels: int = 3, is_pretrained: bool = True) -> None:
        super().__init__()
        depth = len(_feature_info(create_timm_model(name, "resnet50", features_only=True)))
        if not 1 <= num_levels <= depth:
            raise UserError(f"backbone_levels of {name} must be 1 to {depth}, got {num_levels}")
        indices = tuple(range(depth - num_levels, depth))
        self.body = create_timm_model(name, "resnet50", features_only=True, out_indices=indices)
        stages = [_feature_info(self.body)[index] for index in indices]
        self.channels = tuple(stage["num_chs"] for stage in stages)
        self.strides = tuple(stage["reduction"] for stage in stages)
        self.is_pretrained = is_pretrained
        if is_pretrained:
            self._freeze_fine_stages()
        self.train()  # sets the mode of batch norm, which Lightning then preserves

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Set the training mode; the batch norms of a pretrained network keep their statistics."""
        super().train(mode)
        for module in self.modules():
            if self.is_pretrained and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Return the feature maps, finest first."""
        return list(self.body(_channels_last(images)))

    def _freeze_fine_stages(self) -> None:
        """Freeze all parameters up to the last one of the stage whose stride is 4."""
        fine = [stage["module"] for stage in _feature_info(self.body) if stage["reduction"] <= FROZEN_STRIDE]
        names = [name for name, _ in self.body.named_parameters()]
        last = max((index for index, name in enumerate(names) if name.startswith(tuple(fine))), default=-1)
        for parameter in list(self.body.parameters())[: last + 1]:
            parameter.requires_grad_(False)


def create_timm_model(name: str, others: str, **options: Any) -> nn.Module:
    """Return a timm model with random weights.

    Args:
        name: of the model.
        others: names that the caller accepts besides, for the message.
        options: of ``timm.create_model``.

    Raises:
        UserError: if timm has no such model, with similar names.
    """
    with late_compiler():
        import timm  # here: with all its models it takes a quarter of the time of importing torch

    if name not in timm.list_models(name):
        close = ", ".join(timm.list_models(f"*{name}*")[:5]) or "none similar"
        raise UserError(f"unknown backbone {name!r}: use {others} or a timm model name (similar: {close})")
    return timm.create_model(name, pretrained=False, **options)


def _channels_last(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Return images in channels-last layout, with which convolutions are about a third faster on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)


def _feature_info(network: nn.Module) -> list[dict[str, Any]]:
    """Return module name, channels and stride of each stage of a timm feature extractor."""
    return cast("FeatureInfo", network.feature_info).info


def build_backbone(name: str, num_levels: int = 3, is_pretrained: bool = True) -> ResNet50 | TimmBackbone:
    """Return ``resnet50`` or a timm model with random weights; see `load_backbone` for weights from a local file."""
    backbone = ResNet50(num_levels) if name == "resnet50" else TimmBackbone(name, num_levels, is_pretrained)
    convert_conv2d_weight_memory_format(backbone, torch.channels_last)
    return backbone


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load the ImageNet weights of a classifier into a backbone; see `load_headless`."""
    load_headless(backbone.get_submodule("body"), path)
