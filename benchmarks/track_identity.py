"""Does a tracker see who is who? How well each of its layers tells drawn people apart.

``python benchmarks/track_identity.py [--checkpoint FILE] [--size 288 384] [--gap 10] [--write]``
shows people in two frames of a sequence, ``--gap`` frames apart. Each person of the first frame is compared (cosine,
after standardisation) with everybody in the second. Reported is the share of other people who are less similar than the
person is to itself, for several layers and for the colours of the picture alone: 1 is perfect, 0.5 is guessing. A
long-term memory can only keep what this figure says is there to be kept. A minute or two on one core.
"""

import argparse
import platform
from collections import defaultdict
from pathlib import Path

import torch
from common.report import machine, publish
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, box_iou, roi_align

from mnemic_track.checkpoints import open_tracker
from mnemic_vision.images import pad_images, preprocess_frame
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.data import GeneratedSequences, Sequence

RESULT = Path(__file__).parent / "results" / "track_identity.json"
MIN_VISIBILITY = 0.6
PARTS = (4, 1)  # a person is described by so many parts, one above the other


@torch.inference_mode()
def describe(tracker: Tracker, sequence: Sequence, frame: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return what each layer says of every person in a frame, and the identities."""
    rows, image = sequence.target_rows(frame), sequence.image(frame)
    images, padding = pad_images([preprocess_frame(image, tracker.short_side, tracker.long_side)[0]])
    model = tracker.model
    features = model.backbone(images)
    encoded = model._encode(features, padding)
    output = model.detect(features, padding, model.init_tracks(1))
    height, width = image.shape[1:]
    people = box_convert(torch.from_numpy(rows.boxes).float(), "xywh", "xyxy") / torch.tensor([width, height] * 2)
    found = box_convert(output.boxes[0, : output.num_detect], "cxcywh", "xyxy")
    closest = box_iou(found, people).argmax(dim=0)
    rows_of_level, columns = encoded.shapes[0]
    tokens = encoded.tokens[:, : rows_of_level * columns].transpose(1, 2).unflatten(2, encoded.shapes[0])
    maps = {"picture": images, "backbone, finest level": features[0], "encoder, finest level": tokens}
    layers = {name: _crop(feature, people, images.shape) for name, feature in maps.items()}
    layers["query of a newborn"] = output.newborn[0, closest]
    layers["output of the decoder"] = output.hidden[0, closest]
    return layers, torch.from_numpy(rows.ids)


def _crop(feature: Tensor, people: Tensor, shape: torch.Size) -> Tensor:
    """Return the mean of a feature map over each part of each person."""
    pixels = people * torch.tensor([shape[3], shape[2]] * 2)
    return roi_align(feature, [pixels], PARTS, spatial_scale=feature.shape[2] / shape[2]).flatten(1)


def separation(tracker: Tracker, sequences: list[Sequence], gap: int) -> tuple[dict[str, float], int]:
    """Return for each layer the share of others less similar than oneself, and how many people were compared."""
    pairs, layers = [], defaultdict(list)
    for sequence in sequences:
        for frame in range(0, sequence.num_frames - gap, gap):
            first, second = (describe(tracker, sequence, index) for index in (frame, frame + gap))
            if not len(first[1]) or not len(second[1]):
                continue
            pairs.append((first[1], second[1]))
            for name in first[0]:
                layers[name].append((first[0][name], second[0][name]))
    return {name: _separation(described, pairs) for name, described in layers.items()}, len(_rivals(pairs))


def _separation(described: list[tuple[Tensor, Tensor]], pairs: list[tuple[Tensor, Tensor]]) -> float:
    everyone = torch.cat([part for pair in described for part in pair])
    mean, spread = everyone.mean(dim=0), everyone.std(dim=0) + 1e-6
    shares = []
    for index, person, itself, others in _rivals(pairs):
        before, after = (F.normalize((part - mean) / spread, dim=1) for part in described[index])
        similar = after @ before[person]
        shares.append((similar[others] < similar[itself]).float().mean())
    return float(torch.stack(shares).mean())


def _rivals(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[int, int, int, Tensor]]:
    """Return every person who is in both frames of a pair, beside others in the second."""
    found = []
    for index, (before, after) in enumerate(pairs):
        for person, identity in enumerate(before):
            itself, others = (after == identity).nonzero()[:, 0], (after != identity).nonzero()[:, 0]
            if len(itself) and len(others):
                found.append((index, person, int(itself[0]), others))
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
    height, width = options.size
    world = GeneratedSequences(77, 60, 61, (height, width), num_objects=6, min_visibility=MIN_VISIBILITY)
    shares, count = separation(tracker, world.sequences, options.gap)
    document = {
        "benchmark": "track_identity",
        "config": {"checkpoint": str(options.checkpoint or "shipped"), "size": [height, width], "gap": options.gap},
        "people": count,
        "less_similar_than_oneself": {name: round(share, 3) for name, share in shares.items()},
        "machine": machine("cpu"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    publish(document, RESULT if options.write else None)


if __name__ == "__main__":
    main()
