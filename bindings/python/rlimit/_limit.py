"""Limits, as they are configured: per_minute(50), sliding(100, 60), calendar_day(1000), learned(), adaptive() ...

A limit is a value: what it counts is said where it is given to a Limiter. It is checked here; whether all have room together,
there.
"""

from __future__ import annotations

from . import _rlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Literal, Optional, Tuple, Union

    Priority = Literal["critical", "high", "normal", "low"]
    Seconds = Union[int, float]
    Spec = Tuple[int, int, int, int, int, int, int, Optional[int], int, int]

BUCKET, WINDOW, CONCURRENCY, CALENDAR = range(4)
KINDS = ("bucket", "window", "concurrency", "calendar")
FOLLOWS = ("shrink", "fixed", "follow", "learn", "ramp", "adapt")
MONTH = (1 << 64) - 1
SECOND = 10**9
UNKNOWN_AMOUNT = 1 << 30
BEGIN = 8  # of adaptive()
_OWNERS = {"seconds": (BUCKET, WINDOW, CALENDAR), "burst": (BUCKET,), "guard": (BUCKET, WINDOW, CALENDAR), "cells": (WINDOW,),
           "utc_offset": (CALENDAR,), "wall_offset": (CALENDAR,)}
_WORDS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


def _said(number: int) -> str:
    return "2^%d" % (number.bit_length() - 1) if number > 1 << 20 and number & (number - 1) == 0 else "%d" % number


def _whole(name: str, value: Any, least: int = 1, most: int = 1 << 40, said: str = "") -> int:
    """An int, or an object that stands for one; not a bool. said: the range, in other words."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError("%s: must be an int, not %s" % (name, type(value).__name__))
    number = value.__index__()
    if not least <= number <= most:
        raise ValueError("%s: must be %s, not %d" % (name, said or "%d to %s" % (least, _said(most)), number))
    return int(number)


def _number(name: str, value: Any, what: str = "a number") -> float:
    """An int or a float; not a bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("%s: must be %s, not %s" % (name, what, type(value).__name__))
    return value


def _ns(name: str, value: Any) -> int:
    """Seconds as nanoseconds, to the nearest."""
    if not 0 <= _number(name, value, "a number of seconds") <= 36028797:
        raise ValueError("%s: must be 0 to 36028797 seconds (417 days), not %r" % (name, value))
    return value * SECOND if isinstance(value, int) else round(value * SECOND)


def _period(name: str, value: Any) -> int:
    """As _ns, of a period."""
    if not 5e-10 < _number(name, value, "a number of seconds") <= 36028797:
        raise ValueError("%s: must be more than 0 and at most 36028797 seconds (417 days), not %r" % (name, value))
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
        amounts = 1 << 31 if spec[0] == CONCURRENCY else 1 << 40
        self._has(seconds=seconds, burst=burst, guard=guard, cells=cells, utc_offset=utc_offset, wall_offset=wall_offset)
        if amount is not None:
            if spec[3] == spec[1]:
                spec[3] = _whole("amount", amount, 1, amounts)
            spec[1] = _whole("amount", amount, 1, amounts)
        if seconds is not None:
            spec[2] = _period("seconds", seconds)
        if burst is not None:
            spec[3] = _whole("burst", burst)
        if guard is not None:
            spec[4] = _ns("guard", guard)
        if cells is not None:
            spec[5] = _cells(cells)
        if utc_offset is not None:
            spec[6] = _offset(utc_offset)
        if wall_offset is not None:
            if not abs(_number("wall_offset", wall_offset, "a number of seconds")) <= 4611686018:
                raise ValueError("wall_offset: must be -4611686018 to 4611686018 seconds, not %r" % (wall_offset,))
            spec[7] = round(wall_offset * SECOND)
        if follow is not None:
            if follow not in FOLLOWS[:4]:
                raise ValueError("follow: must be shrink, fixed, follow or learn, not %r" % (follow,))
            spec[8] = FOLLOWS.index(follow)
        return _checked(Limit(tuple(spec)))

    def _has(self, **given: Any) -> None:
        """Raises ValueError for a field that this kind of limit does not have."""
        for name, value in given.items():
            if value is not None and self._spec[0] not in _OWNERS[name]:
                raise ValueError("%s: of a %s there is none, and %r was given" % (name, self.kind, value))

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
        return "adaptive(least=%d, most=%d%s)" % (limit.least, amount, ", begin=%d" % burst if burst != BEGIN else "")
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


def _make(kind: int, amount: int, period_ns: int, burst: Optional[int] = None, guard: Any = 0, cells: int = 0, utc_offset: int = 0,
          follow: str = "shrink", least: int = 0) -> Limit:
    return _checked(Limit((kind, amount, period_ns, amount if burst is None else burst, _ns("guard", guard), cells, utc_offset, None,
                           FOLLOWS.index(follow), least)))


def _checked(limit: Limit) -> Limit:
    """The limit, if it can be one: asked of what makes them, so that the answer is the same."""
    status = _rlimit.check_limit(limit)
    if status != 0:
        raise error_of(status, "", limit)
    return limit


