"""Online tracking: births, misses and deaths of tracks, and the user-facing `Tracker`.

Source: `models/runtime_tracker.py` and `submit_engine.py` of the official code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import singledispatch
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.session import Session
from mnemic_vision.boxes import cxcywh_to_xywh
from mnemic_vision.images import as_image, pad_images, preprocess_frame
from mnemic_vision.memotr.appearance import AppearanceMemory, AppearanceSettings, AppearanceState
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, observe
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, is_duplicate
from mnemic_vision.tracks import Track
from mnemic_vision.video import open_frames

MIN_SIDE = 16  # pixels; a smaller frame is taken for a mistake


@dataclass(frozen=True)
class Thresholds:
    """When tracks are born, missed, reported and deleted; the defaults are those of DanceTrack.

    Args:
        detect: a detect query with at least this score becomes a track.
        track: a track whose score in its class at birth is below this counts as missed.
        result: tracks with a higher score are reported.
        miss_tolerance: consecutive misses after which a track is deleted (MOT17: 15, BDD100K: 10).
        min_area: tracks with a larger box are reported, in square pixels.
        duplicate_iou: of two visible tracks with a higher IoU the younger is deleted; None (the paper) keeps both.
    """

    detect: float = 0.5
    track: float = 0.5
    result: float = 0.5
    miss_tolerance: int = 30
    min_area: float = 100.0
    duplicate_iou: float | None = None

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "detect", "track", "result", "duplicate_iou")
        check_range(self, 1, inf, "miss_tolerance")
        check_range(self, 0, inf, "min_area")


@singledispatch
def advance(model: Memotr, tracks: TrackState, output: FrameOutput, thresholds: Thresholds) -> TrackState:
    """Return the tracks after a frame: misses, deaths and births, and the memory update of all.

    Args:
        model: network that gave the output; `aids.detect_alone` registers other rules for its kind of network.
        tracks: state that entered the network, any number of streams.
        output: of the network.
        thresholds: when tracks are born and deleted.
    """
    seen, detections = observe(tracks, output)
    seen = count_misses(seen, thresholds)
    born = detections.confidence >= thresholds.detect
    return start_tracks(model, seen.compact(survivors(seen, thresholds)), detections, born)


def count_misses(seen: TrackState, thresholds: Thresholds) -> TrackState:
    """Return the tracks with a further miss where the score of the class at birth is too low, otherwise with none."""
    score = seen.logits.sigmoid().gather(2, seen.labels[..., None])[..., 0]
    return replace(seen, missed=torch.where(score < thresholds.track, seen.missed + 1, 0))


def survivors(seen: TrackState, thresholds: Thresholds) -> Bool[Tensor, "batch track"]:
    """Return True at tracks to keep."""
    alive = seen.valid & (seen.missed < thresholds.miss_tolerance)
    if thresholds.duplicate_iou is None:
        return alive
    # Not in the paper: two tracks that moved onto one object would both stay there with high scores.
    return alive & ~is_duplicate(seen, alive & (seen.missed == 0), thresholds.duplicate_iou)


def start_tracks(
    model: Memotr, kept: TrackState, detections: TrackSlots, born: Bool[Tensor, "batch query"]
) -> TrackState:
    """Return kept and new tracks, which get the next identities, after the memory update."""
    number = born.long().cumsum(dim=1)  # batch query: 1 for the first newborn of a stream
    ids = kept.next_id[:, None] + number - 1
    carried, newborn = kept.append(replace(detections, valid=born, ids=ids))
    # All born are counted, also those without a free slot: an identity is never given twice.
    carried = replace(carried, next_id=kept.next_id + number[:, -1])
    updated: TrackState = model.track_memory(model.track_memory.start(carried, newborn))
    return updated


def visible(
    tracks: TrackState, sizes: Float[Tensor, "batch 2"], thresholds: Thresholds
) -> tuple[Bool[Tensor, "batch track"], Float[Tensor, "batch track 4"]]:
    """Return which tracks to report, and all boxes (x, y, width, height) in pixels of frames of (height, width)."""
    scale = sizes.flip(-1).repeat(1, 2)[:, None]
    boxes = cxcywh_to_xywh(tracks.boxes.float()) * scale
    area = boxes[..., 2] * boxes[..., 3]
    return tracks.valid & (tracks.scores > thresholds.result) & (area > thresholds.min_area), boxes


class Tracker(Session):
    """Tracks objects through a video, frame by frame.

    Args:
        model: trained network.
        thresholds: when tracks are born, missed, reported and deleted.
        short_side: shorter side of the network's input, pixels.
        long_side: maximum of the longer side, pixels.
        use_bf16: run the network in bfloat16; boxes and scores stay in float32.
        appearance: give lost objects their identity back by how they look; None (the paper): never.

    Example:
        >>> from mnemic_vision.memotr import MemotrConfig, build_memotr
        >>> config = MemotrConfig(dim=32, ffn_dim=32, encoder_layers=1, decoder_layers=2, num_queries=5, capacity=4)
        >>> tracker = Tracker(build_memotr(config), short_side=64, long_side=96)
        >>> tracker(np.zeros((48, 64, 3), dtype=np.uint8))  # an untrained network finds nothing
        []
    """

    session_kind = "tracking session"

    def __init__(
        self,
        model: Memotr,
        thresholds: Thresholds | None = None,
        short_side: int = 800,
        long_side: int = 1536,
        use_bf16: bool = False,
        appearance: AppearanceSettings | None = None,
    ) -> None:
        self.model = model.eval()
        self.thresholds = thresholds or Thresholds()
        self.short_side = short_side
        self.long_side = long_side
        self.use_bf16 = use_bf16
        self.appearance = appearance
        self._memory: AppearanceMemory | None = None
        if appearance is not None:  # twice the tracks: those that are alive and as many that were lost
            capacity = 2 * model.config.capacity
            channels: Any = model.backbone.channels  # declared as a module
            self._memory = AppearanceMemory(channels[0], capacity, appearance)
        self.reset()

    def reset(self) -> None:
        """Delete all tracks; identities start at 1 again."""
        self.state = self.model.init_tracks(batch=1)
        self.looks: AppearanceState | None = None
        if self._memory is not None:
            self.looks = self._memory.init_state(batch=1, device=self.state.valid.device)

    @torch.no_grad()
    def __call__(self, frame: np.ndarray | Tensor) -> list[Track]:
        """Return the objects in the next frame of the stream; frames may differ in size.

        Args:
            frame: RGB image, a uint8 array (height, width, 3) or a tensor (3, height, width), uint8 or float in [0, 1].

        Raises:
            UserError: if it is not such an image, is smaller than 16 pixels, or contains NaN or infinity.
        """
        image = as_image(frame, MIN_SIDE)
        fitted = preprocess_frame(image, self.short_side, self.long_side)
        images, padding = pad_images([fitted], self.model.config.smallest_side)
        device = self.state.valid.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.use_bf16):
            images, padding = images.to(device), padding.to(device)
            features = self.model.backbone(images)
            output = self.model.detect(features, padding, self.state)
        before, self.state = self.state, advance(self.model, self.state, output, self.thresholds)
        if self._memory is not None and self.looks is not None:
            looks = self._memory.look(images, features[0].float(), padding, self.state.boxes)
            aspect = torch.tensor([image.shape[2] / image.shape[1]], device=device)
            self.state, self.looks = self._memory(self.looks, before, self.state, looks, aspect)
        size = torch.tensor([image.shape[1:]], dtype=torch.float32, device=device)
        return self._results(*visible(self.state, size, self.thresholds))

    def track_video(self, source: str | Path | int) -> Iterator[tuple[np.ndarray, list[Track]]]:
        """Reset, then yield each frame and its tracks, from a video file, a folder of images or a camera index.

        To continue a loaded session, call the tracker with each frame instead.
        """
        self.reset()
        with open_frames(source) as frames:
            for frame in frames:
                yield frame, self(frame)

    @torch.no_grad()
    def report(self) -> MemoryReport:
        """Return the use of the long-term memory, with the tracks as its slots."""
        state, memory = self.state, self.model.track_memory.memory
        weights = memory.read_weights(state.output.flatten(0, 1)[:, None], state.memory)[:, 0]  # row slot
        own = torch.block_diag(*weights.split(1)) if weights.shape[1] else weights  # a track only reads its own slots
        used = state.valid.flatten()
        return memory_report(state.memory, own[used][None], rows_are_slots=used)

    def session_model(self) -> Memotr:
        """Return the network."""
        return self.model

    def session_settings(self) -> dict[str, Any]:
        """Return thresholds, input size and the settings of the appearance memory."""
        own = {"thresholds": asdict(self.thresholds), "short_side": self.short_side, "long_side": self.long_side}
        return own if self.appearance is None else own | {"appearance": asdict(self.appearance)}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the tracks and of the appearance memory."""
        tracks = self.state.to_dict()
        return tracks if self.looks is None else {"tracks": tracks, "looks": self.looks.to_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a tracker with the same network and settings."""
        if self.looks is None:
            self.state = self.state.refill(state)
        else:
            self.state, self.looks = self.state.refill(state["tracks"]), self.looks.refill(state["looks"])

    def _results(self, shown: Bool[Tensor, "batch track"], boxes: Float[Tensor, "batch track 4"]) -> list[Track]:
        """Return the tracks to report, with one copy to the host."""
        state = self.state
        columns = [
            state.ids[..., None] + 1,  # MOTChallenge counts from 1
            state.labels[..., None],
            state.scores[..., None],
            boxes,
        ]
        table = torch.cat([column.double() for column in columns], dim=-1)  # float32 would round ids above 2**24
        rows = table[0][shown[0]].tolist()
        return [Track(int(row[0]), int(row[1]), row[2], (row[3], row[4], row[5], row[6])) for row in rows]
