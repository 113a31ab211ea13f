"""Searchable collections outside the computation, and the searches that attention uses inside it."""

from mnemic_core.stores.exact_index import ExactIndex
from mnemic_core.stores.records import Match, Record, RecordStore
from mnemic_core.stores.search_backend import ExactSearch, FaissBackend, SearchBackend

__all__ = ["ExactIndex", "ExactSearch", "FaissBackend", "Match", "Record", "RecordStore", "SearchBackend"]
