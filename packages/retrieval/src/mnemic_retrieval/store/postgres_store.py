"""Items in PostgreSQL with pgvector: one memory for many machines."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_retrieval.libraries import optional_library
from mnemic_retrieval.store.filters import Filter
from mnemic_retrieval.store.items import FieldType, Item
from mnemic_retrieval.store.manifest import describe, restore
from mnemic_retrieval.store.rows import COLUMNS, TEXTS, column_of, from_row, to_row
from mnemic_retrieval.store.sql import to_sql
from mnemic_retrieval.store.store import MemoryStore, StoreSettings, is_plain_name

ENGINE = "postgres"
INDEXED_FROM = 50_000
"""Items from which `PostgresStore.optimize` makes an approximate index; below, a scan takes some milliseconds."""

EXACT_UP_TO = 20_000
"""Items that satisfy a filter up to which they are compared one by one: an index would miss most of them."""

_MANIFESTS = "mnemic_memories"
_TIMEOUT = 10  # seconds to connect
_MIN_SERVER = 170000
_TYPES: dict[FieldType, str] = {
    "str": 'text COLLATE "C"',  # ordered by code points, as in Python
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "tags": "text[]",
}

Result = TypeVar("Result")


class PostgresStore(MemoryStore):
    """A memory in a database of PostgreSQL 17 or newer with pgvector 0.8 or newer.

    Replicas, fail-over and access rights are those of the server: a URL may name several hosts
    (``postgresql://a,b/db?target_session_attrs=read-write``). Every call of `upsert` or `delete` is one transaction.
    `create` and `open` make one; the constructor is for them.

    Args:
        url: of the database.
        name: of the memory in it.
        connection: open connection.
        settings: what was fixed when it was created.
    """

    def __init__(self, url: str, name: str, connection: Any, settings: StoreSettings) -> None:
        self._url, self._name, self._connection, self.settings = url, name, connection, settings
        self._table = f"memory_{name}"

    @classmethod
    def create(cls, url: str, settings: StoreSettings, name: str = "main") -> "PostgresStore":
        """Make an empty memory.

        Args:
            url: of the database.
            settings: what is fixed from now on.
            name: small letters, digits and _.

        Raises:
            UserError: the database has a memory of that name, cannot be reached, or lacks pgvector.
        """
        _check_name(name)
        connection = _connect(url)
        columns = [
            'id text COLLATE "C" PRIMARY KEY',
            f"vector vector({settings.dim}) NOT NULL",
            "version bigint NOT NULL",
        ]
        columns += [f'{column} text COLLATE "C"' for column in (*TEXTS[1:], "metadata")]
        columns += [f"{column_of(field)} {_TYPES[kind]}" for field, kind in settings.fields.items()]
        manifest = json.dumps(describe(settings, ENGINE))
        with _translated(url), connection.transaction():
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_MANIFESTS} (name text PRIMARY KEY, manifest text NOT NULL)"
            )
            made = connection.execute(
                f"INSERT INTO {_MANIFESTS} VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, manifest)
            ).rowcount
            if not made:
                raise UserError(f"there is a memory {name!r} in {_shown(url)} already: open it, or choose another name")
            connection.execute(f"CREATE TABLE memory_{name} ({', '.join(columns)})")
        return cls(url, name, connection, settings)

    @classmethod
    def open(cls, url: str, name: str = "main", *, encoder: str | None = None) -> "PostgresStore":
        """Open a memory.

        Args:
            url: of the database.
            name: of the memory.
            encoder: what is going to make queries; None: not checked.

        Raises:
            FileNotFoundError: there is none of that name.
            UserError: the database cannot be reached, or the memory was made by another encoder.
        """
        _check_name(name)
        connection = _connect(url)
        with _translated(url):
            is_there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (_MANIFESTS,)).fetchone()
            row = None
            if is_there is not None and is_there[0]:
                row = connection.execute(f"SELECT manifest FROM {_MANIFESTS} WHERE name = %s", (name,)).fetchone()
        if row is None:
            raise FileNotFoundError(f"no memory {name!r} in {_shown(url)}")
        settings = restore(json.loads(row[0]), ENGINE, encoder, f"{name!r} in {_shown(url)}")
        return cls(url, name, connection, settings)

    def refresh(self) -> None:
        """Do nothing: every call sees what was committed before it."""

    def optimize(self) -> None:
        """Free the room of removed items, and from `INDEXED_FROM` items on keep an approximate index."""

        def run(connection: Any) -> None:
            connection.execute(f"VACUUM ANALYZE {self._table}")
            (number,) = connection.execute(f"SELECT count(*) FROM {self._table}").fetchone()
            if number >= INDEXED_FROM:
                index = f"CREATE INDEX IF NOT EXISTS {self._table}_vector ON {self._table}"
                connection.execute(f"{index} USING hnsw (vector vector_ip_ops)")

        self._write(run)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _upsert(self, items: list[Item]) -> None:
        rows = [to_row(item, 1, self.settings.fields) for item in items]
        names = list(rows[0])
        changes = [f"{name} = excluded.{name}" for name in names if name not in {"id", "version"}]
        statement = (
            f"INSERT INTO {self._table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT (id) DO UPDATE SET {', '.join(changes)}, version = {self._table}.version + 1"
        )

        def run(connection: Any) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(statement, [tuple(row.values()) for row in rows])

        self._write(run)

    def _delete(self, ids: list[str]) -> int:
        statement = f"DELETE FROM {self._table} WHERE id = ANY(%s)"
        return self._write(lambda connection: int(connection.execute(statement, (ids,)).rowcount))

    def _get(self, ids: list[str]) -> dict[str, Item]:
        statement = f"SELECT {', '.join(COLUMNS)} FROM {self._table} WHERE id = ANY(%s)"
        return {row["id"]: _item(row) for row in self._read(statement, (ids,))}

    def _search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None, *, exact: bool
    ) -> list[list[Item]]:
        condition = self._condition(where)
        if where is not None and not exact:
            few = f"SELECT count(*) AS number FROM (SELECT 1 FROM {self._table} WHERE {condition} LIMIT %s) AS few"
            exact = self._read(few, (EXACT_UP_TO + 1,))[0]["number"] <= EXACT_UP_TO

        def nearest(number: int) -> list[list[Item]]:
            # The planner cannot use an index on what is materialized first.
            source = f"{self._table} WHERE {condition}"
            start = f"WITH chosen AS MATERIALIZED (SELECT * FROM {source}) " if exact else ""
            source = "chosen" if exact else source
            statement = f"{start}SELECT {', '.join(COLUMNS)} FROM {source} ORDER BY vector <#> %s LIMIT %s"
            return [
                [_item(row) for row in self._read(statement, (query, number), wanted=number)]
                for query in queries.numpy()
            ]

        return self._with_ties(nearest, queries, k)

    def _count(self, where: Filter | None) -> int:
        statement = f"SELECT count(*) AS number FROM {self._table} WHERE {self._condition(where)}"
        return int(self._read(statement, ())[0]["number"])

    def _condition(self, where: Filter | None) -> str:
        condition = "TRUE" if where is None else to_sql(where, "{tag} = ANY({column})")
        return condition.replace("%", "%%")  # which psycopg reads as a place for a value

    def _read(self, statement: str, values: Sequence[Any], wanted: int = 0) -> list[dict[str, Any]]:
        """Return the rows of a query, for which the connection is opened anew where it was lost."""
        by_name = optional_library("psycopg.rows", "postgres").dict_row

        def run(connection: Any) -> list[dict[str, Any]]:
            with connection.transaction(), connection.cursor(row_factory=by_name) as cursor:
                if wanted:
                    # The index gives no more than this; it goes on where a filter leaves too few.
                    cursor.execute(f"SET LOCAL hnsw.ef_search = {min(max(wanted, 100), 1000)}")
                    cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
                rows: list[dict[str, Any]] = cursor.execute(statement, values).fetchall()
                return rows

        try:
            return run(self._connection)
        except _psycopg().OperationalError:
            self._connection = _connect(self._url)
            with _translated(self._url):
                return run(self._connection)
        except _psycopg().Error as error:
            raise UserError(f"{_shown(self._url)}: {_line(error)}") from error

    def _write(self, run: Callable[[Any], Result]) -> Result:
        """Return the result of a change, which is not tried twice: the first may have been committed."""
        if self._connection.closed:
            self._connection = _connect(self._url)
        with _translated(self._url, "; whether the change was saved is not known"):
            return run(self._connection)


def _psycopg() -> Any:
    return optional_library("psycopg", "postgres")


def _connect(url: str) -> Any:
    with _translated(url):
        connection = _psycopg().connect(url, autocommit=True, connect_timeout=_TIMEOUT)
        if connection.info.server_version < _MIN_SERVER:
            raise UserError(
                f"{_shown(url)} is PostgreSQL {connection.info.server_version // 10000}, 17 or newer is needed"
            )
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        optional_library("pgvector.psycopg", "postgres").register_vector(connection)
    return connection


@contextmanager
def _translated(url: str, note: str = "") -> Iterator[None]:
    """Turn errors of the database into a line that names it without its password."""
    try:
        yield
    except _psycopg().Error as error:
        lost = note if isinstance(error, _psycopg().OperationalError) else ""
        raise UserError(f"{_shown(url)}: {_line(error)}{lost}") from error


def _shown(url: str) -> str:
    try:
        given = _psycopg().conninfo.conninfo_to_dict(url)
    except _psycopg().Error:
        return "the database"
    return f"database {given.get('dbname', '')!r} at {given.get('host', 'this machine')}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_name(name: str) -> None:
    if not is_plain_name(name):
        raise UserError(f"a memory cannot be called {name!r}: small letters, digits and _, at most 40")


def _item(row: dict[str, Any]) -> Item:
    return from_row(row | {"vector": row["vector"].to_numpy()})
