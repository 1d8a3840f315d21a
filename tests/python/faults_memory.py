"""Every allocation of every operation fails once, and all after it: run by test_faults.py, a process for some of the cases.

A case is a generator: it yields an operation, which is called with the 1st, 2nd, 3rd ... allocation failing until none did, and is sent
what came of it (an Outcome), to look at what is left. The operation may raise MemoryError and nothing else, and may not leak.
    python faults_memory.py <folder of faults.so> [case ...]
"""
import asyncio
import copy
import functools
import gc
import importlib.util
import io
import itertools
import logging
import pickle
import sys
import threading
import traceback
import warnings

sys.path.insert(0, sys.argv[1])
import faults  # noqa: E402

import rlimit  # noqa: E402
from rlimit import (Backoff, Bucket, Calendar, Concurrency, Feedback, Limiter, ManualClock, Reading, RequestCost, RetryBudget, Route,  # noqa: E402
                    Window, adaptive, calendar_day, calendar_month, concurrent, estimate_tokens, fixed, learned, parse, per, per_day, per_hour,
                    per_minute, per_second, ramp, retry, sliding)

ROUNDS = 3  # of each failure, to see whether it leaks
KINDS = [value for value in vars(rlimit._rlimit).values() if isinstance(value, type)] + [None, Limiter, rlimit.Limit, ManualClock]  # an object refers to its class
CASES = {}


class Outcome:
    def __init__(self, value, failed):
        self.value, self.failed = value, failed


def case(*options):
    """A test. "thread": without an event loop that runs; "import": without a look at leaks, and at what Python does by itself."""
    def add(function):
        CASES[name_of(function)] = (function, options)
        return function
    return add


def name_of(function):
    return function.__name__.strip("_")


# -- what cases are made of --

class Loop:
    """As much of an event loop as a waiting coroutine needs that is driven by hand."""

    def __init__(self):
        self.closed = False

    def create_future(self):
        return asyncio.Future(loop=self)

    def get_debug(self):
        return False

    def is_closed(self):
        return self.closed

    def call_soon(self, function, *args, context=None):
        function(*args)

    call_soon_threadsafe = call_soon

    def call_later(self, delay, function, *args):
        return self

    def cancel(self):
        pass

    def call_exception_handler(self, context):
        raise AssertionError(context)


LOOP = Loop()


async def awaiting(acquire):
    return await acquire


