"""Searchable collections of vectors and records, and the searches of attention."""

from .exact_index import ExactIndex
from .records import Match, Record, RecordStore
from .search_backend import ExactSearch, FaissBackend, SearchBackend

__all__ = ["ExactIndex", "ExactSearch", "FaissBackend", "Match", "Record", "RecordStore", "SearchBackend"]
