"""Threads, processes and signals before one limiter. What must have happened is waited for, never slept for."""
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import rlimit
from rlimit import Feedback, Limiter, ManualClock, per_day, per_minute, per_second

TIMEOUT = 60


def until(condition):
    """Yields to the others until it is so."""
    import time
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0)


def queued(limiter, count):
    until(lambda: limiter.status().queued == count)


class Waiter(threading.Thread):
    """Waits for a permit in a thread, and tells what came of it."""

    def __init__(self, limiter, then=None, **options):
        super().__init__(daemon=True)
        self.acquire, self.then = limiter.acquire(**options), then
        self.permit = self.error = None
        self.start()

    def run(self):
        try:
            self.permit = self.acquire.wait()
            if self.then is not None:
                self.then(self.permit)
        except BaseException as error:
            self.error = error

    def ended(self):
        self.join(TIMEOUT)
        assert not self.is_alive()
        return self


def waiters(limiter, count, **options):
    """So many, one after the other, so that their order is known."""
    found = []
    for _ in range(count):
        before = limiter.status().queued
        found.append(Waiter(limiter, **options))
        queued(limiter, before + 1)
    return found


def test_order_is_that_of_coming():
    limiter, order = Limiter(concurrency=1), []
    first = limiter.try_acquire()
    threads = []
    for index in range(8):
        threads.append(Waiter(limiter, lambda permit, index=index: (order.append(index), permit.settle())))
        queued(limiter, index + 1)
    first.settle()
    for thread in threads:
        assert thread.ended().error is None
    assert order == list(range(8)) and limiter.status()[1:3] == (0, 0)


def test_priorities():
    limiter, order = Limiter(concurrency=1, ageing=float("inf")), []
    first, threads = limiter.try_acquire(), []
    for index, priority in enumerate(("low", "normal", "high", "critical", "normal")):
        threads.append(
    Waiter(
        limiter,
        lambda permit,
        name=(
            priority,
            index): (
                order.append(name),
                permit.settle()),
                 priority=priority))
        queued(limiter, index + 1)
    first.settle()
    for thread in threads:
        thread.ended()
    assert order == [("critical", 3), ("high", 2), ("normal", 1), ("normal", 4), ("low", 0)]


def test_a_newcomer_does_not_pass():
    limiter = Limiter(requests=per_minute(10), clock=ManualClock())
    limiter.try_acquire(requests=5).settle()
    large = Waiter(limiter, requests=10)
    queued(limiter, 1)
    assert limiter.try_acquire() is None
    assert limiter.check().available is False and limiter.check().wait == 0.0
    with pytest.raises(rlimit.AcquireTimeout):
        limiter.acquire(timeout=0).wait()
    limiter.clock.advance(30)
    assert large.ended().permit.waited == 30.0


def test_manual_clock_wakes_head_after_head():
    clock = ManualClock()
    limiter = Limiter(requests=per_minute(1), clock=clock)
    limiter.try_acquire()
    threads = waiters(limiter, 3)
    for index, thread in enumerate(threads):
        clock.advance(30)
        assert limiter.status().queued == 3 - index
        clock.advance(30)
        assert thread.ended().permit.waited == 60.0 * (index + 1)


def test_timeouts_on_a_manual_clock():
    clock = ManualClock()
    limiter = Limiter(requests=per_day(1), clock=clock)
    limiter.try_acquire()
    threads = [Waiter(limiter, timeout=timeout) for timeout in (50, 10, 30)]
    queued(limiter, 3)
    for seconds, index in ((10, 1), (30, 2), (50, 0)):
        clock.set(seconds)
        error = threads[index].ended().error
        assert isinstance(error, rlimit.AcquireTimeout) and error.waited == seconds
        assert (error.limit, error.meter) == (per_day(1), "requests")
    assert limiter.status().queued == 0


def test_timeouts_in_real_time():
    limiter = Limiter(requests=per_day(1))
    limiter.try_acquire()
    threads = [Waiter(limiter, timeout=timeout) for timeout in (0.05, 0.01, 0.03, 0.02)]
    for thread in threads:
        assert isinstance(thread.ended().error, rlimit.AcquireTimeout)
    assert limiter.status().queued == 0


