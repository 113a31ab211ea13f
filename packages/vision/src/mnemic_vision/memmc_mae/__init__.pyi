"""MemMC-MAE: anomalies in medical images, by a masked autoencoder with a memory (arXiv 2203.11725)."""

from .config import EncoderMemory as EncoderMemory
from .config import FeatureConfig as FeatureConfig
from .config import MemMcMaeConfig as MemMcMaeConfig
from .criterion import ReconstructionLoss as ReconstructionLoss
from .draws import DrawRule as DrawRule
from .draws import Draws as Draws
from .error_statistics import ErrorStatistics as ErrorStatistics
from .masks import random_visible as random_visible
from .masks import stratified_visible as stratified_visible
from .model import MemMcMae as MemMcMae
from .preparation import prepare as prepare
from .scoring import Scored as Scored
from .scoring import ScoreRule as ScoreRule
from .scoring import score_features as score_features
from .scoring import score_pixels as score_pixels
from .weights import load_vit as load_vit
