"""httpx2: every request of a client waits for a limiter, and tells it what the server said.

    client = rlimit.httpx2.limit(httpx2.Client(), limiter)
    client = rlimit.httpx2.limit(httpx2.AsyncClient(), limiter)

The client stays what it is: its time-outs, proxies, certificates and event hooks. httpx2's time-outs are for each operation
on a connection, so the wait in the limiter's queue is in none of them. A request is charged once, with all its redirects.
httpx2 sends nothing again by itself (`HTTPTransport(retries=)` repeats connecting only): each send pays.

The permit counts as in flight until the body has been read, or its iterator dropped (`break`), or the response closed. One that
was streamed and is forgotten unread, httpx2 keeps until the garbage collector comes by: `with client.stream(...)` does not.

`Client(limiter, ...)` and `AsyncClient(limiter, ...)` make a new one; `Transport` and `AsyncTransport` go around a transport,
and charge each hop of a redirect.

Keywords of all of them:
    provider        whose headers and charges: "openai", "anthropic", ..., see Limiter. Default: the limiter's, else known by
                    the host, else "generic"
    priority        "critical", "high", "normal", "low"
    queue_timeout   seconds in the limiter's queue, then AcquireTimeout; None: no end
    cost            a function of a `Request(method, url, body)` that returns its cost as a mapping of meters, for example
                    {"input_tokens": 900, "output_tokens": 200} (requests is 1 if not in it), or None to let the request pass
                    without the limiter. Default: estimated from a JSON body (RequestCost); one request otherwise
    tokenizer       as of estimate_tokens
    reserves_output whether the server charges the maximum of the output at admission; None: as the provider does
    prices          (input, output), dollars for a million tokens; or a mapping of models to such pairs, "*" for all others: a
                    request for a model that is not in it raises ValueError. A limiter of microdollars needs it, or a cost that
                    tells them. Tokens read from a cache count in full: a budget is never passed, and may end early

Raises AcquireTimeout, QueueFull and NeverAdmitted, before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, TypeVar

import httpx2

from ._call import Gate, Options, Request, split
from ._httpx import Body, limit_in_place, opened, send, send_async

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import Limiter

__all__ = ["limit", "Client", "AsyncClient", "Transport", "AsyncTransport", "Request"]

AnyClient = TypeVar("AnyClient", httpx2.Client, httpx2.AsyncClient)


class _SyncBody(Body, httpx2.SyncByteStream):
    pass


class _AsyncBody(Body, httpx2.AsyncByteStream):
    pass


def limit(client: AnyClient, limiter: Limiter, **options: Unpack[Options]) -> AnyClient:
    """Limits a client from now on, and returns it. A client that was limited already changes to this limiter.

        client = rlimit.httpx2.limit(httpx2.Client(base_url="https://relay.example.com"), limiter)
        reply = client.post("/v1/chat/completions", json=body)
    """
    if not isinstance(client, (httpx2.Client, httpx2.AsyncClient)):
        raise TypeError("client: an httpx2.Client or AsyncClient, not %r" % (client,))
    limit_in_place(client, Gate(limiter, **options))
    return client


class Client(httpx2.Client):
    """An httpx2.Client with a limiter; further keywords are httpx2.Client's.

        with rlimit.httpx2.Client(limiter, timeout=60) as client:
            reply = client.post(url, json=body)
    """

    def __init__(self, limiter: Limiter, **options: Any) -> None:
        ours, theirs = split(options)
        self._rlimit = Gate(limiter, **ours)
        super().__init__(**theirs)

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        inner = super().send
        response: httpx2.Response = send(opened(self._rlimit, request), lambda: inner(request, **options))
        return response


class AsyncClient(httpx2.AsyncClient):
    """An httpx2.AsyncClient with a limiter; further keywords are httpx2.AsyncClient's.

        async with rlimit.httpx2.AsyncClient(limiter, timeout=60) as client:
            reply = await client.post(url, json=body)
    """

    def __init__(self, limiter: Limiter, **options: Any) -> None:
        ours, theirs = split(options)
        self._rlimit = Gate(limiter, **ours)
        super().__init__(**theirs)

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        inner = super().send
        response: httpx2.Response = await send_async(opened(self._rlimit, request), lambda: inner(request, **options))
        return response


class Transport(httpx2.BaseTransport):
    """A transport with a limiter around another (httpx2.HTTPTransport() if not given).

        client = httpx2.Client(transport=rlimit.httpx2.Transport(limiter, httpx2.HTTPTransport(http2=True)))
    """

    def __init__(self, limiter: Limiter, transport: Optional[httpx2.BaseTransport] = None, **options: Unpack[Options]) -> None:
        self._rlimit = Gate(limiter, **options)
        self._inner = httpx2.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = send(opened(self._rlimit, request), lambda: self._inner.handle_request(request))
        return response

    def close(self) -> None:
        self._inner.close()


class AsyncTransport(httpx2.AsyncBaseTransport):
    """A transport with a limiter around another (httpx2.AsyncHTTPTransport() if not given).

        client = httpx2.AsyncClient(transport=rlimit.httpx2.AsyncTransport(limiter))
    """

    def __init__(self, limiter: Limiter, transport: Optional[httpx2.AsyncBaseTransport] = None,
                 **options: Unpack[Options]) -> None:
        self._rlimit = Gate(limiter, **options)
        self._inner = httpx2.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await send_async(opened(self._rlimit, request),
                                                    lambda: self._inner.handle_async_request(request))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
