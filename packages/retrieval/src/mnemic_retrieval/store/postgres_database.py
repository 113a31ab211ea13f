"""A connection to PostgreSQL that is opened again where it was lost, and says in one line what went wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from mnemic_core.errors import UserError
from mnemic_retrieval.libraries import optional_library

Result = TypeVar("Result")
Work = Callable[[Any], Result]

_MIN_SERVER = 170000
# Seconds (the last one milliseconds) until a server that is silent counts as gone, unless the URL has others.
_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Database:
    """A database of PostgreSQL 17 or newer, for threads that take turns.

    Args:
        url: of the database; of several hosts the first that fits is taken, also when the connection was lost.

    Raises:
        UserError: it cannot be reached, or is too old. All errors of the server are this one, without the password.
    """

    def __init__(self, url: str) -> None:
        self._url, self._turn = url, RLock()
        self._is_sent = False
        self._connection = self._connected()

    def read(self, statement: str, values: Sequence[Any], settings: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query; it is asked once more where the connection was lost.

        Args:
            statement: the query.
            values: for its places.
            settings: assignments that hold for it alone.
        """
        by_name = optional_library("psycopg.rows", "postgres").dict_row

        def work(connection: Any) -> list[dict[str, Any]]:
            for setting in settings:
                connection.execute(f"SET LOCAL {setting}")
            with connection.cursor(row_factory=by_name) as cursor:
                rows: list[dict[str, Any]] = cursor.execute(statement, values).fetchall()
                return rows

        return self._run(work, changes=False)

    def change(self, work: Work[Result]) -> Result:
        """Return the result of a change in one transaction.

        It is tried once more where it failed before the end of the transaction was sent, so that nothing can have been
        saved. Where the connection is lost after that, the error says that the outcome is not known.
        """
        return self._run(work, changes=True)

    def maintain(self, *statements: str) -> None:
        """Run statements that are no transactions, without the limit of time that the URL may set for others."""
        with self._turn, self._translated():
            connection = self._opened()
            connection.execute("SET statement_timeout = 0")
            for statement in statements:
                connection.execute(statement)
            connection.execute("RESET statement_timeout")

    def learn_vectors(self) -> None:
        """Exchange values of pgvector as such, once the extension is there."""
        with self._translated():
            optional_library("pgvector.psycopg", "postgres").register_vector(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __str__(self) -> str:
        """Return name and hosts of the database."""
        return _shown(self._url)

    def _run(self, work: Work[Result], *, changes: bool) -> Result:
        with self._turn, self._translated():
            try:
                return self._attempt(work, changes=changes)
            except _psycopg().OperationalError as error:
                if self._is_sent or isinstance(error, _psycopg().errors.QueryCanceled):
                    raise
            return self._attempt(work, changes=changes)

    def _attempt(self, work: Work[Result], *, changes: bool) -> Result:
        self._is_sent = False
        with self._opened().transaction():
            result = work(self._connection)
            self._is_sent = changes  # the end of the transaction is sent next
        self._is_sent = False
        return result

    def _opened(self) -> Any:
        if self._connection.closed:
            self._connection = self._connected()
            self.learn_vectors()
        return self._connection

    def _connected(self) -> Any:
        with self._translated():
            given = _psycopg().conninfo.conninfo_to_dict(self._url)
            connection = _psycopg().connect(self._url, autocommit=True, **(_TIMEOUTS | given))
        version = connection.info.server_version
        if version < _MIN_SERVER:
            connection.close()
            raise UserError(f"{self} is PostgreSQL {version // 10000}, 17 or newer is needed")
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the database into a line with the way out."""
        try:
            yield
        except _psycopg().Error as error:
            line = " ".join(str(error).split())
            if self._is_sent and self._connection.closed:
                line += "; whether the change was saved is not known"
            if isinstance(error, _psycopg().errors.ReadOnlySqlTransaction):
                line += ": write to the primary, as a URL with target_session_attrs=read-write does"
            raise UserError(f"{self}: {line}") from error
        finally:
            self._is_sent = False


def _psycopg() -> Any:
    return optional_library("psycopg", "postgres")


def _shown(url: str) -> str:
    try:
        given = _psycopg().conninfo.conninfo_to_dict(url)
    except _psycopg().Error:
        return "the database"
    return f"database {given.get('dbname', '')!r} at {given.get('host', 'this machine')}"
