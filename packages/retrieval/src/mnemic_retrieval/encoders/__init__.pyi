"""Encoders of pictures and texts that a system begins with."""

from .features import Features as Features
from .pictures import PictureConfig as PictureConfig
from .pictures import PictureEncoder as PictureEncoder
from .sentences import SentenceConfig as SentenceConfig
from .sentences import SentenceEncoder as SentenceEncoder
