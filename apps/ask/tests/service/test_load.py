"""Many requests at once: batches, order, full queues and timeouts."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hashed_assistant import HeldAssistant, served

from mnemic_ask.service.errors import BusyError
from mnemic_ask.service.settings import ServerSettings
from mnemic_ask.service.worker import Worker
from mnemic_core.errors import UserError


class Log:
    """Calls that note what they are given; the first one waits for ``go``."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.go = threading.Event()

    def call(self, kind: str) -> Callable[[list[Any]], list[Any]]:
        def run(given: list[Any]) -> list[Any]:
            assert self.go.wait(20)
            self.calls.append((kind, given))
            if "wrong" in given:
                raise UserError("wrong")
            return [f"{kind} {each}" for each in given]

        return run


def run(jobs: list[tuple[str, Any, Any]], **limits: int) -> tuple[list[Any], list[tuple[str, list[Any]]]]:
    """Return the results of jobs that came while the thread was busy, and the calls that were made for them."""
    log = Log()
    worker = Worker({kind: log.call(kind) for kind in ("read", "other", "write")}, ("write",), **limits)

    async def all_of_them() -> list[Any]:
        first = asyncio.create_task(worker.do("other", "first"))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(worker.do(*job)) for job in jobs]
        await asyncio.sleep(0)
        log.go.set()
        await first
        return await asyncio.gather(*rest, return_exceptions=True)

    results = asyncio.run(all_of_them())
    worker.close()
    return results, log.calls[1:]


def test_requests_of_one_kind_and_group_are_done_together() -> None:
    jobs = [("read", 1, "a"), ("other", 2, "a"), ("read", 3, "b"), ("read", 4, "a"), ("read", 5, "a"), ("read", 6, "a")]
    results, calls = run(jobs, max_waiting=9, max_batch=3)
    assert results == ["read 1", "other 2", "read 3", "read 4", "read 5", "read 6"]
    assert calls == [("read", [1, 4, 5]), ("other", [2]), ("read", [3]), ("read", [6])]


def test_a_read_passes_no_write_and_writes_keep_their_order() -> None:
    jobs = [("read", 1, ""), ("write", 2, ""), ("read", 3, ""), ("write", 4, ""), ("write", 5, ""), ("read", 6, "")]
    assert [call for _, call in run(jobs, max_waiting=9, max_batch=9)[1]] == [[1], [2], [3], [4], [5], [6]]


def test_a_wrong_request_fails_alone() -> None:
    jobs = [("read", 1, ""), ("read", "wrong", ""), ("read", 3, "")]
    results, calls = run(jobs, max_waiting=9, max_batch=9)
    assert results[0::2] == ["read 1", "read 3"]
    assert isinstance(results[1], UserError)
    assert len(calls) == 4


def test_more_than_may_wait_are_refused() -> None:
    results, calls = run([("read", number, "") for number in range(5)], max_waiting=3, max_batch=9)
    assert [isinstance(each, BusyError) for each in results] == [False, False, False, True, True]
    assert calls == [("read", [0, 1, 2])]


def test_what_was_given_up_before_its_turn_is_not_done() -> None:
    log = Log()
    worker = Worker({"read": log.call("read")}, (), max_waiting=9, max_batch=1)

    async def give_up() -> str:
        tasks = [asyncio.create_task(worker.do("read", number)) for number in range(3)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        await asyncio.sleep(0)
        log.go.set()
        return str(await tasks[2])

    assert asyncio.run(give_up()) == "read 2"
    assert [given for _, given in log.calls] == [[0], [2]]
    worker.close()


def ask(client: TestClient, number: int, pool: ThreadPoolExecutor) -> list[Future[Any]]:
    return [pool.submit(client.post, "/ask", json={"question": f"question {each}"}) for each in range(number)]


def test_clients_share_batches_and_each_gets_its_own_answer(held: HeldAssistant, settings: ServerSettings) -> None:
    questions = [f"{number:03d}" for number in range(50)]
    with served(held, settings) as client:
        client.post("/upsert", json={"items": [{"id": each, "text": each} for each in questions]})
        with ThreadPoolExecutor(50) as pool:
            waiting = [pool.submit(client.post, "/ask", json={"question": each}) for each in questions]
            assert held.has_begun.wait(20)
            wait_for(lambda: client.get("/health").status_code == 200)
            time.sleep(0.5)  # until the others wait
            held.go.set()
            assert [each.result().json()["answer"] for each in waiting] == questions
    assert sum(held.batches) == 50
    assert max(held.batches) == settings.max_batch
    assert len(held.batches) <= 6


def test_a_full_server_tells_clients_to_come_again_and_stays_healthy(
    held: HeldAssistant, settings: ServerSettings
) -> None:
    with served(held, dataclasses.replace(settings, max_waiting=2)) as client, ThreadPoolExecutor(4) as pool:
        waiting = ask(client, 4, pool)
        wait_for(lambda: sum(each.done() for each in waiting) == 2)
        refused = [each.result() for each in waiting if each.done()]
        assert [each.status_code for each in refused] == [503, 503]
        assert refused[0].json() == {"error": "too many requests at once: try again later"}
        assert refused[0].headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        held.go.set()
        assert sorted(each.result().status_code for each in waiting) == [200, 200, 503, 503]


def test_a_request_is_given_up_after_its_time_and_the_server_goes_on(
    held: HeldAssistant, settings: ServerSettings
) -> None:
    with served(held, dataclasses.replace(settings, timeout=0.2)) as client:
        found = client.post("/ask", json={"question": "a"})
        assert (found.status_code, found.json()["error"].split(";")[0]) == (504, "there was no result within 0.2 s")
        found = client.get("/health")
        assert (found.status_code, found.json()["error"][:20]) == (503, "not ready: busy with")
        assert client.get("/stats").status_code == 504
        held.go.set()
        wait_for(lambda: client.get("/health").status_code == 200)
        assert client.post("/ask", json={"question": "a"}).status_code == 200


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["max_waiting", "max_batch"])
def test_limits_are_at_least_one(settings: ServerSettings, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be at least 1"):
        dataclasses.replace(settings, **{name: 0})