def _cells(cells: Any) -> int:
    return 0 if type(cells) is int and cells == 0 else _whole("cells", cells, 3, 65536, "0 or 3 to 65536")


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

    Raises TypeError or ValueError naming the field.

    >>> per(100, 10, burst=20)
    per(100, 10, burst=20)
    """
    return _make(BUCKET, _whole("amount", amount), _period("seconds", seconds), None if burst is None else _whole("burst", burst), guard)


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
    return _make(WINDOW, _whole("amount", amount), _period("seconds", seconds), None, guard, _cells(cells))


def fixed(amount: int, seconds: Seconds, *, utc_offset: int = 0, guard: Seconds = 0.0) -> Limit:
    """A quota that begins anew at each multiple of so many seconds of the wall clock.

    amount:     1 to 2^40
    utc_offset: seconds east of UTC, -86400 to 86400
    guard:      seconds, less than the period: admits nothing in its last guard seconds

    >>> fixed(100, 60)
    fixed(100, 60)
    """
    return _make(CALENDAR, _whole("amount", amount), _period("seconds", seconds), None, guard, utc_offset=_offset(utc_offset))


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
    return _make(CALENDAR, _whole("amount", amount), MONTH, utc_offset=_offset(utc_offset))


def learned(seconds: Seconds = 60) -> Limit:
    """A bucket of which nothing is known but how long its period usually is: learned from what the server says. Until the first
    answer was observed one permit is out at a time.

    >>> learned()
    learned(60)
    """
    return _make(BUCKET, UNKNOWN_AMOUNT, _period("seconds", seconds), follow="learn")


def concurrent(amount: int) -> Limit:
    """A cap on permits out at once, 1 to 2^31. Limiter(concurrency=10) is short for it.

    >>> concurrent(10)
    concurrent(10)
    """
    return _make(CONCURRENCY, _whole("amount", amount, 1, 1 << 31), 1)


def adaptive(least: int = 1, most: int = 64, *, begin: int = BEGIN) -> Limit:
    """A cap on permits out at once that moves between least and most, 1 to 2^31: it grows while answers take no longer for it, and
    shrinks when the server is overloaded. For Limiter(concurrency=adaptive(4, 64)). It begins at `begin`, from least to most; at 8, if
    that is not said, or what of them is nearest.

    >>> adaptive(4, 64)
    adaptive(least=4, most=64)
    """
    least, most, begin = (_whole(name, value, 1, 1 << 31) for name, value in (("least", least), ("most", most), ("begin", begin)))
    if least > most:
        raise ValueError("least: must be at most most, %d, not %d" % (most, least))
    if not least <= begin <= most and begin != BEGIN:
        raise ValueError("begin: must be least to most, %d to %d, not %d" % (least, most, begin))
    return _make(CONCURRENCY, most, 1, begin, follow="adapt", least=least)


def ramp(floor: int = 15, hold: Seconds = 900) -> Limit:
    """No limit until the server says that load was raised too fast: then requests go back to the pace before, are held there for hold
    seconds, and climb by a quarter a minute; never below floor requests in hold seconds. For Limiter(ramp=ramp()).

    >>> ramp()
    ramp(floor=15, hold=900)
    """
    return _make(BUCKET, _whole("floor", floor), _period("hold", hold), follow="ramp")


# By the code of a status: the fields it is about, and what they must be.
_FIELDS = {"amount": ("amount", "must be 1 to 2^40"), "rate": ("amount, seconds", "the rate must not exceed 10^10 a second"),
           "burst": ("burst", "must be 1 to 2^40"), "span": ("amount, burst", "too large to be counted at this rate and period"),
           "period": ("seconds, guard", "a window or a calendar keeps those that it began with, and its utc_offset"),
           "guard": ("guard", "must be at most seconds"),
           "cells": ("cells", "must be 0 or 3 to 65536, and all windows of a limiter together at most 1056"),
           "capacity": ("amount", "more than this limit has memory for: make another Limiter"),
           "follow": ("follow", "not for this kind of limit"), "limits": ("limits", "a limiter has 1 to %d" % _rlimit.LIMITS_MAX)}
_MAKERS = {"bucket": "a bucket, as per() makes", "window": "a window, as sliding() makes", "concurrency": "a cap, as concurrent() makes",
           "calendar": "a quota, as fixed(), calendar_day() or calendar_month() makes"}
_NAMES = {"ramp": {"amount": "floor", "seconds": "hold"}, "adapt": {"amount": "most", "burst": "begin"}}


def error_of(status: int, name: str, limit: Limit, kind: Optional[str] = None) -> ValueError:
    """What C says of a limit, in this package's words. name: of the argument; kind: the one it should be of."""
    text, _, code = _rlimit.strerror(status)
    field, rule = _FIELDS.get(code, ("", text))
    if code == "kind":
        field, rule = "", "must be %s, not %r" % (_MAKERS[kind or limit.kind], limit)
    elif code == "amount" and limit.kind == "concurrency":
        rule = "must be 1 to 2^31"
    elif code == "guard" and limit.kind == "calendar":
        rule = "must be 0 for a month" if limit.seconds is None else "must be less than seconds, %r" % limit.seconds
    elif code == "guard":
        rule += ", %r" % limit.seconds
    elif code == "follow" and limit.follow == "adapt":
        field, rule = "amount", "must be at least least, %d" % limit.least
    parts = field.split(", ") if field and code != "limits" else []
    told = ", not %s" % " and ".join(repr(getattr(limit, part)) for part in parts) if parts else ""
    names = _NAMES.get(limit.follow, {})
    field = ", ".join(names.get(part, part) for part in parts) or field
    error = _rlimit.LimitError(": ".join(part for part in (name, field, rule + told) if part))
    error.code = code
    return error
