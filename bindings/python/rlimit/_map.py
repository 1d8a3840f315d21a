"""One function over many items: in threads or as coroutines, within a limiter, in bounded memory."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import operator
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Generic, List, Optional, Set, Tuple, TypeVar, Union, overload

from ._retry import _count, async_library, check_cost, check_queue, cost_of, is_coroutine_function, used_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from . import Limiter
    from ._limit import Priority

    Cost = Union[Mapping[str, int], Callable[[Any], Mapping[str, int]], None]
    Progress = Union[bool, str, Callable[[int, int, Optional[int]], None]]

__all__ = ["Outcome", "amap", "map"]

Item = TypeVar("Item")
Value = TypeVar("Value")

log = logging.getLogger("rlimit")


class Outcome(Generic[Item, Value]):
    """What became of one item.

    item, index:    the item, and its place among all, from 0
    value:          what the function returned, also where only `actual` failed then; None if it failed itself
    error:          what it raised, or the limiter did; None if it did not

    >>> Outcome("a", 0, value=1).ok
    True
    """

    __slots__ = ("item", "index", "value", "error")

    def __init__(self, item: Item, index: int, value: Optional[Value] = None, error: Optional[Exception] = None) -> None:
        self.item = item
        self.index = index
        self.value = value
        self.error = error

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return self.error is None

    def result(self) -> Value:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def __repr__(self) -> str:
        end = "value=%r" % (self.value,) if self.error is None else "error=%r" % (self.error,)
        return "Outcome(item=%r, index=%r, %s)" % (self.item, self.index, end)


class _Job:
    """What map() and amap() were told."""

    def __init__(self, function: Any, limiter: "Optional[Limiter]", cost: "Cost", actual: Any, workers: int,
                 buffer: Optional[int], ordered: bool, progress: "Progress", priority: Priority, timeout: Optional[float],
                 items: Any) -> None:
        if not callable(function):
            raise TypeError("function: must be a function or coroutine function, not %s" % type(function).__name__)
        check_queue(limiter, priority, timeout)
        check_cost(cost, "the item")
        if actual is not None and not callable(actual):
            raise TypeError("actual: must be a function of the value, not %s" % type(actual).__name__)
        self.function, self.limiter, self.cost = function, limiter, cost
        self.actual: Any = actual
        self.workers = _count("workers", workers, 1, 1 << 20)
        self.room = self.workers + (self.workers if buffer is None else _count("buffer", buffer, 0, 1 << 30))
        self.ordered, self.timeout = bool(ordered), timeout
        self.priority: Priority = priority
        self.progress = _progress(progress, operator.length_hint(items, -1))

    def acquire(self, item: Any) -> Any:
        assert self.limiter is not None
        return self.limiter.acquire(**cost_of(self.cost, item), priority=self.priority, timeout=self.timeout)

    def settle(self, permit: Any, value: Any) -> None:
        if permit is not None and self.actual is not None:
            permit.settle(**used_of(self.actual, value))


class _Ready:
    """Outcomes that came in, in the order in which they are to go out."""

    def __init__(self, ordered: bool) -> None:
        self._next = 0 if ordered else None
        self._early: Dict[int, Any] = {}
        self._due: Deque[Any] = deque()

    def put(self, outcome: Any) -> None:
        if self._next is None:
            self._due.append(outcome)
            return
        self._early[outcome.index] = outcome
        while self._next in self._early:
            self._due.append(self._early.pop(self._next))
            self._next += 1

    def get(self) -> Any:
        return self._due.popleft() if self._due else None


# -- Progress --

class _Progress:
    """Counts what is done, and shows it."""

    def __init__(self, total: int, show: Callable[[int, int, Optional[int]], None],
                 close: Callable[[], None] = lambda: None) -> None:
        self.done = self.failed = 0
        self.total = None if total < 0 else total
        self.show, self.close = show, close

    def count(self, outcome: Any) -> None:
        self.done += 1
        self.failed += outcome.error is not None
        self.show(self.done, self.failed, self.total)


def _progress(progress: Any, total: int) -> Callable[[], _Progress]:
    """A function that begins to show progress. What was named and is not installed is said at once."""
    if progress is False or progress is None:
        return lambda: _Progress(total, lambda done, failed, of: None)
    if progress is True:
        for name in ("tqdm", "rich"):
            try:
                return _progress(name, total)
            except ImportError:
                pass
        log.warning("progress: neither tqdm nor rich is installed: none is shown")
        return _progress(False, total)
    if progress == "tqdm":
        tqdm = import_module("tqdm")
        return lambda: _begin_tqdm(tqdm, total)
    if progress == "rich":
        rich_progress = import_module("rich.progress")
        return lambda: _begin_rich(rich_progress, total)
    if callable(progress):
        show: Any = progress
        return lambda: _Progress(total, show)
    raise TypeError('progress: must be True, False, "tqdm", "rich" or a function of done, failed and total, not %r'
                    % (progress,))


def _begin_tqdm(tqdm: Any, total: int) -> _Progress:
    bar = tqdm.tqdm(total=None if total < 0 else total)
    failures = 0

    def show(done: int, failed: int, of: Optional[int]) -> None:
        nonlocal failures
        if failed != failures:
            failures = failed
            bar.set_postfix(failed=failed, refresh=False)
        bar.update(done - bar.n)
    return _Progress(total, show, bar.close)


def _begin_rich(rich_progress: Any, total: int) -> _Progress:
    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.TextColumn("{task.fields[failed]} failed"))
    bar = rich_progress.Progress(*columns)
    task = bar.add_task("", total=None if total < 0 else total, failed=0)
    bar.start()
    return _Progress(total, lambda done, failed, of: bar.update(task, completed=done, failed=failed), bar.stop)


# -- map --

@overload
def map(function: "Callable[[Item], Awaitable[Value]]", items: Iterable[Item], *,
        limiter: "Optional[Limiter]" = ..., cost: "Cost" = ..., actual: Optional[Callable[[Any], Mapping[str, int]]] = ...,
        workers: int = ..., buffer: Optional[int] = ..., ordered: bool = ..., progress: "Progress" = ...,
        priority: Priority = ..., timeout: Optional[float] = ...) -> Generator[Outcome[Item, Value], None, None]: ...
@overload
def map(function: "Callable[[Item], Value]", items: Iterable[Item], *,
        limiter: "Optional[Limiter]" = ..., cost: "Cost" = ..., actual: Optional[Callable[[Any], Mapping[str, int]]] = ...,
        workers: int = ..., buffer: Optional[int] = ..., ordered: bool = ..., progress: "Progress" = ...,
        priority: Priority = ..., timeout: Optional[float] = ...) -> Generator[Outcome[Item, Value], None, None]: ...


def map(function: Any, items: Iterable[Any], *, limiter: "Optional[Limiter]" = None, cost: "Cost" = None,
        actual: Optional[Callable[[Any], Mapping[str, int]]] = None, workers: int = 16, buffer: Optional[int] = None,
        ordered: bool = True, progress: "Progress" = False, priority: Priority = "normal",
        timeout: Optional[float] = None) -> Generator[Outcome[Any, Any], None, None]:
    """Calls function with each item and yields an Outcome for each: value or error, by item.

    function:   runs in `workers` threads; a coroutine function runs as tasks of an event loop in one thread
    items:      any iterable, also one without end; taken in the calling thread, no more than `workers + buffer` ahead of
                what was yielded
    limiter:    each call waits for it first and holds its permit; None: none. For clients that are limited themselves, none.
    cost:       what a call costs: a mapping of meters, or a function of the item that returns one; None: one request
    actual:     a function of the value that returns what was used, to settle with; None: the estimate
    workers:    calls at a time
    buffer:     how many more items may have been taken, and wait to be called or yielded; None: as many as workers
    ordered:    True: in the order of the items, one slow call then holds back those after it; False: as they are done
    progress:   True: shown by tqdm or rich, where installed; "tqdm", "rich"; or a function of (done, failed, total or None)
    priority, timeout:  of the limiter's queue; timeout in seconds

    What function, cost, actual or the limiter raise is the item's error. What `items` raises is raised here, after the
    outcomes of the items before it. Close the generator, or leave it to be collected, and nothing is left running: calls
    that wait in the queue are cancelled, tasks are cancelled, and calls in threads, which nothing can interrupt, are waited
    for; so with KeyboardInterrupt.

    Raises TypeError or ValueError naming the argument, before anything is called; RuntimeError for a coroutine function
    where an event loop runs already: use amap.

    >>> for outcome in map(ask, questions, limiter=claude, cost={"input_tokens": 300}):     # doctest: +SKIP
    ...     print(outcome.index, outcome.value if outcome.ok else outcome.error)
    """
    job = _Job(function, limiter, cost, actual, workers, buffer, ordered, progress, priority, timeout, items)
    if not isinstance(items, Iterable) and not hasattr(items, "__getitem__"):
        raise TypeError("items: must be an iterable%s, not %s" % (
            ", or with amap an async one" if isinstance(items, AsyncIterable) else "", type(items).__name__))
    if not is_coroutine_function(function):
        return _run(job, iter(items), _Threads(job))
    if "asyncio" in sys.modules:
        import asyncio
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("map: an event loop is running in this thread: use amap")
    return _run(job, iter(items), _Loop(job))


def _run(job: _Job, items: Iterator[Any], runner: "Union[_Threads, _Loop]") -> Generator[Outcome[Any, Any], None, None]:
    """Takes items while there is room, and yields outcomes as they are due."""
    progress = job.progress()
    out = index = 0  # items taken and not yielded; items taken
    more, owed, failure = True, False, None
    try:
        runner.begin()
        while True:
            full = not more or out >= job.room
            outcome = runner.take(wait=full and out > 0) if full or not owed else None
            if outcome is not None:
                out -= 1
                owed = True  # an item for each outcome: so a slow reader does not leave the workers without work
                progress.count(outcome)
                yield outcome
                outcome = None  # not kept alive while the next is waited for
            elif more:
                owed = False
                try:
                    item = next(items)
                except StopIteration:
                    more = False
                except Exception as error:
                    more, failure = False, error
                else:
                    runner.start(index, item)
                    del item
                    index, out = index + 1, out + 1
            elif failure is not None:
                raise failure
            else:
                return
    finally:
        try:
            runner.close()
        finally:
            progress.close()


class _Threads:
    """Runs calls in threads, as many as there is work for."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.lock = threading.Lock()
        self.work, self.done = threading.Condition(self.lock), threading.Condition(self.lock)
        self.waiting: Deque[Tuple[int, Any]] = deque()
        self.ready = _Ready(job.ordered)
        self.threads: List[threading.Thread] = []
        self.idle = 0
        self.queued: Dict[int, Any] = {}  # by thread: what waits in the limiter's queue
        self.closed = False
        self.broken: Optional[BaseException] = None

    def begin(self) -> None:
        self.context = contextvars.copy_context()

    def start(self, index: int, item: Any) -> None:
        with self.lock:
            self.waiting.append((index, item))
            if self.idle >= len(self.waiting) or len(self.threads) >= self.job.workers:
                self.work.notify()
                return
            thread = threading.Thread(target=self.context.copy().run, args=(self._work,), daemon=True,
                                      name="rlimit-map-%d" % len(self.threads))
        self.threads.append(thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no more: those there are do it
            self.threads.remove(thread)
            if not self.threads:
                raise

    def take(self, wait: bool) -> Any:
        """The next outcome that is due; None if there is none and wait is False."""
        with self.lock:
            return _take(self, wait)

    def close(self) -> None:
        with self.lock:
            self.closed = True
            self.waiting.clear()
            self.work.notify_all()
            queued = list(self.queued.values())
        for acquire in queued:
            acquire.cancel()
        for thread in self.threads:
            _join(thread)

    def _work(self) -> None:
        try:
            while True:
                with self.lock:
                    self.idle += 1
                    while not self.waiting and not self.closed:
                        self.work.wait()
                    self.idle -= 1
                    if self.closed:
                        return
                    index, item = self.waiting.popleft()
                outcome = self._call(index, item)
                with self.lock:
                    self.ready.put(outcome)
                    self.done.notify()
                del outcome, item  # not kept alive while the next is waited for
        except BaseException as error:  # SystemExit, a KeyboardInterrupt that the function raised, no memory: the whole ends
            with self.lock:
                self.broken = error
                self.done.notify()

    def _call(self, index: int, item: Any) -> Outcome[Any, Any]:
        value = None
        try:
            with self._acquire(item) as permit:
                value = self.job.function(item)
                self.job.settle(permit, value)
            return Outcome(item, index, value)
        except Exception as error:
            return Outcome(item, index, value, error)

    def _acquire(self, item: Any) -> Any:
        """A permit, which settles with the estimate when it is left; nothing without a limiter."""
        if self.job.limiter is None:
            return contextlib.nullcontext()
        acquire, me = self.job.acquire(item), threading.get_ident()
        with self.lock:
            self.queued[me] = acquire
            closed = self.closed
        try:
            if closed:
                acquire.cancel()
            return acquire.wait()
        finally:
            with self.lock:
                del self.queued[me]


def _join(thread: threading.Thread) -> None:
    """Waits until a thread has ended. One whose start() was interrupted is there in a moment, or never will be."""
    if thread is threading.current_thread():  # it collects the generator
        return
    for _ in range(1000):
        try:
            thread.join()
            return
        except RuntimeError:
            time.sleep(0.001)


def _take(runner: "Union[_Threads, _Loop]", wait: bool) -> Any:
    """With runner.lock held."""
    while True:
        if runner.broken is not None:
            raise runner.broken
        outcome = runner.ready.get()
        if outcome is not None or not wait:
            return outcome
        runner.done.wait()


class _Loop:
    """Runs calls as tasks of an event loop in a thread of its own."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.lock = threading.Lock()
        self.done = threading.Condition(self.lock)
        self.ready = _Ready(job.ordered)
        self.waiting: Deque[Tuple[int, Any]] = deque()  # of the loop's thread, as tasks is
        self.tasks: "Set[Any]" = set()
        self.broken: Optional[BaseException] = None
        self.thread: Optional[threading.Thread] = None

    def begin(self) -> None:
        import asyncio
        self.host = _Asyncio()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,), daemon=True,
                                       name="rlimit-map")
        self.thread.start()

    def _run(self) -> None:
        asyncio, loop = self.host.asyncio, self.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        except BaseException as error:  # a task raised SystemExit or KeyboardInterrupt
            self._fail(error)
        try:
            self.host.closing = True
            self.waiting.clear()
            for task in list(self.tasks):
                task.cancel()
            if self.tasks:
                loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as error:
            self._fail(error)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def start(self, index: int, item: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(self._start, index, item)
        except RuntimeError:  # the loop is closed: take() says why
            if self.broken is None:
                raise

    def _start(self, index: int, item: Any) -> None:
        if self.host.closing:
            return
        if len(self.tasks) >= self.job.workers:
            self.waiting.append((index, item))
            return
        try:
            task = self.loop.create_task(_call_async(self.job, index, item, self.job.function, self.host))
            self.tasks.add(task)
            task.add_done_callback(self._finished)
        except MemoryError as error:
            self._fail(error)

    def _finished(self, task: Any) -> None:
        self.tasks.discard(task)
        if self.waiting:
            self._start(*self.waiting.popleft())
        if task.cancelled():
            if not self.host.closing:
                self._fail(RuntimeError("map: a call was cancelled from elsewhere"))
        elif task.exception() is not None:
            self._fail(task.exception())
        else:
            try:
                with self.lock:
                    self.ready.put(task.result())
                    self.done.notify()
            except MemoryError as error:
                self._fail(error)

    def _fail(self, error: Optional[BaseException]) -> None:
        with self.lock:
            self.broken = self.broken or error
            self.done.notify()

    def take(self, wait: bool) -> Any:
        """As _Threads.take."""
        with self.lock:
            return _take(self, wait)

    def _stop(self) -> None:
        self.host.closing = True
        self.waiting.clear()
        self.loop.stop()

    def close(self) -> None:
        if self.thread is None:
            return
        try:
            self.loop.call_soon_threadsafe(self._stop)
        except RuntimeError:  # closed already
            pass
        _join(self.thread)


async def _call_async(job: _Job, index: int, item: Any, function: Callable[[Any], Any],
                      host: "Union[_Asyncio, _Trio]") -> Outcome[Any, Any]:
    value = None
    try:
        with await job.acquire(item) if job.limiter is not None else contextlib.nullcontext() as permit:
            value = await function(item)
            job.settle(permit, value)
        return Outcome(item, index, value)
    except Exception as error:
        return Outcome(item, index, value, error)
    except BaseException as error:
        if not host.is_inner(error):
            raise
        wrapped = RuntimeError("the call was cancelled from within")
        wrapped.__cause__ = error
        return Outcome(item, index, error=wrapped)


# -- amap --

@overload
def amap(function: "Callable[[Item], Awaitable[Value]]", items: "Union[Iterable[Item], AsyncIterable[Item]]", *,
         limiter: "Optional[Limiter]" = ..., cost: "Cost" = ..., actual: Optional[Callable[[Any], Mapping[str, int]]] = ...,
         workers: int = ..., buffer: Optional[int] = ..., ordered: bool = ..., progress: "Progress" = ...,
         priority: Priority = ..., timeout: Optional[float] = ...) -> AsyncGenerator[Outcome[Item, Value], None]: ...
@overload
def amap(function: "Callable[[Item], Value]", items: "Union[Iterable[Item], AsyncIterable[Item]]", *,
         limiter: "Optional[Limiter]" = ..., cost: "Cost" = ..., actual: Optional[Callable[[Any], Mapping[str, int]]] = ...,
         workers: int = ..., buffer: Optional[int] = ..., ordered: bool = ..., progress: "Progress" = ...,
         priority: Priority = ..., timeout: Optional[float] = ...) -> AsyncGenerator[Outcome[Item, Value], None]: ...


def amap(function: Any, items: Any, *, limiter: "Optional[Limiter]" = None, cost: "Cost" = None,
         actual: Optional[Callable[[Any], Mapping[str, int]]] = None, workers: int = 16, buffer: Optional[int] = None,
         ordered: bool = True, progress: "Progress" = False, priority: Priority = "normal",
         timeout: Optional[float] = None) -> AsyncGenerator[Outcome[Any, Any], None]:
    """As map, as an async generator: under asyncio, trio, and anyio on either.

    function:   a coroutine function, or a function, which then runs in threads
    items:      an iterable, or an async iterable. A plain one should not block: it is taken on the event loop.

    The rest as for map. Breaking out of `async for` leaves the generator to be collected; to be certain when it ends, close
    it: `async with contextlib.aclosing(amap(...)) as outcomes`. Cancellation passes through: all calls are cancelled, and
    have ended when it does. An async generator given as `items` is not closed.

    >>> async for outcome in amap(ask, questions, limiter=claude, workers=50, ordered=False):   # doctest: +SKIP
    ...     print(outcome.index, outcome.value if outcome.ok else outcome.error)
    """
    job = _Job(function, limiter, cost, actual, workers, buffer, ordered, progress, priority, timeout, items)
    if not isinstance(items, (AsyncIterable, Iterable)) and not hasattr(items, "__getitem__"):
        raise TypeError("items: must be an iterable or async iterable, not %s" % type(items).__name__)
    return _run_async(job, items)


async def _run_async(job: _Job, items: Any) -> AsyncGenerator[Outcome[Any, Any], None]:
    crew = _Crew(job, items, _Trio(job.workers) if async_library() == "trio" else _Asyncio())
    progress = job.progress()
    try:
        crew.begin()
        while True:
            outcome = await crew.take()
            if outcome is None:
                break
            progress.count(outcome)
            yield outcome
            outcome = None
        if crew.failure is not None:
            raise crew.failure
    finally:
        try:
            await crew.host.cancel_all()
        finally:
            progress.close()


class _Crew:
    """Workers that take items in turn, while there is room."""

    def __init__(self, job: _Job, items: Any, host: "Union[_Asyncio, _Trio]") -> None:
        self.job, self.host = job, host
        self.is_async = isinstance(items, AsyncIterable)
        self.source: Any = items.__aiter__() if self.is_async else iter(items)
        self.ready = _Ready(job.ordered)
        self.index = self.out = 0  # items taken; items taken and not yielded
        self.exhausted = False
        self.failure: Optional[Exception] = None  # of the source: raised when all before it are done
        self.broken: Optional[BaseException] = None  # raised at once
        self.hired = self.idle = 0  # workers; those of them that look for an item
        self.wanted: Any = None  # set when there may be an outcome
        awaits = is_coroutine_function(job.function)
        self.function = job.function if awaits else functools.partial(host.in_thread, job.function)

    def begin(self) -> None:
        self.turn, self.room = self.host.lock(), self.host.semaphore(self.job.room)
        self._hire()

    def _hire(self) -> None:
        """One worker more, if none looks for an item: so there are as many as there is work for."""
        if self.hired < self.job.workers and self.idle == 0 and not (self.exhausted or self.host.closing):
            self.hired += 1
            self.idle += 1
            self.host.spawn(self._work)

    async def _work(self) -> None:
        found = None
        try:
            while True:
                await self.room.acquire()
                async with self.turn:
                    found = await self._next()
                if found is None:
                    return
                self.idle -= 1
                try:
                    self._hire()
                    self.ready.put(await _call_async(self.job, *found, self.function, self.host))
                finally:
                    self.idle += 1
                found = None  # not kept alive while the next is waited for
                self._wake()
                if self.host.must_leave():
                    return
        except Exception as error:  # no memory: there will be no outcome
            self.broken = error
        except (self.host.cancelled, GeneratorExit):
            if not self.host.closing:
                self.broken = RuntimeError("amap: a call was cancelled from elsewhere")
            raise
        except BaseException as error:  # SystemExit or KeyboardInterrupt: the whole ends
            self.broken = error
        finally:
            self.idle -= 1
            self.hired -= 1
            self._wake()

    async def _next(self) -> Optional[Tuple[int, Any]]:
        """The next index and item, or None."""
        if self.exhausted:
            return None
        try:
            item = await self.source.__anext__() if self.is_async else next(self.source)
        except (StopIteration, StopAsyncIteration):
            self.exhausted = True
        except Exception as error:
            self._fail(error)
        else:
            self.index += 1
            self.out += 1
            return self.index - 1, item
        return None

    def _fail(self, error: Exception) -> None:
        self.failure, self.exhausted = self.failure or error, True

    def _wake(self) -> None:
        if self.wanted is not None:
            self.wanted.set()

    async def take(self) -> Any:
        """The next outcome that is due; None when there are no more."""
        while True:
            if self.broken is not None:
                raise self.broken
            outcome = self.ready.get()
            if outcome is not None:
                self.out -= 1
                self.room.release()
                return outcome
            if self.exhausted and self.out == 0:
                return None
            if self.hired == 0:
                self._hire()
            self.wanted = self.host.event()
            await self.wanted.wait()


class _Asyncio:
    """Tasks of asyncio."""

    def __init__(self) -> None:
        import asyncio
        self.asyncio = asyncio
        self.tasks: "Set[asyncio.Task[None]]" = set()
        self.executor: Any = None
        self.closing = self.unsure = False
        self.cancelled: Any = asyncio.CancelledError
        self.event, self.lock, self.semaphore = asyncio.Event, asyncio.Lock, asyncio.Semaphore

    def spawn(self, function: Callable[[], Any]) -> None:
        task = self.asyncio.get_running_loop().create_task(function())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def is_inner(self, error: BaseException) -> bool:
        """Whether this is the cancellation of something that a call awaited, not of the call."""
        if self.closing or not isinstance(error, self.asyncio.CancelledError):
            return False
        cancelling = getattr(self.asyncio.current_task(), "cancelling", None)
        self.unsure = self.unsure or cancelling is None
        return cancelling is None or bool(cancelling() == 0)

    def must_leave(self) -> bool:
        """Before Python 3.11 a task cannot tell whether it was cancelled: it must not go on, lest its loop cannot end."""
        return self.unsure

    async def in_thread(self, function: Callable[[Any], Any], item: Any) -> Any:
        if self.executor is None:
            from concurrent.futures import ThreadPoolExecutor
            self.executor = ThreadPoolExecutor(1 << 16, "rlimit-map")  # starts no more than there are workers
        context = contextvars.copy_context()
        future = self.asyncio.get_running_loop().run_in_executor(self.executor, lambda: context.run(function, item))
        try:
            return await self.asyncio.shield(future)
        except self.asyncio.CancelledError:
            await self._until_done({future})  # nothing interrupts a thread
            raise

    async def _until_done(self, futures: "Set[Any]") -> bool:
        """Waits for all of them, whoever cancels meanwhile. Whether somebody did."""
        cancelled = False
        while futures:
            try:
                _, futures = await self.asyncio.wait(futures)
            except self.asyncio.CancelledError:
                cancelled = True
                futures = {future for future in futures if not future.done()}
        return cancelled

    async def cancel_all(self) -> None:
        """Returns when nothing runs any more."""
        self.closing = True
        for task in self.tasks:
            task.cancel()
        cancelled = await self._until_done(set(self.tasks))
        if self.executor is not None:
            self.executor.shutdown()
        if cancelled:
            raise self.asyncio.CancelledError


class _Trio:
    """System tasks of trio, which a generator can own: a nursery cannot be left open across a yield."""

    def __init__(self, workers: int) -> None:
        import trio
        self.trio = trio
        self.scopes: "Set[Any]" = set()
        self.closing = False
        self.ended = trio.Event()
        self.tokens: Any = trio.CapacityLimiter(workers)
        self.cancelled: Any = trio.Cancelled
        self.event, self.lock = trio.Event, trio.Lock

    def semaphore(self, n: int) -> Any:
        return self.trio.Semaphore(n)

    def spawn(self, function: Callable[[], Any]) -> None:
        scope = self.trio.CancelScope()
        self.scopes.add(scope)
        self.trio.lowlevel.spawn_system_task(self._run, function, scope, context=contextvars.copy_context())

    async def _run(self, function: Callable[[], Any], scope: Any) -> None:
        try:
            with scope:
                await function()
        finally:
            self.scopes.discard(scope)
            if not self.scopes:
                self.ended.set()

    def is_inner(self, error: BaseException) -> bool:
        return False

    def must_leave(self) -> bool:
        return False

    async def in_thread(self, function: Callable[[Any], Any], item: Any) -> Any:
        return await self.trio.to_thread.run_sync(function, item, limiter=self.tokens)

    async def cancel_all(self) -> None:
        """Returns when nothing runs any more."""
        self.closing = True
        for scope in self.scopes:
            scope.cancel()
        while self.scopes:
            self.ended = self.trio.Event()
            with self.trio.CancelScope() as scope:
                scope.shield = True
                await self.ended.wait()