def test_admitted_when_time_has_passed():
    limiter = Limiter(requests=per_second(200))
    limiter.try_acquire(requests=200)
    permit = limiter.acquire().wait()
    assert 0 < permit.waited < TIMEOUT


@pytest.mark.parametrize("event", ["settle", "cancel", "drop", "observe",
                         "reconfigure", "pause", "sync", "close", "advance"])
def test_what_wakes_the_head(event):
    clock = ManualClock()
    limiter = Limiter(requests=per_day(1000), concurrency=1, clock=clock) if event != "close" else Limiter(concurrency=1)
    permit = limiter.try_acquire()
    if event in ("observe", "pause", "advance"):
        permit.settle()
        limiter.pause(60)
    head, = waiters(limiter, 1)
    if event in ("settle", "cancel"):
        getattr(permit, event)()
    elif event == "drop":
        with pytest.warns(ResourceWarning):
            del permit
    elif event == "observe":
        clock._now_ns = 60 * 10**9
        limiter.observe(Feedback())
    elif event == "reconfigure":
        limiter.reconfigure("concurrency", 2)
    elif event == "pause":
        limiter.pause(0)
    elif event == "sync":
        clock._now_ns = 1
        limiter.reconfigure("concurrency", 2)
        limiter.sync_wall_clock()
    elif event == "advance":
        clock.advance(60)
    else:
        limiter.close()
        assert isinstance(head.ended().error, rlimit.AcquireCancelled)
        return
    assert head.ended().permit is not None


def test_close_ends_all():
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    threads = waiters(limiter, 5)
    limiter.close()
    for thread in threads:
        assert isinstance(thread.ended().error, rlimit.AcquireCancelled)
    permit.settle()
    assert limiter.status()[1:3] == (0, 0)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_cancel_from_another_thread(which):
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    threads = waiters(limiter, 3)
    threads[which].acquire.cancel()
    threads[which].acquire.cancel()
    assert isinstance(threads[which].ended().error, rlimit.AcquireCancelled)
    rest = [thread for thread in threads if thread is not threads[which]]
    permit.settle()
    rest[0].ended().permit.settle()
    rest[1].ended().permit.settle()
    assert limiter.status()[1:3] == (0, 0)


def test_cancel_before_and_after():
    limiter = Limiter(concurrency=1)
    acquire = limiter.acquire()
    acquire.cancel()
    with pytest.raises(rlimit.AcquireCancelled):
        acquire.wait()
    acquire = limiter.acquire()
    permit = acquire.wait()
    acquire.cancel()
    assert permit.state == "out"
    permit.settle()


def test_queue_full():
    limiter = Limiter(concurrency=1, queue=2)
    permit = limiter.try_acquire()
    threads = waiters(limiter, 2)
    with pytest.raises(rlimit.QueueFull, match="queue: full: 2 wait already"):
        limiter.acquire().wait()
    permit.settle()
    for thread in threads:
        thread.ended().permit.settle()


def test_head_that_can_never_be_admitted_any_more():
    limiter = Limiter(requests=per_minute(10), clock=ManualClock())
    limiter.try_acquire(requests=10)
    large = Waiter(limiter, requests=8)
    queued(limiter, 1)
    small = Waiter(limiter)
    queued(limiter, 2)
    limiter.reconfigure("requests", per_minute(5))
    assert isinstance(large.ended().error, rlimit.NeverAdmitted)
    limiter.clock.advance(60)
    assert small.ended().permit is not None


def test_many_threads_never_pass_the_limits():
    limiter, out, most, lock = Limiter(requests=per_second(20000), concurrency=3), 0, 0, threading.Lock()

    def work():
        nonlocal out, most
        for _ in range(100):
            with limiter.acquire():
                with lock:
                    out += 1
                    most = max(most, out)
                with lock:
                    out -= 1
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert most <= 3 and limiter.status()[1:3] == (0, 0) and limiter.status().succeeded == 1600


