"""How well the layers of a tracker distinguish generated people, and which summary of a person re-identifies it best.

Extracts features of every person in every frame of 30 sequences. Similarity is the cosine after standardization; the
colors of the image are one of the layers.

- *Less similar than oneself*: a person is compared with all people ``--gap`` frames later; the share of others who are
  less similar than the person itself. 1 is perfect, 0.5 is chance.
- *Found again*: a person who returns after at least three frames is compared, as remembered, with all people of the
  frame; the share of returns where it is the most similar, next to chance. Remembered is the last appearance, the first
  one, the mean of all, or an exponential memory of them.

A long-term memory can keep only the information of the first figure, and can gain only what the last appearance lacks
in the second. About six minutes on one core.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common.report import run
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, roi_align

from mnemic_core import ExponentialMemory
from mnemic_track.checkpoints import open_tracker
from mnemic_vision.images import pad_images, preprocess_frame
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.data import GeneratedSequences, TrackingSequence

MIN_VISIBILITY = 0.6
PARTS = (4, 1)  # rows and columns of the grid over a person
MIN_ABSENCE, MIN_LOOKS = 3, 4  # frames

Looks = Float[Tensor, "look feature"]  # of one person, oldest first
Summary = Float[Tensor, " feature"]


def _exponential(decay: float) -> Callable[[Looks], Summary]:
    """Return a function for the long-term memory of the tracker after some looks."""

    def remember(looks: Looks) -> Summary:
        memory = ExponentialMemory(looks.shape[1], decay=decay)
        return memory.write(memory.init_state(1), looks[None]).long[0]

    return remember


MEMORIES: dict[str, Callable[[Looks], Summary]] = {
    "last look": lambda looks: looks[-1],
    "first look": lambda looks: looks[0],
    "mean of all looks": lambda looks: looks.mean(dim=0),
    "exponential, decay 0.01": _exponential(0.01),
    "exponential, decay 0.1": _exponential(0.1),
}


@dataclass(frozen=True)
class Scene:
    """The people of a frame.

    Attributes:
        people: their identities.
        layers: features of each person by layer.
    """

    people: list[int]
    layers: dict[str, Float[Tensor, "person _feature"]]


@torch.inference_mode()
def describe(tracker: Tracker, sequence: TrackingSequence, frame: int) -> Scene:
    """Return the features of every person in a frame."""
    rows, image = sequence.target_rows(frame), sequence.image(frame)
    images, padding = pad_images([preprocess_frame(image, tracker.short_side, tracker.long_side)])
    model = tracker.model
    features = model.backbone(images)
    encoded = model.encode(features, padding)
    detect = model.detect_queries(encoded)
    output = model.decode(detect, model.join_queries(detect, model.init_tracks(1)), encoded)
    height, width = image.shape[1:]
    people = box_convert(torch.from_numpy(rows.boxes).float(), "xywh", "xyxy") / torch.tensor([width, height] * 2)
    # Each person is described by the query whose box overlaps it most.
    found = box_convert(output.boxes[0, : output.num_detect], "cxcywh", "xyxy")
    closest = box_iou(found, people).argmax(dim=0)
    finest = encoded.shapes[0]  # its tokens come first
    tokens = encoded.tokens[:, : finest[0] * finest[1]].transpose(1, 2).unflatten(2, finest)
    maps = {"picture": images, "backbone, finest level": features[0], "encoder, finest level": tokens}
    layers = {name: _crop(feature, people, images.shape) for name, feature in maps.items()}
    layers["query of a newborn"] = output.newborn[0, closest]
    layers["output of the decoder"] = output.hidden[0, closest]
    return Scene(rows.ids.tolist(), layers)


def _crop(
    feature: Float[Tensor, "1 channel row column"], people: Float[Tensor, "person 4"], shape: torch.Size
) -> Float[Tensor, "person feature"]:
    """Return the mean of a feature map over each part of each person."""
    pixels = people * torch.tensor([shape[3], shape[2]] * 2)
    return roi_align(feature, [pixels], PARTS, spatial_scale=feature.shape[2] / shape[2]).flatten(1)


def standardize(videos: list[list[Scene]]) -> None:
    """Standardize every channel of every layer over all people, in place."""
    for name in videos[0][0].layers:
        everyone = torch.cat([scene.layers[name] for video in videos for scene in video])
        mean, spread = everyone.mean(dim=0), everyone.std(dim=0) + 1e-6  # some channels are constant
        for video in videos:
            for scene in video:
                scene.layers[name] = (scene.layers[name] - mean) / spread


def separation(videos: list[list[Scene]], layer: str, gap: int) -> list[float]:
    """Return for each person, every ``gap`` frames, the share of others who are less similar than itself."""
    shares = []
    pairs = (pair for video in videos for pair in zip(video[:-gap:gap], video[gap::gap], strict=True))
    for before, after in pairs:
        for index, person in enumerate(before.people):
            others = [row for row, other in enumerate(after.people) if other != person]
            if person not in after.people or not others:
                continue  # nothing to compare
            similar = F.cosine_similarity(after.layers[layer], before.layers[layer][index, None])
            shares.append(float((similar[others] < similar[after.people.index(person)]).float().mean()))
    return shares


def returns(video: list[Scene]) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield frame and person of each return, and the earlier appearances of the person: (frame, row)."""
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for frame, scene in enumerate(video):
        for row, person in enumerate(scene.people):
            looks = seen[person]
            if len(looks) >= MIN_LOOKS and frame - looks[-1][0] > MIN_ABSENCE and len(scene.people) > 1:
                yield frame, person, list(looks)
            looks.append((frame, row))


def recognition(videos: list[list[Scene]], layer: str) -> dict[str, list[float]]:
    """Return for each memory whether the right person was the most similar (1 or 0) at each return, and chance."""
    found: dict[str, list[float]] = defaultdict(list)
    for video in videos:
        for frame, person, places in returns(video):
            scene = video[frame]
            looks = torch.stack([video[at].layers[layer][row] for at, row in places])
            for name, remember in MEMORIES.items():
                similar = F.cosine_similarity(scene.layers[layer], remember(looks)[None])
                found[name].append(float(scene.people[int(similar.argmax())] == person))
            found["a guess"].append(1 / len(scene.people))
    return found


def track_identity(checkpoint: Path | None = None, size: tuple[int, int] = (288, 384), gap: int = 10) -> dict[str, Any]:
    """Measure how well the layers of a tracker distinguish people.

    Args:
        checkpoint: weights of the tracker; the shipped ones by default.
        size: height and width of the images.
        gap: frames between two appearances of a person that are compared.
    """
    tracker, _ = open_tracker(checkpoint, device="cpu")
    world = GeneratedSequences(77, 30, 121, size, num_objects=6, min_visibility=MIN_VISIBILITY)
    videos = [[describe(tracker, each, frame) for frame in range(each.num_frames)] for each in world.sequences]
    standardize(videos)  # or the channel with the largest values would decide
    shares = {layer: separation(videos, layer, gap) for layer in videos[0][0].layers}
    found = {layer: recognition(videos, layer) for layer in ("backbone, finest level", "output of the decoder")}
    return {
        "config": {"checkpoint": str(checkpoint or "shipped"), "size": list(size), "gap": gap},
        "people": len(next(iter(shares.values()))),
        "less_similar_than_oneself": {layer: _mean(share) for layer, share in shares.items()},
        "returns": len(found["output of the decoder"]["a guess"]),
        "found_again": {layer: {name: _mean(hits) for name, hits in of.items()} for layer, of in found.items()},
    }


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    run(track_identity)
