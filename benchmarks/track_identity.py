"""Who is who? How well the layers of a tracker tell drawn people apart, and how a person is best remembered.

``python benchmarks/track_identity.py [--checkpoint FILE] [--size 288 384] [--gap 10] [--write]``
looks at every person in every frame of 30 sequences and asks two questions; similarity is the cosine after
standardisation, and the colours of the picture alone are compared too.

- *Less similar than oneself*: a person of one frame is compared with everybody ``--gap`` frames later; the share of
  others who are less similar than the person itself. 1 is perfect, 0.5 is guessing.
- *Found again*: a person who comes back after three frames or more is compared, as it is remembered, with everybody in
  the frame; the share of returns where it is the most similar, beside what guessing would find. Remembered is the last
  look, the first one, the mean of all, or an exponential memory of them.

A long-term memory can keep only what the first figure says is there, and gains only what the second one says that the
last look does not have. About six minutes on one core.
"""

import argparse
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from common.report import machine, publish
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, roi_align

from mnemic_core import ExponentialMemory
from mnemic_track.checkpoints import open_tracker
from mnemic_vision.images import pad_images, preprocess_frame
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.data import GeneratedSequences, TrackingSequence

RESULT = Path(__file__).parent / "results" / "track_identity.json"
MIN_VISIBILITY = 0.6
PARTS = (4, 1)  # a person is described by so many parts, one above the other
MIN_ABSENCE, MIN_LOOKS = 3, 4  # frames


def _exponential(decay: float) -> Callable[[Tensor], Tensor]:
    """Return what the tracker's long-term memory holds after so many looks, oldest first."""

    def remember(looks: Tensor) -> Tensor:
        memory = ExponentialMemory(looks.shape[1], decay=decay)
        return memory.write(memory.init_state(1), looks[None]).long[0]

    return remember


MEMORIES: dict[str, Callable[[Tensor], Tensor]] = {
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
        layers: what each layer says of each.
    """

    people: list[int]
    layers: dict[str, Tensor]


@torch.inference_mode()
def look(tracker: Tracker, sequence: TrackingSequence, frame: int) -> Scene:
    """Describe every person in a frame."""
    rows, image = sequence.target_rows(frame), sequence.image(frame)
    images, padding = pad_images([preprocess_frame(image, tracker.short_side, tracker.long_side)[0]])
    model = tracker.model
    features = model.backbone(images)
    encoded = model.encode(features, padding)
    detect = model.detect_queries(encoded)
    output = model.decode(detect, model.join_queries(detect, model.init_tracks(1)), encoded)
    height, width = image.shape[1:]
    people = box_convert(torch.from_numpy(rows.boxes).float(), "xywh", "xyxy") / torch.tensor([width, height] * 2)
    found = box_convert(output.boxes[0, : output.num_detect], "cxcywh", "xyxy")
    closest = box_iou(found, people).argmax(dim=0)
    finest = encoded.shapes[0]
    tokens = encoded.tokens[:, : finest[0] * finest[1]].transpose(1, 2).unflatten(2, finest)
    maps = {"picture": images, "backbone, finest level": features[0], "encoder, finest level": tokens}
    layers = {name: _crop(feature, people, images.shape) for name, feature in maps.items()}
    layers["query of a newborn"] = output.newborn[0, closest]
    layers["output of the decoder"] = output.hidden[0, closest]
    return Scene(rows.ids.tolist(), layers)


def _crop(feature: Tensor, people: Tensor, shape: torch.Size) -> Tensor:
    """Return the mean of a feature map over each part of each person."""
    pixels = people * torch.tensor([shape[3], shape[2]] * 2)
    return roi_align(feature, [pixels], PARTS, spatial_scale=feature.shape[2] / shape[2]).flatten(1)


def standardise(videos: list[list[Scene]]) -> None:
    """Bring every channel of every layer to mean 0 and variance 1 over all people, in place."""
    for name in videos[0][0].layers:
        everyone = torch.cat([scene.layers[name] for video in videos for scene in video])
        mean, spread = everyone.mean(dim=0), everyone.std(dim=0) + 1e-6
        for video in videos:
            for scene in video:
                scene.layers[name] = (scene.layers[name] - mean) / spread


def separation(videos: list[list[Scene]], layer: str, gap: int) -> list[float]:
    """Return for each person and each ``gap`` frames the share of others who are less similar than itself."""
    shares = []
    for video in videos:
        for before, after in zip(video[:-gap:gap], video[gap::gap], strict=True):
            for index, person in enumerate(before.people):
                others = [row for row, other in enumerate(after.people) if other != person]
                if person not in after.people or not others:
                    continue
                similar = F.cosine_similarity(after.layers[layer], before.layers[layer][index, None])
                shares.append(float((similar[others] < similar[after.people.index(person)]).float().mean()))
    return shares


def returns(video: list[Scene]) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield the frame and the person of each return, and where the person was seen: (frame, row)."""
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for frame, scene in enumerate(video):
        for row, person in enumerate(scene.people):
            looks = seen[person]
            if len(looks) >= MIN_LOOKS and frame - looks[-1][0] > MIN_ABSENCE and len(scene.people) > 1:
                yield frame, person, list(looks)
            looks.append((frame, row))


def recognition(videos: list[list[Scene]], layer: str) -> dict[str, list[float]]:
    """Return for each memory, and for guessing, in which returns (1 or 0) the right person was the most similar."""
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


def main() -> None:
    """Measure, print, and with --write keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="network to look into; the shipped one by default")
    parser.add_argument("--size", type=int, nargs=2, default=(288, 384), help="height and width of the pictures")
    parser.add_argument("--gap", type=int, default=10, help="frames between two looks at a person")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    tracker, _, _ = open_tracker(options.checkpoint, device="cpu")
    world = GeneratedSequences(77, 30, 121, tuple(options.size), num_objects=6, min_visibility=MIN_VISIBILITY)
    videos = [[look(tracker, sequence, frame) for frame in range(sequence.num_frames)] for sequence in world.sequences]
    standardise(videos)
    shares = {layer: separation(videos, layer, options.gap) for layer in videos[0][0].layers}
    found = {layer: recognition(videos, layer) for layer in ("backbone, finest level", "output of the decoder")}
    document = {
        "benchmark": "track_identity",
        "config": {"checkpoint": str(options.checkpoint or "shipped"), "size": list(options.size), "gap": options.gap},
        "people": len(next(iter(shares.values()))),
        "less_similar_than_oneself": {layer: _mean(share) for layer, share in shares.items()},
        "returns": len(found["output of the decoder"]["a guess"]),
        "found_again": {layer: {name: _mean(hits) for name, hits in of.items()} for layer, of in found.items()},
        "machine": machine("cpu"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    publish(document, RESULT if options.write else None)


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    main()
