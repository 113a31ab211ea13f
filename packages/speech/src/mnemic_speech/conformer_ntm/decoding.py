"""Names of the decoding methods; a light import for help pages."""

from typing import Literal

Decoding = Literal["ctc", "attention", "joint", "rescoring"]
"""Greedy CTC; beam search with the decoder alone, or with decoder and CTC; or CTC n-best rescored by the decoder."""
