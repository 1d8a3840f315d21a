"""What httpx and httpx2 share: the two have the same classes. Nothing here imports either."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any, AsyncIterator, Awaitable, Callable, Iterator, Optional

from ._call import Call, Gate, also

# Errors after which the server has seen nothing of the request. By name, as two libraries have them.
_NOT_SENT = frozenset(("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "TwoLimiters"))
_RETRY_COUNT = "x-stainless-retry-count"  # how many attempts of the SDK were before this one

in_middleware: ContextVar[Any] = ContextVar("rlimit_in_middleware", default=None)
"""The body of a request that is on its way through an SDK's middleware that has a limiter; None: none is."""


class TwoLimiters(ValueError):
    """A request that would be charged twice, and with concurrency=1 wait for itself."""


def was_sent(error: BaseException) -> bool:
    """Whether a request that ended in this error may have reached the server."""
    at: Optional[BaseException] = error
    while at is not None:  # an SDK raises its own from it
        if any(kind.__name__ in _NOT_SENT for kind in type(at).__mro__):
            return False
        at = at.__cause__
    return True


def opened(gate: Gate, request: Any) -> Optional[Call]:
    """A call for a request. A body that would have to be read from a file or an iterator is left alone."""
    try:
        body = request.content
    except RuntimeError:  # RequestNotRead
        body = Ellipsis
    call = gate.open(request.method, str(request.url), body)
    count_retry(call, request.headers.get(_RETRY_COUNT, "0") not in ("", "0"))
    return call


def count_retry(call: Optional[Call], again: bool) -> None:
    """Tells status() of an attempt that follows another."""
    if call is not None and again:
        call.gate.limiter._count_retry()


def _head(call: Call, response: Any, raw: bool) -> None:
    encoding = response.headers.get("content-encoding", "") if raw else ""
    call.answered(response.status_code, response.headers.multi_items(), encoding)


def _read(call: Call, response: Any) -> bool:
    """Settles a call whose response was read already."""
    if not response.is_closed:
        return False
    _head(call, response, False)
    try:
        call.feed(response.content)
    except RuntimeError:  # ResponseNotRead: it was closed unread
        call.close()
    call.finish()
    return True


