"""What to do when a call fails: how long to wait (Backoff), whether to try again (classify), and both together (retry).

The delays, the retry budget and the meaning of a status are computed by rlimit.h and rlimit_http.h.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Optional, Tuple, Type, TypeVar, Union, cast, overload

from . import _rlimit
from ._limit import _number, _whole
from ._rlimit import AcquireTimeout, NeverAdmitted, QueueFull

if TYPE_CHECKING:
    import threading

    from . import Limiter, ManualClock, Permit, Response
    from ._limit import Priority

    Function = TypeVar("Function", bound=Callable[..., Any])
    Cost = Union[Mapping[str, int], Callable[..., Mapping[str, int]], None]
    RetryOn = Union[Callable[[BaseException], Union[bool, str, None]], Type[BaseException], Tuple[Type[BaseException], ...],
                    None]

__all__ = ["Backoff", "Classified", "Delays", "RetryBudget", "classify", "retry"]

ERROR_CLASSES = ("rate_limit", "server", "network", "fatal")
PRIORITIES = ("critical", "high", "normal", "low")
METERS = ("requests", "input_tokens", "output_tokens", "microdollars", "custom")  # that a cost may have
JITTERS = ("none", "fraction", "full", "equal", "decorrelated")


# -- Delays --

def _ns(name: str, seconds: float, most: float = 1 << 50) -> int:
    """Seconds as nanoseconds, rounded up: waiting is never shortened."""
    if not 0 <= _number(name, seconds, "a number of seconds") <= most / 1e9:  # compared so, no int is too large
        raise ValueError("%s: must be 0 to %.0f seconds, not %r" % (name, most / 1e9, seconds))
    whole = int(seconds)
    part = (seconds - whole) * 1e9
    return whole * 1000000000 + int(part) + (part != int(part))


def _permille(name: str, value: float, least: float, most: float) -> int:
    if not least <= _number(name, value) <= most:
        raise ValueError("%s: must be %g to %g, not %r" % (name, least, most, value))
    return round(value * 1000)


def _index(name: str, value: Any, names: Tuple[str, ...]) -> int:
    if not isinstance(value, str):
        raise TypeError("%s: must be a str, not %s" % (name, type(value).__name__))
    if value not in names:
        raise ValueError("%s: must be one of %s, not %r" % (name, ", ".join(names), value))
    return names.index(value)


def _count(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("%s: must be an int, not %s" % (name, type(value).__name__))
    if not least <= value <= most:
        raise ValueError("%s: must be %d to %d, not %d" % (name, least, most, value))
    return value


def check_provider(provider: Any) -> None:
    """ValueError or TypeError for a name that is not known."""
    _rlimit.http_limits(provider)


def check_queue(limiter: Any, priority: Any, timeout: Any) -> None:
    """The same for what acquire() would refuse at each call."""
    if limiter is not None and not isinstance(limiter, _rlimit.Limiter):
        raise TypeError("limiter: must be a Limiter or None, not %s" % type(limiter).__name__)
    _index("priority", priority, PRIORITIES)
    if timeout is not None and not _number("timeout", timeout, "a number of seconds or None") >= 0:
        raise ValueError("timeout: must be 0 or more seconds, not %r" % (timeout,))


def check_cost(cost: Any, argument: str) -> None:
    """The same for a cost that is given as a mapping; a function's is looked at when it was called."""
    if cost is None or callable(cost):
        return
    if not isinstance(cost, Mapping):
        raise TypeError("cost: must be a mapping or a function of %s, not %s" % (argument, type(cost).__name__))
    for meter, amount in cost.items():
        _index("cost", meter, METERS)
        _whole("cost[%r]" % meter, amount, 0)


def _by_class(name: str, given: Optional[Mapping[str, float]], usual: Dict[str, float], cap: float) -> Tuple[int, ...]:
    if given is None:
        given = {key: min(value, cap) for key, value in usual.items()}
    elif not isinstance(given, Mapping):
        raise TypeError("%s: must be a mapping of error classes to seconds, not %s" % (name, type(given).__name__))
    for key in given:
        _index(name, key, ERROR_CLASSES)
    return tuple(_ns("%s[%r]" % (name, key), given[key]) if key in given else 0 for key in ERROR_CLASSES)


