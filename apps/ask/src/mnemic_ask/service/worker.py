"""One thread that does the work of all requests, several at a time."""

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from mnemic_ask.service.errors import BusyError, is_unreachable

Call: TypeAlias = Callable[[list[Any]], list[Any]]
"""Takes what was given with each request of a batch, and returns a result for each."""


@dataclass(frozen=True, eq=False)
class Job:
    """A request that waits.

    Attributes:
        kind: which call does it.
        group: only requests of one group can be done together.
        given: what the call is given.
        result: of the call, or its error.
    """

    kind: str
    group: Hashable
    given: Any
    result: asyncio.Future[Any]


class Worker:
    """Does the work of requests in one thread, in the order they came.

    Reads of one kind and group that wait are done together, also before other reads that came earlier. A write is done
    alone, after all that came before it and before all that came after it. All methods are for one event loop.

    Args:
        calls: what does the work, by kind.
        writes: the kinds that change something.
        max_waiting: requests that may wait.
        max_batch: requests that are done together at most.
    """

    def __init__(self, calls: Mapping[str, Call], writes: Collection[str], max_waiting: int, max_batch: int) -> None:
        self._calls, self._writes = calls, writes
        self._max_waiting, self._max_batch = max_waiting, max_batch
        self._waiting: list[Job] = []
        self._thread = ThreadPoolExecutor(1, "worker")
        self._task: asyncio.Task[None] | None = None
        self._begun: float | None = None

    async def do(self, kind: str, given: Any, group: Hashable = None) -> Any:
        """Return the result of a call.

        What was cancelled before its turn is not done; what is being done is finished all the same.

        Raises:
            BusyError: too many wait already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise BusyError
        job = Job(kind, group, given, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            return await job.result
        except asyncio.CancelledError:
            self._waiting = [other for other in self._waiting if other is not job]
            raise

    @property
    def busy_seconds(self) -> float:
        """How long the thread has been at what it does."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def close(self) -> None:
        """Wait for what is being done, and end the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def _work(self) -> None:
        while batch := self._take():
            await self._answer(batch)

    def _take(self) -> list[Job]:
        """Return the requests that are next, and no longer let them wait."""
        batch = self._waiting[:1]
        if batch and batch[0].kind not in self._writes:
            reads = takewhile(lambda job: job.kind not in self._writes, self._waiting)
            alike = [job for job in reads if (job.kind, job.group) == (batch[0].kind, batch[0].group)]
            batch = alike[: self._max_batch]
        self._waiting = [job for job in self._waiting if job not in batch]
        return batch

    async def _answer(self, batch: list[Job]) -> None:
        found = await self._call(batch)
        if isinstance(found, BaseException) and len(batch) > 1 and not is_unreachable(found):
            for job in batch:  # one of them is wrong, which is no fault of the others
                await self._answer([job])
            return
        for number, job in enumerate(batch):
            if job.result.done():  # given up meanwhile
                continue
            if isinstance(found, BaseException):
                job.result.set_exception(found)
            else:
                job.result.set_result(found[number])

    async def _call(self, batch: list[Job]) -> list[Any] | BaseException:
        """Return the results of a batch, or the error that there was instead."""
        self._begun = time.monotonic()
        call, given = self._calls[batch[0].kind], [job.given for job in batch]
        work = asyncio.get_running_loop().run_in_executor(self._thread, call, given)
        (found,) = await asyncio.gather(work, return_exceptions=True)
        self._begun = None
        return found
