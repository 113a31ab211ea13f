import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.testing import unchecked_annotations
from mnemic_speech.beam_search import BeamSearchConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.conformer_ntm.settings import Decoding, TranscriptionSettings

Build = Callable[..., Recognizer]
Say = Callable[..., Tensor]
DECODINGS = ("ctc", "joint", "attention", "rescoring")
TEXT = "one two two three four one"
CTC = TranscriptionSettings(decoding="ctc")
SMALL = TranscriptionSettings(search=BeamSearchConfig(beam=3, ctc_weight=0.6))


@pytest.mark.parametrize("decoding", ["ctc", "joint", "rescoring"])
def test_tones_are_recognized(build: Build, say: Say, decoding: Decoding) -> None:
    [result], _ = recognize(build(), [say(TEXT)], replace(SMALL, decoding=decoding))
    assert result.text == TEXT
    assert " ".join(word.text for word in result.words) == TEXT


def test_words_have_the_times_of_their_sounds(build: Build, say: Say) -> None:
    [result], _ = recognize(build(), [say(TEXT, 0.12, 0.6)], CTC)
    for place, word in enumerate(result.words):
        middle = 0.6 + place * 0.36 + 0.12
        assert abs((word.start + word.end) / 2 - middle) < 0.03
        assert 0.1 < word.end - word.start < 0.28
        assert word.confidence > 0.8


@pytest.mark.parametrize("decoding", DECODINGS)
def test_results_do_not_depend_on_the_batch(build: Build, say: Say, decoding: Decoding) -> None:
    recognizer, settings = build("turing_improved"), replace(SMALL, decoding=decoding)
    waveforms = [say(TEXT), say("four"), torch.zeros(0), say("two three")[:5000], torch.zeros(300)]
    together, state = recognize(recognizer, waveforms, settings)
    alone = [recognize(recognizer, [waveform], settings) for waveform in waveforms]
    for batched, ([single], _) in zip(together, alone, strict=True):
        assert (batched.tokens, batched.text) == (single.tokens, single.text)
        assert math.isclose(batched.score, single.score, abs_tol=1e-3)
    for name, value in state.tensors().items():
        assert_close(value, torch.cat([each.tensors()[name] for _, each in alone]))


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_waveform_too_short_for_a_frame_has_no_words(build: Build, decoding: Decoding) -> None:
    for samples in (0, 1, 400):
        [result], state = recognize(build("turing_improved"), [torch.zeros(samples)], replace(SMALL, decoding=decoding))
        assert (result.text, result.words) == ("", ())
        assert all(value.isfinite().all() for value in state.tensors().values())


def test_without_ctc_words_share_the_time(build: Build, say: Say) -> None:
    recognizer = build(ctc_weight=0.0)
    with torch.no_grad():
        recognizer.model.decoder.output.bias[3] = 30.0  # one word without end
    settings = TranscriptionSettings("attention", BeamSearchConfig(beam=1, max_length_ratio=0.1))
    waveform = say("one")
    [result], _ = recognize(recognizer, [waveform], settings)
    steps = {round(b.start - a.start, 6) for a, b in zip(result.words, result.words[1:], strict=False)}
    assert len(result.words) > 1
    assert len(steps) <= 2  # the first one begins with the recording
    assert result.words[-1].end <= len(waveform) / 8000
    assert 0 < result.words[0].confidence <= 1


def test_a_given_memory_state_is_continued(build: Build, say: Say) -> None:
    recognizer = build("turing_improved")
    _, first = recognize(recognizer, [say("one")], CTC)
    _, fresh = recognize(recognizer, [say("two")], CTC)
    _, carried = recognize(recognizer, [say("two")], CTC, first)
    assert any(not torch.equal(a, b) for a, b in zip(fresh.tensors().values(), carried.tensors().values(), strict=True))


def test_settings_survive_a_checkpoint(build: Build, tmp_path: Path) -> None:
    settings = TranscriptionSettings("ctc", BeamSearchConfig(beam=4), overlap=1.5, carry_memory=True, text_style="keep")
    replace(build(), settings=settings).save(tmp_path / "a.safetensors")
    assert Recognizer.load(tmp_path / "a.safetensors").settings == settings


@pytest.mark.parametrize(("ctc_weight", "decoding"), [(1.0, "ctc"), (0.0, "attention"), (0.3, "joint")])
def test_a_network_is_decoded_as_its_branches_allow(build: Build, ctc_weight: float, decoding: Decoding) -> None:
    recognizer = build(ctc_weight=ctc_weight)
    assert TranscriptionSettings.of(recognizer.model).decoding == decoding
    assert (recognizer.settings.decoding, recognizer.settings.text_style) == (decoding, "keep")


def test_settings_of_a_newer_version_are_refused(build: Build) -> None:
    header = build().header()
    with pytest.raises(ValueError, match=r"does not know \(tempo\): update mnemic-speech"):
        Recognizer.from_header(header | {"settings": {"tempo": 2}}, "a.ckpt")
    with pytest.raises(ValueError, match=r"does not know \(width\): update mnemic-speech"):
        Recognizer.from_header(header | {"settings": {"search": {"width": 2}}}, "a.ckpt")


@pytest.mark.parametrize(("ctc_weight", "decoding", "other"), [(1.0, "joint", "ctc"), (0.0, "ctc", "attention")])
def test_a_decoding_without_its_branch_is_refused(
    build: Build, ctc_weight: float, decoding: Decoding, other: str
) -> None:
    with pytest.raises(ValueError, match=f"decoding '{decoding}' needs the branch .* use '{other}'"):
        recognize(build(ctc_weight=ctc_weight), [torch.zeros(3000)], TranscriptionSettings(decoding))


def test_settings_without_a_meaning_are_refused() -> None:
    with (
        unchecked_annotations(),
        pytest.raises(ValueError, match=r"joint, rescoring, got 'best'"),
    ):
        TranscriptionSettings(decoding="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"at most half of max_seconds, got 11\.0 and 20\.0"):
        TranscriptionSettings(overlap=11.0)
