"""The ways of decoding, by name; importing them is quick."""

from typing import Literal

Decoding = Literal["ctc", "attention", "joint", "rescoring"]
"""Best CTC token of each frame; beam search with the decoder alone, with both; or CTC's best texts as the decoder
rates them."""
