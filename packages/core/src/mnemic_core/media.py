"""What the readers of sound and of films share: tracks and packets of a container that PyAV opened.

PyAV is a dependency of the domains, so its types and values are given by the caller.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from mnemic_core.errors import UserError

_LOG = logging.getLogger(__name__)
_MAX_FAILURES = 100  # consecutive failures to read a packet


def choose_track(
    tracks: Sequence[Any], label: str, kind: str, number: int | None, default: Any, excluded: Any = None
) -> Any:
    """Return a track that can be decoded, and say which one where there are several.

    Args:
        tracks: streams of one kind.
        label: of the file in messages.
        kind: ``audio`` or ``video``, for messages.
        number: of the track, from 1; None: the default one, or the first that can be decoded.
        default: disposition of default tracks.
        excluded: disposition of tracks that are only chosen by their number.

    Raises:
        UserError: there is no such track.
    """
    if not tracks:
        raise UserError(f"{label} has no {kind} stream; give a complete file with {kind}")
    # Without a decoder there is no context.
    decodable = [place for place, each in enumerate(tracks, 1) if getattr(each, "codec_context", None) is not None]
    if number is not None:
        if number not in decodable:
            others = ", ".join(map(str, decodable)) or "none"
            raise UserError(f"{label} has no {kind} track {number} that can be decoded; those that can: {others}")
        return tracks[number - 1]
    is_excluded = [excluded is not None and bool(each.disposition & excluded) for each in tracks]
    usable = [place for place in decodable if not is_excluded[place - 1]]
    if not usable:
        raise UserError(f"{label} has no {kind} track that can be decoded; convert it to a common format")
    chosen = next((place for place in usable if tracks[place - 1].disposition & default), usable[0])
    if is_excluded.count(False) > 1:
        announce(f"{label} has {is_excluded.count(False)} {kind} tracks; number {chosen} is read")
    return tracks[chosen - 1]


def read_packets(container: Any, error: type[Exception]) -> Iterator[Any]:
    """Yield the packets of all tracks; behind damage, reading continues.

    Args:
        container: opened by PyAV. A packet belongs to ``packet.stream``; ``stream_index`` of those that flush is 0.
        error: what PyAV raises.
    """
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux():
                failures = 0
                yield packet
        except error:
            failures += 1
        else:
            return


def packet_end(packet: Any) -> float:
    """Return the time at which a packet ends in seconds, 0 if it does not say."""
    start = packet.dts if packet.pts is None else packet.pts
    if start is None or not packet.time_base:
        return 0.0
    return float((start + (packet.duration or 0)) * packet.time_base)


@lru_cache(maxsize=1024)
def announce(message: str) -> None:
    """Log a warning, once for each message."""
    _LOG.warning(message)
