"""A clock that is set by hand, for tests and simulation."""

from __future__ import annotations

from _weakref import ref
from heapq import heapify, heappop, heappush

from . import _rlimit
from ._limit import SECOND, _number, _seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple, Union

    from ._limiter import Limiter


MOST = 4611686018  # 2^62 ns


def _ns_of(name: str, seconds: Any) -> int:
    if not 0 <= _number(name, seconds, "a number of seconds") <= MOST:
        raise ValueError("%s: must be 0 to 4611686018 seconds, not %r" % (name, seconds))
    return seconds * SECOND if isinstance(seconds, int) else round(seconds * SECOND)


class ManualClock(_rlimit.ManualClock):
    """A clock that stands still until advance() or set(): for tests and simulation. Safe in threads.

    start:  seconds since 1970, where calendars begin, 0 to 4611686018

    Who waits for a limiter with this clock sleeps until advance() has gone far enough; no real time passes for it.

    >>> clock = ManualClock()
    >>> limiter = Limiter(requests=per_minute(1), clock=clock)
    >>> limiter.try_acquire() is None, limiter.try_acquire() is None
    (False, True)
    >>> clock.advance(60)
    60
    >>> limiter.try_acquire() is None
    False
    """

    __slots__ = ("_limiters", "_sleepers", "_count")

    def __init__(self, start: Union[int, float] = 0) -> None:
        self._now_ns = _ns_of("start", start)
        self._limiters: List[ref[Limiter]] = []
        self._sleepers: List[Tuple[int, int, Callable[[], object]]] = []
        self._count = 0

    @property
    def now(self) -> Union[int, float]:
        """Seconds."""
        return _seconds(self._now_ns)

    @property
    def now_ns(self) -> int:
        """Nanoseconds."""
        return self._now_ns

    def advance(self, seconds: Union[int, float]) -> Union[int, float]:
        """Moves the time on, and wakes whom that concerns. Returns the new time in seconds. Raises ValueError or TypeError.

        >>> ManualClock(5).advance(0.5)
        5.5
        """
        now_ns = self._now_ns + _ns_of("seconds", seconds)
        if now_ns > 1 << 62:
            raise ValueError("seconds: the clock would pass %d, at %r after %r" % (MOST, seconds, self.now))
        self._now_ns = now_ns
        self._wake()
        return self.now

    def set(self, seconds: Union[int, float]) -> None:
        """Sets the time, backwards too, and wakes whom that concerns. Raises ValueError or TypeError.

        >>> ManualClock().set(1_700_000_000)
        """
        self._now_ns = _ns_of("seconds", seconds)
        self._wake()

    def sleep(self, seconds: Union[int, float]) -> None:
        """Blocks this thread until another one has advanced the clock so far; 0 returns at once.

        >>> ManualClock().sleep(0)
        """
        from threading import Event
        woken = Event()
        if self._sleep_until(self._now_ns + _ns_of("seconds", seconds), woken.set):
            woken.wait()

    async def sleep_async(self, seconds: Union[int, float]) -> None:
        """As sleep, for a task of asyncio or trio: await clock.sleep_async(5)."""
        from ._waiting import sleep_until_called
        until_ns = self._now_ns + _ns_of("seconds", seconds)
        await sleep_until_called(lambda wake: self._sleep_until(until_ns, wake))

    def _sleep_until(self, until_ns: int, wake: Callable[[], object]) -> bool:
        """Whether wake will be called."""
        if until_ns <= self._now_ns:
            return False
        self._count += 1
        heappush(self._sleepers, (until_ns, self._count, wake))
        self._wake()
        return True

    def _watch(self, limiter: Limiter) -> None:
        self._limiters = [known for known in self._limiters if known() is not None] + [ref(limiter)]

    def _wake(self) -> None:
        """Wakes all, whatever one of them raises, such as what a signal's handler did: that is raised at the end."""
        failure: Optional[BaseException] = None
        try:
            self._wake_sleepers()
        except BaseException as error:
            failure = error
        for known in self._limiters:
            limiter = known()
            try:
                if limiter is not None:
                    limiter._wake()
            except BaseException as error:
                failure = error
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def _wake_sleepers(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            try:
                sleeper = heappop(self._sleepers)
            except IndexError:
                break
            try:
                sleeper[2]()
            except BaseException as error:
                if isinstance(error, RecursionError) or not isinstance(error, RuntimeError):  # that: its loop is closed
                    heappush(self._sleepers, sleeper)
                    raise

    def __repr__(self) -> str:
        return "ManualClock(%s)" % self.now