class Backoff:
    """A schedule of delays before retries: base * factor^k for the k-th retry, spread by jitter, between floor and cap.

    base, cap, floor:   seconds; floor None: 0.1, or cap if that is less
    factor:             1 to 100
    jitter:             "none", "fraction" (either way by `fraction`), "full" (0 to the delay), "equal" (half of it to all of
                        it), "decorrelated" (base to 3 times the delay before)
    fraction:           0 to 1
    attempts:           how many delays there are: retries, not counting the first try
    bases:              base by class of error; None: {"rate_limit": 6.0, "server": 0.5}, at most cap
    least:              a delay of this class is at least this long; None: {"rate_limit": 5.0}, at most cap
    retry_after_max:    seconds; a longer wait that a server asks for is not followed
    seed:               makes the delays repeatable; None: others each time

    Raises ValueError or TypeError naming the field. Plain iteration gives the delays of a network error:

    >>> [round(delay, 1) for delay in Backoff(jitter="none", attempts=4)]
    [1.0, 2.0, 4.0, 8.0]
    >>> delays = Backoff(jitter="none").start()
    >>> delays.next("server"), delays.next("rate_limit"), delays.next("server", retry_after=17)
    (0.5, 12.0, 17.0)
    """

    def __init__(self, base: float = 1.0, factor: float = 2.0, cap: float = 60.0, floor: Optional[float] = None,
                 jitter: str = "fraction", fraction: float = 0.1, attempts: int = 8, *,
                 bases: Optional[Mapping[str, float]] = None,
                 least: Optional[Mapping[str, float]] = None, retry_after_max: float = 3600.0,
                 seed: Optional[int] = None) -> None:
        cap_ns = _ns("cap", cap)
        floor = min(0.1, cap) if floor is None else floor
        fields: Dict[str, Any] = {
            "base_ns": _ns("base", base), "cap_ns": cap_ns, "floor_ns": _ns("floor", floor),
            "factor_permille": _permille("factor", factor, 1, 100),
            "fraction_permille": _permille("fraction", fraction, 0, 1),
            "jitter": _index("jitter", jitter, JITTERS), "attempts_max": _count("attempts", attempts, 0, (1 << 32) - 1),
            "base_class_ns": _by_class("bases", bases, {"rate_limit": 6.0, "server": 0.5}, cap),
            "least_class_ns": _by_class("least", least, {"rate_limit": 5.0}, cap),
            "retry_after_max_ns": _ns("retry_after_max", retry_after_max, float(1 << 55))}
        if fields["base_ns"] == 0:
            raise ValueError("base: must be more than 0")
        for name in ("base", "floor"):
            if fields[name + "_ns"] > cap_ns:
                raise ValueError("%s: must be at most cap (%g), not %g" % (name, cap, base if name == "base" else floor))
        for name in ("bases", "least"):
            given = bases if name == "bases" else least
            for key, value in (given or {}).items():
                if value > cap:
                    raise ValueError("%s[%r]: must be at most cap (%g), not %g" % (name, key, cap, value))
        self._plan = _rlimit.BackoffPlan(**fields)
        self._seed = None if seed is None else _count("seed", seed, 0, (1 << 64) - 1)
        self._own: Optional[Delays] = None
        self._text = "Backoff(base=%g, factor=%g, cap=%g, floor=%g, jitter=%r, fraction=%g, attempts=%d)" % (
            base, factor, cap, floor, jitter, fraction, attempts)
        self.attempts = attempts

    def start(self, seed: Optional[int] = None) -> "Delays":
        """The delays of one request, from the first. Without a seed here or in the schedule each request has its own."""
        if seed is None:
            seed = self._seed
        if seed is None:
            from random import getrandbits
            seed = getrandbits(64)
        return Delays(self._plan.start(_count("seed", seed, 0, (1 << 64) - 1)))

    def next(self, error_class: str = "network", priority: Priority = "normal",
             retry_after: Optional[float] = None) -> Optional[float]:
        """As Delays.next, of a series of this object's own: for a program with one request at a time."""
        if self._own is None:
            self._own = self.start()
        return self._own.next(error_class, priority, retry_after)

    def reset(self) -> None:
        """Begins the series of next() again."""
        self._own = None

    def __iter__(self) -> "Delays":
        return self.start()

    def __repr__(self) -> str:
        return self._text


