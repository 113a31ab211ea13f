"""Attention decoders with several memories on strings longer than those of training, with the encoder fixed.

An attention decoder learns slowly, and most of a training step is the encoder. So the outputs of the encoder of one
checkpoint (trained with CTC alone and no memory, see the model card) are computed once for 8000 training strings, and
memory, CTC layer and decoder are trained on them from scratch, with each memory and seed, all else equal. Networks are
tested as in ``mnemic-transcribe compare``, with the same tables. Some minutes per network on one slow core; a second
call resumes after a kill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import torch
from common.report import run
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mnemic_core import MemoryConfig
from mnemic_core.machines import TuringState
from mnemic_kit.experiment import Comparison, Run, Scores, Variant
from mnemic_kit.parse import OneOf
from mnemic_kit.record import content_digest
from mnemic_kit.schedule import warmup_share
from mnemic_speech.conformer_ntm import ConformerNtm
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.model import Encoded
from mnemic_speech.data.augmentation import Augmentation
from mnemic_speech.data.batching import Clip, SpeechBatches, Waveforms
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
SPLITS = ("dev", "dev_long")
NOISES = ("white:0", "white:5", "babble:0", "babble:5")
LR, WARMUP, CLIP, LABEL_SMOOTHING = 1e-3, 100, 5.0, 0.1
BATCH_SECONDS = 80.0
SECONDS, FRAMES_A_SECOND = (1, 5, 10, 20), 25


@dataclass(frozen=True)
class EncodedBatch:
    """Outputs of the encoder for a batch, and the tokens to learn."""

    hidden: Float[Tensor, "batch frame dim"]
    padding: Bool[Tensor, "batch frame"]
    tokens: Int[Tensor, "batch token"]
    token_lengths: Int[Tensor, " batch"]


@torch.no_grad()  # inference tensors could not be trained on
def encode_strings(recognizer: Recognizer, data: Path, drawn: Drawn) -> list[EncodedBatch]:
    """Return the outputs of the encoder for training strings with augmentation."""
    clips = DataSource("digits", data, "train", drawn=drawn).open("lower")
    rate = recognizer.features.config.sample_rate
    batches = SpeechBatches(clips, recognizer.tokenizer, Waveforms(rate, AUGMENTATION), BATCH_SECONDS, (0, 0))
    found = []
    for batch in (batches[index] for index in range(len(batches))):
        features, lengths = recognizer.features(batch.inputs, batch.lengths)
        hidden, padding = recognizer.model.encoder(recognizer.normalizer(features, lengths), lengths)
        found.append(EncodedBatch(hidden, padding, batch.tokens, batch.token_lengths))
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
    # The trained encoder; all else keeps its random initialization.
    model.encoder.load_state_dict(start.model.encoder.state_dict())
    return replace(start, model=model)


def fit(model: ConformerNtm, batches: list[EncodedBatch], steps: int, seed: int) -> None:
    """Train memory, CTC layer and decoder."""
    model.train()
    # Its outputs are computed once, so that it cannot be trained.
    model.encoder.requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, LR)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_share(step, WARMUP, steps))
    order = torch.Generator().manual_seed(seed)
    for step in range(steps):
        batch = batches[int(torch.randint(len(batches), (), generator=order))]
        output, state = model.memory(batch.hidden, model.init_state(len(batch.hidden)), padding=batch.padding)
        losses = model.score(Encoded(output, batch.padding, state), batch.tokens, batch.token_lengths)
        optimizer.zero_grad()
        losses.total.backward()
        if bool(clip_grad_norm_(parameters, CLIP).isfinite()):  # as the task does
            optimizer.step()
        schedule.step()
        if step % 500 == 499:
            print(f"step {step + 1}: loss {float(losses.total):.3f}, accuracy {float(losses.accuracy):.3f}", flush=True)


def score(
    run: Run,
    conditions: Sequence[str],
    start: Recognizer,
    batches: Callable[[], list[EncodedBatch]],
    data: Path,
    steps: int,
) -> Scores:
    """Train and test one network, except for what an earlier call has done."""
    file = network(run.folder.parent, run.variant.name, run.seed)
    if not file.exists():
        run.keep(run.scores())
        print(f"{run.variant.name}, seed {run.seed}", flush=True)
        torch.manual_seed(run.seed)
        made = build(start, run.variant.name)
        fit(made.model, batches(), steps, run.seed)
        made.save(file)
    trained = Recognizer.load(file)
    sets = [(split, open_clips(data, split, "lower")[0]) for split in SPLITS]
    run_tests(trained, sets, DECODINGS, [None], run.folder / ERRORS)
    errors = run_tests(trained, sets, ("ctc",), [*map(Noise.parse, NOISES)], run.folder / ERRORS)
    return {name: error_scores(errors[name]) for name in conditions}


def network(out: Path, memory: str, seed: int) -> Path:
    """Return the file of a trained network."""
    return out / f"{memory}-{seed}" / "model.safetensors"


@torch.inference_mode()
def slots_over_time(file: Path, clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Return mean norm and diversity of the slots of a Turing machine after `SECONDS` of strings."""
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


def decoder_memory(
    encoder: Path,
    data: Path = Path("../shared/data/speech_digits"),
    memories: tuple[Annotated[str, OneOf(lambda: tuple(MEMORIES))], ...] = tuple(MEMORIES),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: int = 2500,
    strings: int = 8000,
    max_digits: int = 7,
    out: Path = Path("runs/decoder_memory"),
) -> None:
    """Train decoders with several memories on the outputs of one encoder, and test them on longer strings.

    Args:
        encoder: checkpoint with the encoder.
        data: folder of digit strings.
        memories: memories to compare.
        seeds: seeds of each.
        steps: training steps.
        strings: number of training strings.
        max_digits: digits of the longest training string.
        out: folder of the runs.
    """
    start = Recognizer.load(encoder)
    batches = cache(partial(encode_strings, start, data, Drawn(strings, max_digits=max_digits)))
    clean = [condition_name(split, None, decoding) for split in SPLITS for decoding in DECODINGS]
    noisy = [condition_name(split, Noise.parse(noise), "ctc") for split in SPLITS for noise in NOISES]
    settings = {"steps": steps, "strings": strings, "max_digits": max_digits, "encoder": content_digest(encoder)}
    document = Comparison(
        "mnemic-transcribe",
        out,
        [Variant(memory) for memory in memories],
        seeds,
        METRICS,
        conditions=[*clean, *noisy],
        settings=settings,
        paired=pair_utterances(partial(read_errors, out)),
    ).run(partial(score, start=start, batches=batches, data=data, steps=steps))
    clips = open_clips(data, "dev_long", "lower")[0]
    slots = {
        memory: [slots_over_time(network(out, memory, seed), clips) for seed in seeds]
        for memory in memories
        if memory.startswith("turing")
    }
    return {**document, "encoder": start.provenance, "slots_after_seconds": {"seconds": SECONDS, **slots}}


if __name__ == "__main__":
    run(decoder_memory)
