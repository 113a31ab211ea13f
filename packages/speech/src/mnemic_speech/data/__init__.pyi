"""Data of speech: manifests, layouts of public data sets, batches, augmentation and vocabularies."""

from .augmentation import Augmentation as Augmentation
from .augmentation import Masks as Masks
from .batching import Clip as Clip
from .batching import FeatureInputs as FeatureInputs
from .batching import SpeechBatch as SpeechBatch
from .batching import SpeechBatches as SpeechBatches
from .batching import Waveforms as Waveforms
from .batching import duration_batches as duration_batches
from .corpora import read_corpus as read_corpus
from .corpora import read_csv as read_csv
from .corpora import read_index_tsv as read_index_tsv
from .corpora import read_kaldi as read_kaldi
from .corpora import read_librispeech as read_librispeech
from .corpora import read_tedlium as read_tedlium
from .manifest import Utterance as Utterance
from .manifest import manifest_lines as manifest_lines
from .manifest import read_manifest as read_manifest
from .manifest import write_manifest as write_manifest
from .tones import ToneWorld as ToneWorld
from .translations import read_covost as read_covost
from .translations import read_language_columns as read_language_columns
from .translations import read_must_c as read_must_c
from .translations import read_translations as read_translations
from .vocabulary import Vocabulary as Vocabulary
