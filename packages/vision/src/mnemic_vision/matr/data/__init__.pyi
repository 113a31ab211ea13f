"""Streams of features with annotated actions: layouts, transforms and generated data."""

from .annotations import AnnotationFile as AnnotationFile
from .annotations import read_annotation_file as read_annotation_file
from .augment import StreamAugmentation as StreamAugmentation
from .feature_set import FeatureSet as FeatureSet
from .features import InputConfig as InputConfig
from .generated import GeneratedActions as GeneratedActions
from .layouts import Modality as Modality
from .layouts import muses as muses
from .layouts import open_tad as open_tad
from .layouts import read_annotated_streams as read_annotated_streams
from .layouts import thumos14 as thumos14
from .pieces import shuffle_order as shuffle_order
from .stream import ActionStream as ActionStream
from .stream import ActionStreams as ActionStreams
from .stream import StreamKind as StreamKind
from .thumos_pickles import convert_thumos14 as convert_thumos14
from .unannotated import open_streams as open_streams
from .writing import write_annotated_streams as write_annotated_streams
