"""aiohttp (3.12 and later): every request of a session waits for a limiter, and tells it what the server said.

    session = aiohttp.ClientSession(middlewares=[rlimit.aiohttp.Middleware(limiter)])

It runs once for each attempt: each hop of a redirect pays, and so does what aiohttp repeats after a stale connection (GET and
the like only). Other retries are yours: a loop around the request, or @rlimit.retry; each attempt passes here.

Time-outs: aiohttp's `total` includes the wait in the limiter's queue, and is 5 minutes unless you say otherwise. For long
queues give the parts instead: `ClientTimeout(total=None, sock_connect=30, sock_read=600)`, and queue_timeout here.

The permit counts as in flight until the body has been read to its end, or the response was released or closed (`async with`
does that). A response that is forgotten is kept by aiohttp until the server has sent all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Optional, Tuple

import aiohttp

from ._call import Call, Gate, Options, Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import Limiter

__all__ = ["Middleware", "Request"]

LONG_SHARE = 0.1  # of a total time-out, from which on a wait is worth a warning


class Middleware:
    """A limiter as a middleware of aiohttp's client.

    provider        whose headers and charges: "openai", "anthropic", ..., see Limiter. Default: the limiter's, else known by
                    the host, else "generic"
    priority        "critical", "high", "normal", "low"
    queue_timeout   seconds in the limiter's queue, then AcquireTimeout; None: no end
    cost            a function of a Request(method, url, body) that returns meters, for example {"input_tokens": 900}, or None to
                    let it pass without the limiter. Default: RequestCost of a JSON body; one request otherwise
    tokenizer       as of estimate_tokens
    reserves_output whether the server charges the maximum of the output at admission; None: as the provider does
    prices          (input, output), dollars for a million tokens; or a mapping of models to such pairs, "*" for all others: a
                    request for a model that is not in it raises ValueError. A limiter of microdollars needs it, or a cost that
                    tells them. Tokens read from a cache count in full: a budget is never passed, and may end early

    Requests raise AcquireTimeout, QueueFull and NeverAdmitted, before anything is sent.

        async with aiohttp.ClientSession(middlewares=[rlimit.aiohttp.Middleware(limiter)]) as session:
            async with session.post(url, json=body) as response:
                reply = await response.json()
    """

    def __init__(self, limiter: Limiter, **options: Unpack[Options]) -> None:
        self._gate = Gate(limiter, **options)

    async def __call__(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        call = self._gate.open(request.method, str(request.url), _body(request))
        if call is None:
            return await handler(request)
        await call.wait_async()
        self._warn(request, call)
        try:
            response = await handler(request)
            call.answered(response.status, response.headers.items())
            response.content = _Content(response.content, call)  # type: ignore[assignment]
        except BaseException as error:
            call.failed(error, not isinstance(error, aiohttp.ClientConnectorError))
            raise
        return response

    def _warn(self, request: Any, call: Call) -> None:
        total = getattr(getattr(getattr(request, "session", None), "timeout", None), "total", None)
        if total and call.waited > LONG_SHARE * total:
            self._gate.say("total", "a request waited %.1f s in the limiter's queue, which aiohttp counts toward its total "
                           "time-out of %g s: ClientTimeout(total=None, sock_connect=..., sock_read=...)", call.waited, total)


def _body(request: aiohttp.ClientRequest) -> Any:
    """The body where it is in memory; Ellipsis for files, forms and generators, which can be read once only."""
    body = request.body
    if isinstance(body, aiohttp.BytesPayload):
        return body.decode(errors="replace")
    return bytes(body) or None if isinstance(body, (bytes, bytearray)) else Ellipsis


class _Content:
    """The content of a response, which tells its call what is read. aiohttp has decoded it already."""

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _passed(self, data: bytes) -> bytes:
        self._call.feed(data)
        if self._inner.at_eof():
            self._call.finish()
        return data

    async def _read(self, reading: Any) -> bytes:
        try:
            return self._passed(await reading)
        except Exception as error:
            if self._inner.exception() is not None:  # not of a wrong argument, or a line too long
                self._call.failed(error)
            raise

    async def read(self, n: int = -1) -> bytes:
        return await self._read(self._inner.read(n))

    async def readany(self) -> bytes:
        return await self._read(self._inner.readany())

    async def readline(self, **options: Any) -> bytes:
        return await self._read(self._inner.readline(**options))

    async def readuntil(self, *args: Any, **options: Any) -> bytes:
        return await self._read(self._inner.readuntil(*args, **options))

    async def readexactly(self, n: int) -> bytes:
        return await self._read(self._inner.readexactly(n))

    async def readchunk(self) -> Tuple[bytes, bool]:
        try:
            data, end_of_chunk = await self._inner.readchunk()
        except Exception as error:
            self._call.failed(error)
            raise
        return self._passed(data), end_of_chunk

    def read_nowait(self, n: int = -1) -> bytes:
        return self._passed(self._inner.read_nowait(n))

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            data = await self.readany()
            if not data:
                return
            yield data

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        while True:
            data = await self.read(n)
            if not data:
                return
            yield data

    async def iter_chunks(self) -> AsyncIterator[Tuple[bytes, bool]]:
        while True:
            data, end_of_chunk = await self.readchunk()
            if not data and not end_of_chunk:
                return
            yield data, end_of_chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            line = await self.readline()
            if not line:
                return
            yield line

    def set_exception(self, *args: Any, **options: Any) -> None:
        """The response is released or closed."""
        self._inner.set_exception(*args, **options)
        self._call.close()

    def __del__(self) -> None:
        self._call.close()
