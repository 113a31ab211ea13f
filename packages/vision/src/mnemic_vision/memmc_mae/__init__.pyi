"""MemMC-MAE: anomalies in medical images, by a masked autoencoder with a memory (arXiv 2203.11725)."""

from .calibration import Calibration as Calibration
from .calibration import ScoreScale as ScoreScale
from .config import EncoderMemory as EncoderMemory
from .config import FeatureConfig as FeatureConfig
from .config import MemMcMaeConfig as MemMcMaeConfig
from .criterion import ReconstructionLoss as ReconstructionLoss
from .draws import DrawRule as DrawRule
from .draws import Draws as Draws
from .error_statistics import ErrorStatistics as ErrorStatistics
from .masks import random_visible as random_visible
from .masks import stratified_visible as stratified_visible
from .metrics import AnomalyScores as AnomalyScores
from .metrics import PixelCounts as PixelCounts
from .metrics import ScoredImages as ScoredImages
from .metrics import anomaly_differences as anomaly_differences
from .metrics import evaluate_anomalies as evaluate_anomalies
from .model import MemMcMae as MemMcMae
from .preparation import prepare as prepare
from .scoring import Scored as Scored
from .scoring import ScoreRule as ScoreRule
from .scoring import score_features as score_features
from .scoring import score_pixels as score_pixels
from .threshold_fit import QuantileRule as QuantileRule
from .threshold_fit import fit_calibration as fit_calibration
from .weights import load_vit as load_vit