class Delays(Iterator[float]):
    """The delays of one request's retries, in seconds; made by Backoff.start. For one thread at a time."""

    def __init__(self, state: Any) -> None:
        if not isinstance(state, _rlimit.Delays):
            raise TypeError("Delays: made by Backoff.start(), not by calling it")
        self._state = state

    def next(self, error_class: str = "network", priority: Priority = "normal",
             retry_after: Optional[float] = None) -> Optional[float]:
        """Seconds to wait before the next retry, or None: give up, there are no attempts left, or the class is "fatal".

        error_class:    "rate_limit", "server", "network" or "fatal"
        priority:       "critical" and "high" wait half as long
        retry_after:    seconds that the server asked for: it wins, up to the schedule's retry_after_max

        Raises ValueError or TypeError naming the field.
        """
        asked_ns = 0 if retry_after is None else _ns("retry_after", retry_after, float(1 << 60))
        delay_ns = self._state.next(_index("error_class", error_class, ERROR_CLASSES),
                                    _index("priority", priority, PRIORITIES), asked_ns)
        return None if delay_ns == _rlimit.NEVER else delay_ns / 1e9

    def __next__(self) -> float:
        delay = self.next()
        if delay is None:
            raise StopIteration
        return delay


class RetryBudget:
    """How many retries all requests together may make: a share of their number, and some each second besides.

    In an outage every request fails, and each retried eight times makes nine times the load: a budget ends that. One
    budget is shared by all who call the same server, from any thread.

    share:          retries for each request, 0 to 1
    per_second:     retries a second besides, 1 to 10^6
    burst:          the most that are saved up, 1 to 10^6; at first the budget is full
    clock:          a ManualClock, or a function that returns nanoseconds; None: the system's

    Raises ValueError naming the field.

    >>> budget = RetryBudget(share=0.2, per_second=1, burst=2, clock=ManualClock())
    >>> budget.request()
    >>> budget.retry(), budget.retry(), budget.retry()
    (True, True, False)
    """

    def __init__(self, share: float = 0.2, per_second: int = 10, burst: int = 100, *,
                 clock: "Union[ManualClock, Callable[[], int], None]" = None) -> None:
        self._core = _rlimit.RetryBudget(_permille("share", share, 0, 1), _count("per_second", per_second, 1, 10**6),
                                         _count("burst", burst, 1, 10**6), clock)
        self._text = "RetryBudget(share=%g, per_second=%d, burst=%d)" % (share, per_second, burst)

    def request(self) -> None:
        """Counts a first try: it earns `share` of a retry."""
        self._core.request()

    def retry(self) -> bool:
        """Spends a retry and returns True, or False if there is none: then give up."""
        return bool(self._core.retry() == 0)

    def __repr__(self) -> str:
        return self._text


# -- Classification --

class Classified(NamedTuple):
    """What a failure is.

    retry:          whether another try may succeed
    error_class:    "rate_limit", "server", "network", "fatal": for Backoff.next
    retry_after:    seconds that the server asked for, or None
    status:         of the response, or None if there was none
    reason:         in a word or two, for people
    """

    retry: bool
    error_class: str
    retry_after: Optional[float]
    status: Optional[int]
    reason: str


_OURS = (AcquireTimeout, QueueFull, NeverAdmitted)

# Exceptions of libraries that mean "no answer came", by the names of their classes and bases: nothing is imported for it.
_NETWORK = frozenset((
    "httpx.TransportError", "httpx2.TransportError", "httpcore.NetworkError", "httpcore.TimeoutException",
    "httpcore.ProtocolError", "requests.ConnectionError", "requests.Timeout", "requests.ChunkedEncodingError",
    "urllib3.ProtocolError", "urllib3.TimeoutError", "urllib3.HTTPError", "aiohttp.ClientConnectionError",
    "aiohttp.ClientPayloadError", "openai.APIConnectionError",
    "anthropic.APIConnectionError", "botocore.HTTPClientError", "botocore.ConnectionError", "http.HTTPException",
    "websockets.ConnectionClosed", "anyio.BrokenResourceError", "anyio.EndOfStream", "trio.BrokenResourceError",
    "trio.TooSlowError"))