def test_storm():
    """Waits, cancellations, time-outs, changes and settling at random: nothing is left."""
    seed = int(os.environ.get("RLIMIT_TEST_SEED", "1"))
    limiter = Limiter(requests=per_second(5000), concurrency=2, queue=50)

    def work(number):
        dice = random.Random(seed * 1000 + number)
        for _ in range(60):
            acquire = limiter.acquire(
    priority=dice.choice(
        ("low", "normal", "high", "critical")), timeout=dice.choice(
            (None, None, 0, 0.001, 0.01)))
            if dice.random() < 0.2:
                threading.Thread(target=acquire.cancel).start()
            try:
                permit = acquire.wait()
            except (rlimit.AcquireTimeout, rlimit.AcquireCancelled, rlimit.QueueFull):
                continue
            if dice.random() < 0.1:
                limiter.reconfigure("concurrency", dice.randint(1, 3))
            if dice.random() < 0.5:
                permit.settle()
            else:
                permit.cancel()
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "seed %d" % seed
    assert limiter.status()[1:3] == (0, 0), "seed %d" % seed
    limiter.try_acquire().settle()


def test_permit_settled_in_another_thread():
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    thread = threading.Thread(target=permit.settle)
    thread.start()
    thread.join()
    assert permit.state == "settled" and limiter.status().active == 0


def test_permits_settled_by_the_collector_wake_the_next():
    limiter = Limiter(concurrency=1)

    class Holder:
        def __init__(self):
            self.itself, self.permit = self, limiter.try_acquire()

        def __del__(self):
            self.permit.settle()
    Holder()
    head, = waiters(limiter, 1)
    gc.collect()
    assert head.ended().error is None


@contextlib.contextmanager
def signals(number, handler, until_done, begin):
    """Sends this thread a signal once begin is so, again and again until its handler has done its work: as of any lock of Python's, one
    that comes between the last look and falling asleep is only seen with the next."""
    def send():
        until(begin)
        while not until_done():
            signal.pthread_kill(threading.main_thread().ident, number)
            until(lambda: True)
    before = signal.signal(number, handler)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(number, before)


needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread here")


@needs_signals
@pytest.mark.parametrize("place", ["wait", "with"])
def test_keyboard_interrupt(place):
    limiter, seen = Limiter(concurrency=1), []
    permit = limiter.try_acquire()

    def once(*unused):
        if not seen:
            seen.append(1)
            raise KeyboardInterrupt
    with signals(signal.SIGINT, once, lambda: seen, lambda: limiter.status().queued == 1):
        with pytest.raises(KeyboardInterrupt):
            if place == "wait":
                limiter.acquire().wait()
            else:
                with limiter.acquire():
                    pass
    assert limiter.status()[1:3] == (1, 0)
    permit.settle()
    limiter.acquire().wait().settle()


@needs_signals
def test_a_signal_that_does_not_raise_does_not_end_the_wait():
    limiter, seen = Limiter(concurrency=1), []
    permit = limiter.try_acquire()

    def settle(*unused):
        if not seen:
            seen.append(1)
            permit.settle()
    with signals(signal.SIGUSR1, settle, lambda: seen, lambda: limiter.status().queued == 1):
        limiter.acquire().wait().settle()
    assert limiter.status()[1:3] == (0, 0)


