"""Networks that turn clips into features: any image model of timm, any video model of torchvision."""

from abc import ABC, abstractmethod
from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format, convert_conv3d_weight_memory_format

from mnemic_core.errors import UserError
from mnemic_vision.backbone import create_timm_model
from mnemic_vision.images import normalize
from mnemic_vision.late_compiler import late_compiler

with late_compiler():
    from torchvision.models import get_model, get_model_weights, list_models, video

Channels = tuple[float, float, float]

_HEADS = ("classifier", "fc", "head")  # names of the classifier in torchvision's video models
_SEED = 0


class ClipNetwork(nn.Module, ABC):
    """A classifier without its head, from clips of RGB bytes to features.

    Attributes:
        body: the network.
        mean: of the RGB channels, by which it expects its images to be normalized.
        std: their standard deviation, likewise.
        memory_format: of its input.
    """

    def __init__(self, body: nn.Module, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.body = body
        self.mean = mean
        self.std = std
        self.memory_format = torch.contiguous_format

    def forward(self, clips: UInt8[Tensor, "batch time 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Return a feature for each clip."""
        images = self.arrange(normalize(clips, self.mean, self.std))
        features: Tensor = self.body(images.contiguous(memory_format=self.memory_format))
        return features

    @abstractmethod
    def arrange(self, clips: Float[Tensor, "batch time 3 height width"]) -> Float[Tensor, "batch 3 *extent"]:
        """Return normalized clips as the body expects them."""


class ImageNetwork(ClipNetwork):
    """An image model of timm, for clips of a single frame."""

    def __init__(self, name: str) -> None:
        body = create_timm_model(name, " or ".join([", ".join(video_models()), "resnet50"]), num_classes=0)
        expected = cast("dict[str, Channels]", body.default_cfg)
        super().__init__(body, expected["mean"], expected["std"])
        convert_conv2d_weight_memory_format(body, torch.channels_last)
        self.memory_format = torch.channels_last

    def arrange(self, clips: Float[Tensor, "batch 1 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the frames."""
        return clips[:, 0]


class VideoNetwork(ClipNetwork):
    """A video model of torchvision."""

    def __init__(self, name: str) -> None:
        body = get_model(name, weights=None)
        for head in _HEADS:
            if hasattr(body, head):
                setattr(body, head, nn.Identity())
        expected = get_model_weights(name).DEFAULT.transforms()
        super().__init__(body, tuple(expected.mean), tuple(expected.std))
        # 1.6 to 1.9 times faster for convolutional networks, but 6 times slower for mvit_v2_s.
        if any(isinstance(module, nn.BatchNorm3d) for module in body.modules()):
            convert_conv3d_weight_memory_format(body, torch.channels_last_3d)
            self.memory_format = torch.channels_last_3d

    def arrange(self, clips: Float[Tensor, "batch time 3 height width"]) -> Float[Tensor, "batch 3 time height width"]:
        """Return the clips, channels first."""
        return clips.transpose(1, 2)


def video_models() -> list[str]:
    """Return the names of torchvision's video models."""
    return list(list_models(module=video))


def build_network(name: str) -> ClipNetwork:
    """Return a network in evaluation mode with random weights, the same in every call.

    Raises:
        UserError: if there is no such model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return _new_network(name).eval()


def feature_dim(name: str, clip_length: int, size: int) -> int:
    """Return the number of features of a model for clips of a length and size, without computing any.

    Raises:
        UserError: if there is no such model, or it cannot take such clips.
    """
    is_video = name in video_models()
    if not is_video and clip_length != 1:
        raise UserError(f"{name} is an image model: clip_length must be 1, got {clip_length}; or use a video model")
    with torch.device("meta"), torch.no_grad():  # shapes without numbers
        network = _new_network(name).eval()
        clip = torch.zeros(1, clip_length, 3, size, size, dtype=torch.uint8)
        try:
            return int(network.body(network.arrange(clip.float())).shape[-1])
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"{name} cannot take {clip_length} frames of {size} x {size} pixels; {_accepted(name, is_video)}"
            ) from error


def _accepted(name: str, is_video: bool) -> str:
    """Return, as advice, an input that a model takes by its documentation."""
    if not is_video:
        expected = cast("dict[str, tuple[int, int, int]]", create_timm_model(name, "").default_cfg)
        return f"use size {expected['input_size'][-1]}"
    facts = get_model_weights(name).DEFAULT.meta
    return f"use clip_length {facts.get('min_temporal_size') or 1} and size {facts['min_size'][0]}"


def _new_network(name: str) -> ClipNetwork:
    return VideoNetwork(name) if name in video_models() else ImageNetwork(name)
