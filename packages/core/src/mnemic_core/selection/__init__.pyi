"""Selection of the tokens of a document to remember."""

from .uncertainty import normalized_entropy as normalized_entropy
from .uncertainty import select_certain_tokens as select_certain_tokens
from .uncertainty import select_positions as select_positions
