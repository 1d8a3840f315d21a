"""Tasks before one limiter: asyncio, trio, anyio, several loops in turn, tasks and threads at once, and cancellation everywhere."""
import asyncio
import gc
import math
import os
import random
import sys
import threading

import pytest

import rlimit
from rlimit import Limiter, ManualClock, per_day, per_minute, per_second

TIMEOUT = 60


def run(coroutine):
    async def limited():
        return await asyncio.wait_for(coroutine, TIMEOUT)
    return asyncio.run(limited())


async def queued(limiter, count):
    while limiter.status().queued != count:
        await asyncio.sleep(0)


async def tasks_of(limiter, count, **options):
    """So many tasks that wait, in a known order."""
    async def wait():
        return await limiter.acquire(**options)
    tasks = []
    for _ in range(count):
        before = limiter.status().queued
        tasks.append(asyncio.ensure_future(wait()))
        await queued(limiter, before + 1)
    return tasks


def test_uncontended():
    async def main():
        limiter = Limiter(requests=per_minute(50), concurrency=2)
        async with limiter.acquire(input_tokens=5) as permit:
            assert permit.cost["input_tokens"] == 5 and limiter.status().active == 1
        assert permit.state == "settled"
        permit = await limiter.acquire()
        permit.cancel()
        with pytest.raises(KeyError):
            async with limiter.acquire() as permit:
                raise KeyError
        assert limiter.status()[1:] == (0, 0, 3, 1, 1, 0, 0)
    run(main())


def test_an_admission_at_once_does_not_yield():
    limiter = Limiter(requests=per_minute(50))

    async def wait():
        return await limiter.acquire()
    coroutine = wait()
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value.state == "out"


def test_errors_at_once():
    async def main():
        limiter = Limiter(requests=per_day(1), queue=0)
        for _ in range(2):
            with pytest.raises(rlimit.NeverAdmitted):
                await limiter.acquire(requests=2)
        await limiter.acquire()
        with pytest.raises(rlimit.AcquireTimeout):
            await limiter.acquire(timeout=0)
        with pytest.raises(rlimit.QueueFull):
            await limiter.acquire()
        with pytest.raises(rlimit.QueueFull):
            async with limiter.acquire():
                pass
        used = limiter.acquire(timeout=0)
        with pytest.raises(rlimit.AcquireTimeout):
            await used
        with pytest.raises(RuntimeError, match="used already"):
            await used
        assert limiter.status()[1:3] == (0, 0)
    run(main())


def test_order_and_priorities():
    async def main():
        limiter, order = Limiter(concurrency=1, ageing=math.inf), []
        first = limiter.try_acquire()

        async def wait(name, priority):
            async with limiter.acquire(priority=priority):
                order.append(name)
        tasks = []
        for name, priority in enumerate(("normal", "low", "normal", "critical", "high")):
            tasks.append(asyncio.ensure_future(wait(name, priority)))
            await queued(limiter, name + 1)
        first.settle()
        await asyncio.gather(*tasks)
        assert order == [3, 4, 0, 2, 1]
    run(main())


def test_timer_of_the_head():
    async def main():
        limiter = Limiter(requests=per_second(100))
        limiter.try_acquire(requests=100)
        permits = await asyncio.gather(*(one(limiter) for _ in range(5)))
        assert all(0 < permit.waited < TIMEOUT for permit in permits)
        assert sorted(permit.waited for permit in permits) == [permit.waited for permit in permits]

    async def one(limiter):
        return await limiter.acquire()
    run(main())


def test_timeouts():
    async def main():
        limiter = Limiter(requests=per_day(1))
        limiter.try_acquire()

        async def one(timeout):
            with pytest.raises(TimeoutError) as caught:
                await limiter.acquire(timeout=timeout)
            assert caught.value.limit == per_day(1) and caught.value.waited >= timeout
        await asyncio.gather(*(one(timeout) for timeout in (0.05, 0.01, 0.03, 0.02, 0.04)))
        assert limiter.status().queued == 0
    run(main())


def test_manual_clock():
    async def main():
        clock = ManualClock()
        limiter = Limiter(requests=per_minute(1), clock=clock)
        limiter.try_acquire()
        tasks = await tasks_of(limiter, 3, timeout=150)
        clock.advance(60)
        assert (await tasks[0]).waited == 60
        clock.advance(60)
        assert (await tasks[1]).waited == 120
        clock.advance(30)
        with pytest.raises(rlimit.AcquireTimeout, match="requests, per_minute"):
            await tasks[2]
        sleeper = asyncio.ensure_future(clock.sleep_async(5))
        while not clock._sleepers:
            await asyncio.sleep(0)
        clock.advance(5)
        await sleeper
        await clock.sleep_async(0)
    run(main())


