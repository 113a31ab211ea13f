"""Pictures as tokens: transformers and convolutional networks of timm, and those of open_clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemic_core.classifier_weights import load_headless
from mnemic_core.errors import UserError, check_choice
from mnemic_core.loading import load_exactly, read_state_dict
from mnemic_core.weight_files import find_weights
from mnemic_retrieval.encoders.features import Features
from mnemic_retrieval.encoders.held import Held, HoldingEncoder
from mnemic_retrieval.libraries import optional_library

Library: TypeAlias = Literal["timm", "open_clip"]

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PictureConfig:
    """A network whose patches, or cells of its last feature map, are the tokens of a picture.

    Attributes:
        name: of the architecture.
        library: that has it.
        options: further arguments of ``timm.create_model``, or the ``vision_cfg`` of open_clip, such as sizes.
        weights: file whose weights it keeps, see `find_weights`; they go into no checkpoint. None: it learns with the
            rest.
        image_size: height and width of pictures in pixels; None: those of the network.
        has_classes: whether the probabilities of its classes are the summary, for a classifier with ``weights``.
    """

    name: str = "vit_large_patch16_224"
    library: Library = "timm"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    image_size: int | None = None
    has_classes: bool = False

    def __post_init__(self) -> None:
        check_choice(Library, library=self.library)
        if self.has_classes and (self.library != "timm" or self.weights is None):
            raise UserError("has_classes is for a classifier of timm with weights")


class PictureEncoder(HoldingEncoder):
    """Turns pictures into tokens.

    Args:
        config: which network.

    Attributes:
        num_tokens: of a picture.
        dim: their width.
        num_classes: width of the summary: probabilities of classes, or 0.
        image_size: height and width of pictures in pixels.

    Raises:
        FileNotFoundError: its weights are not there.
        UserError: the library has no such network, it has no tokens, or the weights do not fit.

    Example:
        >>> sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
        >>> encoder = PictureEncoder(PictureConfig("vit_tiny_patch16_224", options=sizes))
        >>> encoder(torch.rand(2, 3, 32, 32)).tokens.shape
        torch.Size([2, 16, 16])
    """

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        self.config = config
        network, size, mean, std = _build(config)
        if config.weights is not None:
            _load(network, config, mean, std)
        self.network = network if config.weights is None else Held(network)
        self.image_size = (size, size)
        for name, values in {"mean": mean, "std": std}.items():
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        with torch.no_grad():
            tried = self.eval()(torch.zeros(1, 3, size, size))
        self.train()
        _, self.num_tokens, self.dim = tried.tokens.shape
        self.num_classes = tried.summary.shape[1]

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Return the features of pictures with values in [0, 1]."""
        if tuple(images.shape[2:]) != self.image_size:
            raise UserError(
                f"pictures must be {self.image_size} pixels for this network, got {tuple(images.shape[2:])}"
            )
        normalized = (images - self.get_buffer("mean")) / self.get_buffer("std")
        with self.gradients():
            return self._features(normalized)

    def _features(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        network = self.bare
        if self.config.library == "open_clip":
            tokens = network(images)[1]
        else:
            made = network.forward_features(images)
            tokens = made.flatten(2).mT if made.ndim == 4 else made[:, -network.patch_embed.num_patches :]
        summary = tokens[:, 0, :0]
        if self.config.has_classes:
            summary = network.forward_head(made).softmax(-1)
        padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, padding, summary, padding.long())


_Built: TypeAlias = tuple[nn.Module, int, tuple[float, ...], tuple[float, ...]]


def _build(config: PictureConfig) -> _Built:
    """Return a network with random weights, the size of its pictures, and mean and deviation of their channels."""
    try:
        return _build_clip(config) if config.library == "open_clip" else _build_timm(config)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"network {config.name!r} with {dict(config.options)}: {error}") from error


def _build_timm(config: PictureConfig) -> _Built:
    options = dict(config.options) if config.has_classes else {"num_classes": 0, **config.options}
    network: Any = timm.create_model(config.name, pretrained=False, **options)
    patches = getattr(network, "patch_embed", None)
    if patches is None and not hasattr(network, "conv_stem"):
        raise UserError(f"network {config.name!r} has no tokens: choose a vision transformer or an EfficientNet")
    size = network.default_cfg["input_size"][1] if patches is None else patches.img_size[0]
    mean, std = (network.default_cfg.get(name, (0.5,) * 3) for name in ("mean", "std"))
    return network, config.image_size or size, mean, std


def _build_clip(config: PictureConfig) -> _Built:
    library = optional_library("open_clip", "clip")
    settings = library.get_model_config(config.name)
    if settings is None:
        raise UserError(f"open_clip has no network {config.name!r}")
    sizes = {**settings["vision_cfg"], **config.options}
    network = library.model._build_vision_tower(settings["embed_dim"], sizes, settings.get("quick_gelu", False))
    if not hasattr(network, "output_tokens"):
        raise UserError(f"network {config.name!r} of open_clip has no tokens: choose a vision transformer")
    network.output_tokens = True
    return network, config.image_size or sizes["image_size"], _CLIP_MEAN, _CLIP_STD


def _load(network: nn.Module, config: PictureConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    path = find_weights(str(config.weights))
    if config.library == "timm":
        load_headless(network, path, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
        return
    weights = read_state_dict(path)
    prefix = "visual."
    visual = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    load_exactly(network, visual or weights, path)
