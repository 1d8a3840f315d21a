"""Limits, as they are configured: per_minute(50), sliding(100, 60), calendar_day(1000), learned(), adaptive() ...

A limit is a value: what it counts is said where it is given to a Limiter. Ranges are checked there, types here.
"""

from __future__ import annotations

from . import _rlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple, Union

    Seconds = Union[int, float]
    Spec = Tuple[int, int, int, int, int, int, int, Optional[int], int, int]

BUCKET, WINDOW, CONCURRENCY, CALENDAR = range(4)
KINDS = ("bucket", "window", "concurrency", "calendar")
FOLLOWS = ("shrink", "fixed", "follow", "learn", "ramp", "adapt")
MONTH = (1 << 64) - 1
SECOND = 10**9
UNKNOWN_AMOUNT = 1 << 30
_WORDS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


def _whole(name: str, value: Any) -> int:
    """An int of 0 to 2^64 - 1, which C can look at: the range that is right depends on the kind."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError("%s: must be an int, not %s" % (name, type(value).__name__))
    number = value.__index__()
    if not 0 <= number < 1 << 64:
        raise ValueError("%s: must be 1 to 2^40, not %d" % (name, number))
    return int(number)


def _ns(name: str, value: Any) -> int:
    """Seconds as nanoseconds, to the nearest."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("%s: must be a number of seconds, not %s" % (name, type(value).__name__))
    if not 0 <= value <= 36028797:
        raise ValueError("%s: must be 0 to 36028797 seconds (417 days), not %r" % (name, value))
    return value * SECOND if isinstance(value, int) else round(value * SECOND)


def _seconds(ns: int) -> Union[int, float]:
    return ns // SECOND if ns % SECOND == 0 else ns / SECOND


class Limit:
    """One limit: how much in how long, and how it counts. Made by per_minute and its kin; immutable, comparable, hashable.

    kind:       "bucket" (refills continuously), "window" (never more than amount in any period), "concurrency", "calendar"
    amount:     how much; None: not known yet, to be learned
    seconds:    in how long; None for a month and for concurrency
    burst:      bucket: what may go at once after a pause
    guard:      seconds: the largest delay of a request on its way to the server
    cells:      window: memory, in cells of 24 bytes; 0 is 258
    utc_offset: calendar: seconds east of UTC
    follow:     what it does when the server says otherwise: "shrink" (below what was configured, and back), "fixed", "follow",
                "learn" (nothing is known until the server tells); "ramp" and "adapt" are made by ramp() and adaptive()
    least:      of adaptive()

    >>> per_minute(50).replace(follow="fixed")
    per_minute(50).replace(follow='fixed')
    """

    __slots__ = ("_spec",)
    _spec: Spec

    def __init__(self, spec: Spec) -> None:
        object.__setattr__(self, "_spec", spec)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("%s: a limit cannot be changed; limit.replace(%s=...) makes another one" % (name, name))

    def __delattr__(self, name: str) -> None:
        raise AttributeError("%s: a limit cannot be changed" % name)

    def __reduce__(self) -> Tuple[type, Tuple[Spec]]:
        return Limit, (self._spec,)

    @property
    def kind(self) -> str:
        return KINDS[self._spec[0]]

    @property
    def amount(self) -> Optional[int]:
        return None if self.follow == "learn" and self._spec[1] == UNKNOWN_AMOUNT else self._spec[1]

    @property
    def seconds(self) -> Union[int, float, None]:
        return None if self._spec[0] == CONCURRENCY or self._spec[2] == MONTH else _seconds(self._spec[2])

    @property
    def burst(self) -> Optional[int]:
        return self._spec[3] if self._spec[0] == BUCKET or self.follow == "adapt" else None

    @property
    def guard(self) -> Union[int, float]:
        return _seconds(self._spec[4])

    @property
    def cells(self) -> int:
        return self._spec[5]

    @property
    def utc_offset(self) -> int:
        return self._spec[6]

    @property
    def follow(self) -> str:
        return FOLLOWS[self._spec[8]]

    @property
    def least(self) -> int:
        return self._spec[9]

    def replace(self, *, amount: Optional[int] = None, seconds: Optional[Seconds] = None, burst: Optional[int] = None,
                guard: Optional[Seconds] = None, cells: Optional[int] = None, utc_offset: Optional[int] = None,
                wall_offset: Optional[Seconds] = None, follow: Optional[str] = None) -> Limit:
        """The same limit with other numbers; see Limit for what they mean. wall_offset: for a calendar, the wall clock less the
        limiter's clock, in seconds; by default the limiter knows it. Raises ValueError or TypeError naming the field.

        >>> per_minute(50).replace(burst=5)
        per(50, 60, burst=5)
        """
        spec: list[Any] = list(self._spec)
        if amount is not None:
            if spec[3] == spec[1]:
                spec[3] = _whole("amount", amount)
            spec[1] = _whole("amount", amount)
        if seconds is not None:
            spec[2] = _ns("seconds", seconds)
        if burst is not None:
            spec[3] = _whole("burst", burst)
        if guard is not None:
            spec[4] = _ns("guard", guard)
        if cells is not None:
            spec[5] = _cells(cells)
        if utc_offset is not None:
            spec[6] = _offset(utc_offset)
        if wall_offset is not None:
            if isinstance(wall_offset, bool) or not isinstance(wall_offset, (int, float)):
                raise TypeError("wall_offset: must be a number of seconds, not %s" % type(wall_offset).__name__)
            spec[7] = round(wall_offset * SECOND)
        if follow is not None:
            if follow not in FOLLOWS[:4]:
                raise ValueError("follow: must be shrink, fixed, follow or learn, not %r" % (follow,))
            spec[8] = FOLLOWS.index(follow)
        return Limit(tuple(spec))

    def __eq__(self, other: object) -> bool:
        return self._spec == other._spec if isinstance(other, Limit) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spec)

    def __repr__(self) -> str:
        call, follow = _call(self), self._spec[8]
        return call if follow == 0 or follow > 3 or call.startswith(
            "learned") else "%s.replace(follow=%r)" % (call, FOLLOWS[follow])


