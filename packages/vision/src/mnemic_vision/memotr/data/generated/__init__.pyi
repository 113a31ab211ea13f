"""Synthetic videos of people who cross, hide and return."""

from .world import GeneratedSequences as GeneratedSequences
