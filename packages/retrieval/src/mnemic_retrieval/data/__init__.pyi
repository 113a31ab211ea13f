"""Readers of the layouts of public data sets, and a generated one."""

from .corpus import CorpusFolder as CorpusFolder
from .corpus import write_corpus as write_corpus
from .generated import GeneratedShapes as GeneratedShapes
from .json_lines import read_json_lines as read_json_lines
from .multimodalqa import MultimodalQa as MultimodalQa
from .questions import read_questions as read_questions
from .records import Query as Query
from .records import QuestionSet as QuestionSet
from .records import Source as Source
from .stamps import StampFolder as StampFolder
from .webqa import WebQa as WebQa
