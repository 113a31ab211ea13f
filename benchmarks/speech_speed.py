"""Speed and memory of the whole recognizer: utterances in a batch, a stream, and a stream of an hour.

``python benchmarks/speech_speed.py [--device cuda] [--threads 1 2] [--hours 1] [--write]`` prints one JSON object;
``--write`` also keeps it in ``benchmarks/results/speech_speed.json``. A real-time factor is seconds of computing for a
second of sound, from samples to words with times, with the best CTC token of each frame. Two networks are measured:
the shipped one, and one of the paper's size, untrained, of which only the time means something. What they hear is
bursts of noise with pauses, at which a stream cuts. How fast the memory alone is stands in ``core_speed.json``.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common.report import machine, publish, resident_bytes
from torch import Tensor

from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import WordTokenizer
from mnemic_transcribe.checkpoints import SHIPPED

RESULT = Path(__file__).parent / "results" / "speech_speed.json"
WORDS = 4998  # with blank, unknown and end of sentence nearly the paper's 5000 tokens
BATCH, UTTERANCE_SECONDS = 16, 8.0
STREAM_SECONDS, BLOCK_SECONDS = 60.0, 0.5
SAMPLES = 20  # evenly spaced over the long stream


def networks() -> dict[str, Recognizer]:
    """Return the shipped recognizer and an untrained one of the paper's size."""
    torch.manual_seed(0)
    tokenizer = WordTokenizer([f"w{index}" for index in range(WORDS)])
    features = Features(FeatureConfig())
    large = ConformerNtm(ConformerNtmConfig(vocab_size=tokenizer.vocab_size)).eval()
    normalizer = Normalizer("utterance", features.config.num_mels)
    untrained = Recognizer(large, TranscriptionSettings.of(large), {}, features, normalizer, tokenizer)
    return {"shipped": Recognizer.load(SHIPPED), "paper_size": untrained}


def babble(seconds: float, sample_rate: int, seed: int) -> Tensor:
    """Return bursts of noise, 3 in a second, with half a second of silence after every four seconds."""
    generator = torch.Generator().manual_seed(seed)
    time_axis = torch.arange(round(seconds * sample_rate)) / sample_rate
    loudness = (3 * torch.pi * time_axis).sin().abs() * (time_axis % 4.5 < 4)
    return 0.1 * loudness * torch.randn(len(time_axis), generator=generator)


def batch_factor(transcriber: Transcriber) -> float:
    """Return the real-time factor of utterances that are computed together."""
    rate = transcriber.sample_rate
    waveforms = [babble(UTTERANCE_SECONDS, rate, seed) for seed in range(BATCH)]
    transcriber.transcribe_batch(waveforms)
    start = time.perf_counter()
    transcriber.transcribe_batch(waveforms)
    return (time.perf_counter() - start) / (BATCH * UTTERANCE_SECONDS)


def stream_factor(transcriber: Transcriber) -> dict[str, float]:
    """Return the real-time factor of a stream, and the longest that a word waits for its block to be heard."""
    rate = transcriber.sample_rate
    stream, seconds = transcriber.stream(rate), []
    for block in babble(STREAM_SECONDS, rate, 0).split(round(BLOCK_SECONDS * rate)):
        start = time.perf_counter()
        stream.push(block)
        seconds.append(time.perf_counter() - start)
    return {"real_time_factor": round(sum(seconds) / STREAM_SECONDS, 4), "longest_block_s": round(max(seconds), 3)}


def long_stream(transcriber: Transcriber, hours: float) -> dict[str, Any]:
    """Return the memory of the process along a stream of hours."""
    rate = transcriber.sample_rate
    stream, minute = transcriber.stream(rate), babble(60.0, rate, 0)
    minutes = round(60 * hours)
    samples, seconds = [], []
    for index in range(1, minutes + 1):
        start = time.perf_counter()
        for block in minute.split(rate):
            stream.push(block)
        seconds.append(time.perf_counter() - start)
        if index % max(1, minutes // SAMPLES) == 0:
            samples.append({"minute": index, "resident_bytes": resident_bytes()})
    half = len(samples) // 2
    return {
        "minutes": minutes,
        "median_s_of_a_minute": {
            "first_half": round(statistics.median(seconds[: minutes // 2]), 3),
            "second_half": round(statistics.median(seconds[minutes // 2 :]), 3),
        },
        "resident_growth_second_half_bytes": samples[-1]["resident_bytes"] - samples[half - 1]["resident_bytes"],
        "samples": samples,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="where to compute")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of CPU threads to measure with")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the long stream")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULT.name}")
    arguments = parser.parse_args()
    found = networks()
    results: dict[str, Any] = {}
    for name, recognizer in found.items():
        transcriber = Transcriber(recognizer.to(arguments.device), TranscriptionSettings(decoding="ctc"))
        results[name] = {"parameters": sum(each.numel() for each in recognizer.model.parameters()), "threads": {}}
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            results[name]["threads"][threads] = {
                "batch": {"real_time_factor": round(batch_factor(transcriber), 4)},
                "stream": stream_factor(transcriber),
            }
    torch.set_num_threads(arguments.threads[0])
    shipped = Transcriber(found["shipped"], TranscriptionSettings(decoding="ctc"))
    report = {
        "benchmark": "speech_speed",
        "machine": machine(arguments.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "batch": {"utterances": BATCH, "seconds_each": UTTERANCE_SECONDS},
        "results": results,
        "long_stream": long_stream(shipped, arguments.hours),
    }
    publish(report, RESULT if arguments.write else None)


if __name__ == "__main__":
    main()
