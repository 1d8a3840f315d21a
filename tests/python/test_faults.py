"""What goes wrong around a limiter: no memory, exceptions in whatever it calls, and an end of the interpreter with waiters queued."""
import asyncio
import contextlib
import gc
import io
import itertools
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap

import pytest

import rlimit
import toolchain as t
from rlimit import Feedback, Limiter, ManualClock, Reading, Route, calendar_day, parse, per, per_day, per_minute, retry
from test_threads import Waiter, waiters

TIMEOUT = 120  # a net: nothing here takes seconds


class Fault(Exception):
    pass


class OddFault(RuntimeError):
    """Of a kind that a closed loop raises."""


def stands(limiter, used=0, active=0):
    """Nothing is held, nothing charged but this, nobody waits, and the next operation works."""
    status = limiter.status()
    assert (status.active, status.queued) == (active, 0), status
    assert used is None or status.limits[0].used == used, status
    if not active and not limiter.closed:
        limiter.acquire(requests=0).wait().settle()


# -- no memory --

@pytest.mark.skipif(not sys.platform.startswith("linux") or sys.implementation.name != "cpython", reason="looks at the stack as glibc does")
def test_every_allocation_fails(tmp_path):
    t.need("gcc")
    command = ["gcc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-I", sysconfig.get_paths()["include"], t.ROOT / "tests/python/faults.c", "-ldl", "-o",
               tmp_path / ("faults" + sysconfig.get_config_var("EXT_SUFFIX"))]
    t.run_ok(command)
    done = subprocess.run([sys.executable, str(t.ROOT / "tests/python/faults_memory.py"), str(tmp_path)], capture_output=True, text=True, timeout=600)
    if done.returncode == 2:
        t.absent(done.stdout.strip())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    assert done.stdout.count(" allocations of the extension") > 50, done.stdout


def no_memory_once(monkeypatch, name):
    """MemoryError where outcomes are kept, the second time."""
    real, times = getattr(sys.modules["rlimit._map"]._Ready, name), itertools.count(1)

    def fails(self, *args):
        if next(times) == 2:
            raise MemoryError
        return real(self, *args)
    monkeypatch.setattr(sys.modules["rlimit._map"]._Ready, name, fails)


async def say(item):
    return str(item)


@pytest.mark.parametrize("function", [str, say])
def test_map_without_memory_for_an_outcome_ends(monkeypatch, function):
    assert [outcome.value for outcome in rlimit.map(function, range(3))] == ["0", "1", "2"]
    no_memory_once(monkeypatch, "put")
    with pytest.raises(MemoryError):
        list(rlimit.map(function, range(100), workers=2))


@pytest.mark.parametrize("function", [str, say])
def test_amap_without_memory_for_an_outcome_ends(monkeypatch, function):
    async def main():
        async for outcome in rlimit.amap(function, range(100), workers=2):
            assert outcome.ok
    asyncio.run(main())
    no_memory_once(monkeypatch, "put")
    with pytest.raises(MemoryError):
        asyncio.run(main())


# -- exceptions and calls back: clocks --

class Clock:
    """A function that tells the time, and does something at one of its calls."""

    def __init__(self, at=0, action=None):
        self.calls, self.at, self.action, self.now = 0, at, action, 10**9

    def __call__(self):
        self.calls += 1
        self.now += 1000
        if self.calls == self.at:
            self.action()
        return self.now


def fault():
    raise Fault


def interrupt():
    signal.raise_signal(signal.SIGINT)


def begin(clock, **options):
    clock.at, at = 0, clock.at
    limiter = Limiter(**{"requests": [per_day(1000), calendar_day(500)], "concurrency": 9, "clock": clock, **options})
    permit = limiter.try_acquire()
    clock.calls, clock.at = 0, at
    return limiter, permit


OPERATIONS = {
    "try_acquire": lambda limiter, permit: limiter.try_acquire(requests=2),
    "acquire": lambda limiter, permit: limiter.acquire(requests=2).wait(),
    "await": lambda limiter, permit: asyncio.run(awaited(limiter.acquire(requests=2))),
    "with": lambda limiter, permit: block(limiter),
    "check": lambda limiter, permit: limiter.check(),
    "status": lambda limiter, permit: limiter.status(),
    "settle": lambda limiter, permit: permit.settle(requests=3),
    "cancel": lambda limiter, permit: permit.cancel(),
    "observe": lambda limiter, permit: limiter.observe(Feedback(), permit),
    "debit": lambda limiter, permit: limiter.debit(requests=2),
    "pause": lambda limiter, permit: limiter.pause(0),
    "reconfigure": lambda limiter, permit: limiter.reconfigure(0, per_day(2000)),
    "save": lambda limiter, permit: limiter.save(),
    "restore": lambda limiter, permit: limiter.restore(limiter.save()),
    "sync": lambda limiter, permit: limiter.sync_wall_clock(),
    "timeout": lambda limiter, permit: limiter.acquire(requests=999, timeout=0).wait(),
    "time out in the queue": lambda limiter, permit: limiter.acquire(requests=499, timeout=1e-6).wait(),
    "never": lambda limiter, permit: limiter.try_acquire(requests=5000),
}


