"""Lists of utterances: our manifests, the layouts of public data sets, and digit strings that are rendered."""

from .corpora import (
    read_corpus,
    read_csv,
    read_index_tsv,
    read_kaldi,
    read_librispeech,
    read_tedlium,
)
from .digits import DigitString, DigitTake, read_digit_strings, render
from .manifest import Utterance, read_manifest, write_manifest

__all__ = [
    "DigitString",
    "DigitTake",
    "Utterance",
    "read_corpus",
    "read_csv",
    "read_digit_strings",
    "read_index_tsv",
    "read_kaldi",
    "read_librispeech",
    "read_manifest",
    "read_tedlium",
    "render",
    "write_manifest",
]
