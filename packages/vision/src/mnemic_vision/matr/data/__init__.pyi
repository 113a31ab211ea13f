"""Streams of features with annotated actions: layouts, transforms and generated data."""

from .stream import ActionStream as ActionStream
