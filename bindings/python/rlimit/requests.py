"""requests: every request of a session waits for a limiter, and tells it what the server said.

    session = rlimit.requests.limit(requests.Session(), limiter)

It goes around the session's adapters, so their pools, proxies and retries stay. The wait blocks the thread; it is in no time-out.
It runs once for each hop of a redirect, and each pays.

Retries: requests sends nothing again by itself. An adapter made with `max_retries=Retry(...)` does so inside itself, where a
limiter cannot hold it back: those attempts are charged afterwards, and a warning says so once. Leave max_retries at 0 and retry
around the request, for example with @rlimit.retry: then each attempt waits.

The permit counts as in flight until the body has been read, or the response was closed or dropped. requests reads a body at
once unless told stream=True. Of a compressed body that is read from response.raw as it came the usage is not seen: the estimate
stands.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from ._call import Call, Gate, Options, Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import Limiter

__all__ = ["limit", "Adapter", "Request"]

# Errors of requests and urllib3 after which the server has seen nothing of the request.
_NOT_SENT = frozenset(("NewConnectionError", "ConnectTimeoutError", "ConnectTimeout", "NameResolutionError", "InvalidURL",
                       "InvalidSchema"))


def limit(session: requests.Session, limiter: Limiter, **options: Unpack[Options]) -> requests.Session:
    """Limits a session from now on, and returns it. A session that was limited already changes to this limiter.

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

        session = rlimit.requests.limit(requests.Session(), limiter)
        reply = session.post(url, json=body, timeout=60).json()
    """
    if not isinstance(session, requests.Session):
        raise TypeError("session: a requests.Session, not %s" % type(session).__name__)
    for prefix, adapter in list(session.adapters.items()):
        inner = adapter.inner if isinstance(adapter, Adapter) else adapter
        session.mount(prefix, Adapter(limiter, inner, **options))
    return session


class Adapter(BaseAdapter):
    """A transport adapter with a limiter around another (HTTPAdapter() if not given); keywords as of limit().

        session.mount("https://api.openai.com/", rlimit.requests.Adapter(limiter))
    """

    def __init__(self, limiter: Limiter, inner: Optional[BaseAdapter] = None, **options: Unpack[Options]) -> None:
        super().__init__()
        self.inner = HTTPAdapter() if inner is None else inner
        self._gate = Gate(limiter, **options)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        body = request.body if request.body is None or isinstance(request.body, (bytes, str)) else Ellipsis
        call = self._gate.open(request.method or "GET", request.url or "", body)
        if call is None:
            return self.inner.send(request, *args, **options)
        call.wait()
        try:
            response = self.inner.send(request, *args, **options)
            self._count_repeats(response, call)
            call.answered(response.status_code, response.headers.items())
            _watch(response, call)
        except BaseException as error:
            call.failed(error, _was_sent(error))
            raise
        return response

    def close(self) -> None:
        self.inner.close()

    def _count_repeats(self, response: requests.Response, call: Call) -> None:
        """urllib3 has repeated the request by itself: that is charged too, late as it is."""
        history = getattr(getattr(response.raw, "retries", None), "history", ())
        if history:
            self._gate.say("repeats", "urllib3 repeats requests inside its adapter, where no limiter can hold them back: "
                           "HTTPAdapter(max_retries=0)")
            for _ in history:
                self._gate.limiter.debit(**call.cost)


def _was_sent(error: BaseException) -> bool:
    """Whether a request that ended in this error may have reached the server."""
    at: Any = error
    while at is not None:
        if type(at).__name__ in _NOT_SENT:
            return False
        inner = at.args[0] if getattr(at, "args", ()) else None  # ConnectionError(MaxRetryError(reason=NewConnectionError))
        at = getattr(at, "reason", None) or inner
        if not isinstance(at, BaseException):
            return True
    return True


def _watch(response: requests.Response, call: Call) -> None:
    """Lets a call see what is read of a response, and when that is over."""
    raw: Any = response.raw
    if raw is None or not hasattr(raw, "stream"):
        call.feed(response.content)
        call.finish()
        return
    me = weakref.ref(raw)  # the functions below live in raw: a strong one would keep it alive
    kind: Any = type(raw)
    plain = not response.headers.get("content-encoding")
    inside = False  # of one of the functions below, which sees what passes: its library calls the others

    def stream(amt: Optional[int] = 2**16, decode_content: Optional[bool] = None) -> Iterator[bytes]:
        nonlocal inside
        target: Any = me()
        inside = True
        try:
            for chunk in kind.stream(target, amt, decode_content):
                call.feed(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            inside = False
        call.finish()

    def reader(name: str) -> Callable[..., Any]:
        read = getattr(kind, name)

        def limited(amt: Optional[int] = None, *args: Any, **options: Any) -> Any:
            nonlocal inside
            target: Any = me()
            if inside:
                return read(target, amt, *args, **options)
            inside = True
            try:
                data = read(target, amt, *args, **options)
            except BaseException as error:
                call.failed(error)
                raise
            finally:
                inside = False
            decode = args[0] if args else options.get("decode_content")
            if plain or (getattr(target, "decode_content", False) if decode is None else decode):
                call.feed(data)
            if (name == "read" and (amt is None or amt < 0)) or (amt != 0 and not data):
                call.finish()
            return data
        return limited

    def close() -> None:
        target = me()
        try:
            if target is not None:
                kind.close(target)
        finally:
            call.close()

    raw.stream = stream
    for name in ("read", "read1"):
        if hasattr(kind, name):
            setattr(raw, name, reader(name))
    raw.close = close
    weakref.finalize(raw, call.close).atexit = False
