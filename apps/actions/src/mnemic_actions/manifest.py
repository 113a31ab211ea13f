"""The manifest of extracted features: how they were made, and the videos that are complete."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_kit.record import Record, program_version, read_results
from mnemic_vision.frame_features import ExtractorConfig

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class VideoEntry:
    """A video whose features are complete.

    Attributes:
        digest: of the video's content.
        fps: frames of the video per second.
        duration: of the video in seconds.
        num_frames: of the video.
        num_features: rows of its file.
        features_per_second: rows per second.
    """

    digest: str
    fps: float
    duration: float
    num_frames: int
    num_features: int
    features_per_second: float


def open_manifest(folder: Path, config: ExtractorConfig) -> tuple[Record, dict[str, Any]]:
    """Return the manifest of a folder and the entries that it holds.

    Raises:
        UserError: the folder has features of another extractor.
    """
    record = Record(folder / MANIFEST, {**program_version("mnemic-actions"), "extractor": asdict(config)})
    content = record.read() or {}
    entries = content.get("videos", {})
    if not isinstance(entries, dict):
        raise UserError(f"{record.path} has no videos by name; give another --out")
    return record, entries


def write_manifest(record: Record, entries: Mapping[str, Any]) -> None:
    """Write the entries with the settings of the extractor."""
    record.write({"videos": dict(sorted(entries.items()))})


def feature_rates(folder: Path) -> dict[str, float]:
    """Return the features per second of the videos that the manifest of a folder names; empty without a manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        videos = read_results(path).get("videos")
    except UserError:  # of another program
        return {}
    entries = videos.items() if isinstance(videos, dict) else ()
    rates = {name: entry.get("features_per_second") for name, entry in entries if isinstance(entry, dict)}
    return {name: float(rate) for name, rate in rates.items() if isinstance(rate, int | float) and rate > 0}
