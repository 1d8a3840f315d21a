"""The limiter that users make: keywords to limits. Decisions and waiting are in _rlimit.c."""

from __future__ import annotations

import math

from . import _rlimit
from ._limit import CONCURRENCY, Limit, _number, _whole, adaptive, concurrent, error_of, ramp as make_ramp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    from ._clock import ManualClock
    from ._status import Status

    Limits = Union[Limit, Sequence[Limit], None]

METERS = ("requests", "input_tokens", "output_tokens", "tokens", "microdollars", "custom")
AGEING_MOST = 1 << 60


def _limits_of(name: str, given: Limits) -> List[Limit]:
    if given is None:
        return []
    if isinstance(given, Limit):
        return [given]
    if not isinstance(given, (list, tuple)) or not all(isinstance(limit, Limit) for limit in given):
        raise TypeError("%s: must be a Limit such as per_minute(50), a sequence of them, or None, not %r" % (name, given))
    return list(given)


def _cap_of(given: Union[int, Limit, None]) -> List[Limit]:
    if given is None:
        return []
    if isinstance(given, Limit):
        if given._spec[0] != CONCURRENCY:
            raise ValueError("concurrency: must be an int, adaptive() or None, not %r" % (given,))
        return [given]
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError("concurrency: must be an int, adaptive() or None, not %s" % type(given).__name__)
    if not 1 <= given <= 1 << 31:
        raise ValueError("concurrency: must be 1 to 2^31, not %d" % given)
    return [concurrent(given)]


def _ramp_of(given: Union[bool, Limit, None]) -> List[Limit]:
    if given is None or given is False:
        return []
    if given is True:
        return [make_ramp()]
    if not isinstance(given, Limit):
        raise TypeError("ramp: must be ramp(), True or None, not %s" % type(given).__name__)
    if given.follow != "ramp":
        raise ValueError("ramp: must be ramp(), not %r" % (given,))
    return [given]


def _named(given: Dict[str, List[Limit]]) -> List[Tuple[str, Limit]]:
    """Each limit with the name of what it counts, checked to be one that counts this."""
    for meter in METERS:
        for limit in given.get(meter, ()):
            if limit._spec[0] == CONCURRENCY:
                raise ValueError("%s: %r counts connections: give it as concurrency=" % (meter, limit))
            if limit.follow == "ramp":
                raise ValueError("%s: %r is a pace of requests: give it as ramp=" % (meter, limit))
    return [(name, limit) for name, limits in given.items() for limit in limits]


def _learn(provider: str, given: Dict[str, List[Limit]], lead: bool) -> None:
    """Adds what this provider limits and was not given, to be learned; without any limits given, a cap and a pace too."""
    both = bool(given["input_tokens"]) and bool(given["output_tokens"])
    only = not any(given[meter] for meter in METERS)
    for meter, spec in _rlimit.http_limits(provider):
        name = METERS[meter]
        known = given[name] or (name == "tokens" and both) or (name in ("input_tokens", "output_tokens") and given["tokens"])
        if not known:
            given[name] = [Limit(spec)]
    if only and lead:
        given["concurrency"] = given["concurrency"] or [adaptive(1, 64)]
        given["ramp"] = given["ramp"] or [make_ramp()]


def _ageing_ns(ageing: Any) -> int:
    if not _number("ageing", ageing, "a number of seconds") >= 0:
        raise ValueError("ageing: must be 0 or more seconds, or math.inf, not %r" % (ageing,))
    return AGEING_MOST if ageing > 1e9 else round(ageing * 1e9)


def _saved(item: Any) -> Tuple[Tuple[str, Any, int], Tuple[int, int]]:
    """One of what save() returned: which quota it is of, and its period and amount."""
    try:
        key, pair = (item["meter"], item["seconds"], item["utc_offset"]), (item["period"], item["used"])
    except (TypeError, KeyError, IndexError):
        raise ValueError("saved: must be what save() returned, not %r" % (item,)) from None
    if not isinstance(key[0], str):
        raise TypeError("saved: meter: must be a str, not %s" % type(key[0]).__name__)
    if key[1] is not None:
        _number("saved: seconds", key[1], "a number of seconds or None")
    _whole("saved: utc_offset", key[2], -86400, 86400)
    period, used = (_whole("saved: " + name, value, 0, (1 << 64) - 1, "0 or more") for name, value in zip(("period", "used"), pair))
    return key, (period, used)