def step(coroutine):
    """What it returns; None if it waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def begun(limiter, **options):
    """A task that waits: its coroutine."""
    coroutine = awaiting(limiter.acquire(**options))
    assert step(coroutine) is None
    return coroutine


def expect(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as error:
        return str(error) and None
    raise AssertionError("no %s" % kind.__name__)


def new(**options):
    return Limiter(**{"requests": per_minute(100), "concurrency": 1, "clock": ManualClock(), **options})


def stands(limiter, used=(0,), active=0, queued=0):
    """Nothing is held or charged but this; and the next operation works."""
    status = limiter.status()
    assert (status.active, status.queued) == (active, queued), status
    assert used is None or status.limits[0].used in used, status
    for usage in status.limits:
        assert usage.meter != "concurrency" or usage.used == active, status
    if active == queued == 0:
        limiter.acquire(requests=0).wait().settle()


def finish(limiter, coroutine):
    """A task that was woken, or should have been: it ends, and gives back what it has."""
    limiter.try_acquire(requests=0)  # whoever comes next makes up for it
    permit = step(coroutine)
    assert permit is not None, "it was not woken"
    permit.cancel()
    stands(limiter, None)


# -- cases --

@case()
def limits():
    yield lambda: (per(5, 6, burst=7), per_second(5), sliding(5, 6), fixed(5, 60), calendar_month(9), learned(), concurrent(8), adaptive(), ramp(),
                   per_minute(5).replace(burst=9), repr(per_hour(5)), hash(per_minute(5)), per_minute(5) == per_minute(6),
                   pickle.loads(pickle.dumps(per_minute(5))))


@case()
def limiters():
    limits = [per_minute(5), sliding(7, 60), calendar_day(9)]
    outcome = yield lambda: Limiter(requests=limits, input_tokens=per_day(7), concurrency=adaptive(1, 9), ramp=ramp(), provider="openai",
                                    name="a", clock=ManualClock())
    if outcome.value is not None:
        stands(outcome.value)


@case()
def errors_of_limits():
    yield lambda: [expect(ValueError, call) for call in (lambda: per_minute(0), lambda: Limiter(requests=[sliding(1, 1, cells=600)] * 2), lambda: Limiter(
        requests=per_minute(5), provider="x"), lambda: Bucket(sliding(5, 60)), lambda: Window(per_minute(5)))]


@case()
def try_acquire():
    limiter = new()
    outcome = yield functools.partial(limiter.try_acquire, requests=2)
    stands(limiter, (0,) if outcome.failed else (2,), 0 if outcome.failed else 1)
    if outcome.value:
        outcome.value.cancel()
    stands(limiter)


@case()
def try_acquire_never():
    limiter = new()
    yield lambda: (expect(rlimit.NeverAdmitted, limiter.try_acquire, requests=1000), expect(TypeError, limiter.try_acquire, 1),
                   expect(TypeError, limiter.try_acquire, x=1), expect(ValueError, limiter.try_acquire, requests=-1))
    stands(limiter)


@case()
def acquire():
    limiter = new()
    yield lambda: (repr(limiter.acquire(input_tokens=1 << 40, priority="high", timeout=1.5)), limiter.acquire().cost, limiter.acquire(timeout=5).timeout,
                   expect(ValueError, limiter.acquire, priority="x"), expect(ValueError, limiter.acquire, timeout=-1))
    stands(limiter)


@case()
def wait():
    limiter = new()
    acquire = limiter.acquire()
    outcome = yield acquire.wait
    stands(limiter, (0, 1), 0 if outcome.failed else 1)
    del acquire
    if outcome.value:
        outcome.value.cancel()
    stands(limiter)


@case()
def with_():
    limiter = new()

    def block():
        with limiter.acquire() as permit:
            permit.settle(requests=2, input_tokens=5)
    yield block
    stands(limiter, (0, 1, 2))


@case()
def with_left_alone():
    limiter = new()

    def block():
        with limiter.acquire():
            pass
    yield block
    stands(limiter, (0, 1))


@case()
def await_():
    limiter = new()
    outcome = yield lambda: step(awaiting(limiter.acquire()))
    stands(limiter, (0, 1), 0 if outcome.failed else 1)  # Python may drop what it cannot return: that counts as used
    if outcome.value:
        outcome.value.cancel()
    stands(limiter, (0, 1))


@case()
def async_with():
    limiter = new()

    async def block():
        async with limiter.acquire() as permit:
            permit.settle(requests=2)
    yield lambda: step(block())
    stands(limiter, (0, 1, 2))


@case()
def next_of_an_iterator():
    limiter = new()

    def first():
        try:
            next(iter(limiter.acquire().__await__()))
        except StopIteration as stop:
            return stop.value
    outcome = yield first
    if outcome.value:
        outcome.value.cancel()
    stands(limiter, (0, 1))


@case("thread")
def timeouts():
    limiter = new(clock=None)
    permit = limiter.try_acquire()
    yield lambda: (expect(rlimit.AcquireTimeout, limiter.acquire(timeout=0).wait), expect(rlimit.AcquireTimeout, limiter.acquire(timeout=1e-6).wait))
    stands(limiter, (0, 1), 1)
    permit.settle()
    stands(limiter, (0, 1))


def ticking():
    """A clock that moves on with each look at it."""
    return itertools.count(10**9, 1000).__next__


@case("thread")
def wait_in_a_thread():
    limiter = Limiter(requests=per(1, 0.00001), clock=ticking())
    limiter.try_acquire()
    outcome = yield limiter.acquire().wait
    assert limiter.status()[1:3] == (0 if outcome.failed else 1, 0)
    if outcome.value:
        outcome.value.settle()
    assert limiter.status()[1:3] == (0, 0)


@case("thread")
def queue_full():
    limiter = new(queue=0)
    permit = limiter.try_acquire()
    yield lambda: expect(rlimit.QueueFull, limiter.acquire().wait)
    stands(limiter, (1,), 1)
    permit.settle()


@case()
def refused_in_a_loop():
    limiter = new()
    permit = limiter.try_acquire()

    yield lambda: expect(RuntimeError, limiter.acquire().wait)
    stands(limiter, (1,), 1)
    permit.settle()


@case()
def task_joins():
    limiter = new()
    permit = limiter.try_acquire()
    coroutine = awaiting(limiter.acquire(timeout=5))
    outcome = yield functools.partial(step, coroutine)
    stands(limiter, (1,), 1, 0 if outcome.failed else 1)
    coroutine.close()
    stands(limiter, (1,), 1)
    permit.settle()


@case()
def second_task_joins():
    limiter = new()
    permit = limiter.try_acquire()
    first, second = begun(limiter), awaiting(limiter.acquire())
    outcome = yield functools.partial(step, second)
    stands(limiter, (1,), 1, 1 if outcome.failed else 2)
    second.close()
    permit.cancel()
    finish(limiter, first)


def waking(end):
    """A case in which ending a permit wakes a task."""
    @functools.wraps(end)
    def wakes():
        limiter = new()
        permit = limiter.try_acquire()
        coroutine = begun(limiter)
        yield lambda: end(limiter, permit)
        assert permit.state != "new"
        if permit.state == "out":
            permit.settle()
        limiter.pause(0)
        stands(limiter, None, 0, 1)
        finish(limiter, coroutine)
    return case()(wakes)


@waking
def settle(limiter, permit):
    permit.settle(input_tokens=5)


@waking
def cancel(limiter, permit):
    permit.cancel()


@waking
def leave_a_block(limiter, permit):
    with permit:
        pass


@waking
def reconfigure_and_wake(limiter, permit):
    limiter.reconfigure("concurrency", 2)


@waking
def observe_and_wake(limiter, permit):
    limiter.observe(Feedback(retry_after=0, readings=[Reading("requests")]), permit)


@waking
def pause_and_wake(limiter, permit):
    limiter.pause(0)


@waking
def advance_and_wake(limiter, permit):
    limiter.clock.advance(1)


@waking
def task_is_dropped(limiter, permit):
    begun(limiter).close()


@case()
def task_is_admitted():
    limiter = new()
    permit = limiter.try_acquire()
    coroutine = begun(limiter)
    permit.cancel()
    outcome = yield functools.partial(step, coroutine)
    stands(limiter, (0, 1), 0 if outcome.failed else 1)
    if outcome.value:
        outcome.value.cancel()
    stands(limiter, (0, 1))


@case()
def task_is_cancelled():
    limiter = new()
    permit = limiter.try_acquire()
    acquire = limiter.acquire()
    coroutine = awaiting(acquire)
    assert step(coroutine) is None
    outcome = yield acquire.cancel
    if outcome.failed and limiter.status().queued:
        acquire.cancel()
    expect(rlimit.AcquireCancelled, step, coroutine)
    stands(limiter, (1,), 1)
    permit.settle()


@case()
def task_expires():
    limiter = new()
    permit = limiter.try_acquire()
    coroutine, other = begun(limiter, timeout=1), begun(limiter)
    yield lambda: limiter.clock.advance(1)
    limiter.clock.advance(1)
    expect(rlimit.AcquireTimeout, step, coroutine)
    permit.cancel()
    finish(limiter, other)


@case()
def close():
    limiter = new()
    permit = limiter.try_acquire()
    coroutines = [begun(limiter) for _ in range(3)]
    outcome = yield limiter.close
    if outcome.failed:
        limiter.close()
    for coroutine in coroutines:
        expect(rlimit.AcquireCancelled, step, coroutine)
    permit.settle()
    assert limiter.status()[1:3] == (0, 0)


@case()
def closed_loop():
    """The loop of the head is closed: who comes next takes its place."""
    limiter = new()
    permit, gone = limiter.try_acquire(), Loop()
    acquire = limiter.acquire()
    coroutine = awaiting(acquire)
    asyncio._set_running_loop(gone)
    coroutine.send(None)
    asyncio._set_running_loop(LOOP)

    def threadsafe(*args):
        raise RuntimeError("Event loop is closed")
    gone.closed, gone.call_soon_threadsafe = True, threadsafe
    second = awaiting(limiter.acquire())
    outcome = yield functools.partial(step, second)
    permit.cancel()
    if outcome.failed:
        second = begun(limiter) if limiter.status().queued else second
        second.close()
        limiter.check()
    else:
        finish(limiter, second)
    coroutine.close()
    gone.call_soon_threadsafe = None
    stands(limiter)


@case()
def what_is_known():
    limiter = new(name="a", provider="openai", microdollars=calendar_month(500))
    permit = limiter.try_acquire()
    yield lambda: (limiter.check(requests=5), limiter.check(requests=500), limiter._check_ns(), limiter.status(), repr(limiter), limiter.limits, limiter.meters,
                   limiter.clock, repr(permit), permit.cost, permit.state, permit.waited, permit.limiter, limiter.save(), repr(limiter.status()),
                   expect(TypeError, pickle.dumps, limiter), expect(TypeError, copy.copy, permit))
    permit.cancel()
    stands(limiter)


@case()
def debit():
    limiter = new()
    outcome = yield lambda: limiter.debit(requests=5)
    stands(limiter, (0,) if outcome.failed else (5,))


@case()
def debt():
    limiter = new()
    permit = limiter.try_acquire()
    yield lambda: (expect(ValueError, limiter.debit, requests=1 << 40), expect(ValueError, permit.settle, requests=1 << 40))
    stands(limiter, (1,), 1)
    permit.cancel()


@case()
def reconfigure():
    limiter = new()
    outcome = yield lambda: limiter.reconfigure("requests", per_minute(200))
    assert limiter.limits[0] == per_minute(100 if outcome.failed else 200)
    assert limiter.status().limits[0].capacity == limiter.limits[0].burst, "what it says is not what it does"
    stands(limiter, (0, 100))


@case()
def reconfigure_refused():
    limiter = new()
    yield lambda: (expect(ValueError, limiter.reconfigure, "requests", sliding(5, 60)), expect(ValueError, limiter.reconfigure, "x", per_minute(5)),
                   expect(TypeError, limiter.reconfigure, "requests", 5))
    assert limiter.limits[0] == per_minute(100)
    stands(limiter)


@case()
def pause():
    limiter = new()
    yield lambda: (limiter.pause(5, "requests"), limiter.pause(7))
    limiter.pause(0)
    stands(limiter)


@case()
def save_and_restore():
    limiter = Limiter(microdollars=calendar_month(500), requests=calendar_day(50), clock=ManualClock())
    limiter.debit(microdollars=7, requests=3)
    again = Limiter(microdollars=calendar_month(500), requests=calendar_day(50), clock=ManualClock())
    outcome = yield lambda: again.restore(limiter.save())
    assert [usage.used for usage in again.status().limits] == ([0, 0] if outcome.failed else [3, 7])


@case()
def restore_refused():
    limiter = Limiter(microdollars=calendar_month(500), clock=ManualClock())
    saved = limiter.save()
    saved[0]["used"] = 1 << 63
    yield lambda: (expect(ValueError, limiter.restore, saved), expect(ValueError, limiter.restore, [5]), limiter.sync_wall_clock())


@case()
def observe():
    limiter = new(provider="openai")
    permit = limiter.try_acquire()
    headers = {"retry-after": "7", "x-ratelimit-limit-requests": "50", "x-ratelimit-remaining-requests": "49", "x-ratelimit-reset-requests": "1.2s"}
    yield lambda: limiter.observe(parse(429, list(headers.items()), b'{"error": {}}', provider="openai").feedback, permit)
    permit.settle()
    assert limiter.status()[1:3] == (0, 0)


HEADERS = {"Retry-After": "7", "x-odd": "h\xf6he", "x-ratelimit-limit-requests": "50", "x-ratelimit-remaining-requests": "49"}


class Headers:
    """Not a dict, of which Python 3.11 crashes when there is no memory for an iterator over its items."""

    def items(self):
        return list(HEADERS.items())


@case()
def parses():
    outcome = yield lambda: parse(429, Headers(), '{"error": {"message": "h\xf6her"}, "usage": {"prompt_tokens": 5}}', provider="openai")
    assert outcome.failed or (outcome.value.wait, outcome.value.verdict, outcome.value.reason) == (7.0, "wait", "rate_limit")


@case()
def parses_pairs():
    outcome = yield lambda: parse(503, [(b"retry-after", b"7"), ["x", "y"]], b"\xff", provider="anthropic", wall_ns=5)
    assert outcome.failed or outcome.value.wait == 7.0


@case()
def parse_refused():
    yield lambda: [expect((ValueError, TypeError), parse, *args, **kwargs) for args, kwargs in (
        ((200, [(1, 2)]), {}), ((200, 7), {}), ((200, []), {"provider": "x"}), ((200, []), {"provider": "\xf6"}), ((200, [], 5), {}), ((-1, []), {}),
        ((200, [("a",)]), {}), ((200, ["ab"]), {}), (("x", []), {}))]


@case()
def answers():
    answer = parse(429, HEADERS, b'{"usage": {"prompt_tokens": 5, "completion_tokens": 7}}', provider="openai")
    outcome = yield lambda: (answer.usage, answer.feedback.readings, answer.feedback.named, repr(answer), repr(answer.feedback), answer.wait, answer.verdict,
                             answer.feedback.retry_after, repr(answer.feedback.readings), answer.error_class, answer.feedback.readings[0]._raw)
    assert outcome.failed or (outcome.value[0].input, outcome.value[1][0].limit) == (5, 50)


@case()
def feedback():
    yield lambda: (Feedback("refused", named=["requests", "concurrency"], retry_after=5.5, requested=7, readings=[Reading("requests", limit=5, reset=6.5)] * 3).named,
                   expect(ValueError, Feedback, "x"), expect(TypeError, Feedback, readings=[5]), expect(TypeError, Feedback, named="requests"),
                   expect(ValueError, Feedback, named=["x"]), expect(ValueError, Reading, "x"), expect(TypeError, Reading, "requests", limit="x"))


@case()
def routes():
    route = Route()
    yield lambda: (Route(0.5), route.learn({"input_tokens": 5}, RequestCost(input_tokens=7)), route.estimate(input_tokens=5), expect(ValueError, Route, 7),
                   expect(ValueError, route.learn, {"x": 5}, {}), expect(TypeError, route.learn, 5, {}), expect(ValueError, route.learn, {"requests": -1}, {}))


@case()
def pieces():
    def all_of_them():
        bucket, window, cap, day = Bucket(per_second(5), now=0), Window(sliding(5, 60), now=0), Concurrency(concurrent(5)), Calendar(calendar_day(5), now=0)
        window.credit(1, window.take(3, now=0)[1])
        day.credit(1, day.take(3, now=0)[1])
        day.restore(day.save(), now=0)
        window.reconfigure(sliding(6, 60))
        return (bucket.take(3, now=0), bucket.reserve(1 << 35, now=0), bucket.status(now=0), window.status(now=0), cap.take(2), cap.status(), day.status(now=0),
                expect(ValueError, bucket.credit, 1 << 50), expect(ValueError, cap.release, 7))
    yield all_of_them


@case()
def backoffs():
    def delays():
        backoff = Backoff(jitter="none", attempts=3, bases={"server": 1.0}, seed=5)
        again = backoff.start()
        return list(backoff), again.next("server"), again.next("rate_limit", "high", 5.0), again.next(), again.next(), backoff.next(), repr(backoff)
    outcome = yield delays
    assert outcome.failed or outcome.value[0] == [1.0, 2.0, 4.0]


@case()
def budgets():
    budget = RetryBudget(share=0.2, per_second=1, burst=1, clock=ManualClock())
    yield lambda: (RetryBudget(), budget.request(), budget.retry(), repr(budget), expect(ValueError, RetryBudget, 5))


@case()
def retries():
    limiter = new(provider="openai")
    errors = []

    def function():
        if errors:
            raise errors.pop()
        return "done"
    wrapped = retry(limiter, backoff=Backoff(jitter="none"), sleep=lambda seconds: None, cost={"input_tokens": 5}, actual=lambda result: {"input_tokens": 3},
                    budget=RetryBudget(clock=ManualClock()))(function)

    def call():
        errors[:] = [ConnectionResetError()]
        return wrapped()
    yield call
    stands(limiter, (0, 1, 2))


@case()
def retries_of_a_coroutine():
    limiter, errors = new(), []

    async def function():
        if errors:
            raise errors.pop()
        return "done"
    wrapped = retry(limiter, backoff=Backoff(jitter="none"), sleep=lambda seconds: None, actual=lambda result: {"requests": 1})(function)

    def call():
        errors[:] = [ConnectionResetError()]
        return step(wrapped())
    yield call
    stands(limiter, (0, 1, 2))


@case("thread")
def map_in_threads():
    limiter = new(clock=None)
    outcome = yield lambda: [outcome.value for outcome in rlimit.map(str, [1, 2, 3], limiter=limiter, workers=2)]
    assert outcome.failed or outcome.value == ["1", "2", "3"]
    assert limiter.status()[1:3] == (0, 0)


@case()
def clocks():
    clock = ManualClock()
    woken = []

    def use():
        clock._sleep_until(clock.now_ns + 1, lambda: woken.append(1))
        return clock.advance(1), clock.now, repr(clock), ManualClock(5).now_ns, rlimit.now(), rlimit.now_coarse(), rlimit.wall(), clock.sleep(0), expect(
            ValueError, clock.advance, -1)
    outcome = yield use
    clock.advance(1)
    assert not clock._sleepers and (outcome.failed or woken)


@case()
def clock_of_a_limiter():
    clock = ManualClock()
    kept = [new(clock=clock) for _ in range(2)]
    tasks = []
    for limiter in kept:
        limiter.try_acquire(requests=0)
        limiter.pause(5)
        tasks.append(begun(limiter, requests=1))
    yield lambda: clock.advance(6)
    assert clock.now in (0, 6)
    clock.advance(6)
    for limiter, task in zip(kept, tasks):
        finish(limiter, task)


@case()
def costs():
    body = {"messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 100, "tools": [{"x": 1}]}
    yield lambda: (RequestCost.of(body), RequestCost.of('{"input": "Hello"}', provider="openai", tokenizer=str.split).priced(3.0, 15.0), estimate_tokens("Hello, you"),
                   expect(ValueError, RequestCost.of, {}), repr(RequestCost(custom=5)), rlimit._rlimit.http_estimate("openai", input_tokens=5))


@case()
def errors():
    limiter = new()
    found = []
    for call in (limiter.acquire(requests=1000).wait, limiter.acquire(requests=2, timeout=0).wait):
        held = limiter.try_acquire()
        try:
            call()
        except (rlimit.NeverAdmitted, rlimit.AcquireTimeout) as error:
            found.append(error)
        held.cancel()
    found.append(rlimit.QueueFull("x"))
    outcome = yield lambda: [(copy.copy(error), pickle.loads(pickle.dumps(error)), str(error), repr(error)) for error in found]
    for error, copies in zip(found, outcome.value or ()):
        assert all(vars(other) == vars(error) for other in copies[:2])


@case("thread")
def logs():
    limiter = new(clock=None)
    permit = limiter.try_acquire()
    log = logging.getLogger("rlimit")

    def noted():
        log.setLevel(logging.DEBUG)
        try:
            expect(rlimit.AcquireTimeout, limiter.acquire(timeout=1e-6).wait)
        finally:
            log.setLevel(logging.WARNING)
    yield noted
    log.setLevel(logging.WARNING)
    stands(limiter, (0, 1), 1)
    permit.settle()


@case("thread") if sys.version_info >= (3, 11) else lambda function: None
def config():
    text = '[tiers.a]\nrequests_per_minute = 50\nconcurrency = 1\n[models.m]\ntier = "a"\n'
    outcome = yield lambda: rlimit.load(io.StringIO(text)).limiter("m")
    assert outcome.failed or outcome.value.limits == (per_minute(50), concurrent(1))


@case("import") if sys.version_info < (3, 13) else lambda function: None  # where it crashes in its own code
def extension():
    spec = importlib.util.find_spec("rlimit._rlimit")

    def begin():
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    outcome = yield begin
    assert outcome.failed or len(outcome.value.PROVIDERS) == 10
    gc.collect()


# -- the run --

class Wrong(Exception):
    pass


# What Python's own code makes of an allocation that fails: not ours to mend.
THEIRS = ("without exception set", "<function ", "_PyEval_", "was never awaited", "import of module", "can't allocate lock", "can't start new thread", "<Thread(",
          "a permit was dropped")  # what cannot be returned is dropped

# Of the extension or of all, and whether all fail after the first: of all, Python 3.11 can go round in circles then; and 3.12 and 3.13 crash
# where one of their own fails.
MODES = [(True, False), (True, True)] + ([(False, False)] if sys.version_info < (3, 12) else [])


def attempt(function, first, last, own, seen):
    """One run of a case. Whether an allocation failed."""
    asyncio._set_running_loop(None if "thread" in CASES[name_of(function)][1] else LOOP)
    generator = function()
    operation = next(generator)
    value, failed, error = None, False, None
    try:
        value = faults.call(first, last, own, operation)
    except MemoryError:
        failed = True
    except BaseException as raised:
        error, failed = raised, True
    fired = faults.failed()
    if error is not None and not any(text in str(error) for text in (THEIRS[1:3] if own else THEIRS)):
        raise Wrong("not MemoryError: %r" % error) from error
    if failed and not fired:
        raise Wrong("MemoryError for nothing")
    outcome = Outcome(value, failed)
    del value, error
    try:
        generator.send(outcome)
        raise Wrong("the case goes on")
    except StopIteration:
        pass
    for kind, text in seen:
        if not issubclass(kind, MemoryError) and (own or not any(their in text for their in THEIRS)):
            raise Wrong("on stderr: %s: %s" % (kind.__name__, text))
    del seen[:]
    return fired


def clear():
    """Of what is garbage, and of names of attributes that Python keeps."""
    gc.collect()
    (getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache)()


def leaks(function, first, last, seen):
    """Of what each round leaves more: objects, each of which refers to its class, or blocks of memory."""
    found = None
    for _ in range(3):
        clear()
        before, blocks = [sys.getrefcount(kind) for kind in KINDS], faults.live()
        for _ in range(ROUNDS):
            attempt(function, first, last, True, seen)
        clear()
        blocks = faults.live() - blocks
        more = {str(kind) for kind, was in zip(KINDS, before) if sys.getrefcount(kind) - was >= ROUNDS} | ({"blocks"} if blocks >= ROUNDS else set())
        found = more if found is None else found & more
        if not found:
            break
    return found


def sweep(name, seen):
    """How many allocations of the extension, and how many in all, failed."""
    function, options = CASES[name]
    imports = "import" in options
    for _ in range(3):
        attempt(function, 1 << 60, 0, False, seen)
    gc.collect()
    gc.freeze()
    most = {True: 0, False: 0}
    for own, lasting in MODES[:1] if imports else MODES:
        for first in itertools.count(1):
            last = 0 if lasting else first
            try:
                fired = attempt(function, first, last, own, seen)
                leaked = fired and own and not imports and leaks(function, first, last, seen)
                if leaked:
                    raise Wrong("leaks %s" % leaked)
            except Exception as error:
                error.args = ("%s: allocation %d%s%s: %s" % (name, first, " and all after it" if lasting else "", " of the extension" if own else "", error),)
                raise
            if not fired:
                break
            most[own] = max(most[own], first)
    return most[True], most[False]


def main(names):
    seen = []
    sys.unraisablehook = lambda what: seen.append((what.exc_type, str(what.exc_value)))
    threading.excepthook = lambda what: seen.append((what.exc_type, str(what.exc_value)))
    logging.getLogger("rlimit").addHandler(logging.NullHandler())
    logging.raiseExceptions = False
    warnings.simplefilter("error")
    bad = 0
    if not faults.find():
        print("it is not known where the extension is")
        return 2
    for name in names or CASES:
        try:
            print("%s: %d allocations of the extension, %d in all" % (name, *sweep(name, seen)), flush=True)
        except Exception:
            bad += 1
            print("FAILED", flush=True)
            traceback.print_exc()
            sys.stderr.flush()
            gc.collect()  # what the case left
            del seen[:]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