async def awaited(acquire):
    return await acquire


def block(limiter):
    with limiter.acquire(requests=2) as permit:
        permit.settle(requests=2)


@pytest.mark.parametrize("action, kind", [(fault, Fault), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_clock_that_raises(name, action, kind):
    """At each of its calls: the error comes out, and either nothing was done or all."""
    for at in itertools.count(1):
        clock = Clock(at, action)
        limiter, permit = begin(clock)
        found = None
        with contextlib.suppress(rlimit.AcquireTimeout, rlimit.NeverAdmitted):
            if name == "await" and kind is KeyboardInterrupt and clock.at:
                clock.action = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # asyncio has a handler of its own
            try:
                found = OPERATIONS[name](limiter, permit)
            except kind:
                pass
        reached, clock.at = clock.calls >= at, 0
        if isinstance(found, rlimit.Permit):
            found.cancel()
        if permit.state == "out":
            stands(limiter, None, 1)
            permit.cancel()
        stands(limiter, None)
        assert limiter.status().limits[2].used == 0
        if not reached:
            break
    assert at > 1 or name in ("save", "cancel", "pause")


def test_the_clock_of_a_limiter_that_begins_raises():
    with pytest.raises(Fault):
        Limiter(requests=per_minute(5), clock=Clock(1, fault))
    with pytest.raises(Fault):
        rlimit.RetryBudget(clock=Clock(1, fault))


@pytest.mark.parametrize("action", ["close", "reconfigure", "settle", "cancel", "acquire", "status", "debit", "__init__"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "await"])
def test_a_clock_that_calls_back(name, action):
    """Each call of the clock, in each operation, does something to the same limiter."""
    for at in itertools.count(1):
        clock, inner = Clock(at), []
        limiter, permit = begin(clock)

        def call():
            with contextlib.suppress(RuntimeError):
                if action == "__init__":
                    limiter.__init__(requests=per_minute(5))
                elif action in ("settle", "cancel"):
                    getattr(permit, action)()
                elif action == "acquire":
                    inner.append(limiter.acquire().wait())
                elif action == "reconfigure":
                    limiter.reconfigure("concurrency", 5)
                else:
                    getattr(limiter, action)()
        clock.action, found = call, None
        with contextlib.suppress(rlimit.AcquireTimeout, rlimit.NeverAdmitted, rlimit.AcquireCancelled, RuntimeError):
            found = OPERATIONS[name](limiter, permit)
        reached, clock.at = clock.calls >= at, 0
        for one in [found, permit, *inner]:
            if isinstance(one, rlimit.Permit) and one.state == "out":
                one.cancel()
        stands(limiter, None)
        assert limiter.status().limits[2].used == 0
        if not reached:
            break


def test_a_clock_that_begins_its_limiter():
    made = Limiter.__new__(Limiter)
    clock = Clock(1, lambda: made.__init__(requests=per_minute(5)))
    with pytest.raises(RuntimeError, match="its clock called __init__"):
        made.__init__(requests=per_minute(7), clock=clock)
    made.try_acquire().settle()
    assert made.limits == (per_minute(5),)


def test_a_clock_that_uses_its_limiter_before_it_is_one():
    made = Limiter.__new__(Limiter)
    told = []

    def use():
        for call in (made.try_acquire, made.acquire, made.check, made.status, lambda: made.debit(requests=1)):
            with pytest.raises((RuntimeError, ValueError)):
                call()
            told.append(1)
    made.__init__(requests=per_minute(5), clock=Clock(1, use))
    assert len(told) == 5
    stands(made)


# -- arguments --

class Number:
    """Stands for a number, and does something first."""

    def __init__(self, action, value=3):
        self.action, self.value = action, value

    def __index__(self):
        self.action()
        return self.value

    def __float__(self):
        self.action()
        return float(self.value)


ARGUMENTS = {
    "try_acquire": lambda limiter, permit, number: limiter.try_acquire(input_tokens=number),
    "acquire": lambda limiter, permit, number: limiter.acquire(input_tokens=number).wait(),
    "timeout": lambda limiter, permit, number: limiter.acquire(timeout=number).wait(),
    "check": lambda limiter, permit, number: limiter.check(requests=number).available,
    "settle": lambda limiter, permit, number: permit.settle(input_tokens=number),
    "debit": lambda limiter, permit, number: limiter.debit(input_tokens=number),
    "sync": lambda limiter, permit, number: limiter.sync_wall_clock(number),
    "learn": lambda limiter, permit, number: Route().learn({"requests": number}, {}),
    "feedback": lambda limiter, permit, number: limiter.observe(Feedback(retry_after=number, readings=[Reading("requests", limit=number)])),
    "parse": lambda limiter, permit, number: parse(200, [], wall_ns=number),
    "take": lambda limiter, permit, number: rlimit.Bucket(per_minute(5)).take(number, now=number),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_raises(name):
    for kind in (Fault, KeyboardInterrupt, MemoryError, RecursionError):
        def act():
            raise kind
        limiter, permit = begin(Clock(), input_tokens=per_day(1000))
        with pytest.raises(kind):
            ARGUMENTS[name](limiter, permit, Number(act))
        assert permit.state == "out"
        permit.cancel()
        stands(limiter)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("action", ["close", "settle", "acquire", "reconfigure"])
def test_an_argument_that_calls_back(name, action):
    limiter, permit = begin(Clock(), input_tokens=per_day(1000))
    inner, found = [], None

    def call():
        if action == "close":
            limiter.close()
        elif action == "settle" and permit.state == "out":
            permit.settle()
        elif action == "acquire" and not inner:
            inner.append(limiter.acquire().wait())
        elif action == "reconfigure":
            limiter.reconfigure("concurrency", 3)
    with contextlib.suppress(rlimit.AcquireCancelled, rlimit.AcquireTimeout, RuntimeError):
        found = ARGUMENTS[name](limiter, permit, Number(call))
    for one in [found, permit, *inner]:
        if isinstance(one, rlimit.Permit) and one.state == "out":
            one.cancel()
    stands(limiter, None)


def test_items_that_are_no_pairs():
    class Odd:
        def __init__(self, items):
            self.found = items

        def items(self):
            if isinstance(self.found, type):
                raise self.found
            return self.found
    for items, kind in (([["requests", 1]], TypeError), ([("requests", 1, 2)], TypeError), ([5], TypeError), (5, TypeError), (Fault, Fault)):
        with pytest.raises(kind) as caught:
            Route().learn(Odd(items), {})
        assert kind is Fault or str(caught.value).startswith("estimate: must be a mapping")
    for items in (Fault, KeyboardInterrupt, MemoryError):
        with pytest.raises(items):
            parse(200, Odd(items))

    class Raises:
        @property
        def items(self):
            raise MemoryError
    for call in (lambda: parse(200, Raises()), lambda: Route().learn(Raises(), {})):
        with pytest.raises(MemoryError):
            call()


def test_a_feedback_that_is_begun_again_by_its_readings():
    """It has room for 8: no more are written."""
    feedback = Feedback()

    class Readings:
        def __iter__(self):
            feedback.__init__(readings=[Reading("custom")] * 8)
            return iter([Reading("requests")] * 7)
    feedback.__init__("refused", readings=Readings())
    assert [reading.meter for reading in feedback.readings] == ["requests"] * 7
    with pytest.raises(TypeError):
        feedback.__init__("answered", readings=[Reading("custom"), 5])
    assert (feedback.outcome, len(feedback.readings)) == ("refused", 7)
    reading = Reading("requests", limit=5)
    with pytest.raises(TypeError):
        reading.__init__("custom", limit=7, reset="x")
    assert (reading.meter, reading.limit) == ("requests", 5)


def test_a_queue_that_did_not_begin():
    made = rlimit._rlimit.Queue(2, 0)
    made.push(7, 0, 5, 0)
    with pytest.raises(ValueError):
        made.__init__(0, 0)
    assert (made.count(), made.head()) == (1, 7)


def test_a_collector_that_reconfigures():
    """Python code may run wherever an object is made: what is used still is there then."""
    limiter = Limiter(requests=per_minute(5), clock=ManualClock())
    limiter.try_acquire(requests=5)
    amounts = itertools.cycle((7, 8))
    inside = []

    def collected(phase, info):
        if phase == "start" and not inside:
            inside.append(1)
            limiter.reconfigure("requests", per_minute(next(amounts)))
            inside.pop()
    before = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(1)
    try:
        for _ in range(300):
            found = limiter.check(requests=6)
            assert found.binding is None or found.binding.amount in (5, 7, 8)
            limiter.reconfigure("requests", per_minute(9))
            limiter.status(), repr(limiter)
            limiter.reconfigure("requests", per_minute(5))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collected)
    assert limiter.status().limits[0].capacity == limiter.limits[0].burst


# -- functions that users give --

@pytest.mark.parametrize("kind", [Fault, KeyboardInterrupt])
@pytest.mark.parametrize("which", ["cost", "actual", "retry_on", "sleep", "function"])
@pytest.mark.parametrize("is_async", [False, True])
def test_retry_with_a_function_that_raises(which, kind, is_async):
    limiter, calls = Limiter(requests=per_day(1000), concurrency=1, clock=Clock()), []

    def raises(*args):
        raise kind

    def function():
        calls.append(1)
        if which == "function":
            raise kind
        if which in ("retry_on", "sleep"):
            raise ConnectionResetError
        return 5

    async def function_async():
        return function()
    options = {} if which == "function" else {which: raises}
    call = retry(limiter, **options)(function_async if is_async else function)
    with pytest.raises(kind):
        asyncio.run(call()) if is_async else call()
    assert len(calls) == (0 if which == "cost" else 1)
    stands(limiter, len(calls))


@pytest.mark.parametrize("which", ["cost", "actual", "progress", "function", "items"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", [Fault, SystemExit])
def test_map_with_a_function_that_raises(which, is_async, kind):
    """What is of an item is its error; the others end all, and nothing is left running or held."""
    limiter = Limiter(requests=per_day(10000), concurrency=2)

    def raises(*args):
        raise kind

    def items():
        yield 1
        raise kind

    async def function_async(item):
        return raises() if which == "function" else item
    options = {which: raises} if which in ("cost", "actual", "progress") else {}
    function = function_async if is_async else raises if which == "function" else int
    found = []
    of_an_item = which in ("cost", "actual", "function") and kind is Fault
    with contextlib.nullcontext() if of_an_item else pytest.raises(kind):
        for outcome in rlimit.map(function, items() if which == "items" else range(5), limiter=limiter, **options):
            found.append(outcome)
    assert all(isinstance(outcome.error, Fault) or which == "items" for outcome in found)
    assert len(found) == 5 or not of_an_item
    assert limiter.status()[1:3] == (0, 0)


def test_a_tokenizer_that_raises_or_calls_back():
    limiter = Limiter(input_tokens=per_day(1000), clock=ManualClock())
    body = {"messages": [{"role": "user", "content": "Hello"}]}

    def raises(text):
        limiter.try_acquire(input_tokens=1).settle()
        raise Fault
    with pytest.raises(Fault):
        limiter.try_acquire(**rlimit.RequestCost.of(body, tokenizer=raises))
    stands(limiter, 1)
    assert rlimit.RequestCost.of(body, tokenizer=lambda text: limiter.try_acquire(input_tokens=1) and 7).input_tokens == 7 + 6


def test_usage_of_a_body_that_is_deep():
    assert parse(200, {}, b'{"usage": ' + b"[" * 200000).usage is None


def test_a_clock_that_asks_for_another_limiter():
    config = rlimit.load(io.StringIO("[tiers.a]\nrequests_per_minute = 50\n[tiers.b]\nrequests_per_minute = 50\n"))
    clock = Clock(1, lambda: config.limiter("b"))
    assert config.limiter("a", clock=clock) is config.limiter("a")
    assert config.limiter("b").name == "b"


# -- wakers --

class Loop:
    """An event loop driven by hand, of which something fails."""

    def __init__(self, *failures):
        self.failures, self.closed, self.told = list(failures), False, 0

    def create_future(self):
        return asyncio.Future(loop=self)

    def get_debug(self):
        return False

    def is_closed(self):
        return self.closed

    def call_soon(self, function, *args, context=None):
        function(*args)

    def call_soon_threadsafe(self, function, *args):
        if self.failures:
            failure = self.failures.pop(0)
            self.closed = type(failure) is RuntimeError
            raise failure
        self.told += 1
        function(*args)

    def call_later(self, delay, function, *args):
        return asyncio.Handle(function, args, self)

    def call_exception_handler(self, context):
        raise AssertionError(context)

    def step(self, coroutine):
        """What it returns; None if it waits."""
        asyncio._set_running_loop(self)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            asyncio._set_running_loop(None)


ENDS = {
    "settle": lambda limiter, permit: permit.settle(),
    "cancel": lambda limiter, permit: permit.cancel(),
    "exit": lambda limiter, permit: permit.__exit__(None, None, None),
    "reconfigure": lambda limiter, permit: limiter.reconfigure("concurrency", 2),
    "sync": lambda limiter, permit: (permit.__exit__(None, None, None), limiter.sync_wall_clock()),
    "advance": lambda limiter, permit: limiter.clock.advance(1),
    "observe": lambda limiter, permit: limiter.observe(Feedback()),
    "pause": lambda limiter, permit: limiter.pause(0),
    "close": lambda limiter, permit: limiter.close(),
}


@pytest.mark.parametrize("failures", [[KeyboardInterrupt()], [Fault()], [OddFault()], [MemoryError()], [RecursionError()], [MemoryError(), KeyboardInterrupt()],
                                      [MemoryError(), MemoryError()], [Fault(), Fault()], [KeyboardInterrupt(), RuntimeError("closed")]],
                         ids=lambda failures: " ".join(type(failure).__name__ for failure in failures))
@pytest.mark.parametrize("name", ENDS)
def test_waking_a_task_fails(name, failures):
    """A signal's handler raised, or there was no memory: the error comes out, the task is woken all the same, by the next one if need be;
    and the permit was ended once."""
    limiter, loop = Limiter(concurrency=1, clock=ManualClock()), Loop(*failures)
    permit, waiting = limiter.try_acquire(), awaited(limiter.acquire())
    assert loop.step(waiting) is None and limiter.status().queued == 1
    gone = type(failures[-1]) is RuntimeError
    passing = len(failures) == 1 and isinstance(failures[0], (MemoryError, RecursionError))
    with contextlib.nullcontext() if passing else pytest.raises(type(failures[-1] if not gone and len(failures) > 1 else failures[0])):
        ENDS[name](limiter, permit)
    if permit.state == "out":
        permit.settle()
    assert limiter.status().active == 0
    if gone:
        assert limiter.status().queued == 0
        waiting.close()
        return
    if name == "close":
        limiter.close()
        with pytest.raises(rlimit.AcquireCancelled):
            loop.step(waiting)
    else:
        assert limiter.try_acquire() is None or loop.told  # whoever comes next tries again
        assert loop.told
        loop.step(waiting).settle()
    assert limiter.status()[1:3] == (0, 0)


def test_cancelling_a_task_fails():
    for failures in ([KeyboardInterrupt()], [MemoryError(), MemoryError()]):
        limiter, loop = Limiter(concurrency=1), Loop(*failures)
        permit, acquire = limiter.try_acquire(), limiter.acquire()
        waiting = awaited(acquire)
        loop.step(waiting)
        with pytest.raises(type(failures[0])):
            acquire.cancel()
        if len(failures) > 1:  # it was not told: it waits on
            assert limiter.status().queued == 1 and loop.told == 0
            acquire.cancel()
        with pytest.raises(rlimit.AcquireCancelled):
            loop.step(waiting)
        permit.settle()
        stands(limiter)


def test_waking_fails_where_nothing_can_be_raised():
    """A permit that is dropped: the error is told on stderr, and the task is woken."""
    told, hook = [], sys.unraisablehook
    sys.unraisablehook = lambda what: told.append(what.exc_type)
    try:
        limiter, loop = Limiter(concurrency=1), Loop(KeyboardInterrupt())
        permit, waiting = limiter.try_acquire(), awaited(limiter.acquire())
        loop.step(waiting)
        with pytest.warns(ResourceWarning):
            del permit
    finally:
        sys.unraisablehook = hook
    assert told == [KeyboardInterrupt] and loop.told
    loop.step(waiting).settle()
    stands(limiter)


def test_a_block_that_raises_keeps_its_error_when_waking_fails():
    limiter, loop = Limiter(concurrency=1), Loop(Fault())
    with pytest.raises(Fault) as caught:
        with limiter.acquire():
            waiting = awaited(limiter.acquire())
            loop.step(waiting)
            raise KeyError
    assert isinstance(caught.value.__context__, KeyError)
    loop.step(waiting).settle()
    stands(limiter)


def test_settling_at_the_end_of_the_stack():
    """RecursionError where a task is woken: it is not taken for one whose loop is closed."""
    limiter, loop = Limiter(concurrency=1), Loop()
    permit, waiting = limiter.try_acquire(), awaited(limiter.acquire())
    loop.step(waiting)

    def deep():
        try:
            deep()
        except RecursionError:
            with contextlib.suppress(RecursionError, RuntimeError):
                permit.settle()
            raise
    with pytest.raises(RecursionError):
        deep()
    assert permit.state == "settled"
    limiter.try_acquire()
    loop.step(waiting).settle()
    stands(limiter)


def test_a_manual_clock_that_is_interrupted():
    """All are woken, and the error comes out."""
    clock = ManualClock()
    limiters, loops = [Limiter(requests=per_minute(1), clock=clock) for _ in range(3)], [Loop(), Loop(KeyboardInterrupt()), Loop()]
    waiting, slept = [], []

    def fails():
        slept.append(1)
        if len(slept) == 1:
            raise KeyboardInterrupt
    clock._sleep_until(clock.now_ns + 1, fails)
    for limiter, loop in zip(limiters, loops):
        limiter.try_acquire()
        waiting.append(awaited(limiter.acquire()))
        loop.step(waiting[-1])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt) if len(slept) == 0 else contextlib.nullcontext():
            clock.advance(60)
    for loop, coroutine in zip(loops, waiting):
        loop.step(coroutine).settle()
    assert len(slept) == 2 and not clock._sleepers


# -- KeyboardInterrupt in a wait --

def test_interrupted_at_every_line_of_a_waiting_task():
    """A trace function raises in front of each line of rlimit._waiting that a task runs, until it has run them all."""
    for at in itertools.count(1):
        limiter, loop, lines = Limiter(concurrency=1), Loop(), itertools.count(1)
        permit, waiting = limiter.try_acquire(), awaited(limiter.acquire(timeout=1000))

        def trace(frame, event, arg):
            if not frame.f_code.co_filename.endswith("_waiting.py"):
                return None
            if event == "line" and next(lines) == at:
                raise KeyboardInterrupt
            return trace
        found, before = None, sys.gettrace()
        sys.settrace(trace)
        try:
            loop.step(waiting)
            permit.cancel()
            found = loop.step(waiting)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        waiting.close()
        del waiting
        if found is not None:
            found.cancel()
        with contextlib.suppress(RuntimeError):
            permit.cancel()
        gc.collect()
        assert limiter.status()[1:3] == (0, 0), at
        stands(limiter)
        if next(lines) <= at:
            break
    assert at > 10


def test_interrupted_at_every_look_at_the_clock_in_a_thread():
    """A signal comes at each call of the clock of an acquire that has to wait."""
    for at in itertools.count(1):
        clock = Clock()
        limiter = Limiter(requests=per(1, 0.00001), clock=clock)
        limiter.try_acquire().settle()
        clock.calls, clock.at, clock.action, found = 0, at, interrupt, None
        try:
            found = limiter.acquire().wait()
        except KeyboardInterrupt:
            pass
        reached, clock.at = clock.calls >= at, 0
        if found is not None:
            found.settle()
        assert limiter.status()[1:3] == (0, 0), at
        limiter.acquire().wait().settle()
        if not reached:
            break
    assert at > 3


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="by ctypes")
def test_an_exception_sent_to_a_thread_that_waits():
    """It is raised when the thread is woken, and nothing is left."""
    import ctypes
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    thread, behind = waiters(limiter, 2)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Fault)) == 1
    permit.settle()
    thread.ended()
    if thread.permit is not None and thread.permit.state == "out":
        thread.permit.cancel()
    del thread
    gc.collect()
    behind.ended().permit.settle()
    stands(limiter)