# -- cancellation --

@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("settled", ["before", "after", "same tick"])
def test_cancel(which, settled):
    async def main():
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        tasks = await tasks_of(limiter, 3)
        if settled == "before":
            permit.settle()
            await asyncio.sleep(0)
        elif settled == "same tick":
            permit.settle()
        tasks[which].cancel()
        if settled == "after":
            permit.settle()
        for index, task in enumerate(tasks):
            if index == which and settled != "before":
                with pytest.raises(asyncio.CancelledError):
                    await task
                continue
            try:
                (await task).settle()
            except asyncio.CancelledError:
                assert index == which
        assert limiter.status()[1:3] == (0, 0)
    run(main())


def test_cancel_at_every_step():
    """A task is cancelled after each number of steps of its loop, with the admission coming at any other."""
    async def main(steps, admit):
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()

        async def wait():
            async with limiter.acquire():
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        task = asyncio.ensure_future(wait())
        other = asyncio.ensure_future(wait())
        for step in range(12):
            if step == admit:
                permit.settle()
            if step == steps:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(task, return_exceptions=True)
        await other
        assert limiter.status()[1:3] == (0, 0), (steps, admit)
    for steps in range(8):
        for admit in range(8):
            run(main(steps, admit))


def test_wait_for():
    async def main():
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(limiter.acquire(), 0.01)
        assert limiter.status()[1:3] == (1, 0)
        permit.settle()
        (await asyncio.wait_for(limiter.acquire(), TIMEOUT)).settle()
        task = asyncio.ensure_future(limiter.acquire())
        (await task).settle()
        assert limiter.status()[1:3] == (0, 0)
    run(main())


def test_acquire_cancel_and_close():
    async def main():
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        acquire = limiter.acquire()

        async def wait(acquire):
            return await acquire
        task = asyncio.ensure_future(wait(acquire))
        await queued(limiter, 1)
        acquire.cancel()
        with pytest.raises(rlimit.AcquireCancelled, match="the wait was cancelled"):
            await task
        tasks = await tasks_of(limiter, 3)
        limiter.close()
        for task in tasks:
            with pytest.raises(rlimit.AcquireCancelled, match="the limiter is closed"):
                await task
        permit.settle()
        assert limiter.status()[1:3] == (0, 0)
    run(main())


def test_a_coroutine_that_is_closed_or_dropped():
    async def main():
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()

        async def wait():
            await limiter.acquire()
        for end in ("close", "drop"):
            coroutine = wait()
            coroutine.send(None)
            assert limiter.status().queued == 1
            if end == "close":
                coroutine.close()
            del coroutine
            gc.collect()
            assert limiter.status().queued == 0
        permit.settle()
    run(main())


def test_an_admission_that_nobody_fetches_is_given_back():
    limiter = Limiter(requests=per_day(1), concurrency=1)
    iterator = limiter.acquire().__await__()
    assert limiter.status().active == 1
    del iterator
    assert limiter.status().active == 0 and limiter.status().limits[0].used == 0


def test_keyboard_interrupt_of_a_loop():
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()

    async def wait():
        await limiter.acquire()

    async def main():
        task = asyncio.ensure_future(wait())
        await queued(limiter, 1)
        raise KeyboardInterrupt if task else None
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert limiter.status()[1:3] == (1, 0)
    permit.settle()


# -- loops --

def test_several_loops_in_turn():
    limiter = Limiter(concurrency=1)

    async def main():
        permit = await limiter.acquire()
        tasks = await tasks_of(limiter, 3)
        permit.settle()
        for task in tasks:
            (await task).settle()
    for _ in range(3):
        run(main())
    assert limiter.status()[1:3] == (0, 0)


def abandoned(limiter):
    """A loop that was closed while a task of it was at the head of the queue."""
    async def wait():
        await limiter.acquire()

    async def until_it_waits():
        await queued(limiter, 1)
    loop = asyncio.new_event_loop()
    task = loop.create_task(wait())
    loop.run_until_complete(until_it_waits())
    loop.close()
    task._log_destroy_pending = False
    return task


@pytest.mark.parametrize("comes", ["settle", "thread", "task"])
def test_a_loop_that_is_closed_holds_nobody_up(comes):
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    task = abandoned(limiter)
    if comes == "settle":
        permit.settle()
        assert limiter.status().queued == 0
        limiter.try_acquire().settle()
    elif comes == "thread":
        threads = [threading.Thread(target=lambda: limiter.acquire().wait().settle()) for _ in range(2)]
        for thread in threads:
            thread.start()
        while limiter.status().queued < 2:
            pass
        permit.settle()
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
    else:
        async def main():
            waiting, = await tasks_of_more(limiter)
            permit.settle()
            (await waiting).settle()
        run(main())
    assert limiter.status()[1:3] == (0, 0)
    assert task is not None


