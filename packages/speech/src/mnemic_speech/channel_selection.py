"""Which channels of a recording to read; quick to import, for command lines."""

from typing import Literal, TypeAlias

Channels: TypeAlias = Literal["auto", "mix", "each"] | int
"""``"mix"``: the mean of all channels; ``"each"``: every channel by itself; ``"auto"``: each of two channels with a
speaker each, otherwise the mean; or the number of one channel, from 1."""
