"""Items in PostgreSQL with pgvector: one memory for many machines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_retrieval.store.filters import Filter
from mnemic_retrieval.store.items import FieldType, Item
from mnemic_retrieval.store.manifest import describe, restore
from mnemic_retrieval.store.postgres_database import Database
from mnemic_retrieval.store.rows import COLUMNS, TEXTS, column_of, from_row, to_row
from mnemic_retrieval.store.sql import to_sql
from mnemic_retrieval.store.store import MemoryStore, StoreSettings, is_plain_name

ENGINE = "postgres"
INDEXED_FROM = 50_000
"""Items from which `PostgresStore.optimize` makes an approximate index; below, a scan takes some milliseconds."""

EXACT_UP_TO = 20_000
"""Items that satisfy a filter up to which they are compared one by one: an index would miss most of them."""

_MANIFESTS = "mnemic_memories"
_TYPES: dict[FieldType, str] = {
    "str": 'text COLLATE "C"',  # ordered by code points, as in Python
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "tags": "text[]",
}


class PostgresStore(MemoryStore):
    """A memory in a database of PostgreSQL 17 or newer with pgvector 0.8 or newer.

    Replicas, fail-over, time limits and access rights are those of server and URL, which may name several hosts:
    ``postgresql://a,b/db?target_session_attrs=read-write`` writes to the primary among them, and
    ``?target_session_attrs=prefer-standby&load_balance_hosts=random`` reads from a replica. Every call of `upsert` or
    `delete` is one transaction. `create` and `open` make one; the constructor is for them.

    Args:
        database: with the memory.
        name: of the memory in it.
        settings: what was fixed when it was created.
    """

    def __init__(self, database: Database, name: str, settings: StoreSettings) -> None:
        self._database, self._table, self.settings = database, f"memory_{name}", settings

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
        columns = [
            'id text COLLATE "C" PRIMARY KEY',
            f"vector vector({settings.dim}) NOT NULL",
            "version bigint NOT NULL",
        ]
        columns += [f'{column} text COLLATE "C"' for column in (*TEXTS[1:], "metadata")]
        columns += [f"{column_of(field)} {_TYPES[kind]}" for field, kind in settings.fields.items()]

        def work(connection: Any) -> bool:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_MANIFESTS} (name text PRIMARY KEY, manifest text NOT NULL)"
            )
            values = (name, json.dumps(describe(settings, ENGINE)))
            made = connection.execute(f"INSERT INTO {_MANIFESTS} VALUES (%s, %s) ON CONFLICT DO NOTHING", values)
            if made.rowcount:
                connection.execute(f"CREATE TABLE memory_{name} ({', '.join(columns)})")
            return bool(made.rowcount)

        with _closing_on_failure(Database(url)) as database:
            if not database.change(work):
                raise UserError(f"there is a memory {name!r} in {database} already: open it, or choose another name")
            database.learn_vectors()
        return cls(database, name, settings)

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
        with _closing_on_failure(Database(url)) as database:
            rows = database.read("SELECT to_regclass(%s) IS NOT NULL AS found", (_MANIFESTS,))
            if rows[0]["found"]:
                rows = database.read(f"SELECT manifest FROM {_MANIFESTS} WHERE name = %s", (name,))
            if not rows or "manifest" not in rows[0]:
                raise FileNotFoundError(f"no memory {name!r} in {database}")
            settings = restore(json.loads(rows[0]["manifest"]), ENGINE, encoder, f"{name!r} in {database}")
            database.learn_vectors()
        return cls(database, name, settings)

    def refresh(self) -> None:
        """Do nothing: every call sees what was committed before it, or has arrived at the replica it reads from."""

    def optimize(self) -> None:
        """Free the room of removed items, and from `INDEXED_FROM` items on keep an approximate index."""
        self._database.maintain(f"VACUUM ANALYZE {self._table}")
        if self._count(None) >= INDEXED_FROM:
            index = f"CREATE INDEX IF NOT EXISTS {self._table}_vector ON {self._table}"
            self._database.maintain(f"{index} USING hnsw (vector vector_ip_ops)")

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _upsert(self, items: list[Item]) -> None:
        # In one order for all writers, who would else wait for each other.
        rows = [to_row(item, 1, self.settings.fields) for item in sorted(items, key=lambda item: item.id)]
        names = list(rows[0])
        changes = [f"{name} = excluded.{name}" for name in names if name not in {"id", "version"}]
        statement = (
            f"INSERT INTO {self._table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT (id) DO UPDATE SET {', '.join(changes)}, version = {self._table}.version + 1"
        )

        def work(connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(statement, [tuple(row.values()) for row in rows])

        self._database.change(work)

    def _delete(self, ids: list[str]) -> int:
        statement = f"DELETE FROM {self._table} WHERE id = ANY(%s)"
        return self._database.change(lambda connection: int(connection.execute(statement, (ids,)).rowcount))

    def _get(self, ids: list[str]) -> dict[str, Item]:
        statement = f"SELECT {', '.join(COLUMNS)} FROM {self._table} WHERE id = ANY(%s)"
        return {row["id"]: _item(row) for row in self._database.read(statement, (ids,))}

    def _search(
        self, queries: Float[Tensor, "query dim"], k: int, where: Filter | None, *, exact: bool
    ) -> list[list[Item]]:
        condition = self._condition(where)
        if where is not None and not exact:
            few = f"SELECT count(*) AS number FROM (SELECT 1 FROM {self._table} WHERE {condition} LIMIT %s) AS few"
            exact = self._database.read(few, (EXACT_UP_TO + 1,))[0]["number"] <= EXACT_UP_TO

        def nearest(number: int) -> list[list[Item]]:
            # The planner cannot use an index on what is materialized first.
            source = f"{self._table} WHERE {condition}"
            start = f"WITH chosen AS MATERIALIZED (SELECT * FROM {source}) " if exact else ""
            source = "chosen" if exact else source
            statement = f"{start}SELECT {', '.join(COLUMNS)} FROM {source} ORDER BY vector <#> %s LIMIT %s"
            # The index gives no more than this; it goes on where a filter leaves too few.
            wanted = f"hnsw.ef_search = {min(max(number, 100), 1000)}"
            settings = (wanted, "hnsw.iterative_scan = relaxed_order")
            return [
                [_item(row) for row in self._database.read(statement, (query, number), settings)]
                for query in queries.numpy()
            ]

        return self._with_ties(nearest, queries, k)

    def _count(self, where: Filter | None) -> int:
        statement = f"SELECT count(*) AS number FROM {self._table} WHERE {self._condition(where)}"
        return int(self._database.read(statement, ())[0]["number"])

    def _condition(self, where: Filter | None) -> str:
        condition = "TRUE" if where is None else to_sql(where, "{tag} = ANY({column})")
        return condition.replace("%", "%%")  # which psycopg reads as a place for a value


@contextmanager
def _closing_on_failure(database: Database) -> Iterator[Database]:
    try:
        yield database
    except BaseException:
        database.close()
        raise


def _check_name(name: str) -> None:
    if not is_plain_name(name):
        raise UserError(f"a memory cannot be called {name!r}: small letters, digits and _, at most 40")


def _item(row: dict[str, Any]) -> Item:
    return from_row(row | {"vector": row["vector"].to_numpy()})
