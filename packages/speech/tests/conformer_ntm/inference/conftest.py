"""A recognizer of four tones, which is exact without training: its CTC layer is fitted by least squares."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from mnemic_core import MemoryConfig
from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig, TranscriptionSettings
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import WordTokenizer

RATE = 8000
TONES = {"one": 400, "two": 800, "three": 1400, "four": 2200}
WORD_SECONDS = 0.24
MEMORIES: dict[str, dict[str, Any]] = {"none": {}, "turing_improved": {"slots": 3, "width": 4}}


@pytest.fixture(scope="session")
def say() -> Callable[..., Tensor]:
    """Return a speaker of tones: words, the pause after each and one before all, at a sampling rate."""

    def speak(
        words: str,
        pauses: float | Sequence[float] = 0.12,
        lead: float = 0.6,
        rate: int = RATE,
        noise: float = 1e-3,
        seed: int = 0,
    ) -> Tensor:
        names = words.split()
        after = [pauses] * len(names) if isinstance(pauses, float) else pauses
        time = torch.arange(round(WORD_SECONDS * rate)) / rate
        parts = [torch.zeros(round(lead * rate))]
        for name, pause in zip(names, after, strict=True):
            loudness = 0.3 * torch.sin(torch.pi * time / WORD_SECONDS).sqrt()  # no click at the ends
            parts += [loudness * torch.sin(2 * torch.pi * TONES[name] * time), torch.zeros(round(pause * rate))]
        complete = torch.cat(parts)
        return complete + noise * torch.randn(len(complete), generator=torch.Generator().manual_seed(seed))

    return speak


@pytest.fixture(scope="session")
def build(say: Callable[..., Tensor]) -> Callable[..., Recognizer]:
    """Return a maker of recognizers by the name of the memory and further settings of the network."""

    @cache
    def recognizer(memory: str = "none", **settings: Any) -> Recognizer:
        torch.manual_seed(0)
        encoder = ConformerConfig(num_mels=16, dim=96, num_heads=2, ffn_dim=8, num_layers=1, dropout=0.0)
        sizes = {"decoder_layers": 1, "decoder_ffn_dim": 8, "memory": MemoryConfig(memory, MEMORIES[memory])} | settings
        model = ConformerNtm(ConformerNtmConfig(len(TONES) + 3, encoder, **sizes)).eval()
        for part in ("first_ffn.contract", "attention.output", "convolution.contract", "second_ffn.contract"):
            # A block without effect: a frame hears 0.1 s, so it cannot matter where a recording is cut between words.
            torch.nn.init.zeros_(model.encoder.blocks[0].get_submodule(part).weight)
        features = Features(FeatureConfig(sample_rate=RATE, num_mels=16, n_fft=256, window=200, hop=80))
        settings = replace(TranscriptionSettings.of(model), text_style="keep")
        made = Recognizer(model, settings, {}, features, Normalizer("none", 16), WordTokenizer(TONES))
        if model.ctc is not None:
            fit(made, say)
        return made

    return lambda *memory, **settings: deepcopy(recognizer(*memory, **settings))


@torch.no_grad()
def fit(recognizer: Recognizer, say: Callable[..., Tensor]) -> None:
    """Let CTC say of each frame which tone it lies in, wherever the frames begin."""
    order = [*TONES, *reversed(TONES)]
    step, tokens, inputs = WORD_SECONDS + 0.12, [], []
    for seed, lead in enumerate(torch.arange(0.6, 0.64, 0.0025).tolist()):
        waveform = say(" ".join(order), lead=lead, noise=(1e-3, 4e-4)[seed % 2], seed=seed)
        features, lengths = recognizer.features(waveform[None])
        inputs.append(recognizer.model.encode(features, lengths).hidden[0])
        time = (torch.arange(len(inputs[-1])) * 4 + 3) * 0.01 - lead  # middle of each frame
        index = (time / step).floor().long().clamp(0, len(order) - 1)
        place = time - index * step
        is_inside = (place > 0.03) & (place < WORD_SECONDS - 0.03)
        tokens.append(torch.where(is_inside, torch.tensor(recognizer.tokenizer.encode(" ".join(order)))[index], 0))
    hidden = torch.nn.functional.pad(torch.cat(inputs), (0, 1), value=1.0)
    wanted = 12.0 * torch.nn.functional.one_hot(torch.cat(tokens), len(TONES) + 3)
    found = torch.linalg.lstsq(hidden, wanted, driver="gelsd").solution
    recognizer.model.ctc.weight.copy_(found[:-1].T)
    recognizer.model.ctc.bias.copy_(found[-1])
    recognizer.model.ctc.bias[0] += 1.5  # in doubt silence
