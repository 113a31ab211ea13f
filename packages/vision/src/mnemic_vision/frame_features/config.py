"""Settings of a feature extractor, apart from it: checkpoints of other features do without torchvision."""

from dataclasses import dataclass
from math import inf

from mnemic_core.errors import UserError, check_range


@dataclass(frozen=True)
class ExtractorConfig:
    """Settings of a feature extractor, as they belong in the checkpoint of what was trained on its features.

    Args:
        backbone: an image model of timm, or a video model of torchvision such as ``s3d``.
        stride: frames of the video per feature.
        clip_length: frames that the network sees at once; 1 for image models.
        frame_step: distance of the frames of a clip in frames of the video; divides ``stride``. Most video models were
            trained at 15 frames a second, 2 for a video of 30; ``mvit_v1_b`` and ``mvit_v2_s`` at 7.5.
        size: side of its square input, pixels.
        checksum: of its weights; None accepts any.
    """

    backbone: str = "tf_efficientnet_lite0"
    stride: int = 6
    clip_length: int = 1
    frame_step: int = 1
    size: int = 224
    checksum: str | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "stride", "clip_length", "frame_step", "size")
        if self.stride % self.frame_step:
            raise UserError(f"frame_step must divide stride, got {self.frame_step} and {self.stride}")
