"""Does a memory keep an attention decoder alive on strings longer than those of training? The encoder is held fixed.

``python benchmarks/decoder_memory.py --encoder FILE [--max_digits 7] [--steps 2500] [--write FILE]``

An attention decoder learns slowly, and most of a training step is the encoder. So the encoder of one checkpoint (the
model card says how it is made: CTC alone, no memory) writes down its frames of 8000 training strings once, and memory,
CTC layer and decoder are trained on them from scratch, with each memory and seed, all else equal. Networks are tested
as a whole, as ``mnemic-transcribe compare`` does, and the tables are of its kind. Some minutes a network on one slow
core; a killed run goes on at the first network that is not finished.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from common.report import machine, publish
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mnemic_core import MemoryConfig
from mnemic_core.machines import TuringState
from mnemic_kit.experiment import Comparison, Run, Scores, Variant
from mnemic_kit.record import content_digest
from mnemic_speech.conformer_ntm import ConformerNtm
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.model import Encoded
from mnemic_transcribe.augmentation import Augmentation
from mnemic_transcribe.batching import Clip, SpeechBatches
from mnemic_transcribe.comparison import (
    ERRORS,
    METRICS,
    condition_name,
    error_scores,
    pair_utterances,
    read_errors,
    run_tests,
)
from mnemic_transcribe.drawn_digits import Drawn
from mnemic_transcribe.evaluation import open_clips
from mnemic_transcribe.noise import Noise
from mnemic_transcribe.schedule import warmup_share
from mnemic_transcribe.sources import DataSource

MEMORIES = {
    "none": {},
    "turing_release": {"slots": 32, "width": 10},
    "turing_paper": {"slots": 32, "width": 10},
    "turing_improved": {"slots": 32, "width": 10},
    "slot_attention": {"num_slots": 16, "num_heads": 4},
}
AUGMENTATION = Augmentation((0.9, 1.0, 1.1), (-12.0, 6.0), 0.5, (10.0, 40.0))  # as in conformer_ntm_digits
DECODINGS = ("attention", "joint", "ctc")
NOISES = ("white:0", "white:5", "babble:0", "babble:5")
LR, WARMUP, CLIP, LABEL_SMOOTHING = 1e-3, 100, 5.0, 0.1
BATCH_SECONDS = 80.0
SECONDS, FRAMES_A_SECOND = (1, 5, 10, 20), 25

Frames = list[tuple[Tensor, Tensor, Tensor, Tensor]]  # frames, padding, tokens, their number; of each batch


@torch.no_grad()  # inference tensors could not be trained on
def encode_strings(recognizer: Recognizer, data: Path, drawn: Drawn) -> Frames:
    """Return what the encoder says to training strings, changed at random as in training."""
    clips = DataSource("digits", data, "train", drawn=drawn).open("lower")
    rate = recognizer.features.config.sample_rate
    batches = SpeechBatches(clips, recognizer.tokenizer, rate, BATCH_SECONDS, (0, 0), AUGMENTATION)
    found: Frames = []
    for batch in (batches[index] for index in range(len(batches))):
        features, lengths = recognizer.features(batch.waveforms, batch.lengths)
        hidden, padding = recognizer.model.encoder(recognizer.normalizer(features, lengths), lengths)
        found.append((hidden, padding, batch.tokens, batch.token_lengths))
    return found


def build(start: Recognizer, memory: str) -> Recognizer:
    """Return an untrained network with a memory behind the encoder of a trained one."""
    config = replace(
        start.model.config,
        memory=MemoryConfig(memory, MEMORIES[memory]),
        ctc_weight=0.3,
        label_smoothing=LABEL_SMOOTHING,
    )
    model = ConformerNtm(config)
    model.encoder.load_state_dict(start.model.encoder.state_dict())
    return replace(start, model=model)


def fit(model: ConformerNtm, frames: Frames, steps: int, seed: int) -> None:
    """Train memory, CTC layer and decoder."""
    model.train()
    model.encoder.requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, LR)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_share(step, WARMUP, steps))
    order = torch.Generator().manual_seed(seed)
    for step in range(steps):
        hidden, padding, tokens, token_lengths = frames[int(torch.randint(len(frames), (), generator=order))]
        output, state = model.memory(hidden, model.init_state(len(hidden)), padding=padding)
        losses = model.score(Encoded(output, padding, state), tokens, token_lengths)
        optimizer.zero_grad()
        losses.total.backward()
        if bool(clip_grad_norm_(parameters, CLIP).isfinite()):
            optimizer.step()
        schedule.step()
        if step % 500 == 499:
            print(f"step {step + 1}: loss {float(losses.total):.3f}, accuracy {float(losses.accuracy):.3f}", flush=True)


def score(
    run: Run, conditions: Sequence[str], start: Recognizer, frames: Callable[[], Frames], options: argparse.Namespace
) -> Scores:
    """Train one network and test it, as far as an earlier call has not."""
    file = network(options.out, run.variant.name, run.seed)
    if not file.exists():
        run.keep(run.scores())
        print(f"{run.variant.name}, seed {run.seed}", flush=True)
        torch.manual_seed(run.seed)
        made = build(start, run.variant.name)
        fit(made.model, frames(), options.steps, run.seed)
        made.save(file)
    trained = Recognizer.load(file)
    sets = [(split, open_clips(options.data, split, "lower")[0]) for split in ("dev", "dev_long")]
    run_tests(trained, sets, DECODINGS, [None], run.folder / ERRORS)
    errors = run_tests(trained, sets, ("ctc",), [*map(Noise.parse, NOISES)], run.folder / ERRORS)
    return {name: error_scores(errors[name]) for name in conditions}


def network(out: Path, memory: str, seed: int) -> Path:
    """Return the file of a trained network."""
    return out / f"{memory}-{seed}" / "model.safetensors"


@torch.inference_mode()
def slots_over_time(file: Path, clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Return length and diversity of a machine's slots after so many seconds of strings, means over the strings."""
    recognizer = Recognizer.load(file)
    model, found = recognizer.model, [[] for _ in SECONDS]
    for clip in clips:
        waveform = clip.read(recognizer.features.config.sample_rate, np.random.default_rng(0))
        features, lengths = recognizer.features(waveform[None], torch.tensor([len(waveform)]))
        hidden, _ = model.encoder(recognizer.normalizer(features, lengths), lengths)
        for seconds, values in zip(SECONDS, found, strict=True):
            _, state = model.memory(hidden[:, : seconds * FRAMES_A_SECOND], model.init_state(1))
            if isinstance(state, TuringState):
                values.append((float(state.memory.norm(dim=-1).mean()), model.memory.report(state).diversity or 0.0))
    means = [tuple(map(fmean, zip(*values, strict=True))) for values in found if values]
    return {"length": [length for length, _ in means], "diversity": [diversity for _, diversity in means]}


