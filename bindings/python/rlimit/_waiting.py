"""How a task waits for a limiter: imported when the first has to.

The queue is in _rlimit.c: it says how long to sleep (_ask) and wakes the head by calling what _join was given, from any thread.
"""

from __future__ import annotations

import math
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from ._rlimit import Acquire, Permit


async def wait_async(acquire: Acquire) -> Permit:
    """Waits in the queue, under asyncio or trio. Whatever ends it, nothing is left in the queue and nothing held."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None and "trio" in sys.modules:
        try:
            if sniffio.current_async_library() == "trio":
                return await _wait_trio(acquire)
        except sniffio.AsyncLibraryNotFoundError:
            pass
    return await _wait_asyncio(acquire)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _AsyncioWaker:
    """Wakes one task of asyncio, from any thread; raises RuntimeError once its loop is closed."""

    __slots__ = ("loop", "future", "running")

    def __init__(self) -> None:
        import asyncio
        self.loop = asyncio.get_running_loop()
        self.running = asyncio._get_running_loop
        self.future: asyncio.Future[None] = self.loop.create_future()

    def __call__(self) -> None:
        if self.running() is self.loop:
            _set(self.future)
        else:
            self.loop.call_soon_threadsafe(_set, self.future)

    def gone(self) -> bool:
        return self.loop.is_closed()


async def _wait_asyncio(acquire: Acquire) -> Permit:
    waker = _AsyncioWaker()
    try:
        acquire._join(waker)
        while True:
            delay = acquire._ask()  # the future is there before: whoever settles from now on wakes it
            if delay is None:
                return acquire._collect()
            timer = waker.loop.call_later(delay, _set, waker.future) if delay != math.inf else None
            try:
                await waker.future
            finally:
                if timer is not None:
                    timer.cancel()
            waker.future = waker.loop.create_future()
    finally:
        acquire._leave()


class _TrioWaker:
    """Wakes one task of trio, from any thread; raises trio.RunFinishedError once its run has ended."""

    __slots__ = ("token", "event")

    def __init__(self, token: Any, event: Any) -> None:
        self.token = token
        self.event = event

    def __call__(self) -> None:
        self.token.run_sync_soon(self.event.set)

    def gone(self) -> bool:
        try:
            self.token.run_sync_soon(int, idempotent=True)
        except RuntimeError:
            return True
        return False


async def _wait_trio(acquire: Acquire) -> Permit:
    import trio
    waker = _TrioWaker(trio.lowlevel.current_trio_token(), trio.Event())
    try:
        acquire._join(waker)
        while True:
            delay = acquire._ask()
            if delay is None:
                return acquire._collect()
            with trio.move_on_after(delay):
                await waker.event.wait()
            waker.event = trio.Event()
    finally:
        acquire._leave()


def refuse_in_loop() -> None:
    """Raises RuntimeError if this thread, which is about to sleep, runs asyncio's event loop: nothing in it could go on, and if a task of
    it holds the place that is waited for, nothing ever. The cells of a notebook run inside such a loop, and are expected to block."""
    events = sys.modules.get("asyncio.events")
    if events is None or "ipykernel" in sys.modules or events._get_running_loop() is None:
        return
    raise RuntimeError("acquire: would block the event loop that runs in this thread: write `async with` or `await` (and with an SDK its "
                       "async client)")


def note(acquire: Acquire, delay: float) -> None:
    """Logs, to the logger "rlimit", that this request waits, and for what. Nobody listens if logging was never imported."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger("rlimit")
    if not logger.isEnabledFor(logging.DEBUG):
        return
    limiter = acquire.limiter
    found = limiter.check(**acquire.cost)
    what = "its turn" if found.binding is None else "%s: %r" % (found.meter, found.binding)
    logger.debug("%s: a request waits %s for %s (%d in the queue)", limiter.name or "limiter",
                 "until it is woken" if delay == math.inf else "%.3f s" % delay, what, limiter._status()[2])


async def sleep_until_called(arrange: Any) -> None:
    """Sleeps until the function that arrange was given is called, from any thread; not at all if arrange returns False."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None and "trio" in sys.modules:
        try:
            if sniffio.current_async_library() == "trio":
                import trio
                trio_waker = _TrioWaker(trio.lowlevel.current_trio_token(), trio.Event())
                if arrange(trio_waker):
                    await trio_waker.event.wait()
                return
        except sniffio.AsyncLibraryNotFoundError:
            pass
    waker = _AsyncioWaker()
    if arrange(waker):
        await waker.future
