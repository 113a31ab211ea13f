from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError
from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, SimultaneousConfig
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer

ENCODER = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(16, 8, 8)
)
CONFIG = SimultaneousConfig(vocab_size=11, encoder=ENCODER, decoder_layers=2, decoder_ffn_dim=24, ratio=2)


@pytest.fixture
def model() -> AugmentedMemoryTransformer:
    torch.manual_seed(0)
    return AugmentedMemoryTransformer(CONFIG).eval()


def test_a_token_depends_on_what_had_been_read_and_on_nothing_later(model: AugmentedMemoryTransformer) -> None:
    features, tokens = torch.randn(1, 96, 8, requires_grad=True), torch.tensor([[10, 1, 2, 3]])
    logits = model(features, torch.tensor([96]), tokens, k=1)
    # Token 2 sees 4 encoder frames, those of the first segment, whose window ends with its right context.
    (gradient,) = torch.autograd.grad(logits[0, 1].sum(), features)
    assert gradient[0, :16].abs().sum(1).min() > 0
    assert gradient[0, 24:].abs().max() == 0


def test_each_recording_may_wait_differently(model: AugmentedMemoryTransformer) -> None:
    features, lengths, tokens = torch.randn(2, 64, 8), torch.tensor([64, 40]), torch.tensor([[10, 1, 2]] * 2)
    together = model(features, lengths, tokens, torch.tensor([1, 5]))
    assert_close(together[:1], model(features[:1], lengths[:1], tokens[:1], k=1), rtol=1e-4, atol=1e-5)
    alone = model(features[1:, :40], lengths[1:], tokens[1:], k=5)
    assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_the_loss_falls_and_every_weight_learns(model: AugmentedMemoryTransformer) -> None:
    model.train()
    features, lengths = torch.randn(4, 64, 8), torch.tensor([64, 50, 64, 33])
    text, text_lengths = torch.randint(1, 10, (4, 5)), torch.tensor([5, 2, 4, 5])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for step in range(60):
        loss = model.loss(features, lengths, text, text_lengths, k=1 + step % 3).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses[-1] < 0.6 * losses[0]


def test_memories_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="fits a segment encoder"):
        replace(ENCODER, memory=MemoryConfig("turing_paper"))
    with pytest.raises(UserError, match="multiples of 4"):
        SegmentConfig(length=18)


def test_a_ctc_branch_takes_its_share_of_the_loss(model: AugmentedMemoryTransformer) -> None:
    with pytest.raises(UserError, match="no CTC branch"):
        model.ctc_log_probs(torch.zeros(1, 2, 16))
    joint = AugmentedMemoryTransformer(replace(CONFIG, ctc_weight=0.25)).eval()
    features, lengths = torch.randn(2, 64, 8), torch.tensor([64, 50])
    text, text_lengths = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2])
    losses = joint.loss(features, lengths, text, text_lengths, k=1)
    assert_close(losses.total, 0.25 * losses.ctc + 0.75 * losses.attention)
    frames, valid = joint.encoder(features, lengths)
    log_probs = joint.ctc_log_probs(frames).transpose(0, 1)
    each = torch.nn.functional.ctc_loss(log_probs, text, valid, text_lengths, reduction="none")
    assert_close(losses.ctc, each.sum() / 5)  # per token
    assert model.loss(features, lengths, text, text_lengths, k=1).ctc == 0
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match="ctc_weight must be at least 0 and below 1"):
            replace(CONFIG, ctc_weight=share)