# Of these, what no retry helps.
_HOPELESS = frozenset((
    "httpx.UnsupportedProtocol", "httpx.LocalProtocolError", "httpx2.UnsupportedProtocol", "httpx2.LocalProtocolError",
    "httpcore.LocalProtocolError", "aiohttp.ClientConnectorCertificateError", "aiohttp.InvalidURL", "requests.InvalidURL",
    "requests.InvalidProxyURL", "urllib3.LocationValueError", "http.InvalidURL", "ssl.SSLCertVerificationError",
    "openai.APIResponseValidationError", "anthropic.APIResponseValidationError"))
# Classes of their own in some versions of Python.
_TIMEOUTS = frozenset(("asyncio.TimeoutError", "concurrent.TimeoutError", "socket.timeout", "socket.gaierror"))
_UNREACHABLE = frozenset(("ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT", "ECONNRESET",
                          "EPIPE"))


def _names(error: BaseException) -> "set[str]":
    return {"%s.%s" % ((kind.__module__ or "").partition(".")[0], kind.__name__) for kind in type(error).__mro__}


def _causes(error: BaseException) -> "Iterator[BaseException]":
    """The error and what it came from."""
    seen = 0
    at: Optional[BaseException] = error
    while at is not None and seen < 10:
        yield at
        reason = getattr(at, "reason", None)  # urllib
        at = at.__cause__ or (reason if isinstance(reason, BaseException) else None) or at.__context__
        seen += 1


def _without_answer(error: BaseException) -> Classified:
    """An error that carries no response."""
    reason = type(error).__name__
    names = _names(error)
    if isinstance(error, _OURS) or any(_names(cause) & _HOPELESS for cause in _causes(error)):
        return Classified(False, "fatal", None, None, reason)
    if isinstance(error, (ConnectionError, TimeoutError)) or names & _NETWORK or names & _TIMEOUTS:
        return Classified(True, "network", None, None, reason)
    if isinstance(error, OSError):
        import errno
        inner = getattr(error, "reason", None)
        if errno.errorcode.get(error.errno or 0) in _UNREACHABLE:
            return Classified(True, "network", None, None, reason)
        if isinstance(inner, BaseException):  # urllib.error.URLError
            return _without_answer(inner)
    return Classified(False, "fatal", None, None, reason)


def _status_of(value: Any) -> Optional[int]:
    of_http = hasattr(value, "headers") or hasattr(value, "response")
    for name in ("status_code", "status", "code") if of_http else ("status_code", "status"):
        status = getattr(value, name, None)
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
            return int(status)
    return None


def _pairs(headers: Any) -> "list[Tuple[Any, Any]]":
    """Headers of any library as pairs; lists of values one by one."""
    if headers is None:
        return []
    for name in ("multi_items", "items"):
        items = getattr(headers, name, None)
        if callable(items):
            headers = items()
            break
    pairs: "list[Tuple[Any, Any]]" = []
    for name, value in headers:
        values = value if isinstance(value, (list, tuple)) else (value,)
        pairs.extend((name, each) for each in values if isinstance(name, (str, bytes)) and isinstance(each, (str, bytes)))
    return pairs


def _body_of(error: Any, response: Any) -> bytes:
    """The body as far as it has been read: nothing is read here."""
    body = getattr(error, "body", None)
    if body is None:
        if getattr(response, "_content", None) is False:  # requests: not read yet
            return b""
        try:
            body = getattr(response, "content", None)
        except Exception:  # httpx: not read yet
            body = None
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if isinstance(body, Mapping):  # the SDK of openai keeps what is inside "error"
        try:
            return json.dumps(body if "error" in body or body.get("type") == "error" else {"error": body}).encode()
        except (TypeError, ValueError):
            return b""
    return b""


