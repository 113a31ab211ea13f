"""The file ``seqinfo.ini`` of the MOTChallenge layout."""

from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from mnemic_core.errors import UserError

DEFAULT_FRAME_RATE = 25.0  # frames per second of sources without a known rate


@dataclass(frozen=True)
class SequenceInfo:
    """Frames per second and, if known, number of frames of a sequence."""

    frame_rate: float = DEFAULT_FRAME_RATE
    length: int | None = None


def read_sequence_info(path: Path) -> SequenceInfo:
    """Read ``seqinfo.ini``, with defaults for a missing file or key.

    Raises:
        UserError: the file is malformed; the message names the line.
    """
    if not path.exists():
        return SequenceInfo()
    parser = ConfigParser(interpolation=None)
    try:
        text = path.read_text(encoding="utf-8-sig")
        parser.read_string(text, source=str(path))
    except (ConfigError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is malformed ({reason}); write [Sequence] and lines like frameRate=25") from error
    if not parser.has_section("Sequence"):
        raise UserError(f"{path}, line 1: expected [Sequence]")
    values = dict(parser["Sequence"])
    length = _positive(path, text, values.get("seqlength"), "seqLength", is_whole=True)
    return SequenceInfo(
        frame_rate=_positive(path, text, values.get("framerate"), "frameRate") or DEFAULT_FRAME_RATE,
        length=None if length is None else int(length),
    )


def _positive(path: Path, text: str, given: str | None, key: str, *, is_whole: bool = False) -> float | None:
    if given is None:
        return None
    try:
        number = float(given)
    except ValueError:
        number = 0.0
    if 0 < number < float("inf") and not (is_whole and number % 1):
        return number
    lines = enumerate(text.splitlines(), start=1)
    line = next(number for number, content in lines if content.strip().lower().startswith(key.lower()))
    wanted = "whole number" if is_whole else "number"
    raise UserError(f"{path}, line {line}: {key} must be a {wanted} above 0, got {given!r}")