def test_manual_clock_sleep():
    clock, order = ManualClock(), []
    threads = [threading.Thread(target=lambda s=seconds: (clock.sleep(s), order.append(s))) for seconds in (30, 10, 20)]
    for thread in threads:
        thread.start()
    until(lambda: len(clock._sleepers) == 3)
    for seconds in (10, 20, 30):
        clock.set(seconds)
        until(lambda: len(order) == seconds // 10)
    assert order == [10, 20, 30]


# -- processes --

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(function):
    """Runs it in a fork, which must come back with 0."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork():
    limiter = Limiter(requests=per_day(100), concurrency=2)
    mine, other = limiter.try_acquire(), limiter.try_acquire()
    head, = waiters(limiter, 1)

    def child():
        status = limiter.status()
        assert status[1:3] == (0, 0), status
        assert [usage.used for usage in status.limits] == [2, 0]
        assert mine.state == "of the parent process"
        mine.settle(), other.cancel()
        assert limiter.status().limits[1].used == 0
        first, second = limiter.acquire().wait(), limiter.try_acquire()
        assert limiter.try_acquire() is None
        with pytest.raises(rlimit.AcquireTimeout):
            limiter.acquire(timeout=0.001).wait()
        waiting = Waiter(limiter)
        queued(limiter, 1)
        first.settle()
        waiting.ended().permit.settle()
        second.settle()
    in_child(child)
    assert limiter.status()[1:3] == (2, 1)
    mine.settle()
    head.ended().permit.settle()
    other.settle()
    in_child(child_of_none)


def child_of_none():
    limiter = Limiter(requests=per_day(5))
    assert limiter.try_acquire() is not None


@fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_inside_a_block():
    limiter = Limiter(requests=per_day(100), concurrency=1)
    with limiter.acquire() as permit:
        in_child(lambda: (permit.settle(input_tokens=5), limiter.acquire().wait().settle()))
        assert permit.state == "out"
    assert limiter.status().active == 0


def script(text, *options):
    done = subprocess.run([sys.executable, *options, "-c", textwrap.dedent(text)],
                          capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Fatal" not in done.stderr, done.stdout + done.stderr
    return done.stdout


def test_interpreter_ends_while_threads_wait():
    assert script("""
        import threading
        from rlimit import Limiter
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        for _ in range(5):
            threading.Thread(target=lambda: limiter.acquire().wait(), daemon=True).start()
        while limiter.status().queued < 5:
            pass
        print("done")
    """) == "done\n"


def test_interpreter_ends_while_a_task_waits():
    assert "done" in script("""
        import asyncio
        from rlimit import Limiter
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        loop = asyncio.new_event_loop()
        async def wait():
            await limiter.acquire(timeout=1000)
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0, loop.call_soon(lambda: None)))
        assert limiter.status().queued == 1
        print("done")
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no interpreters with a GIL of their own before 3.12")
def test_sub_interpreters():
    assert script("""
        import sys, threading
        try:
            import _interpreters as interpreters
            run = interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        code = '''
        import sys
        from rlimit import Limiter, per_minute
        limiter = Limiter(requests=per_minute(10000), concurrency=2)
        def work():
            for _ in range(200):
                with limiter.acquire(): pass
        if sys.version_info < (3, 13):  # 3.12 does not end an interpreter that imported threading in a thread, whatever else it did
            [work() for _ in range(3)]
        else:
            import threading
            threads = [threading.Thread(target=work) for _ in range(3)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        assert limiter.status().succeeded == 600
        '''
        import textwrap, rlimit
        ids = [interpreters.create() for _ in range(3)]
        threads = [threading.Thread(target=run, args=(one, textwrap.dedent(code))) for one in ids]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for one in ids:
            interpreters.destroy(one)
        assert rlimit.Limiter(requests=rlimit.per_minute(5)).try_acquire() is not None
        print("done")
    """, "-X", "dev") == "done\n"


def test_module_twice():
    """Two states of the module in one interpreter do not share anything."""
    assert script("""
        import importlib, sys, gc
        import rlimit
        first = rlimit.Limiter(requests=rlimit.per_minute(5))
        permit = first.try_acquire()
        for name in [name for name in sys.modules if name.startswith("rlimit")]:
            del sys.modules[name]
        import rlimit as again
        assert again.Limiter is not rlimit.Limiter or again is rlimit
        second = again.Limiter(requests=again.per_minute(5))
        try:
            second.observe(again.Feedback(), permit)
        except TypeError:
            pass
        del rlimit
        gc.collect()
        permit.settle(), second.try_acquire().settle()
        print("done")
    """, "-X", "dev") == "done\n"
