"""The sentence that the demo translates."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.audio import read_audio
from mnemic_speech.data.translations import read_translations
from mnemic_speech.resample import resample
from mnemic_speech.simultaneous import Translator
from mnemic_translate.voicing import Voice


@dataclass(frozen=True)
class DemoSource:
    """A spoken sentence.

    Attributes:
        name: of the files of results.
        samples: at the rate of the network's features.
        text: what is said, where known.
        reference: its translation, where known.
    """

    name: str
    samples: Float[Tensor, " samples"]
    text: str = ""
    reference: str = ""


def find_source(
    translator: Translator, file: Path | None, text: str | None, voice: str, data: Path, number: int
) -> DemoSource:
    """Return the sentence: a file, a text that is voiced, or an utterance of a data set.

    Raises:
        FileNotFoundError: the file or data does not exist.
        UserError: there is no such voice or utterance.
    """
    rate = translator.features.config.sample_rate
    if file is not None:
        return DemoSource(file.stem, read_audio(file, rate))
    if text is not None:
        samples, spoken_rate = Voice.parse(voice).speak(text)
        return DemoSource("spoken", resample(samples, spoken_rate, rate), text)
    if not data.exists():
        raise FileNotFoundError(f"no data at {data}: give --data, --file, or --text, which flite or espeak-ng speaks")
    spoken = read_translations(data, translator.source, translator.source)
    if not 0 <= number < len(spoken):
        raise UserError(f"{data} has {len(spoken)} utterances, numbered from 0; there is no number {number}")
    chosen = spoken[number]
    return DemoSource(
        Path(chosen.id).name, chosen.read(rate), chosen.text, chosen.translations.get(translator.target, "")
    )
