"""Streams of features with annotated actions: layouts, transforms and generated data."""

from .augment import StreamAugmentation as StreamAugmentation
from .features import InputConfig as InputConfig
from .folder import read_annotated_streams as read_annotated_streams
from .generated import GeneratedActions as GeneratedActions
from .pieces import shuffle_order as shuffle_order
from .stream import ActionStream as ActionStream
from .stream import ActionStreams as ActionStreams
from .stream import StreamKind as StreamKind
from .writing import write_annotated_streams as write_annotated_streams
