import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torchaudio.functional import resample

from mnemic_speech.resample import Resampler

RATES = [(8000, 16000), (16000, 8000), (44100, 16000), (48000, 16000), (96000, 16000), (11025, 8000), (16000, 16000)]


def in_pieces(resampler: Resampler, waveform: Tensor, sizes: list[int]) -> Tensor:
    pieces = [resampler.push(piece) for piece in waveform.split(sizes)]
    return torch.cat([*pieces, resampler.finish()])


@pytest.mark.parametrize("rates", RATES, ids=str)
@pytest.mark.parametrize("length", [0, 1, 3, 1000, 2777])
def test_resampling_equals_torchaudio(rates: tuple[int, int], length: int) -> None:
    waveform = torch.rand(length) * 2 - 1
    expected = resample(waveform.double(), *rates).float() if length else waveform
    assert_close(in_pieces(Resampler(*rates), waveform, [length]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_pieces_of_any_size_equal_the_recording(rates: tuple[int, int]) -> None:
    waveform, resampler = torch.rand(2000) * 2 - 1, Resampler(*rates)
    complete = in_pieces(resampler, waveform, [2000])
    for sizes in ([1] * 50 + [0, 950, 7, 993], [999, 1001]):
        assert_close(in_pieces(resampler, waveform, sizes), complete, rtol=0, atol=1e-6)


def test_an_output_comes_as_soon_as_its_inputs_are_there() -> None:
    resampler = Resampler(16000, 8000)
    assert 0 <= 500 - len(resampler.push(torch.zeros(1000))) < 20


def test_memory_stays_that_of_the_filter() -> None:
    resampler, held = Resampler(44100, 16000), []
    for _ in range(20):
        resampler.push(torch.zeros(3000))
        held.append(resampler.state_dict()["held"].numel())
    assert max(held) < 100


def test_odd_rates_need_no_large_filter() -> None:
    waveform = torch.sin(torch.arange(15999.0) * 0.2)
    changed = in_pieces(Resampler(15999, 16000), waveform, [15999])
    expected = torch.sin(torch.arange(16000) * (0.2 * 15999 / 16000))
    assert len(changed) == 16000
    assert_close(changed[100:-100], expected[100:-100], rtol=0, atol=2e-3)


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 16000)], ids=str)
def test_a_saved_state_continues(rates: tuple[int, int]) -> None:
    first, second, other = torch.rand(500), torch.rand(700), Resampler(*rates)
    resampler = Resampler(*rates)
    before = resampler.push(first)
    other.load_state_dict(resampler.state_dict())
    rest = torch.cat([other.push(second), other.finish()])
    complete = in_pieces(Resampler(*rates), torch.cat([first, second]), [1200])
    assert_close(torch.cat([before, rest]), complete, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [0, 1, 2**28])
def test_rates_that_no_recorder_has_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"between 100 and 2000000 Hz, got {rate} and 16000"):
        Resampler(rate, 16000)