def _call(limit: Limit) -> str:
    """The call that makes it, but for follow."""
    kind, amount, period_ns, burst, guard_ns, cells, utc_offset = limit._spec[:7]
    more: Dict[str, Any] = {}
    if limit.follow == "adapt":
        return "adaptive(least=%d, most=%d%s)" % (limit.least, amount, ", begin=%d" % burst if burst != 8 else "")
    if limit.follow == "ramp":
        return "ramp(floor=%d, hold=%s)" % (amount, _seconds(period_ns))
    if kind == CONCURRENCY:
        return "concurrent(%d)" % amount
    if kind == BUCKET and limit.amount is None:
        return "learned(%s)" % _seconds(period_ns)
    if kind == BUCKET and burst != amount:
        more["burst"] = burst
    if cells:
        more["cells"] = cells
    if utc_offset:
        more["utc_offset"] = utc_offset
    if guard_ns:
        more["guard"] = _seconds(guard_ns)
    tail = "".join(", %s=%r" % item for item in more.items())
    if kind == CALENDAR and period_ns == MONTH:
        return "calendar_month(%d%s)" % (amount, tail)
    seconds = _seconds(period_ns)
    if kind == CALENDAR and seconds == 86400:
        return "calendar_day(%d%s)" % (amount, tail)
    if kind == BUCKET and not more and seconds in _WORDS:
        return "per_%s(%d)" % (_WORDS[int(seconds)], amount)
    return "%s(%d, %s%s)" % (("per", "sliding", "", "fixed")[kind], amount, seconds, tail)


def _make(kind: int, amount: Any, period_ns: int, burst: Any = None, guard: Any = 0, cells: int = 0, utc_offset: int = 0,
          follow: str = "shrink", least: int = 0) -> Limit:
    amount = _whole("amount", amount)
    return Limit((kind, amount, period_ns, amount if burst is None else _whole("burst", burst), _ns("guard", guard), cells,
                  utc_offset, None, FOLLOWS.index(follow), least))


def _cells(cells: Any) -> int:
    number = _whole("cells", cells)
    if number > 65536:
        raise ValueError("cells: must be 0 or 3 to 65536, not %d" % number)
    return number


def _offset(utc_offset: Any) -> int:
    if isinstance(utc_offset, bool) or not isinstance(utc_offset, int):
        raise TypeError("utc_offset: must be an int of seconds east of UTC, not %s" % type(utc_offset).__name__)
    if not -86400 <= utc_offset <= 86400:
        raise ValueError("utc_offset: must be -86400 to 86400 seconds, not %d" % utc_offset)
    return utc_offset


def per(amount: int, seconds: Seconds, *, burst: Optional[int] = None, guard: Seconds = 0.0) -> Limit:
    """A token bucket: amount in so many seconds, refilled continuously.

    amount, burst:  1 to 2^40; burst is what may go at once after a pause, None: the amount
    seconds:        up to 36028797 (417 days)
    guard:          seconds, up to the period: the largest delay of a request on its way to the server

    Raises TypeError or ValueError naming the field; ranges are checked by the Limiter it is given to.

    >>> per(100, 10, burst=20)
    per(100, 10, burst=20)
    """
    return _make(BUCKET, amount, _ns("seconds", seconds), burst, guard)


def per_second(amount: int) -> Limit:
    """As per(amount, 1).

    >>> per_second(5)
    per_second(5)
    """
    return per(amount, 1)


def per_minute(amount: int) -> Limit:
    """As per(amount, 60).

    >>> per_minute(50)
    per_minute(50)
    """
    return per(amount, 60)


def per_hour(amount: int) -> Limit:
    """As per(amount, 3600).

    >>> per_hour(50)
    per_hour(50)
    """
    return per(amount, 3600)


def per_day(amount: int) -> Limit:
    """As per(amount, 86400): refilled continuously. For a quota that begins anew at midnight see calendar_day.

    >>> per_day(5000)
    per_day(5000)
    """
    return per(amount, 86400)


