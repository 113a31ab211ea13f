"""Searchable collections of vectors and records, and the searches of attention."""

from .exact_index import ExactIndex as ExactIndex
from .key_value_memory import KeyValueMemory as KeyValueMemory
from .key_value_memory import RetrievedSlots as RetrievedSlots
from .records import Match as Match
from .records import Record as Record
from .records import RecordStore as RecordStore
from .search_backend import ExactSearch as ExactSearch
from .search_backend import FaissBackend as FaissBackend
from .search_backend import SearchBackend as SearchBackend