# -- event loops --

def test_a_done_callback_that_raises_or_acquires():
    async def main():
        limiter, told, permits = Limiter(concurrency=1), [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(type(context["exception"])))
        permit = limiter.try_acquire()

        def again(task):
            task.result().settle()
            permits.append(limiter.try_acquire())

        def raises(task):
            task.result().settle()
            raise Fault
        for callback in (raises, again, raises):
            task = asyncio.ensure_future(limiter.acquire())
            task.add_done_callback(callback)
            while limiter.status().queued == 0:
                await asyncio.sleep(0)
            permit.settle()
            await task
            await asyncio.sleep(0)
            permit = (permits.pop() if permits else None) or limiter.try_acquire()
        permit.settle()
        assert told == [Fault, Fault] and limiter.status()[1:3] == (0, 0)
    asyncio.run(main())


class StandingLoop:
    """An event loop that ran until its task waited in the queue, and stands still."""

    def __init__(self, limiter, **options):
        async def wait():
            return await limiter.acquire(**options)

        async def until_it_waits(count):
            while limiter.status().queued != count:
                await asyncio.sleep(0)
        self.loop = asyncio.new_event_loop()
        self.task = self.loop.create_task(wait())
        self.loop.run_until_complete(until_it_waits(limiter.status().queued + 1))

    def close(self):
        self.loop.close()
        self.task._log_destroy_pending = False


