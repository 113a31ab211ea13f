"""MuRAG: answers from a memory of pictures and texts (arXiv 2210.02928)."""

from .config import MuragConfig as MuragConfig
from .config import TowerConfig as TowerConfig
from .config import murag_base as murag_base
from .config import murag_tiny as murag_tiny
from .encoder import Encoded as Encoded
from .encoder import JointEncoder as JointEncoder
from .losses import contrastive_loss as contrastive_loss
from .towers import VisionTower as VisionTower
