"""A translator of noise into German numbers, and some noise."""

import pytest
import torch
from torch import Tensor

from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, SimultaneousConfig
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.policies import PolicyConfig
from mnemic_speech.text import WordTokenizer

ENCODER = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(32, 16, 16)
)
RATE = 8000
FEATURES = FeatureConfig(kind="kaldi", sample_rate=RATE, num_mels=8, n_fft=256, window=200, hop=80)


@pytest.fixture
def translator() -> Translator:
    """Return a translator with random weights, for samples at 8 kHz."""
    torch.manual_seed(3)
    tokenizer = WordTokenizer(["eins", "zwei", "drei", "vier"])
    config = SimultaneousConfig(tokenizer.vocab_size, ENCODER, decoder_layers=1, decoder_ffn_dim=24, ratio=4)
    model = AugmentedMemoryTransformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    settings = TranslationSettings(PolicyConfig(k=2))
    return Translator(model, settings, {}, Features(FEATURES), Normalizer("global", 8), tokenizer)


@pytest.fixture
def speech() -> Tensor:
    """Return two seconds."""
    torch.manual_seed(0)
    return 0.3 * torch.randn(2 * RATE)
