"""EMAT: answers from a memory of questions and answers, found and read within one encoder pass (arXiv 2210.16773)."""

from .checkpoint import EmatCheckpoint as EmatCheckpoint
from .checkpoint import EmatSettings as EmatSettings
from .config import EmatConfig as EmatConfig
from .config import emat_async as emat_async
from .config import emat_serial as emat_serial
from .encoder import EmatEncoder as EmatEncoder
from .encoder import QueryStage as QueryStage
from .losses import autoencoding_loss as autoencoding_loss
from .losses import matching_loss as matching_loss
from .memory import Answer as Answer
from .memory import Citation as Citation
from .memory import KnownAnswer as KnownAnswer
from .memory import QuestionMemory as QuestionMemory
from .model import Emat as Emat
from .weights import emat_from_official as emat_from_official
