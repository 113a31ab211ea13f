"""Causal features of video frames from image and video networks."""

from .extractor import ExtractorConfig as ExtractorConfig
from .extractor import FeatureExtractor as FeatureExtractor
from .extractor import extract_video as extract_video
