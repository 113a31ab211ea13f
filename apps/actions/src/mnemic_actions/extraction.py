"""Features of many videos, one file for each, in a folder that a stopped extraction continues."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console

from mnemic_actions.manifest import MANIFEST, VideoEntry, open_manifest, write_manifest
from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.made_files import check_outputs
from mnemic_kit.output import show
from mnemic_kit.problems import Problems
from mnemic_kit.progress import frame_progress
from mnemic_kit.record import content_digest
from mnemic_vision.frame_features import FeatureExtractor
from mnemic_vision.video import Frame, FrameSource, open_frames


def name_videos(videos: Sequence[str]) -> dict[str, Path]:
    """Return the videos by the names of their features.

    Raises:
        UserError: two have one name.
    """
    named: dict[str, Path] = {}
    for video in videos:
        path = Path(video)
        name = path.resolve().name if path.is_dir() else path.stem
        if name in named:
            raise UserError(f"{named[name]} and {path} would both become {name}.npy: rename one of them")
        named[name] = path
    return named


def extract_all(videos: dict[str, Path], extractor: FeatureExtractor, out: Path, batch_size: int) -> None:
    """Write the features of videos and, after each, the manifest; complete ones are kept.

    Raises:
        UserError: the folder has features of other settings, or one video alone cannot be read.
        SystemExit: videos could not be read; each was shown as a line.
    """
    record, entries = open_manifest(out, extractor.config)
    check_outputs(out / MANIFEST, *(out / f"{name}.npy" for name in videos))
    out.mkdir(parents=True, exist_ok=True)
    problems = Problems()
    for name, path in videos.items():
        with problems.collecting():
            if not path.exists():
                raise FileNotFoundError(f"{path} does not exist; give a video file or a folder of images")
            digest, target = content_digest(path), out / f"{name}.npy"
            if target.is_file() and entries.get(name, {}).get("digest") == digest:
                show(f"{name}: complete")
                continue
            features, source = extract_one(path, name, extractor, batch_size)
            entry = _describe(digest, source, extractor, len(features))
            with atomic_write(target, "wb") as file:
                np.save(file, features, allow_pickle=False)
            entries[name] = asdict(entry)
            write_manifest(record, entries)
            speed = f"{1000 * extractor.seconds_per_feature:.1f} ms each"
            show(f"{name}: {len(features)} features of {entry.duration:.1f} s, {speed}")
    problems.end("failed")


def extract_one(
    path: Path, name: str, extractor: FeatureExtractor, batch_size: int
) -> tuple[Float[np.ndarray, "feature dim"], FrameSource]:
    """Return the features of a video and the source, all frames of which were read."""
    extractor.reset()
    with open_frames(path) as source, frame_progress(name, source.num_frames, Console(stderr=True)) as tick:

        def counted() -> Iterator[Frame]:
            for frame in source:
                tick()
                yield frame

        features = torch.cat(list(extractor.extract(counted(), batch_size))).numpy()
    return features, source


def _describe(digest: str, source: FrameSource, extractor: FeatureExtractor, num_features: int) -> VideoEntry:
    num_frames, rate = extractor.state.count, source.frame_rate
    return VideoEntry(
        digest=digest,
        fps=rate,
        duration=num_frames / rate,
        num_frames=num_frames,
        num_features=num_features,
        features_per_second=rate / extractor.config.stride,
    )
