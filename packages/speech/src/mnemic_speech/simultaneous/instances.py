"""Logs of translations, one JSON object a line with the fields of SimulEval's ``instances.log``."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_speech.simultaneous.latency import Emission
from mnemic_speech.simultaneous.quality import latency_units


@dataclass(frozen=True)
class TranslationRecord:
    """A translation with the time of each of its words.

    Attributes:
        index: place in the data set.
        prediction: the translation.
        delays: ms of source that had been heard when each unit was written.
        elapsed: ms of wall time from the start of the source, which arrives in real time, until each unit was written.
        reference: the true translation.
        source: name of the recording.
        source_length: ms.
        language: of the translation, which decides what a unit is.

    Raises:
        UserError: the numbers of units, delays and elapsed times differ.
    """

    index: int
    prediction: str
    delays: tuple[float, ...]
    elapsed: tuple[float, ...]
    reference: str
    source: str
    source_length: float
    language: str = "de"

    def __post_init__(self) -> None:
        numbers = {len(latency_units(self.prediction, self.language)), len(self.delays), len(self.elapsed)}
        if len(numbers) > 1:
            raise UserError(
                f"translation {self.index}: units, delays and elapsed times must be as many, got {sorted(numbers)}"
            )

    @property
    def emission(self) -> Emission:
        """What latency scores need."""
        target = max(1, len(latency_units(self.reference, self.language)))
        return Emission(self.delays, self.source_length, target, self.elapsed)

    def as_line(self) -> str:
        """Return the record as a line of a log."""
        return json.dumps(
            {
                "index": self.index,
                "prediction": self.prediction,
                "delays": list(self.delays),
                "elapsed": list(self.elapsed),
                "prediction_length": len(self.delays),
                "reference": self.reference,
                "source": [self.source],
                "source_length": self.source_length,
            },
            ensure_ascii=False,
        )


def read_instances(lines: Iterable[str], name: str, language: str = "de") -> list[TranslationRecord]:
    """Return the records of a log, also of one that SimulEval wrote.

    Args:
        lines: of the log; blank ones are left out.
        name: of the log, for messages.
        language: of the translations.

    Raises:
        UserError: a line is no record.
    """
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: not JSON ({error})") from error
        records.append(_record(deserialize(dict[str, Any], fields, name, f"line {number}"), place, language))
    return records


def _record(fields: Mapping[str, Any], place: str, language: str) -> TranslationRecord:
    kinds: dict[str, Any] = {
        "index": int,
        "prediction": str,
        "delays": tuple[float, ...],
        "elapsed": tuple[float, ...],
        "reference": str,
        "source_length": float,
    }
    values = {name: deserialize(kind, fields.get(name), place, name) for name, kind in kinds.items()}
    source = fields.get("source", "")
    named = source[0] if isinstance(source, list) and source else source
    return TranslationRecord(**values, source=str(named), language=language)
