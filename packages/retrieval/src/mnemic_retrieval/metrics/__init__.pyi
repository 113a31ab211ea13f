"""Metrics of retrieval and of answers, equal to those of the official scripts."""

from .multimodalqa import list_exact_match as list_exact_match
from .multimodalqa import list_f1 as list_f1
from .ranking import RankingScores as RankingScores
from .ranking import average_precision as average_precision
from .ranking import hit_at as hit_at
from .ranking import ndcg_at as ndcg_at
from .ranking import precision_at as precision_at
from .ranking import rank as rank
from .ranking import recall_at as recall_at
from .ranking import reciprocal_rank as reciprocal_rank
from .ranking import score_rankings as score_rankings
from .sets import SetScores as SetScores
from .sets import score_sets as score_sets
from .squad import exact_match as exact_match
from .squad import matches_with_numbers as matches_with_numbers
from .squad import normalize_answer as normalize_answer
from .squad import token_f1 as token_f1
from .webqa import WebQaScores as WebQaScores
from .webqa import score_webqa as score_webqa
