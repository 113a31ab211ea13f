"""Items on disk in a table of LanceDB, read by several processes while one writes."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import isqrt
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_retrieval.batches import batches
from mnemic_retrieval.libraries import optional_library
from mnemic_retrieval.store.filters import Filter
from mnemic_retrieval.store.items import FieldType, Item
from mnemic_retrieval.store.manifest import MANIFEST, read_manifest, write_manifest
from mnemic_retrieval.store.rows import COLUMNS, TEXTS, column_of, from_row, to_row
from mnemic_retrieval.store.sql import quoted, to_sql
from mnemic_retrieval.store.store import MemoryStore, StoreSettings

ENGINE = "lance"
INDEXED_FROM = 50_000
"""Items from which `LanceStore.optimize` makes an approximate index; below, a scan is as fast."""

EXACT_UP_TO = 1000
"""Items that satisfy a filter up to which they are read and compared one by one: an index would miss some of them."""

_TABLE = "items"
_IDS_AT_A_TIME = 1000
_INDEX_CACHE, _METADATA_CACHE = 2**28, 2**24  # bytes
_PROBES = 20  # partitions that are searched at least; LanceDB goes on while others may have better items
_KEPT = timedelta(hours=1)  # versions of the table that other processes may be reading


class LanceStore(MemoryStore):
    """A memory in a folder, for one machine.

    Every call of `upsert` or `delete` is one commit: after a crash all of it is there or nothing. `create` and `open`
    make one; the constructor is for them.

    Args:
        table: of LanceDB.
        settings: what was fixed when it was created.
    """

    def __init__(self, table: Any, settings: StoreSettings) -> None:
        self._table, self.settings = table, settings

    @classmethod
    def create(cls, folder: str | Path, settings: StoreSettings) -> "LanceStore":
        """Make an empty memory.

        Raises:
            UserError: there is a memory in the folder already.
        """
        folder = Path(folder)
        if (folder / MANIFEST).exists():
            raise UserError(f"there is a memory at {folder} already: open it, or choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        database = _connect(folder)
        database.drop_table(_TABLE, ignore_missing=True)  # without a manifest it is what a killed process left
        table = database.create_table(_TABLE, schema=_schema(settings))
        write_manifest(folder, settings, ENGINE)
        return cls(table, settings)

    @classmethod
    def open(cls, folder: str | Path, *, encoder: str | None = None) -> "LanceStore":
        """Open a memory.

        Args:
            folder: of the memory.
            encoder: what is going to make queries; None: not checked.

        Raises:
            FileNotFoundError: there is none.
            UserError: it is damaged, or was made by another encoder.
        """
        settings = read_manifest(Path(folder), ENGINE, encoder)
        try:
            table = _connect(folder).open_table(_TABLE)
            fits = table.schema.equals(_schema(settings))
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(f"the memory at {folder} is damaged ({error}): build it anew") from error
        if not fits:
            raise UserError(f"the memory at {folder} has a table of other columns than its {MANIFEST}: build it anew")
        return cls(table, settings)

    def refresh(self) -> None:
        """See what other processes have written."""
        self._table.checkout_latest()

    def optimize(self) -> None:
        """Merge small files, drop old versions, and from `INDEXED_FROM` items on keep an approximate index."""
        self._table.optimize(cleanup_older_than=_KEPT)
        number = self._table.count_rows()
        if number >= INDEXED_FROM and not self._table.list_indices():
            # Without a number there are so few partitions that a search reads most of the vectors.
            kinds = optional_library("lancedb.index", "lance")
            self._table.create_index("vector", config=kinds.IvfFlat("dot", num_partitions=isqrt(number)))

    def close(self) -> None:
        """Forget the table; files are only open while they are read."""
        self._table = None

    def _upsert(self, items: list[Item]) -> None:
        known = {row["id"]: row["version"] for row in self._rows([item.id for item in items], ["id", "version"])}
        rows = [to_row(item, known.get(item.id, 0) + 1, self.settings.fields) for item in items]
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(optional_library("pyarrow", "lance").Table.from_pylist(rows, _schema(self.settings)))

    def _delete(self, ids: list[str]) -> int:
        number: int = self._table.delete(_condition(ids)).num_deleted_rows  # in one commit, however many
        return number

    def _get(self, ids: list[str]) -> dict[str, Item]:
        return {row["id"]: from_row(row) for row in self._rows(ids, [*COLUMNS])}

    def _search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None, *, exact: bool
    ) -> list[list[Item]]:
        condition = self._condition(where)
        if condition is not None and not exact and self._count(where) <= EXACT_UP_TO:
            chosen = self._table.search().where(condition).select([*COLUMNS]).limit(EXACT_UP_TO).to_list()
            return [[from_row(row) for row in chosen]] * len(queries)
        return self._with_ties(lambda number: self._nearest(queries, number, condition, exact=exact), queries, k)

    def _nearest(
        self, queries: Float[Tensor, "query dim"], number: int, condition: str | None, *, exact: bool
    ) -> list[list[Item]]:
        request = self._table.search(queries.numpy(), vector_column_name="vector").distance_type("dot").limit(number)
        request = request.select([*COLUMNS, "_distance"])  # LanceDB warns where the last is not named
        request = request.bypass_vector_index() if exact else request.minimum_nprobes(_PROBES).maximum_nprobes(0)
        if condition is not None:
            request = request.where(condition, prefilter=True)
        found: list[list[Item]] = [[] for _ in queries]
        for row in request.to_list():
            found[row.get("query_index", 0)].append(from_row(row))
        return found

    def _count(self, where: Filter | None) -> int:
        number: int = self._table.count_rows(self._condition(where))
        return number

    def _condition(self, where: Filter | None) -> str | None:
        return None if where is None else to_sql(where, "array_has({column}, {tag})")

    def _rows(self, ids: list[str], columns: list[str]) -> Iterator[dict[str, Any]]:
        for part in batches(ids, _IDS_AT_A_TIME):
            request = self._table.search().where(_condition(part)).select(columns).limit(_IDS_AT_A_TIME)
            yield from request.to_list()


def _connect(folder: str | Path) -> Any:
    library = optional_library("lancedb", "lance")
    # By default caches of gigabytes fill up with old versions: a process that writes would grow without end.
    session = library.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)
    return library.connect(folder, session=session)


def _schema(settings: StoreSettings) -> Any:
    arrow = optional_library("pyarrow", "lance")
    types: dict[FieldType, Any] = {
        "str": arrow.string(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "bool": arrow.bool_(),
        "tags": arrow.list_(arrow.string()),
    }
    columns = [arrow.field(name, arrow.string()) for name in (*TEXTS, "metadata")]
    columns += [
        arrow.field("version", arrow.int64()),
        arrow.field("vector", arrow.list_(arrow.float32(), settings.dim)),
    ]
    columns += [arrow.field(column_of(name), types[kind]) for name, kind in settings.fields.items()]
    return arrow.schema(columns)


def _condition(ids: Sequence[str]) -> str:
    return f"id IN ({', '.join(map(quoted, ids))})"
