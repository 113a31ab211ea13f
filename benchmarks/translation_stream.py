"""Time to encode speech as it arrives: final segments once, against encoding the prefix anew at every read.

The network has the sizes of the released code and random weights, which does not change the cost. Features arrive in
chunks of one decision, 320 ms, and after each the frames of all segments are there for the decoder. References run the
same encoder over the whole prefix: one segment after the other, as the released code does, and all segments at once.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any, TypeAlias

import torch
from common.report import resident_bytes, run

from mnemic_core.buffers.context_windows import context_window
from mnemic_core.errors import check_at_least
from mnemic_speech.simultaneous import EncoderStreams, SegmentEncoder, SegmentEncoderConfig
from mnemic_speech.simultaneous.config import shifted_sides
from mnemic_speech.simultaneous.windows import Windows

Encode: TypeAlias = Callable[[SegmentEncoder, torch.Tensor], torch.Tensor]

FRAMES_PER_SECOND = 100
CHUNK = 32  # feature frames of a decision
PARTS = 10


def encode_stream(streams: EncoderStreams, features: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
    """Return the frames of a stream, and the seconds of each chunk."""
    state, final, seconds = streams.start(1), [], []
    for start in range(0, features.shape[1], CHUNK):
        piece = features[:, start : start + CHUNK]
        ended = torch.tensor([start + CHUNK >= features.shape[1]])
        begun = time.perf_counter()
        frames, _, state = streams.push(piece, torch.tensor([piece.shape[1]]), state, ended)
        seconds.append(time.perf_counter() - begun)
        final.append(frames.frames)
    return torch.cat(final, dim=1), seconds


def encode_at_once(encoder: SegmentEncoder, features: torch.Tensor) -> torch.Tensor:
    """Return the frames of a recording, all segments in one call."""
    frames: torch.Tensor = encoder(features, torch.tensor([features.shape[1]]), "all")[0]
    return frames


def encode_segments(encoder: SegmentEncoder, features: torch.Tensor) -> torch.Tensor:
    """Return the frames of a recording, one segment after the other."""
    sizes, length = encoder.config.segments, features.shape[1]
    state, parts = encoder.init_state(1), []
    for start in range(0, length, sizes.length):
        window = context_window(length, start, sizes.length, sizes.left, sizes.right, shift=shifted_sides("all"))
        windows = Windows.of_layouts([[window]])
        frames, state = encoder.encode_windows(windows.cut(features), windows, state, torch.ones(1, dtype=torch.long))
        parts.append(windows.join(frames, 1)[0])
    return torch.cat(parts, dim=1)


def encode_prefixes(encode: Encode, encoder: SegmentEncoder, features: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the frames after the last read, and the seconds of encoding the prefix at every read."""
    begun = time.perf_counter()
    frames = features
    for stop in range(CHUNK, features.shape[1] + CHUNK, CHUNK):
        frames = encode(encoder, features[:, :stop])
    return frames, time.perf_counter() - begun


def compare(encoder: SegmentEncoder, seconds: int) -> Mapping[str, Any]:
    """Return the times of both ways for a recording, and how far their outputs differ."""
    features = torch.randn(1, seconds * FRAMES_PER_SECOND, encoder.config.num_mels)
    own, times = encode_stream(EncoderStreams(encoder, "all"), features)
    released, by_segment = encode_prefixes(encode_segments, encoder, features)
    anew, at_once = encode_prefixes(encode_at_once, encoder, features)
    return {
        "stream_s": round(sum(times), 2),
        "prefixes_by_segment_s": round(by_segment, 2),
        "prefixes_at_once_s": round(at_once, 2),
        "ratio_by_segment": round(by_segment / sum(times), 1),
        "ratio_at_once": round(at_once / sum(times), 1),
        "largest_difference": float(max((own - each).abs().max() for each in (released, anew))),
        "real_time_factor": round(sum(times) / seconds, 3),
    }


@torch.inference_mode()
def translation_stream(
    seconds: tuple[int, ...] = (10, 60), stream_minutes: int = 60, threads: int = os.cpu_count() or 1
) -> dict[str, Any]:
    """Measure both ways for short recordings, and the time and memory of a long stream in ten parts.

    Args:
        seconds: lengths of the recordings that are encoded both ways.
        stream_minutes: length of the stream.
        threads: CPU threads.
    """
    check_at_least(1, stream_minutes=stream_minutes, threads=threads)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    encoder = SegmentEncoder(SegmentEncoderConfig()).eval()
    streams, parts = EncoderStreams(encoder, "all"), []
    chunks, state = stream_minutes * 60 * FRAMES_PER_SECOND // CHUNK, streams.start(1)
    for part in range(PARTS):
        times = []
        for _ in range(chunks * part // PARTS, chunks * (part + 1) // PARTS):
            piece = torch.randn(1, CHUNK, encoder.config.num_mels)
            begun = time.perf_counter()
            _, _, state = streams.push(piece, torch.tensor([CHUNK]), state)
            times.append(time.perf_counter() - begun)
        parts.append({"ms_per_chunk": round(1000 * median(times), 2), "resident_mb": resident_bytes() // 2**20})
    return {
        "config": {"encoder": asdict(encoder.config), "chunk_ms": 1000 * CHUNK // FRAMES_PER_SECOND},
        "recordings": {str(length): compare(encoder, length) for length in seconds},
        "stream": {"minutes": stream_minutes, "state_bytes": state.nbytes, "parts": parts},
    }


if __name__ == "__main__":
    run(translation_stream)
