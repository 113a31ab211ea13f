"""MuRAG: answers from a memory of pictures and texts (arXiv 2210.02928)."""

from .answers import Answer as Answer
from .answers import Citation as Citation
from .answers import Question as Question
from .assistant import Assistant as Assistant
from .checkpoint import MuragCheckpoint as MuragCheckpoint
from .checkpoint import MuragSettings as MuragSettings
from .config import MuragConfig as MuragConfig
from .config import murag_base as murag_base
from .config import murag_small as murag_small
from .config import murag_tiny as murag_tiny
from .encoder import Encoded as Encoded
from .encoder import JointEncoder as JointEncoder
from .entries import Entry as Entry
from .entries import EntryEncoder as EntryEncoder
from .losses import contrastive_loss as contrastive_loss
from .model import Murag as Murag
from .model import fingerprint as fingerprint
from .reader import Evidence as Evidence
from .reader import Reading as Reading