def _response_of_botocore(response: Mapping[str, Any], provider: str) -> "Optional[Tuple[int, Response]]":
    meta, said = response.get("ResponseMetadata"), response.get("Error")
    status = meta.get("HTTPStatusCode") if isinstance(meta, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(status, int) or not 100 <= status <= 599:
        return None
    body = b""
    if isinstance(said, Mapping):
        body = json.dumps({"__type": said.get("Code"), "message": said.get("Message")}).encode()
    return status, _rlimit.parse(status, _pairs(meta.get("HTTPHeaders")), body, provider=provider)


def _response_of(failure: Any, provider: str) -> "Optional[Tuple[int, Response]]":
    """What C makes of the response in an exception, or of a response itself; None if there is none."""
    response = getattr(failure, "response", None)
    if isinstance(response, Mapping):  # botocore
        return _response_of_botocore(response, provider)
    known = _status_of(failure)
    if known is None:
        known = _status_of(response)
    if known is None:
        return None
    headers = getattr(response, "headers", None)
    if headers is None:
        headers = getattr(failure, "headers", None)
    return known, _rlimit.parse(known, _pairs(headers), _body_of(failure, response if response is not None else failure),
                                provider=provider)


def classify(failure: Any, provider: str = "generic") -> Classified:
    """What an exception or a response is, and whether to try again.

    Known without importing them: exceptions and responses of openai, anthropic, httpx, requests, aiohttp, urllib and
    botocore, and whatever has `.status_code` or `.status`, or a `.response` with it; time-outs and connection errors. 408,
    409, 429, 500, 502, 503, 504, 529 are retried; 400, 401, 403, a spent quota, an oversized request are not, nor is any
    other exception. Headers and body count: see parse(). What the limiter itself raises is not retried.

    Raises ValueError or TypeError for a provider that is not known.

    >>> classify(ConnectionResetError())
    Classified(retry=True, error_class='network', retry_after=None, status=None, reason='ConnectionResetError')
    """
    check_provider(provider)
    return _classify(failure, provider)[0]


def _classify(failure: Any, provider: str) -> "Tuple[Classified, Optional[Response]]":
    if isinstance(failure, _OURS):
        return _without_answer(failure), None
    found = _response_of(failure, provider)
    if found is not None:
        status, response = found
        again = response.verdict in ("retry", "wait")
        return Classified(again, response.error_class if again else "fatal", response.wait or None, status,
                          response.reason or "status %d" % status), response
    if isinstance(failure, BaseException):
        return _without_answer(failure), None
    return Classified(False, "fatal", None, None, ""), None


# -- Retrying --

_REFUSED = {"input_tokens": 0, "output_tokens": 0, "microdollars": 0}  # a 429 counts as a request, no more

def cost_of(cost: Any, *args: Any, **kwargs: Any) -> Mapping[str, int]:
    """A cost as a mapping: given as one, as a function, or not at all."""
    return _mapping("cost", (cost(*args, **kwargs) if callable(cost) else cost) or {})


def _mapping(name: str, returned: Any) -> Mapping[str, int]:
    if not isinstance(returned, Mapping):
        raise TypeError("%s: must return a mapping of meters to ints, not %s" % (name, type(returned).__name__))
    return returned


def used_of(actual: "Callable[[Any], Mapping[str, int]]", result: Any) -> Mapping[str, int]:
    """What a result has used."""
    return _mapping("actual", actual(result))


class _Plan:
    """What retry() was told."""

    def __init__(self, limiter: "Optional[Limiter]", backoff: Optional[Backoff], attempts: Optional[int], retry_on: Any,
                 cost: Any, actual: Any, priority: Priority, timeout: Optional[float], budget: Optional[RetryBudget],
                 provider: Optional[str], sleep: Any, cancel: "Optional[threading.Event]", clock: Any) -> None:
        check_queue(limiter, priority, timeout)
        check_cost(cost, "the call's arguments")
        if backoff is not None and not isinstance(backoff, Backoff):
            raise TypeError("backoff: must be a Backoff or None, not %s" % type(backoff).__name__)
        if attempts is not None:
            _count("attempts", attempts, 1, 1 << 32)
        for name, value in (("actual", actual), ("sleep", sleep)):
            if value is not None and not callable(value):
                raise TypeError("%s: must be a function, not %s" % (name, type(value).__name__))
        if budget is not None and not isinstance(budget, RetryBudget):
            raise TypeError("budget: must be a RetryBudget or None, not %s" % type(budget).__name__)
        if cancel is not None and not (hasattr(cancel, "is_set") and hasattr(cancel, "wait")):
            raise TypeError("cancel: must be a threading.Event or None, not %s" % type(cancel).__name__)
        if clock is not None and not isinstance(clock, _rlimit.ManualClock):
            raise TypeError("clock: must be a ManualClock or None, not %s" % type(clock).__name__)
        self.limiter, self.cost, self.actual, self.timeout = limiter, cost, actual, timeout
        self.priority: Priority = priority
        self.budget, self.sleep, self.cancel = budget, sleep, cancel
        self.backoff = backoff if backoff is not None else Backoff(attempts=8 if attempts is None else attempts - 1)
        self.attempts = attempts
        self.retry_on = self._classifier(retry_on)
        self.provider: str = provider if provider is not None else getattr(limiter, "provider", None) or "generic"
        self.clock: Any = clock if clock is not None else getattr(limiter, "clock", None)
        check_provider(self.provider)

    @staticmethod
    def _classifier(retry_on: Any) -> "Optional[Callable[[BaseException], Union[bool, str, None]]]":
        if retry_on is None:
            return None
        kinds: Tuple[Any, ...] = retry_on if isinstance(retry_on, tuple) else (retry_on,)
        if kinds and all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            return lambda error: isinstance(error, kinds)
        if isinstance(retry_on, type) or not callable(retry_on):
            raise TypeError("retry_on: must be a function of an exception, an exception class or a tuple of them, not %r"
                            % (retry_on,))
        return cast("Callable[[BaseException], Union[bool, str, None]]", retry_on)

    def acquire(self, args: Any, kwargs: Any) -> Any:
        assert self.limiter is not None
        return self.limiter.acquire(**cost_of(self.cost, *args, **kwargs), priority=self.priority, timeout=self.timeout)

    def classify(self, failure: Any) -> "Tuple[Classified, Optional[Response]]":
        found, response = _classify(failure, self.provider)
        if self.retry_on is None or not isinstance(failure, BaseException):
            return found, response
        wanted = self.retry_on(failure)
        if wanted is None:
            return found, response
        if isinstance(wanted, str):
            _index("retry_on", wanted, ERROR_CLASSES)
            return found._replace(retry=wanted != "fatal", error_class=wanted), response
        error_class = found.error_class if found.error_class != "fatal" else "network"
        return found._replace(retry=bool(wanted), error_class=error_class if wanted else "fatal"), response


class _Run:
    """One call and its retries."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.delays = plan.backoff.start()
        self.tries = 0
        self.waited = 0.0
        self.stopped = ""

    def begin(self) -> None:
        self.tries += 1
        if self.tries == 1 and self.plan.budget is not None:
            self.plan.budget.request()
        if self.tries > 1 and self.plan.limiter is not None:
            self.plan.limiter._count_retry()

    def answered(self, permit: "Optional[Permit]", result: Any) -> Optional[float]:
        """As failed() for a result that is a response with an error; else settles with what the call has used."""
        if _is_failed_response(result):
            return self.failed(permit, result)
        if permit is not None and self.plan.actual is not None:
            permit.settle(**used_of(self.plan.actual, result))
        return None

    def failed(self, permit: "Optional[Permit]", failure: Any) -> Optional[float]:
        """Seconds until the next try; None: this was the last. What failed has paid; of a refusal no tokens."""
        found, response = self.plan.classify(failure)
        if permit is not None and response is not None:
            assert self.plan.limiter is not None
            self.plan.limiter.observe(response.feedback, permit)
            permit.settle(**(_REFUSED if found.status == 429 else {}))
        if not found.retry:
            self.stopped = "not retried: %s" % found.reason
            return None
        if self.plan.attempts is not None and self.tries >= self.plan.attempts:
            self.stopped = "no attempts left"
            return None
        delay = self.delays.next(found.error_class, self.plan.priority, found.retry_after)
        if delay is None:
            self.stopped = "no attempts left"
        elif self.plan.budget is not None and not self.plan.budget.retry():
            self.stopped = "the retry budget is spent"
            return None
        return delay

    def end(self, error: Optional[Exception], result: Any, delay: Optional[float]) -> Any:
        """Raises the last error, or returns the last result."""
        if error is None:
            return result
        if delay is not None:
            self.stopped = "cancelled"
        try:
            self.note(error)
            raise error
        finally:
            del error

    def note(self, error: BaseException) -> None:
        """Says on the error how often it was tried, from Python 3.11 on."""
        if self.tries > 1 or not self.stopped.startswith("not retried"):
            add_note = getattr(error, "add_note", None)
            if add_note is not None:
                add_note("rlimit: %d attempt%s, %.3g s of waiting between them; %s" % (
                    self.tries, "" if self.tries == 1 else "s", self.waited, self.stopped))


@overload
def retry(limiter: "Function", /) -> "Function": ...
@overload
def retry(limiter: "Optional[Limiter]" = None, *, backoff: Optional[Backoff] = None, attempts: Optional[int] = None,
          retry_on: "RetryOn" = None, cost: "Cost" = None, actual: Optional[Callable[[Any], Mapping[str, int]]] = None,
          priority: Priority = "normal", timeout: Optional[float] = None, budget: Optional[RetryBudget] = None,
          provider: Optional[str] = None, sleep: Optional[Callable[[float], Any]] = None,
          cancel: "Optional[threading.Event]" = None,
          clock: "Optional[ManualClock]" = None) -> "Callable[[Function], Function]": ...


def retry(limiter: Any = None, *, backoff: Optional[Backoff] = None, attempts: Optional[int] = None,
          retry_on: "RetryOn" = None, cost: "Cost" = None,
          actual: Optional[Callable[[Any], Mapping[str, int]]] = None, priority: Priority = "normal",
          timeout: Optional[float] = None, budget: Optional[RetryBudget] = None, provider: Optional[str] = None,
          sleep: Optional[Callable[[float], Any]] = None, cancel: "Optional[threading.Event]" = None,
          clock: "Optional[ManualClock]" = None) -> Any:
    """Decorates a function or coroutine function: it is tried again when it fails in a way that may pass.

    limiter:    every attempt pays it; what the server says in an error goes back to it. None: nothing is paid
    backoff:    the delays; None: Backoff()
    attempts:   tries in all, the first included; None: as many as the backoff has delays, and one
    retry_on:   None: classify(). A function of the exception that returns True, False, a class of error ("rate_limit",
                "server", "network", "fatal"), or None for classify's opinion; or an exception class, or a tuple of them:
                those and no others
    cost:       what an attempt costs: a mapping of meters, or a function of the call's arguments that returns one
    actual:     a function of the result that returns what was used, to settle with; None: the estimate
    priority, timeout:  of the limiter's queue; "critical" and "high" wait half as long between attempts
    budget:     a RetryBudget, shared with others
    provider:   whose error bodies and headers to expect; None: the limiter's
    sleep:      waits so many seconds (a coroutine function for a coroutine function); None: the thread's or event loop's
                sleep
    cancel:     a threading.Event: once set, a sleep in a thread ends, and the last error is raised
    clock:      a ManualClock, to sleep by; None: the limiter's clock. No real time passes then: advance() ends the sleep

    A result that is an HTTP response (it has `headers` and `status_code` or `status`) with a status to be retried counts as
    a failure; the last one is returned. Retry-After wins over the backoff. Cancellation and KeyboardInterrupt pass through
    at once. The last error is raised as it is, from Python 3.11 on with a note that tells the attempts. What the limiter
    raises (AcquireTimeout, QueueFull, NeverAdmitted) is not retried.

    Raises TypeError or ValueError naming the argument, before the function is called; TypeError for a generator function.

    >>> @retry(attempts=3)
    ... def answer(question):
    ...     return client.post("/v1/chat/completions", json=question).raise_for_status().json()
    """
    function: Any = limiter
    if callable(function) and not hasattr(function, "acquire"):
        return _decorate(function, _Plan(None, backoff, attempts, retry_on, cost, actual, priority, timeout, budget,
                                         provider, sleep, cancel, clock))
    plan = _Plan(limiter, backoff, attempts, retry_on, cost, actual, priority, timeout, budget, provider, sleep, cancel,
                 clock)
    return lambda decorated: _decorate(decorated, plan)


def is_coroutine_function(function: Any) -> bool:
    """Whether a call of it is to be awaited."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def _decorate(function: Any, plan: _Plan) -> Any:
    if not callable(function):
        raise TypeError("retry: decorates a function, not %s" % type(function).__name__)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("retry: cannot repeat a generator, whose results are in use already: %r" % (function,))
    if is_coroutine_function(function):
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await _call_async(function, plan, args, kwargs)
        return functools.wraps(function, updated=())(call_async)

    def call(*args: Any, **kwargs: Any) -> Any:
        return _call(function, plan, args, kwargs)
    return functools.wraps(function, updated=())(call)


def _is_failed_response(result: Any) -> bool:
    status = getattr(result, "status_code", None)
    if status is None:
        status = getattr(result, "status", None)
    return type(status) is int and status >= 400 and hasattr(result, "headers")


def _call(function: Any, plan: _Plan, args: Any, kwargs: Any) -> Any:
    run = _Run(plan)
    while True:
        run.begin()
        error: Optional[Exception] = None
        result: Any = None
        with plan.acquire(args, kwargs).wait() if plan.limiter is not None else contextlib.nullcontext() as permit:
            try:
                result = function(*args, **kwargs)
            except Exception as raised:
                error = raised
                delay = run.failed(permit, error)
            else:
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError("retry: %r returned a coroutine: declare it with async def" % (function,))
                delay = run.answered(permit, result)
        if delay is None or not _sleeps_on(plan, delay):
            return run.end(error, result, delay)
        error = None
        _close(result)
        run.waited += delay


async def _call_async(function: Any, plan: _Plan, args: Any, kwargs: Any) -> Any:
    run = _Run(plan)
    while True:
        run.begin()
        error: Optional[Exception] = None
        result: Any = None
        with await plan.acquire(args, kwargs) if plan.limiter is not None else contextlib.nullcontext() as permit:
            try:
                result = await function(*args, **kwargs)
            except Exception as raised:
                error = raised
                delay = run.failed(permit, error)
            else:
                delay = run.answered(permit, result)
        if delay is None:
            return run.end(error, result, delay)
        error = None
        await _close_async(result)
        await _sleep_async(plan, delay)
        run.waited += delay


def _close(response: Any) -> None:
    close = getattr(response, "close", None)
    if callable(close):
        close()


async def _close_async(response: Any) -> None:
    for name in ("aclose", "release", "close"):
        close = getattr(response, name, None)
        if callable(close):
            done = close()
            if inspect.isawaitable(done):
                await done
            return


# -- Sleeping --

def _sleeps_on(plan: _Plan, seconds: float) -> bool:
    """Sleeps in a thread; False if it was cancelled."""
    if plan.cancel is not None and plan.cancel.is_set():
        return False
    if plan.sleep is not None:
        plan.sleep(seconds)
    elif _is_manual(plan.clock):
        plan.clock.sleep(seconds)
    elif plan.cancel is not None:
        return not plan.cancel.wait(seconds)
    else:
        time.sleep(seconds)
    return plan.cancel is None or not plan.cancel.is_set()


async def _sleep_async(plan: _Plan, seconds: float) -> None:
    if plan.sleep is not None:
        slept = plan.sleep(seconds)
        if inspect.isawaitable(slept):
            await slept
    elif _is_manual(plan.clock):
        await plan.clock.sleep_async(seconds)
    elif async_library() == "trio":
        import trio
        await trio.sleep(seconds)
    else:
        import asyncio
        await asyncio.sleep(seconds)


def _is_manual(clock: Any) -> bool:
    return hasattr(clock, "advance")


def async_library() -> str:
    """"asyncio" or "trio": what runs the coroutine that asks."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        try:
            return str(sniffio.current_async_library())
        except sniffio.AsyncLibraryNotFoundError:
            pass
    return "asyncio"
