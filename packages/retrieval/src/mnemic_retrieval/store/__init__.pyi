"""Stores of memory items: one interface over an index in memory, LanceDB on disk and PostgreSQL."""

from .exact_store import ExactStore as ExactStore
from .filters import And as And
from .filters import Between as Between
from .filters import Eq as Eq
from .filters import Filter as Filter
from .filters import HasTag as HasTag
from .filters import In as In
from .filters import IsNull as IsNull
from .filters import Not as Not
from .filters import Or as Or
from .filters import matches as matches
from .filters import parse_filter as parse_filter
from .items import FieldType as FieldType
from .items import Hit as Hit
from .items import Item as Item
from .items import Modality as Modality
from .items import modality_of as modality_of
from .lance_store import LanceStore as LanceStore
from .postgres_store import PostgresStore as PostgresStore
from .store import MemoryStore as MemoryStore
from .store import StoreSettings as StoreSettings