async def tasks_of_more(limiter):
    async def wait():
        return await limiter.acquire()
    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    await queued(limiter, 1)
    return [task]


def test_a_task_that_is_collected_leaves():
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()
    task = abandoned(limiter)
    assert limiter.status().queued == 1
    del task
    gc.collect()
    assert limiter.status().queued == 0
    permit.settle()


def test_threads_and_tasks_at_once():
    limiter, done = Limiter(concurrency=2, requests=per_second(20000)), []

    def work():
        for _ in range(50):
            with limiter.acquire():
                pass
        done.append(1)

    async def main():
        async def task():
            for _ in range(50):
                async with limiter.acquire():
                    await asyncio.sleep(0)
            done.append(1)
        await asyncio.gather(*(task() for _ in range(8)))
    threads = [threading.Thread(target=work) for _ in range(4)] + \
                                [threading.Thread(target=run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert len(done) == 20 and limiter.status()[1:3] == (0, 0) and limiter.status().succeeded == 1000


def test_storm():
    """Tasks of two loops, threads, cancellation, time-outs and changes at random: nothing is left."""
    seed = int(os.environ.get("RLIMIT_TEST_SEED", "1"))
    limiter = Limiter(requests=per_second(5000), concurrency=2, queue=30)
    gone = (rlimit.AcquireTimeout, rlimit.AcquireCancelled, rlimit.QueueFull)

    def options(dice):
        return {"priority": dice.choice(("low", "normal", "high", "critical")),
                                        "timeout": dice.choice((None, None, 0, 0.001, 0.01))}

    async def task(dice):
        for _ in range(30):
            try:
                async with limiter.acquire(**options(dice)):
                    if dice.random() < 0.5:
                        await asyncio.sleep(0)
                    if dice.random() < 0.1:
                        limiter.reconfigure("concurrency", dice.randint(1, 3))
            except gone:
                await asyncio.sleep(0)

    async def main(number):
        dice = random.Random(seed * 1000 + number)
        tasks = [asyncio.ensure_future(task(random.Random(dice.random()))) for _ in range(20)]
        for _ in range(20):
            await asyncio.sleep(dice.random() / 500)
            dice.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def work(number):
        dice = random.Random(seed * 1000 + number)
        for _ in range(60):
            try:
                limiter.acquire(**options(dice)).wait().settle()
            except gone:
                pass
    threads = [threading.Thread(target=run, args=(main(number),)) for number in range(2)]
    threads += [threading.Thread(target=work, args=(number + 2,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "seed %d" % seed
    assert limiter.status()[1:3] == (0, 0), "seed %d" % seed


def test_ten_thousand_waiters():
    async def main():
        limiter = Limiter(concurrency=100)

        async def one():
            async with limiter.acquire():
                await asyncio.sleep(0)
        await asyncio.gather(*(one() for _ in range(10000)))
        assert limiter.status()[1:3] == (0, 0) and limiter.status().succeeded == 10000
    run(main())


# -- trio, anyio --

def trio_until(trio, limiter, count):
    async def until():
        while limiter.status().queued != count:
            await trio.sleep(0)
    return until()


def test_trio():
    trio = pytest.importorskip("trio")
    limiter, order = Limiter(concurrency=1), []

    async def one(name):
        async with limiter.acquire() as permit:
            order.append(name)
            assert permit.state == "out"

    async def main():
        with trio.fail_after(TIMEOUT):
            permit = await limiter.acquire()
            async with trio.open_nursery() as nursery:
                for name in range(4):
                    nursery.start_soon(one, name)
                    await trio_until(trio, limiter, name + 1)
                permit.settle()
            with pytest.raises(rlimit.AcquireTimeout):
                async with limiter.acquire():
                    await limiter.acquire(timeout=0.01)
            timed = Limiter(requests=per_second(100))
            await timed.acquire(requests=100)
            assert (await timed.acquire()).waited > 0
    trio.run(main)
    assert order == [0, 1, 2, 3] and limiter.status()[1:3] == (0, 0)


@pytest.mark.parametrize("which", [0, 1])
def test_trio_cancel(which):
    trio = pytest.importorskip("trio")
    limiter = Limiter(concurrency=1)

    async def one(scope):
        with scope:
            async with limiter.acquire():
                pass

    async def main():
        scopes = [trio.CancelScope(), trio.CancelScope()]
        with trio.fail_after(TIMEOUT):
            permit = await limiter.acquire()
            async with trio.open_nursery() as nursery:
                for count, scope in enumerate(scopes):
                    nursery.start_soon(one, scope)
                    await trio_until(trio, limiter, count + 1)
                scopes[which].cancel()
                permit.settle()
    trio.run(main)
    assert limiter.status()[1:3] == (0, 0)


def test_trio_from_a_thread_and_a_run_that_ended():
    trio = pytest.importorskip("trio")
    limiter = Limiter(concurrency=1)
    permit = limiter.try_acquire()

    async def main():
        with trio.fail_after(TIMEOUT):
            async def settle():
                await trio_until(trio, limiter, 1)
                await trio.to_thread.run_sync(permit.settle)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(settle)
                (await limiter.acquire()).settle()
    trio.run(main)
    assert limiter.status()[1:3] == (0, 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(backend):
    anyio = pytest.importorskip("anyio")
    pytest.importorskip("trio")
    limiter, clock = Limiter(concurrency=1), ManualClock()

    async def one(scope):
        with scope:
            async with limiter.acquire():
                await anyio.sleep(0)

    async def main():
        scopes = [anyio.CancelScope() for _ in range(4)]
        with anyio.fail_after(TIMEOUT):
            permit = await limiter.acquire()
            async with anyio.create_task_group() as group:
                for count, scope in enumerate(scopes):
                    group.start_soon(one, scope)
                    while limiter.status().queued != count + 1:
                        await anyio.sleep(0)
                scopes[0].cancel()
                scopes[2].cancel()
                permit.settle()
            with anyio.move_on_after(0.01) as scope:
                async with limiter.acquire():
                    await limiter.acquire()
            assert scope.cancelled_caught if hasattr(scope, "cancelled_caught") else scope.cancel_called
            async with anyio.create_task_group() as group:
                group.start_soon(clock.sleep_async, 5)
                while not clock._sleepers:
                    await anyio.sleep(0)
                clock.advance(5)
    anyio.run(main, backend=backend)
    assert limiter.status()[1:3] == (0, 0)


def test_trio_and_asyncio_and_threads_on_one_limiter():
    trio = pytest.importorskip("trio")
    limiter = Limiter(concurrency=1)

    async def of_trio():
        async def one():
            for _ in range(20):
                async with limiter.acquire():
                    await trio.sleep(0)
        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(one)

    async def of_asyncio():
        async def one():
            for _ in range(20):
                async with limiter.acquire():
                    await asyncio.sleep(0)
        await asyncio.gather(*(one() for _ in range(4)))

    def of_threads():
        for _ in range(20):
            with limiter.acquire():
                pass
    threads = [threading.Thread(target=trio.run, args=(of_trio,)), threading.Thread(target=lambda: run(of_asyncio()))]
    threads += [threading.Thread(target=of_threads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert limiter.status()[1:3] == (0, 0) and limiter.status().succeeded == 240


@pytest.mark.skipif(sys.platform == "win32", reason="no such loop")
def test_debug_mode():
    async def main():
        limiter = Limiter(concurrency=1)
        permit = limiter.try_acquire()
        tasks = await tasks_of(limiter, 2)
        threading.Thread(target=permit.settle).start()
        for task in tasks:
            (await task).settle()
    asyncio.run(main(), debug=True)


def test_a_plain_wait_does_not_block_the_loop():
    """What is admitted at once passes, as ever; what would have to wait says what to write."""
    limiter = rlimit.Limiter(concurrency=1)

    async def main():
        with limiter.acquire() as permit:
            assert permit.state == "out"
            for wait in (lambda: limiter.acquire().wait(), lambda: limiter.acquire(timeout=5).__enter__()):
                with pytest.raises(RuntimeError, match="async with"):
                    wait()
            with pytest.raises(rlimit.AcquireTimeout):
                limiter.acquire(timeout=0).wait()
            assert (limiter.status().active, limiter.status().queued) == (1, 0)
            waits = asyncio.get_running_loop().run_in_executor(None, lambda: limiter.acquire(timeout=5).wait())
            while limiter.status().queued == 0:  # another thread may wait
                await asyncio.sleep(0.001)
        (await waits).settle()
        async with limiter.acquire():
            pass
    asyncio.run(main())
    assert limiter.status().active == 0


def test_a_notebook_blocks(monkeypatch):
    """Its cells run inside a loop, and stop it while they run."""
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    limiter = rlimit.Limiter(concurrency=1)

    async def main():
        with limiter.acquire(), pytest.raises(rlimit.AcquireTimeout):
            limiter.acquire(timeout=0.01).wait()
    asyncio.run(main())
