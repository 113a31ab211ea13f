"""Causal features of video frames from image and video networks."""

from .config import ExtractorConfig as ExtractorConfig
from .extractor import FeatureExtractor as FeatureExtractor
from .extractor import extract_video as extract_video
