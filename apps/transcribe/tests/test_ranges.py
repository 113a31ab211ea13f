from collections.abc import Callable
from typing import Any

import pytest
from trainings import absurd_settings

from mnemic_core.errors import UserError
from mnemic_speech.conformer_ntm import ConformerNtmConfig
from mnemic_speech.data.tones import WORDS
from mnemic_speech.text import WordTokenizer
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.noise import Noise
from mnemic_transcribe.sources import DataSource
from mnemic_transcribe.task import TranscriptionTask

TOKENIZER = WordTokenizer(WORDS)
SIZE = TOKENIZER.vocab_size
REQUIRED = {
    TranscriptionTask: {"tokenizer": TOKENIZER.state(), "config": ConformerNtmConfig(SIZE)},
    SpeechData: {"train": [DataSource("generated")]},
    ConformerNtmConfig: {"vocab_size": SIZE},
    Noise: {"kind": "white"},
}


@pytest.mark.parametrize(("make", "name", "value"), absurd_settings(TranscriptionTask, SpeechData, Noise))
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(make: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make(**{**REQUIRED.get(make, {}), name: value})