def main() -> None:
    """Train, test, print, and with --write keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="checkpoint whose encoder is used")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/speech_digits"), help="digit strings")
    parser.add_argument("--memories", nargs="+", default=list(MEMORIES), choices=list(MEMORIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--strings", type=int, default=8000, help="training strings that are encoded")
    parser.add_argument("--max_digits", type=int, default=7, help="longest training string")
    parser.add_argument("--out", type=Path, default=Path("runs/decoder_memory"), help="folder of the runs")
    parser.add_argument("--write", type=Path, help="file that takes the result")
    options = parser.parse_args()
    start = Recognizer.load(options.encoder)
    drawn = Drawn(options.strings, max_digits=options.max_digits)
    frames = cache(partial(encode_strings, start, options.data, drawn))
    chosen = {name: getattr(options, name) for name in ("steps", "strings", "max_digits")}
    clean = [condition_name(data, None, decoding) for data in ("dev", "dev_long") for decoding in DECODINGS]
    noisy = [condition_name(data, Noise.parse(noise), "ctc") for data in ("dev", "dev_long") for noise in NOISES]
    document = Comparison(
        "mnemic-transcribe",
        options.out,
        [Variant(memory) for memory in options.memories],
        options.seeds,
        METRICS,
        conditions=[*clean, *noisy],
        settings=chosen | {"encoder": content_digest(options.encoder)},
        paired=pair_utterances(partial(read_errors, options.out)),
    ).run(partial(score, start=start, frames=frames, options=options))
    strings = open_clips(options.data, "dev_long", "lower")[0]
    slots = {
        memory: [slots_over_time(network(options.out, memory, seed), strings) for seed in options.seeds]
        for memory in options.memories
        if memory.startswith("turing")
    }
    facts = {
        "benchmark": "decoder_memory",
        "encoder": start.provenance,
        "slots_after_seconds": {"seconds": SECONDS, **slots},
        "machine": machine("cpu"),
    }
    publish({**document, **facts}, options.write)


if __name__ == "__main__":
    main()
