"""What stands before all endpoints: token, limits of size, number and time, and counts."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mnemic_ask.service.counts import Counts
from mnemic_ask.service.replies import refusal
from mnemic_ask.service.settings import ServerSettings

if TYPE_CHECKING:
    import starlette.responses

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """Lets a request through to an application, or refuses it.

    Args:
        app: the application, by the ASGI protocol.
        settings: the limits.
        counts: where requests are counted.
    """

    def __init__(self, app: App, settings: ServerSettings, counts: Counts) -> None:
        self._app, self._settings, self._counts = app, settings, counts
        self._in_progress = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kind = scope["path"].strip("/").partition("/")[0]
        with self._counts.timing(kind):
            refused = None if kind == "health" else self._refuse(scope)
            if refused is not None:
                await refused(scope, receive, send)
                return
            self._in_progress += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self._in_progress -= 1

    def _refuse(self, scope: Message) -> "starlette.responses.Response | None":
        headers = dict(scope["headers"])
        if not self._is_allowed(headers.get(b"authorization", b"")):
            return refusal(401, "this server wants a token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
        if _length(headers) > self._settings.max_bytes:
            return refusal(413, self._too_large())
        if self._in_progress >= self._settings.max_waiting:
            return refusal(503, "too many requests at once: try again later")
        return None

    def _is_allowed(self, given: bytes) -> bool:
        token = self._settings.token
        # Takes as long for a token that is nearly right.
        return token is None or hmac.compare_digest(given, b"Bearer " + token.encode("utf-8", "surrogateescape"))

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        size, is_answered = 0, False
        has_come = {b"content-length", b"transfer-encoding"}.isdisjoint(dict(scope["headers"]))

        async def limited_receive() -> Message:
            nonlocal size, has_come
            message = await receive()
            size += len(message.get("body", b""))
            has_come = not message.get("more_body", False)
            if size > self._settings.max_bytes:
                raise _too_large_error(self._too_large())
            return message

        async def watched_send(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            limit.reschedule(asyncio.get_running_loop().time() + self._settings.timeout)
            await send(message)

        try:
            async with asyncio.timeout(self._settings.timeout) as limit:
                await self._app(scope, limited_receive, watched_send)
        except TimeoutError:
            if not is_answered:  # else the client reads too slowly, and the connection is cut
                await self._too_late(has_come)(scope, receive, send)

    def _too_large(self) -> str:
        return f"a request may have {self._settings.max_bytes} bytes at most"

    def _too_late(self, has_come: bool) -> "starlette.responses.Response":
        within = f"within {self._settings.timeout:g} s"
        if has_come:
            return refusal(504, f"there was no result {within}; a change may still be made")
        return refusal(408, f"the request did not arrive {within}", {"Connection": "close"})


def _length(headers: dict[bytes, bytes]) -> int:
    given = headers.get(b"content-length", b"")
    return int(given) if given.isdigit() else 0


def _too_large_error(message: str) -> Exception:
    from starlette.exceptions import HTTPException

    return HTTPException(413, message, {"Connection": "close"})  # the rest need not be read
