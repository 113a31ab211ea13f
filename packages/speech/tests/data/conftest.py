"""Small recordings."""

from recordings import make_audio as make_audio