@pytest.mark.parametrize("then", ["run", "close", "cancel", "drop"])
def test_a_head_whose_loop_stands_still(then):
    """It keeps its place: those behind go on when it runs again, is closed, or its task is cancelled or dropped."""
    limiter = Limiter(concurrency=1)
    permit, acquires = limiter.try_acquire(), []

    async def wait():
        acquires.append(limiter.acquire())
        return await acquires[0]
    standing = StandingLoop(limiter)
    if then == "cancel":
        standing.close(), gc.collect()
        standing.loop = asyncio.new_event_loop()
        standing.task = standing.loop.create_task(wait())
        standing.loop.run_until_complete(asyncio.sleep(0))
    behind = waiters(limiter, 2)
    permit.settle()
    assert limiter.try_acquire() is None and not any(thread.permit for thread in behind)
    if then == "run":
        standing.loop.run_until_complete(standing.task).settle()
    elif then == "cancel":
        acquires[0].cancel()
    elif then == "close":
        standing.close()
        assert limiter.try_acquire() is None
        limiter.pause(0)
    else:
        standing.task._log_destroy_pending = False
        standing.loop._ready.clear()
        del standing.task
        gc.collect()
    for thread in behind:
        thread.ended().permit.settle()
    stands(limiter)
    if then == "cancel":
        with pytest.raises(rlimit.AcquireCancelled):
            standing.loop.run_until_complete(standing.task)
    standing.loop.close()


