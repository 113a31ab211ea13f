"""Lists of utterances: our manifests, the layouts of public data sets, and digit strings that are rendered."""

from .corpora import read_corpus as read_corpus
from .corpora import read_csv as read_csv
from .corpora import read_index_tsv as read_index_tsv
from .corpora import read_kaldi as read_kaldi
from .corpora import read_librispeech as read_librispeech
from .corpora import read_tedlium as read_tedlium
from .digits import DigitString as DigitString
from .digits import DigitTake as DigitTake
from .digits import read_digit_strings as read_digit_strings
from .digits import render as render
from .manifest import Utterance as Utterance
from .manifest import read_manifest as read_manifest
from .manifest import write_manifest as write_manifest