def sliding(amount: int, seconds: Seconds, *, cells: int = 0, guard: Seconds = 0.0) -> Limit:
    """A sliding window: never more than amount in any so many seconds. Satisfies a server that keeps a bucket or a fixed window too.

    amount:     1 to 2^40
    cells:      memory, in cells of 24 bytes: 3 to 65536, or 0 for 258. With amount + 2 or more it is exact, with fewer it counts up
                to one slot of seconds / (cells - 2) too long. A Limiter has 1056 in all.
    guard:      as of per()

    >>> sliding(100, 60)
    sliding(100, 60)
    """
    return _make(WINDOW, amount, _ns("seconds", seconds), None, guard, _cells(cells))


def fixed(amount: int, seconds: Seconds, *, utc_offset: int = 0, guard: Seconds = 0.0) -> Limit:
    """A quota that begins anew at each multiple of so many seconds of the wall clock.

    amount:     1 to 2^40
    utc_offset: seconds east of UTC, -86400 to 86400
    guard:      seconds, less than the period: admits nothing in its last guard seconds

    >>> fixed(100, 60)
    fixed(100, 60)
    """
    return _make(CALENDAR, amount, _ns("seconds", seconds), None, guard, utc_offset=_offset(utc_offset))


def calendar_day(amount: int, *, utc_offset: int = 0, guard: Seconds = 0.0) -> Limit:
    """A quota that begins anew at midnight. amount: 1 to 2^40; utc_offset: seconds east of UTC (Pacific standard time: -28800).

    >>> calendar_day(1000, utc_offset=3600)
    calendar_day(1000, utc_offset=3600)
    """
    return fixed(amount, 86400, utc_offset=utc_offset, guard=guard)


def calendar_month(amount: int, *, utc_offset: int = 0) -> Limit:
    """A quota that begins anew on the first of the month. amount: 1 to 2^40; utc_offset: seconds east of UTC.

    >>> calendar_month(50_000_000)
    calendar_month(50000000)
    """
    return _make(CALENDAR, amount, MONTH, utc_offset=_offset(utc_offset))


def learned(seconds: Seconds = 60) -> Limit:
    """A bucket of which nothing is known but how long its period usually is: learned from what the server says. Until the first
    answer was observed one permit is out at a time.

    >>> learned()
    learned(60)
    """
    return _make(BUCKET, UNKNOWN_AMOUNT, _ns("seconds", seconds), follow="learn")


def concurrent(amount: int) -> Limit:
    """A cap on permits out at once, 1 to 2^31. Limiter(concurrency=10) is short for it.

    >>> concurrent(10)
    concurrent(10)
    """
    return _make(CONCURRENCY, amount, 1)


def adaptive(least: int = 1, most: int = 64, *, begin: int = 8) -> Limit:
    """A cap on permits out at once that moves between least and most, 1 to 2^31: it grows while answers take no longer for it, and
    shrinks when the server is overloaded. For Limiter(concurrency=adaptive(4, 64)). It begins at `begin`, within least and most.

    >>> adaptive(4, 64)
    adaptive(least=4, most=64)
    """
    least, most, begin = _whole("least", least), _whole("most", most), _whole("begin", begin)
    if not 1 <= least <= most <= 1 << 31:
        raise ValueError("least: must be 1 to most, and most at most 2^31, not %d and %d" % (least, most))
    return _make(CONCURRENCY, most, 1, begin, follow="adapt", least=least)


def ramp(floor: int = 15, hold: Seconds = 900) -> Limit:
    """No limit until the server says that load was raised too fast: then requests go back to the pace before, are held there for hold
    seconds, and climb by a quarter a minute; never below floor requests in hold seconds. For Limiter(ramp=ramp()).

    >>> ramp()
    ramp(floor=15, hold=900)
    """
    return _make(BUCKET, floor, _ns("hold", hold), follow="ramp")


_FIELDS = {"amount": ("amount", "must be 1 to 2^40"), "period": ("seconds", "must be more than 0 and at most 36028797 (417 days)"),
           "rate": ("amount, seconds", "the rate must not exceed 10^10 a second"), "burst": ("burst", "must be 1 to 2^40"),
           "span": ("amount, burst", "too large to be counted at this rate and period"),
           "guard": ("guard", "must not exceed seconds (calendar: must be less; a month: 0)"),
           "cells": ("cells", "must be 0 or 3 to 65536, and all windows of a limiter together at most 1056"),
           "follow": ("follow", "not for this kind of limit"), "limits": ("limits", "a limiter has 1 to %d" % _rlimit.LIMITS_MAX)}


def error_of(status: int, name: str, limit: Limit) -> ValueError:
    """What rlm_limiter_init or rlm_reconfigure says of a limit, in this package's words."""
    text, _, code = _rlimit.strerror(status)
    field, rule = _FIELDS.get(code, ("", text))
    if code == "amount" and limit.kind == "concurrency":
        rule = "must be 1 to 2^31"
    values = [getattr(limit, part) for part in field.split(", ")] if field and field != "limits" else []
    told = ", not %s" % " and ".join(map(repr, values)) if values else ""
    error = _rlimit.LimitError("%s: %s%s%s" % (name, field + ": " if field else "", rule, told))
    error.code = code
    return error
