"""Clocks: nanoseconds since 1970, and a way to pass the time."""

import asyncio
import heapq
import time


class RealClock:
    """The wall clock at start, carried on by the monotonic clock, so it never jumps."""

    def __init__(self):
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self):
        return time.monotonic_ns() + self._offset_ns

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


class ManualClock:
    """Stands still until it is advanced. For tests."""

    def __init__(self, now_ns=1_800_000_000 * 10 ** 9):
        self._now_ns = now_ns
        self._sleepers = []
        self._sequence = 0
        self._watchers = []

    def now_ns(self):
        return self._now_ns

    async def sleep(self, seconds):
        future = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._now_ns + round(seconds * 10 ** 9), self._sequence, future))
        self._notify()
        try:
            await future
        finally:
            self._notify()

    def advance(self, seconds):
        self._now_ns += round(seconds * 10 ** 9)
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    async def until_sleeping(self, count):
        """Returns once exactly `count` tasks sleep."""
        while self._sleeping() != count:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher

    def _sleeping(self):
        return sum(not future.done() for _, _, future in self._sleepers)

    def _notify(self):
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)
