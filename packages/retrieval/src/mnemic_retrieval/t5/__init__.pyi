"""T5, an encoder-decoder for text (arXiv 1910.10683), into which released weights load."""

from .choices import Choices as Choices
from .config import T5Config as T5Config
from .decoder import T5Decoder as T5Decoder
from .encoder import T5Encoder as T5Encoder
from .generation import generate_greedy as generate_greedy
from .model import T5 as T5
from .tokens import TokenLayer as TokenLayer
from .tokens import Tokens as Tokens
from .weights import load_t5 as load_t5
from .weights import t5_from_official as t5_from_official