@pytest.mark.parametrize("manual", [False, True])
def test_time_outs_behind_a_loop_that_stands_still(manual):
    """Threads and tasks of other loops do not wait for the head to see to their deadlines."""
    clock = ManualClock() if manual else None
    limiter = Limiter(concurrency=1, clock=clock)
    permit, standing = limiter.try_acquire(), StandingLoop(limiter)
    thread = Waiter(limiter, timeout=0.001)

    async def main():
        task = asyncio.ensure_future(limiter.acquire(timeout=0.002))
        if manual:
            while limiter.status().queued < 3:
                await asyncio.sleep(0)
            clock.advance(1)
        with pytest.raises(rlimit.AcquireTimeout):
            await task
    asyncio.run(main())
    assert isinstance(thread.ended().error, rlimit.AcquireTimeout)
    permit.settle()
    standing.loop.run_until_complete(standing.task).settle()
    standing.loop.close()
    stands(limiter)


def test_close_behind_a_loop_that_stands_still():
    limiter = Limiter(concurrency=1)
    permit, standing = limiter.try_acquire(), StandingLoop(limiter)
    behind = waiters(limiter, 2)
    limiter.close()
    for thread in behind:
        assert isinstance(thread.ended().error, rlimit.AcquireCancelled)
    with pytest.raises(rlimit.AcquireCancelled):
        standing.loop.run_until_complete(standing.task)
    standing.loop.close()
    permit.settle()
    assert limiter.status()[1:3] == (0, 0)