class Body:
    """The raw stream of a response, which tells its call what passes. Ends the call when it is exhausted, closed or dropped."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        call = self._call
        try:
            for chunk in self._stream:
                call.feed(chunk)
                yield chunk
        except GeneratorExit:  # dropped in the middle: neither library begins it again
            call.close()
            raise
        except BaseException as error:
            call.failed(error)
            raise
        call.finish()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        call = self._call
        try:
            async for chunk in self._stream:
                call.feed(chunk)
                yield chunk
        except GeneratorExit:  # dropped in the middle: neither library begins it again
            call.close()
            raise
        except BaseException as error:
            call.failed(error)
            raise
        call.finish()

    @property
    def elapsed(self) -> Any:
        """Where httpx2 keeps it."""
        return getattr(self._stream, "elapsed", None)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._call.close()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._call.close()

    def __del__(self) -> None:
        self._call.close()


def _same(response: Any) -> Any:
    return response


def send(call: Optional[Call], inner: Callable[[], Any], read_errors: bool = False,
         response_of: Callable[[Any], Any] = _same) -> Any:
    """One attempt: waits, sends by inner(), and sees to it that the call ends. read_errors: read the body of an error here,
    because the caller may close it unread."""
    if call is None:
        return inner()
    call.wait()
    try:
        result = inner()
        response = response_of(result)
        if read_errors and response.status_code >= 400:
            response.read()
        if not _read(call, response):
            _head(call, response, True)
            response.stream = _library(response)._SyncBody(response.stream, call)
    except BaseException as error:
        call.failed(error, was_sent(error))
        raise
    return result


async def send_async(call: Optional[Call], inner: Callable[[], Awaitable[Any]], read_errors: bool = False,
                     response_of: Callable[[Any], Any] = _same) -> Any:
    """As send, in a task."""
    if call is None:
        return await inner()
    await call.wait_async()
    try:
        result = await inner()
        response = response_of(result)
        if read_errors and response.status_code >= 400:
            await response.aread()
        if not _read(call, response):
            _head(call, response, True)
            response.stream = _library(response)._AsyncBody(response.stream, call)
    except BaseException as error:
        call.failed(error, was_sent(error))
        raise
    return result


def is_async(client: Any) -> bool:
    """Whether a client sends in tasks."""
    return hasattr(client, "aclose")


def limit_in_place(client: Any, gate: Gate) -> None:
    """Gives a client a send() of its own. One that it has already from here is replaced."""
    inner = client.__dict__.get("_rlimit_inner", client.send)
    client._rlimit_inner = inner

    def limited(request: Any, **options: Any) -> Any:
        return send(opened(gate, request), lambda: inner(request, **options))

    async def limited_async(request: Any, **options: Any) -> Any:
        return await send_async(opened(gate, request), lambda: inner(request, **options))

    client.send = limited_async if is_async(client) else limited


def limit_sdk(client: Any, gate: Gate, retries: Optional[int]) -> None:
    """Puts a client of an SDK behind a gate: its http client is replaced by one that is the same in everything but send().
    retries: how often the SDK repeats a request, None: as it is.

    The http client itself is left as it was, as others may use it too: LangChain shares one among its models. The SDK's copies
    of this client (with_options) share the new one.
    """
    http = client._client
    inner = type(http).__dict__.get("_rlimit_inner", http)
    if "_rlimit" in inner.__dict__ or "send" in inner.__dict__:
        raise ValueError("client: its http client has a limiter already: each request would be charged twice")
    if any(hasattr(kind, "_rlimit_middleware") for kind in map(type, getattr(client, "middleware", ()))):
        raise ValueError("client: its middleware has a limiter already: each request would be charged twice")
    _library(inner)  # TypeError now rather than later
    if retries is not None:
        if type(retries) is not int:
            raise TypeError("retries: must be an int or None, not %r" % (retries,))
        if retries < 0:
            raise ValueError("retries: must be 0 or more, not %d" % retries)
        client.max_retries = retries

    def limited(self: Any, request: Any, **options: Any) -> Any:
        _check_middleware(gate, request)
        return send(opened(gate, request), lambda: inner.send(request, **options), True)

    async def limited_async(self: Any, request: Any, **options: Any) -> Any:
        _check_middleware(gate, request)
        return await send_async(opened(gate, request), lambda: inner.send(request, **options), True)

    # a class for this one object: it shares the state of inner, whose own __del__ is to close it
    kind = type(type(inner).__name__, (type(inner),), {
        "send": limited_async if is_async(inner) else limited, "_rlimit_inner": inner, "__del__": lambda self: None,
        "__module__": type(inner).__module__})
    view: Any = object.__new__(kind)
    view.__dict__ = inner.__dict__
    client._client = view


def _check_middleware(gate: Gate, request: Any) -> None:
    """Middleware was given to a copy of a client that was limited before: seen only when a request passes both. One that some
    other middleware sends meanwhile has other messages."""
    outer = in_middleware.get()
    if outer is None:
        return
    try:
        body = json.loads(request.content)
    except (RuntimeError, ValueError):
        body = {}
    if isinstance(body, dict) and body.get("messages") == outer.get("messages"):
        raise also(TwoLimiters, gate.base)("client: it has a limiter already, and its middleware another: each request would be charged "
                                           "twice")


def is_of(library: str, client: Any) -> bool:
    """Whether a client is of a class of this library, or of a subclass."""
    return any(kind.__module__.partition(".")[0] == library for kind in type(client).__mro__)


def _library(thing: Any) -> Any:
    """rlimit.httpx or rlimit.httpx2, whichever made this."""
    names = {kind.__module__.partition(".")[0] for kind in type(thing).__mro__}
    if "httpx2" in names:
        from . import httpx2
        return httpx2
    if "httpx" in names:
        from . import httpx
        return httpx
    raise TypeError("client: its http client is neither of httpx nor of httpx2: %r" % (thing,))
