import torch
from torch.testing import assert_close

from mnemic_speech.features import Normalizer
from mnemic_speech.simultaneous import SegmentConfig, SegmentEncoder, SegmentEncoderConfig
from mnemic_translate.frozen_frames import FrozenFrames


def test_kept_frames_are_those_of_the_encoder_in_any_batch() -> None:
    torch.manual_seed(0)
    config = SegmentEncoderConfig(
        20, 16, 2, 16, num_layers=2, conv_channels=4, dropout=0.5, segments=SegmentConfig(32, 16, 16)
    )
    encoder = SegmentEncoder(config).train()
    normalizer = Normalizer("global", 20)
    normalizer.std.fill_(0.5)
    features, lengths = torch.randn(3, 90, 20), torch.tensor([90, 41, 70])
    computed = FrozenFrames(encoder, normalizer)
    wanted, valid = computed.of(features, lengths)
    assert encoder.training
    assert not wanted.requires_grad
    assert valid.tolist() == [23, 11, 18]
    with torch.no_grad():
        assert_close(wanted, encoder.eval()(2 * features, lengths)[0])

    kept = FrozenFrames(encoder, normalizer)
    kept.keep(features, lengths)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()  # what is kept is not computed again
    for rows in ([0, 1, 2], [2], [1, 2]):
        found, numbers = kept.of(features[rows], lengths[rows])
        assert_close(numbers, valid[rows])
        assert found.dtype == torch.float32
        for row, mine, number in zip(rows, found, numbers, strict=True):
            assert_close(mine[:number], wanted[row, :number], atol=2e-3, rtol=1e-3)
            assert mine[number:].count_nonzero() == 0
