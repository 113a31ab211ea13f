"""The server as a process: how it starts and ends, and what is sent over real connections."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mnemic_ask.commands import serve
from mnemic_ask.service.server import announce, is_loopback, listen, run_server
from mnemic_ask.service.settings import ServerSettings
from mnemic_core.errors import UserError

TESTS = Path(__file__).parents[4] / "tests"
PROGRAM = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell would ignore it
sys.path.insert(0, sys.argv[1])
from hashed_assistant import HashedAssistant
from mnemic_ask.service.server import run_server
from mnemic_ask.service.settings import ServerSettings

class Slow(HashedAssistant):
    def ask(self, questions, where=None):
        time.sleep(float(questions[0].text))
        return super().ask(questions, where)

assistant, settings = Slow(), ServerSettings(Path("pictures"), port=0, max_bytes=100_000, timeout=2)
assistant.store.close = lambda: print("closed", flush=True)
try:
    run_server(assistant, settings)
except KeyboardInterrupt:
    print("interrupted", flush=True)
run_server(assistant, settings)
"""


@contextmanager
def process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that serves until Ctrl-C, and then until SIGTERM."""
    command = [sys.executable, "-c", PROGRAM, str(TESTS)]
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def read_port(running: subprocess.Popen[str]) -> int:
    """Return the port that a process serves, once it does."""
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line.startswith("serving http://127.0.0.1:"), line + running.communicate()[1]
    return int(line.split(":")[2].split(",")[0])


def post(connection: HTTPConnection, path: str, content: Mapping[str, Any]) -> None:
    connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})


def send(port: int, *parts: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    for part in parts:
        connection.sendall(part)
    return connection


def read(connection: socket.socket) -> bytes:
    """Return what a server answers before it closes the connection."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    connection.close()
    return found


def check_raw_requests(port: int) -> None:
    """Check what no client of good manners sends."""
    head = b"POST /ask HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    late = send(port, head + b"Content-Length: 9\r\n\r\n{")
    endless = read(send(port, head + b"Transfer-Encoding: chunked\r\n\r\n", *[b"4000\r\n%b\r\n" % (b" " * 0x4000)] * 7))
    assert endless.startswith(b"HTTP/1.1 413 ")
    assert endless.endswith(b'{"error": "a request may have 100000 bytes at most"}')
    assert read(send(port, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    found = read(late)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert found.endswith(b'{"error": "the request did not arrive within 2 s"}')


def test_signals_let_running_requests_finish_and_sigterm_ends_with_code_0(tmp_path: Path) -> None:
    with process(tmp_path) as running:
        check_raw_requests(read_port(running))
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(2)] == ["closed\n", "interrupted\n"]
        port = read_port(running)
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as client, closing(send(port)):  # which is idle
            post(client, "/upsert", {"items": [{"id": "a", "text": "answered"}]})
            assert client.getresponse().read() == b'{"upserted": 1}'
            post(client, "/ask", {"question": "1.2"})
            time.sleep(0.5)
            running.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(ConnectionRefusedError):
                send(port)
            assert json.loads(client.getresponse().read())["answer"] == "answered"
        output, errors = running.communicate(timeout=20)
    assert (running.returncode, output) == (0, "closed\nstopped after 2 requests\n")
    assert "Traceback" not in errors


def test_an_address_that_is_taken_is_a_mistake(tmp_path: Path) -> None:
    from hashed_assistant import HashedAssistant

    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host, port in (("127.0.0.1", taken.getsockname()[1]), ("256.0.0.1", 0), ("a..b", 0)):
            with pytest.raises(UserError, match=f"cannot listen on {host}, port {port}"):
                run_server(HashedAssistant(), ServerSettings(tmp_path, host, port))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("server", False)],
)
def test_other_hosts_than_this_machine_are_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_host_for_others_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    for host, token, expected in (
        ("127.0.0.1", None, ""),
        ("0.0.0.0", None, "warning: 0.0.0.0 is open to other machines without authentication: whoever reaches it can "),
        ("::", "secret", "warning: :: is open to other machines without encryption: the token can be read"),
    ):
        with listen(ServerSettings(Path(), host, 0, token=token)) as listener:
            announce(ServerSettings(Path(), host, 0, token=token), listener)
            shown = capsys.readouterr()
            assert shown.err[: len(expected) or None].strip() == expected.strip()
            shown_host = f"[{host}]" if ":" in host else host
            assert shown.out == f"serving http://{shown_host}:{listener.getsockname()[1]}, Ctrl-C ends\n"


def test_pictures_lie_beside_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve.find_folder("runs/memory/", None) == tmp_path / "runs" / "memory-pictures"
    assert serve.find_folder("memory", Path("p")) == serve.find_folder("postgresql://host/db", Path("p")) == Path("p")
    with pytest.raises(UserError, match="give --pictures"):
        serve.find_folder("postgresql://host/db", None)


def test_missing_libraries_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fastapi", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"serve needs fastapi and uvicorn; .* pip install 'mnemic-ask\[serve\]'"):
        serve.serve("memory")
