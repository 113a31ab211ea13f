"""Speed and memory of the recognizer: utterances in a batch, a stream, and a stream of an hour.

The real-time factor is computing time divided by the duration of the audio, from samples to words with times, with
greedy CTC. Two networks are measured: the shipped one, and an untrained one of the paper's size. The input is bursts of
noise with pauses, at which a stream cuts. `core_speed.py` measures the memory alone.
"""

import statistics
import time
from typing import Any

import torch
from common.report import resident_bytes, run
from jaxtyping import Float
from torch import Tensor

from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import WordTokenizer
from mnemic_transcribe.checkpoints import SHIPPED

WORDS = 4998  # about the paper's 5000 tokens, with blank, unknown and end of sentence
BATCH, UTTERANCE_SECONDS = 16, 8.0
STREAM_SECONDS, BLOCK_SECONDS = 60.0, 0.5
SAMPLES = 20  # evenly spaced over the long stream


def networks() -> dict[str, Recognizer]:
    """Return the shipped recognizer and an untrained one of the paper's size."""
    torch.manual_seed(0)  # weights of the untrained network
    tokenizer = WordTokenizer([f"w{index}" for index in range(WORDS)])
    features = Features(FeatureConfig())
    large = ConformerNtm(ConformerNtmConfig(vocab_size=tokenizer.vocab_size)).eval()
    normalizer = Normalizer("utterance", features.config.num_mels)
    untrained = Recognizer(large, TranscriptionSettings.of(large), {}, features, normalizer, tokenizer)
    return {"shipped": Recognizer.load(SHIPPED), "paper_size": untrained}


def bursts(seconds: float, sample_rate: int, seed: int) -> Float[Tensor, " samples"]:
    """Return bursts of noise, 3 per second, with half a second of silence after every four seconds."""
    generator = torch.Generator().manual_seed(seed)
    time_axis = torch.arange(round(seconds * sample_rate)) / sample_rate
    loudness = (3 * torch.pi * time_axis).sin().abs() * (time_axis % 4.5 < 4)
    return 0.1 * loudness * torch.randn(len(time_axis), generator=generator)


def batch_factor(transcriber: Transcriber) -> float:
    """Return the real-time factor of utterances in one batch."""
    rate = transcriber.sample_rate
    waveforms = [bursts(UTTERANCE_SECONDS, rate, seed) for seed in range(BATCH)]
    transcriber.transcribe_batch(waveforms)  # warm-up
    start = time.perf_counter()
    transcriber.transcribe_batch(waveforms)
    return (time.perf_counter() - start) / (BATCH * UTTERANCE_SECONDS)


def stream_factor(transcriber: Transcriber) -> dict[str, float]:
    """Return the real-time factor of a stream, and the longest computing time of a block."""
    rate = transcriber.sample_rate
    stream, seconds = transcriber.stream(rate), []
    for block in bursts(STREAM_SECONDS, rate, 0).split(round(BLOCK_SECONDS * rate)):
        start = time.perf_counter()
        stream.push(block)
        seconds.append(time.perf_counter() - start)
    return {"real_time_factor": round(sum(seconds) / STREAM_SECONDS, 4), "longest_block_s": round(max(seconds), 3)}


def long_stream(transcriber: Transcriber, hours: float) -> dict[str, Any]:
    """Return time per minute and resident memory along a long stream."""
    rate = transcriber.sample_rate
    stream, minute = transcriber.stream(rate), bursts(60.0, rate, 0)
    minutes = round(60 * hours)
    samples, seconds = [], []
    for index in range(1, minutes + 1):
        start = time.perf_counter()
        for block in minute.split(rate):
            stream.push(block)
        seconds.append(time.perf_counter() - start)
        if index % max(1, minutes // SAMPLES) == 0:
            # Resident memory is noisy: the growth is read between two samples far apart.
            samples.append({"minute": index, "resident_bytes": resident_bytes()})
    half = len(samples) // 2  # in the first half caches of the allocator still grow
    return {
        "minutes": minutes,
        "median_s_of_a_minute": {
            "first_half": round(statistics.median(seconds[: minutes // 2]), 3),
            "second_half": round(statistics.median(seconds[minutes // 2 :]), 3),
        },
        "resident_growth_second_half_bytes": samples[-1]["resident_bytes"] - samples[half - 1]["resident_bytes"],
        "samples": samples,
    }


def speech_speed(device: str = "cpu", threads: tuple[int, ...] = (1, 2), hours: float = 1.0) -> dict[str, Any]:
    """Measure speed and memory of the recognizer.

    Args:
        device: cpu or cuda.
        threads: numbers of CPU threads to measure with.
        hours: length of the long stream.
    """
    found = networks()
    results: dict[str, Any] = {}
    for name, recognizer in found.items():
        transcriber = Transcriber(recognizer.to(device), TranscriptionSettings(decoding="ctc"))
        results[name] = {"parameters": sum(each.numel() for each in recognizer.model.parameters()), "threads": {}}
        for count in threads:
            torch.set_num_threads(count)
            results[name]["threads"][count] = {
                "batch": {"real_time_factor": round(batch_factor(transcriber), 4)},
                "stream": stream_factor(transcriber),
            }
    torch.set_num_threads(threads[0])
    shipped = Transcriber(found["shipped"], TranscriptionSettings(decoding="ctc"))
    return {
        "batch": {"utterances": BATCH, "seconds_each": UTTERANCE_SECONDS},
        "results": results,
        "long_stream": long_stream(shipped, hours),
    }


if __name__ == "__main__":
    run(speech_speed)
