"""Time to encode speech as it arrives: final segments once, against encoding the prefix anew at every read.

The network has the sizes of the released code and random weights, which does not change the cost. Features arrive in
chunks of one decision, 320 ms, and after each the frames of all segments are there for the decoder. The reference runs
the same encoder over the whole prefix, all segments at once, which is faster than the released loop over segments.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from common.report import resident_bytes, run

from mnemic_core.errors import check_at_least
from mnemic_speech.simultaneous import EncoderStreams, SegmentEncoder, SegmentEncoderConfig

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


def encode_prefixes(encoder: SegmentEncoder, features: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the frames after the last read, and the seconds of encoding the prefix at every read."""
    begun = time.perf_counter()
    frames = features
    for stop in range(CHUNK, features.shape[1] + CHUNK, CHUNK):
        length = min(stop, features.shape[1])
        frames, _ = encoder(features[:, :length], torch.tensor([length]), "all")
    return frames, time.perf_counter() - begun


def compare(encoder: SegmentEncoder, seconds: int) -> Mapping[str, Any]:
    """Return the times of both ways for a recording, and how far their outputs differ."""
    features = torch.randn(1, seconds * FRAMES_PER_SECOND, encoder.config.num_mels)
    own, times = encode_stream(EncoderStreams(encoder, "all"), features)
    anew, reference = encode_prefixes(encoder, features)
    return {
        "stream_s": round(sum(times), 2),
        "prefixes_s": round(reference, 2),
        "ratio": round(reference / sum(times), 1),
        "largest_difference": float((own - anew).abs().max()),
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