class Limiter(_rlimit.Limiter):
    """Several limits as one decision, and the queue before them.

        from rlimit import Limiter, per_minute

        claude = Limiter(requests=per_minute(50), input_tokens=per_minute(80_000), output_tokens=per_minute(16_000), concurrency=10)

        async with claude.acquire(input_tokens=1_200, output_tokens=400) as permit:      # also plain `with`
            reply = await client.messages.create(...)
            permit.settle(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)

    requests, input_tokens, output_tokens, tokens (both together), microdollars, custom: a Limit, several, or None
    concurrency:    how many permits may be out at once: 1 to 2^31, or adaptive()
    ramp:           ramp() or True: slows down when the server says that load was raised too fast
    provider:       "anthropic", "openai", "azure", "bedrock", "gemini", "groq", "cerebras", "openrouter", "litellm", "generic": what it
                    limits and was not given is learned from its answers (observe); with no limits given at all, concurrency is
                    adaptive(1, 64) and ramp is ramp(), unless they are
    queue:          how many may wait, 0 to 2^31; then QueueFull
    ageing:         seconds of waiting that a step of priority is worth; math.inf: the lower wait for the higher
    clock:          a ManualClock, or a callable that returns nanoseconds as an int; None: the system's monotonic clock
    name:           for logs

    At most 12 limits. Safe in threads and event loops at once. After a fork the child's copy goes on by itself: both together then
    spend twice as much. It cannot be pickled. Used as a context manager it is closed at the end. Raises ValueError or TypeError
    naming the field.

    >>> Limiter(requests=per_minute(50), concurrency=10)
    Limiter(requests=per_minute(50), concurrency=10)
    """

    __slots__ = ()

    def __init__(self, *, requests: Limits = None, input_tokens: Limits = None, output_tokens: Limits = None, tokens: Limits = None,
                 microdollars: Limits = None, custom: Limits = None, concurrency: Union[int, Limit, None] = None,
                 ramp: Union[bool, Limit, None] = None, provider: Optional[str] = None, queue: int = 10_000, ageing: float = 30.0,
                 clock: Union[ManualClock, Callable[[], int], None] = None, name: Optional[str] = None) -> None:
        values = (requests, input_tokens, output_tokens, tokens, microdollars, custom)
        given = {meter: _limits_of(meter, value) for meter, value in zip(METERS, values)}
        given["concurrency"] = _cap_of(concurrency)
        given["ramp"] = _ramp_of(ramp)
        if provider is not None:
            _learn(provider, given, ramp is not False)
        named = _named(given)
        if not named:
            raise ValueError("limits: none given; requests=per_minute(50), say, or provider=\"openai\" to learn them")
        if len(named) > _rlimit.LIMITS_MAX:
            raise ValueError("limits: at most %d, not %d" % (_rlimit.LIMITS_MAX, len(named)))
        if name is not None and not isinstance(name, str):
            raise TypeError("name: must be a str or None, not %s" % type(name).__name__)
        self._start(named, _whole("queue", queue, 0, 1 << 31), _ageing_ns(ageing), clock, provider, name)

    def _start(self, named: List[Tuple[str, Limit]], queue: int, ageing_ns: int, clock: Any, provider: Optional[str],
               name: Optional[str]) -> None:
        status = self._begin(tuple(limit for _, limit in named), tuple(_meter(meter) for meter, _ in named),
                             tuple(meter for meter, _ in named), queue, ageing_ns, clock, provider, name, None)
        if status != 0:
            index = max(_rlimit.strerror(status)[1], 0)
            raise error_of(status, *named[index])
        watch = getattr(self.clock, "_watch", None)
        if watch is not None:
            watch(self)

    def status(self) -> Status:
        """What is used of each limit, and what has become of requests: see Status. Never blocks.

        >>> Limiter(requests=per_minute(50)).status().limits[0].remaining
        50
        """
        from ._status import Status, Usage
        limits, active, queued, recent, succeeded, failed, retried, refused = self._status()
        usages = tuple(
            Usage(meter, limit, used, remaining, math.inf if reset_ns >= _rlimit.ON_RELEASE else reset_ns / 1e9,
                  None if spec is None else Limit(spec[:7] + limit._spec[7:8] + spec[8:]), capacity)
            for meter, limit, (capacity, used, remaining, reset_ns, spec) in zip(self.meters, self.limits, limits))
        return Status(usages, active, queued, recent, succeeded, failed, retried, refused)

    def reconfigure(self, which: Union[str, int], limit: Union[Limit, int]) -> None:
        """Gives a limit other numbers while in use; what is used stays.

        which:  the name of what it counts, if only one limit of that kind and period does; or its index in .limits
        limit:  of the same kind; a window's and a calendar's period, guard and zone stay, and how it follows the server. For
                "concurrency" an int will do: of adaptive() it is the most.

        Never blocks. Raises ValueError or TypeError naming the field; then nothing was changed.

        >>> limiter = Limiter(requests=per_minute(50))
        >>> limiter.reconfigure("requests", per_minute(100))
        >>> limiter.limits
        (per_minute(100),)
        """
        if not isinstance(limit, Limit):
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise TypeError("limit: must be a Limit such as per_minute(50), not %s" % type(limit).__name__)
            if any(self.limits[index].kind != "concurrency" for index in self._indices(which)):
                raise TypeError("limit: must be a Limit such as per_minute(50), not %d: an int will do for \"concurrency\" only" % limit)
            limit = concurrent(_whole("limit", limit, 1, 1 << 31))
        index = self._index(which, limit)
        limit = self._following(index, limit)
        status = self._reconfigure(index, _meter(self.meters[index]), limit)
        if status != 0:
            raise error_of(status, self.meters[index], limit, self.limits[index].kind)

    def _following(self, index: int, limit: Limit) -> Limit:
        """The limit with what stays of the one before: how it follows the server, and the least and the first of adaptive()."""
        before = self.limits[index]
        if before.kind != limit.kind or (before.follow, before.least) == (limit.follow, limit.least):
            return limit
        if limit.follow != "shrink" or before.follow == "ramp":
            raise ValueError("%s: stays %r but for its numbers, and cannot become %r" % (self.meters[index], before, limit))
        spec = limit._spec[:3] + (before if before.follow == "adapt" else limit)._spec[3:4] + limit._spec[4:8] + before._spec[8:]
        return Limit(spec)

    def _index(self, which: Union[str, int], limit: Limit) -> int:
        indices = self._indices(which)
        if len(indices) > 1:
            same = [index for index in indices if self.limits[index].kind == limit.kind]
            exact = [index for index in same if self.limits[index].seconds == limit.seconds]
            indices = same if len(same) == 1 else exact
        if len(indices) != 1:
            raise ValueError("which: %r could be any of %s: give the index" % (which, list(zip(self.meters, self.limits))))
        return indices[0]

    def _indices(self, which: Union[str, int], name: str = "which") -> List[int]:
        if isinstance(which, str):
            found = [index for index, meter in enumerate(self.meters) if meter == which]
        elif isinstance(which, bool) or not isinstance(which, int):
            raise TypeError("%s: must be the name of a meter or an index, not %s" % (name, type(which).__name__))
        else:
            found = [which] if 0 <= which < len(self.limits) else []
        if not found:
            raise ValueError("%s: no limit %r; there are %s" % (name, which, ", ".join(self.meters)))
        return found

    def pause(self, seconds: float, meter: Union[str, int, None] = None) -> None:
        """Admits nothing for so many seconds, 0 or more; 0 ends a pause, and more than 417 days count as so many. meter: only what the
        limits of this meter, or the limit at this index, would have to admit; None: all. Never blocks. Raises ValueError or TypeError
        naming the field.

        >>> limiter = Limiter(requests=per_minute(50))
        >>> limiter.pause(5)
        >>> limiter.try_acquire() is None
        True
        """
        for index in [-1] if meter is None else self._indices(meter, "meter"):
            self._pause(index, seconds)

    def save(self) -> List[Dict[str, Any]]:
        """What to keep of calendar quotas over a restart: a list that json can write.

        >>> limiter = Limiter(microdollars=calendar_month(50_000_000))
        >>> limiter.debit(microdollars=1_000_000)
        >>> limiter.save()[0]["used"]
        1000000
        """
        return [{"meter": self.meters[index], "seconds": self.limits[index].seconds, "utc_offset": self.limits[index].utc_offset,
                 "period": period, "used": used} for index, period, used in self._save()]

    def restore(self, saved: Sequence[Dict[str, Any]]) -> None:
        """Adds what save() told to what is used, for each quota of the same meter, period and zone whose period is not over. Others are
        left out. Raises ValueError or TypeError for what save() did not make; then nothing was added.

        >>> limiter = Limiter(microdollars=calendar_month(50_000_000))
        >>> limiter.restore(limiter.save())
        """
        if isinstance(saved, (str, bytes, dict)) or not hasattr(saved, "__iter__"):
            raise TypeError("saved: must be the list that save() returned, not %s" % type(saved).__name__)
        calendars = [index for index, _, _ in self._save()]
        found: List[Tuple[int, int, int]] = []
        for key, (period, used) in [_saved(item) for item in saved]:
            for index in calendars:
                if key == (self.meters[index], self.limits[index].seconds, self.limits[index].utc_offset):
                    found.append((index, period, used))
                    calendars.remove(index)
                    break
        self._restore(found)

    def __enter__(self) -> Limiter:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __repr__(self) -> str:
        parts: Dict[str, List[str]] = {}
        for meter, limit in zip(self.meters, self.limits):
            plain = limit.kind == "concurrency" and limit.follow == "shrink"
            parts.setdefault(meter, []).append(str(limit.amount) if plain else repr(limit))
        items = ["%s=%s" % (meter, texts[0] if len(texts) == 1 else "[%s]" % ", ".join(texts))
                            for meter, texts in parts.items()]
        items += ["%s=%r" % (key, value)
                             for key, value in (("provider", self.provider), ("name", self.name)) if value is not None]
        return "Limiter(%s)" % ", ".join(items)


def _meter(name: str) -> int:
    """The number of what a limit of this name counts: connections and the pace of a ramp count requests."""
    return METERS.index(name) if name in METERS else 0
