"""Evaluation of anomaly detection: metrics of images and pixels with confidence intervals."""

from .evaluation import AnomalyScores as AnomalyScores
from .evaluation import anomaly_differences as anomaly_differences
from .evaluation import evaluate_anomalies as evaluate_anomalies
from .pixel_counts import PixelCounts as PixelCounts
from .pixel_counts import mean_error_ratio as mean_error_ratio
from .scored_images import ScoredImages as ScoredImages
from .scores import ImageScores as ImageScores
from .scores import PixelScores as PixelScores
