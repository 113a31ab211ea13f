"""The endpoints."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mnemic_ask.service.counts import Counts
from mnemic_ask.service.errors import install_handlers
from mnemic_ask.service.guard import Guard
from mnemic_ask.service.interface import Answering
from mnemic_ask.service.pictures import PictureFolder, read_known
from mnemic_ask.service.replies import refusal, reply
from mnemic_ask.service.requests import AskRequest, DeleteRequest, Digest, SearchRequest, UpsertRequest
from mnemic_ask.service.settings import ServerSettings
from mnemic_ask.service.work import WRITES, Work
from mnemic_ask.service.worker import Worker

if TYPE_CHECKING:
    import fastapi
    import starlette.responses


class Service:
    """The endpoints of a memory.

    Args:
        assistant: the network and its memory.
        settings: limits, and the folder of pictures.
    """

    def __init__(self, assistant: Answering, settings: ServerSettings) -> None:
        self._store, self._settings = assistant.store.settings, settings
        self._pictures = PictureFolder(settings.pictures)
        calls = Work(assistant, self._pictures).calls()
        self.worker = Worker(calls, WRITES, settings.max_waiting, settings.max_batch)
        self.counts = Counts()

    def make_app(self) -> "fastapi.FastAPI":
        """Return the application."""
        from fastapi import FastAPI

        # Its pages of documentation would load scripts from elsewhere; /openapi.json describes the endpoints.
        app = FastAPI(title="mnemic-ask", docs_url=None, redoc_url=None, redirect_slashes=False)
        app.add_middleware(Guard, settings=self._settings, counts=self.counts)
        install_handlers(app)
        endpoints: dict[str, dict[str, Callable[..., Any]]] = {
            "GET": {"/health": self.health, "/stats": self.stats, "/pictures/{digest}": self.picture},
            "POST": {"/search": self.search, "/ask": self.ask, "/upsert": self.upsert, "/delete": self.delete},
        }
        errors: dict[int | str, dict[str, Any]] = {"default": {"description": 'an error, {"error": "one line"}'}}
        for method, paths in endpoints.items():
            for path, endpoint in paths.items():
                app.add_api_route(path, endpoint, methods=[method], response_model=None, responses=errors)
        return app

    async def health(self) -> "starlette.responses.Response":
        """Say whether requests can be answered; it needs no token."""
        busy = self.worker.busy_seconds
        if busy > self._settings.timeout:
            return refusal(503, f"not ready: busy with one batch for {busy:.0f} s")
        return reply({"ready": True})

    async def stats(self) -> "starlette.responses.Response":
        """Say what the memory holds and what was requested so far."""
        memory = {
            "items": await self.worker.do("count", None),
            "dim": self._store.dim,
            "encoder": self._store.encoder,
            "fields": dict(self._store.fields),
        }
        return reply(memory | {"requests": self.counts.summary()})

    async def search(self, request: SearchRequest) -> "starlette.responses.Response":
        """Find items for a question, best first."""
        return reply(await self.worker.do("search", request, request.where))

    async def ask(self, request: AskRequest) -> "starlette.responses.Response":
        """Answer a question from the memory."""
        return reply(await self.worker.do("ask", request, request.where))

    async def upsert(self, request: UpsertRequest) -> "starlette.responses.Response":
        """Add or replace items, all or none."""
        return reply(await self.worker.do("upsert", request))

    async def delete(self, request: DeleteRequest) -> "starlette.responses.Response":
        """Remove items; unknown ids are no error."""
        return reply(await self.worker.do("delete", request))

    async def picture(self, digest: Digest) -> "starlette.responses.Response":
        """Return the picture of a SHA-256, if it was uploaded or an item refers to it."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import Response

        found: Any = await run_in_threadpool(read_known, self._pictures.path(digest), digest)
        if found is None:
            found = await self.worker.do("picture", digest)
        if found is None:
            return refusal(404, "there is no picture of that hash")
        # Never taken for anything but a picture, whatever else it may be.
        return Response(found.content, 200, {"X-Content-Type-Options": "nosniff"}, found.media_type)