def test_loops_that_are_closed_with_waiters():
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    loops = [StandingLoop(limiter) for _ in range(3)]
    thread, = waiters(limiter, 1)
    last = StandingLoop(limiter)
    for one in (*loops, last):
        one.close()
    permit.settle()
    thread.ended().permit.settle()
    assert limiter.status()[1:3] == (0, 0)
    stands(limiter)


# -- the end of the interpreter --

def child(text, code=0, stdout="done\n", stderr="", *options):
    """Runs it as it is, and with all warnings as errors: it ends by itself, and says nothing else."""
    for flags in ((), ("-X", "dev", "-W", "error")):
        done = subprocess.run([sys.executable, *flags, *options, "-c", PREFIX + textwrap.dedent(text)], capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == code, (flags, done.returncode, done.stdout, done.stderr)
        assert done.stdout == stdout, (flags, done.stdout, done.stderr)
        assert (stderr in done.stderr if stderr else done.stderr == ""), (flags, done.stderr)
        assert "Fatal" not in done.stderr, done.stderr


PREFIX = """
import asyncio, atexit, gc, os, sys, threading, weakref
import rlimit
from rlimit import Limiter, ManualClock, per, per_day
kept = []
def start(function, count=3, daemon=True):
    threads = [threading.Thread(target=function, daemon=daemon) for _ in range(count)]
    for thread in threads: thread.start()
    return threads
def queued(limiter, count):
    while limiter.status().queued != count: pass
"""

ENDINGS = {
    "normally": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "os._exit": ("sys.stdout.flush(); os._exit(4)", 4, ""),
    "an error": ("raise KeyError('x')", 1, "KeyError: 'x'"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", -2, "KeyboardInterrupt"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_with_daemons_that_wait(ending):
    last, code, stderr = ENDINGS[ending]
    if sys.platform == "win32" and ending == "KeyboardInterrupt":
        pytest.skip("another exit code")
    child("""
        limiter = Limiter(requests=per_day(1000), concurrency=1)
        with limiter.acquire():
            start(lambda: kept.append(limiter.acquire().wait()))
            queued(limiter, 3)
        while not kept: pass
        queued(limiter, 2)
        print("done", flush=True)
        %s
    """ % last, code, "done\n", stderr)


@pytest.mark.parametrize("ending", ["normally", "sys.exit", "an error"])
def test_the_end_with_threads_that_wait(ending):
    """No daemons: Python waits for them, and they for their turn."""
    last, code, stderr = ENDINGS[ending]
    child("""
        limiter = Limiter(requests=per(1, 0.001), concurrency=1)
        def work():
            with limiter.acquire():
                pass
        def told():
            assert limiter.status()[1:3] == (0, 0) and limiter.status().succeeded == 6
            print("done", flush=True)
        atexit.register(told)
        limiter.acquire().wait().settle()
        start(work, 5, daemon=False)
        %s
    """ % last, code, "done\n", stderr)


def test_the_end_of_a_thread_by_sys_exit():
    child("""
        limiter = Limiter(concurrency=1)
        held = limiter.try_acquire()
        def leave():
            with limiter.acquire():
                sys.exit(5)
        threads = start(leave, 3, daemon=False)
        queued(limiter, 3)
        held.settle()
        for thread in threads: thread.join()
        assert limiter.status()[1:3] == (0, 0)
        print("done")
    """)


def test_atexit_uses_the_limiter():
    child("""
        limiter = Limiter(requests=per(1, 0.001), concurrency=1)
        def at_exit():
            with limiter.acquire() as permit: pass
            async def main():
                async with limiter.acquire(): pass
            asyncio.run(main())
            held.cancel()
            limiter.close()
            for thread in threads: thread.join()
            assert limiter.status()[1:3] == (0, 0)
            print("done", flush=True)
        def first():
            held.settle()
            globals()["held"] = rlimit.Limiter(requests=per_day(5)).try_acquire()
        atexit.register(at_exit)
        atexit.register(first)
        held = limiter.try_acquire()
        threads = start(lambda: limiter.acquire().wait().settle(), 2)
        queued(limiter, 2)
    """)


def test_module_level_permits():
    """A limiter and its permits that live to the end; one whose connection counts is told of, where warnings are errors."""
    child("""
        limiter = Limiter(requests=per_day(5))
        permit, waiting = limiter.try_acquire(), limiter.acquire()
        capped = Limiter(concurrency=2)
        block = capped.acquire()
        block.__enter__().settle()
        done = capped.try_acquire()
        done.settle()
        class Holder: pass
        cycle = Holder()
        cycle.me, cycle.permit, cycle.limiter = cycle, limiter.try_acquire(), limiter
        print("done")
    """)


def test_finalizers_use_the_limiter_at_the_end():
    child("""
        limiter = Limiter(concurrency=1)
        class Holder:
            def __init__(self): self.permit = limiter.try_acquire()
            def __del__(self):
                self.permit.settle()
                print("done", flush=True)
        holder = Holder()
        holder.me = holder
        for _ in range(2): threading.Thread(target=limiter.acquire().wait, daemon=True).start()   # no function, which keeps this module alive
        queued(limiter, 2)
    """)


ASYNC = {
    "a loop that is never closed": """
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(wait()) for _ in range(3)]
        for task in tasks: task._log_destroy_pending = False
        loop.run_until_complete(until())
        print("done", flush=True)
        if sys.flags.dev_mode: loop.close()   # lest it warn of itself
    """,
    "a loop that is closed": """
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(wait()) for _ in range(3)]
        for task in tasks: task._log_destroy_pending = False
        loop.run_until_complete(until())
        loop.close()
        print("done", flush=True)
        held.settle()
    """,
    "asyncio.run": """
        async def main():
            globals()["tasks"] = [asyncio.ensure_future(wait()) for _ in range(3)]
            await until()
        asyncio.run(main())
        assert limiter.status().queued == 0
        print("done", flush=True)
    """,
    "sys.exit in a task": """
        async def main():
            globals()["tasks"] = [asyncio.ensure_future(wait()) for _ in range(3)]
            await until()
            print("done", flush=True)
            sys.exit(0)
        asyncio.run(main())
    """,
    "a loop in a daemon": """
        def run():
            async def main():
                globals()["tasks"] = [asyncio.ensure_future(wait()) for _ in range(3)]
                await asyncio.gather(*tasks)
            asyncio.run(main())
        start(run, 1)
        queued(limiter, 3)
        print("done", flush=True)
    """,
}


@pytest.mark.parametrize("name", ASYNC)
def test_the_end_with_tasks_that_wait(name):
    child("""
        limiter = Limiter(requests=per_day(100), concurrency=1)
        held = limiter.try_acquire()
        atexit.register(lambda: held.state == "out" and held.settle())
        async def wait():
            kept.append(await limiter.acquire(timeout=1000))
        async def until():
            while limiter.status().queued != 3: await asyncio.sleep(0)
    """ + ASYNC[name])


def test_the_end_with_tasks_of_trio():
    pytest.importorskip("trio")
    pytest.importorskip("sniffio")
    child("""
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import trio, sniffio
        limiter = Limiter(concurrency=1)
        held = limiter.try_acquire()
        async def wait():
            await limiter.acquire()
        async def main():
            async with trio.open_nursery() as nursery:
                for _ in range(3): nursery.start_soon(wait)
                while limiter.status().queued != 3: await trio.sleep(0)
                if sys.flags.dev_mode: nursery.cancel_scope.cancel()
                else: sys.exit(0)
        atexit.register(lambda: (held.settle(), print(("done", limiter.status()[1:3] == (0, 0))[0], flush=True)))
        try: trio.run(main)
        except BaseException as error:
            if "SystemExit" not in repr(error): raise
        start(lambda: kept.append(limiter.acquire().wait()), 2)
        queued(limiter, 2)
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_with_waiters():
    """The child has neither waiters nor permits, from its first look on; both end by themselves."""
    child("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)   # of forks in a process with threads
        limiter = Limiter(requests=per_day(1000), concurrency=1)
        held = limiter.try_acquire()
        start(lambda: kept.append(limiter.acquire().wait()), 3)
        loop = asyncio.new_event_loop()
        async def wait(): await limiter.acquire()
        task = loop.create_task(wait())
        task._log_destroy_pending = False
        queued(limiter, 3)
        async def until():
            while limiter.status().queued != 4: await asyncio.sleep(0)
        loop.run_until_complete(until())
        pid = os.fork()
        if pid == 0:
            assert limiter.check().available and limiter.check().wait == 0, limiter.check()
            assert limiter._check_ns()[0] == 0
            with limiter.acquire(): pass
            mine = [limiter.acquire() for _ in range(2)]
            first = mine[0].wait()
            thread, = start(lambda: mine[1].wait().settle(), 1)
            queued(limiter, 1)
            first.settle()
            thread.join()
            assert limiter.status()[1:3] == (0, 0)
            held.settle()
            loop.close()
            limiter.close()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        loop.close()
        held.settle()
        while not kept: pass
        print("done", flush=True)
    """)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the module has another name")
def test_sub_interpreters_end_with_waiters():
    child("""
        import warnings
        warnings.simplefilter("ignore")
        try:
            import _interpreters as interpreters
            run = interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        code = '''
        import asyncio, gc
        from rlimit import Limiter, ManualClock, per_day
        limiter = Limiter(requests=per_day(100), concurrency=1)
        held = limiter.try_acquire()
        class Loop:
            def create_future(self): return asyncio.Future(loop=self)
            def get_debug(self): return False
            def is_closed(self): return False
            def call_soon(self, function, *args, context=None): function(*args)
            call_soon_threadsafe = call_soon
        loop = Loop()
        async def wait(): await limiter.acquire()
        tasks = [wait() for _ in range(3)]
        asyncio._set_running_loop(loop)
        for task in tasks: task.send(None)
        asyncio._set_running_loop(None)
        assert limiter.status()[1:3] == (1, 3)
        held.settle()
        free = Limiter(requests=per_day(5))
        kept, never = free.try_acquire(), free.acquire()
        '''
        import textwrap
        for _ in range(3):
            one = interpreters.create()
            failed = run(one, textwrap.dedent(code))
            assert not failed, failed
            interpreters.destroy(one)
        limiter = Limiter(concurrency=1)
        limiter.try_acquire().settle()
        print("done", flush=True)
    """)


def test_map_is_left_running():
    child("""
        limiter = Limiter(concurrency=1)
        held = limiter.try_acquire()
        outcomes = rlimit.map(str, range(5), limiter=limiter, workers=3)
        thread = threading.Thread(target=lambda: next(outcomes), daemon=True)
        thread.start()
        queued(limiter, 3)
        print("done", flush=True)
        held.cancel()
        thread.join()
        outcomes.close()
    """)
