"""map and amap: order, bounds, errors by item, and nothing left running however they end."""

import asyncio
import contextlib
import contextvars
import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

import rlimit
from rlimit import Limiter, ManualClock, Outcome, amap, per_minute
from rlimit import map as rlimit_map

ANYIO = [pytest.param("asyncio", id="asyncio"), pytest.param("trio", id="trio")]


def run(backend, function, *args):
    """Runs a coroutine function to its end, under asyncio or trio."""
    if backend == "asyncio":
        return asyncio.run(function(*args))
    return pytest.importorskip("trio").run(function, *args)


async def checkpoint():
    """Lets others run, under either."""
    import sniffio
    if sniffio.current_async_library() == "trio":
        import trio
        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


async def forever():
    import sniffio
    if sniffio.current_async_library() == "trio":
        import trio
        await trio.sleep_forever()
    else:
        await asyncio.Event().wait()


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rlimit-map")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    gc.collect()
    assert ours() == []


def double(x):
    return 2 * x


async def double_async(x):
    await checkpoint()
    return 2 * x


def collect(outcomes):
    return [(outcome.item, outcome.index, outcome.value, outcome.error) for outcome in outcomes]


async def collect_async(outcomes):
    return [(outcome.item, outcome.index, outcome.value, outcome.error) async for outcome in outcomes]


def expected(n):
    return [(i, i, 2 * i, None) for i in range(n)]


# -- Order --

@pytest.mark.parametrize("function", [double, double_async])
@pytest.mark.parametrize("workers, buffer", [(1, None), (1, 0), (3, 0), (8, 5), (64, None)])
@pytest.mark.parametrize("n", [0, 1, 7, 500])
def test_every_item_once_and_in_order(function, workers, buffer, n):
    assert collect(rlimit_map(function, iter(range(n)), workers=workers, buffer=buffer)) == expected(n)
    assert sorted(collect(rlimit_map(function, range(n), workers=workers, buffer=buffer, ordered=False))) == expected(n)


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("function", [double, double_async])
@pytest.mark.parametrize("workers, buffer, n", [
    (1, 0, 50), (3, 0, 50), (8, 5, 200), (64, None, 0), (64, None, 1), (4, None, 500)])
def test_every_item_once_and_in_order_async(backend, function, workers, buffer, n):
    async def main():
        async def source():
            for i in range(n):
                await checkpoint()
                yield i
        assert await collect_async(amap(function, range(n), workers=workers, buffer=buffer)) == expected(n)
        assert await collect_async(amap(function, source(), workers=workers, buffer=buffer)) == expected(n)
        assert sorted(await collect_async(amap(function, source(), workers=workers, buffer=buffer,
                                               ordered=False))) == expected(n)
    run(backend, main)


def test_as_completed_does_not_wait_for_the_slow():
    go = threading.Event()

    def function(x):
        if x == 0:
            go.wait(60)
        return x
    outcomes = rlimit_map(function, range(5), workers=2, ordered=False)
    assert sorted(next(outcomes).value for _ in range(4)) == [1, 2, 3, 4]
    go.set()
    assert [outcome.value for outcome in outcomes] == [0]


@pytest.mark.parametrize("backend", ANYIO)
def test_as_completed_does_not_wait_for_the_slow_async(backend):
    async def main():
        go = []

        async def function(x):
            while x == 0 and not go:
                await checkpoint()
            return x
        outcomes = amap(function, range(5), workers=2, ordered=False)
        assert sorted([(await outcomes.__anext__()).value for _ in range(4)]) == [1, 2, 3, 4]
        go.append(1)
        assert [outcome.value async for outcome in outcomes] == [0]
    run(backend, main)


# -- Bounds --

class Item:
    alive = 0
    most = 0

    def __init__(self):
        Item.alive += 1
        Item.most = max(Item.most, Item.alive)
        weakref.finalize(self, Item.died)

    @staticmethod
    def died():
        Item.alive -= 1


@pytest.mark.parametrize("function", ["thread", "coroutine"])
@pytest.mark.parametrize("ordered", [True, False])
def test_memory_is_bounded(function, ordered):
    def call(item):
        return 1

    async def call_async(item):
        return 1
    Item.alive = Item.most = 0
    chosen = call if function == "thread" else call_async
    assert sum(outcome.value for outcome in rlimit_map(chosen, (Item() for _ in range(20000)), workers=4, buffer=3,
                                                       ordered=ordered)) == 20000
    gc.collect()
    assert Item.alive == 0 and Item.most <= 4 + 3 + 3  # one taken, one yielded, one in the loop's hand


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("ordered", [True, False])
def test_memory_is_bounded_async(backend, ordered):
    async def main():
        async def call(item):
            return 1
        Item.alive = Item.most = total = 0
        async for outcome in amap(call, (Item() for _ in range(20000)), workers=4, buffer=3, ordered=ordered):
            total += outcome.value
        del outcome
        gc.collect()
        assert total == 20000 and Item.alive == 0 and Item.most <= 4 + 3 + 3
    run(backend, main)


def test_a_slow_reader_holds_the_source_back():
    taken = itertools.count()
    outcomes = rlimit_map(double, taken, workers=3, buffer=2)
    for i in range(50):
        assert next(outcomes).index == i
        assert int(repr(taken)[6:-1]) <= i + 1 + 3 + 2
    outcomes.close()


def test_no_more_calls_at_a_time_than_workers():
    lock, now, most = threading.Lock(), [0], [0]
    barrier = threading.Barrier(4)

    def function(x):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if x < 4:
            barrier.wait(60)  # all four do run at once
        with lock:
            now[0] -= 1
    assert len(list(rlimit_map(function, range(200), workers=4))) == 200
    assert most[0] == 4


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_no_more_calls_at_a_time_than_workers_async(backend, kind):
    async def main():
        lock, now, most = threading.Lock(), [0], [0]
        barrier = threading.Barrier(4)

        def begin():
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])

        def end():
            with lock:
                now[0] -= 1

        def function(x):
            begin()
            if x < 4:
                barrier.wait(60)
            end()

        async def coroutine(x):
            begin()
            while x < 4 and most[0] < 4:
                await checkpoint()
            end()
        assert len(await collect_async(amap(function if kind == "thread" else coroutine, range(100), workers=4))) == 100
        assert most[0] == 4
    run(backend, main)


def test_no_more_threads_than_there_is_work():
    seen = set()

    def function(x):
        seen.add(threading.current_thread().name)
        return x
    outcomes = rlimit_map(function, range(2), workers=1000)
    assert [outcome.value for outcome in outcomes] == [0, 1] and len(seen) <= 2


def test_items_are_taken_in_the_callers_thread_and_only_when_asked():
    threads = []

    def source():
        while True:
            threads.append(threading.current_thread())
            yield 1
    outcomes = rlimit_map(double, source(), workers=2)
    assert threads == [] and ours() == []
    next(outcomes)
    outcomes.close()
    assert set(threads) == {threading.current_thread()}


# -- Errors --

def fails(x):
    if x % 3 == 0:
        raise KeyError(x)
    return x


async def fails_async(x):
    return fails(x)


@pytest.mark.parametrize("function", [fails, fails_async])
def test_errors_are_the_items(function):
    outcomes = list(rlimit_map(function, range(10), workers=3))
    assert [outcome.ok for outcome in outcomes] == [i % 3 != 0 for i in range(10)]
    assert all(isinstance(outcome.error, KeyError) and outcome.error.args == (outcome.item,) for outcome in outcomes
               if not outcome.ok)
    assert outcomes[1].result() == 1
    with pytest.raises(KeyError):
        outcomes[3].result()


@pytest.mark.parametrize("backend", ANYIO)
def test_errors_are_the_items_async(backend):
    async def main():
        for function in (fails, fails_async):
            outcomes = [outcome async for outcome in amap(function, range(10), workers=3)]
            assert [outcome.ok for outcome in outcomes] == [i % 3 != 0 for i in range(10)]
    run(backend, main)


class Broken(Exception):
    pass


def broken(n):
    yield from range(n)
    raise Broken


@pytest.mark.parametrize("function", [double, double_async])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("n", [0, 1, 30])
def test_an_error_of_the_source_comes_after_what_went_before(function, ordered, n):
    seen = []
    with pytest.raises(Broken):
        for outcome in rlimit_map(function, broken(n), workers=4, ordered=ordered):
            seen.append(outcome.index)
    assert sorted(seen) == list(range(n))


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("n", [0, 1, 30])
def test_an_error_of_the_source_comes_after_what_went_before_async(backend, n):
    async def main():
        async def source():
            for i in broken(n):
                yield i
        for items in (broken(n), source()):
            seen = []
            with pytest.raises(Broken):
                async for outcome in amap(double_async, items, workers=4):
                    seen.append(outcome.index)
            assert seen == list(range(n))
    run(backend, main)


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_programs_ends_the_whole(kind, error):
    def function(x):
        if x == 5:
            raise error("x")
        return x

    async def coroutine(x):
        return function(x)
    with pytest.raises(error):
        list(rlimit_map(function if kind == "thread" else coroutine, itertools.count(), workers=3))


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_programs_ends_the_whole_async(backend, error):
    running = []

    async def function(x):
        running.append(x)
        try:
            if x == 2:
                raise error("x")
            await forever()
        finally:
            running.remove(x)

    async def main():
        with pytest.raises(error):
            await collect_async(amap(function, itertools.count(), workers=3))
        assert running == []
    run(backend, main)


@pytest.mark.parametrize("options, error, named", [
    ({"workers": 0}, ValueError, "workers"), ({"workers": 1.5}, TypeError, "workers"),
    ({"buffer": -1}, ValueError, "buffer"), ({"limiter": 3}, TypeError, "limiter"), ({"cost": 3}, TypeError, "cost"),
    ({"actual": 3}, TypeError, "actual"), ({"priority": "urgent"}, ValueError, "priority"),
    ({"progress": "bar"}, TypeError, "progress"), ({"items": 3}, TypeError, ""), ({"function": 3}, TypeError, "function")])
def test_bad_arguments_are_named_before_anything_runs(options, error, named):
    given = dict({"function": double, "items": [1]}, **options)
    for which in (rlimit_map, amap):
        with pytest.raises(error, match="^" + named):
            which(given.pop("function"), given.pop("items"), **given)
        given = dict({"function": double, "items": [1]}, **options)


def test_map_refuses_to_block_a_running_loop():
    async def main():
        with pytest.raises(RuntimeError, match="use amap"):
            rlimit_map(double_async, [1])
        assert collect(rlimit_map(double, range(3))) == expected(3)
    asyncio.run(main())


def test_a_cancellation_within_a_call_is_its_own_error():
    async def function(x):
        if x == 2:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return 2 * x

    async def main():
        return await collect_async(amap(function, range(5), workers=2))
    for outcomes in (asyncio.run(main()), collect(rlimit_map(function, range(5), workers=2))):
        assert [value for _, _, value, _ in outcomes] == [0, 2, None, 6, 8]
        assert isinstance(outcomes[2][3], RuntimeError) and isinstance(outcomes[2][3].__cause__, asyncio.CancelledError)


# -- Outcome --

def test_an_outcome_says_what_it_is():
    assert repr(Outcome("a", 3, value=1)) == "Outcome(item='a', index=3, value=1)"
    assert repr(Outcome("a", 3, error=ValueError("x"))) == "Outcome(item='a', index=3, error=ValueError('x'))"
    assert Outcome("a", 0).ok and Outcome("a", 0).result() is None


# -- The limiter --

def test_each_call_pays_and_settles():
    limiter = Limiter(requests=per_minute(100), input_tokens=per_minute(10000), concurrency=3, clock=ManualClock())
    running = []

    def function(x):
        running.append(limiter.status().active)
        return {"tokens": x}
    outcomes = list(rlimit_map(function, [10, 20, 30, 40], limiter=limiter, workers=8,
                               cost=lambda x: {"input_tokens": 10 * x},
                               actual=lambda value: {"input_tokens": value["tokens"]}))
    assert all(outcome.ok for outcome in outcomes), outcomes
    used = {usage.meter: usage.used for usage in limiter.status().limits if usage.limit.kind != "concurrency"}
    assert used == {"requests": 4, "input_tokens": 100} and max(running) <= 3 and limiter.status().active == 0


def test_what_the_limiter_refuses_is_the_items_error():
    limiter = Limiter(input_tokens=per_minute(100), clock=ManualClock())
    outcomes = list(rlimit_map(double, [1, 2, 3], limiter=limiter, cost=lambda x: {"input_tokens": 101 if x == 2 else 10}))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), rlimit.NeverAdmitted, type(None)]


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_errors_of_cost_and_actual_are_the_items_and_leave_nothing_held(kind):
    limiter = Limiter(requests=per_minute(100), concurrency=1, clock=ManualClock())

    def cost(x):
        return {"unknown": 1} if x == 1 else {"requests": 1 + 0 // x}

    def actual(value):
        return {"unknown": 1} if value == 6 else {"requests": 1 // (value - 4)}
    outcomes = list(rlimit_map(double if kind == "thread" else double_async, [0, 1, 2, 3], limiter=limiter, cost=cost,
                               actual=actual, workers=4))
    assert [outcome.ok for outcome in outcomes] == [False] * 4 and limiter.status().active == 0


def queued(limiter):
    return limiter.status().queued


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_closed_generator_leaves_nobody_in_the_queue(kind):
    limiter = Limiter(requests=per_minute(1), concurrency=10, clock=ManualClock())

    def source():
        yield from range(5)
        while queued(limiter) < 4:
            threading.Event().wait(0.001)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        for outcome in rlimit_map(double if kind == "thread" else double_async, source(), limiter=limiter, workers=6):
            assert outcome.ok
    assert queued(limiter) == limiter.status().active == 0 and ours() == []


@pytest.mark.parametrize("backend", ANYIO)
def test_a_closed_generator_leaves_nobody_in_the_queue_async(backend):
    async def main():
        limiter = Limiter(requests=per_minute(1), concurrency=10, clock=ManualClock())
        outcomes = amap(double_async, itertools.count(), limiter=limiter, workers=6)
        assert (await outcomes.__anext__()).ok
        while queued(limiter) == 0:
            await checkpoint()
        await outcomes.aclose()
        assert queued(limiter) == limiter.status().active == 0
    run(backend, main)


def test_threads_and_tasks_on_one_limiter():
    limiter = Limiter(requests=per_minute(100000), concurrency=2)
    found = []

    def in_thread():
        found.extend(collect(rlimit_map(double, range(100), limiter=limiter, workers=5)))
    thread = threading.Thread(target=in_thread)
    thread.start()
    assert collect(rlimit_map(double_async, range(100), limiter=limiter, workers=5)) == expected(100)
    thread.join()
    assert found == expected(100) and limiter.status().active == 0


# -- The end --

@pytest.mark.parametrize("how", ["close", "break", "collect", "throw"])
@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_the_end_waits_for_calls_and_begins_no_more(how, kind):
    lock, running, calls = threading.Lock(), [0], [0]

    def function(x):
        with lock:
            running[0] += 1
            calls[0] += 1
        try:
            return x
        finally:
            with lock:
                running[0] -= 1

    async def coroutine(x):
        try:
            running[0] += 1
            calls[0] += 1
            await (checkpoint() if x == 0 else forever())
        finally:
            running[0] -= 1
    outcomes = rlimit_map(function if kind == "thread" else coroutine, itertools.count(), workers=4)
    if how == "break":
        for _ in outcomes:
            break
        outcomes.close()
    else:
        next(outcomes)
        if how == "close":
            outcomes.close()
        elif how == "throw":
            with pytest.raises(Broken):
                outcomes.throw(Broken)
    del outcomes
    gc.collect()
    assert running == [0] and ours() == []
    before = calls[0]
    assert calls[0] == before


def test_a_call_under_way_is_waited_for():
    begun, go, done = threading.Event(), threading.Event(), []

    def function(x):
        if x == 0:
            begun.wait(60)
        if x == 1:
            begun.set()
            go.wait(60)
            done.append(x)
        return x
    outcomes = rlimit_map(function, range(10), workers=2)
    next(outcomes)
    begun.wait(60)
    threading.Timer(0.05, go.set).start()
    outcomes.close()
    assert done == [1]


def test_one_never_begun_costs_nothing():
    rlimit_map(double, range(5)).close()
    rlimit_map(double_async, range(5)).close()
    asyncio.run(amap(double_async, range(5)).aclose())
    assert ours() == []


@pytest.mark.parametrize("backend", ANYIO)
@pytest.mark.parametrize("how", ["close", "break", "cancel", "abandon"])
def test_the_end_cancels_calls_async(backend, how):
    running = []

    async def function(x):
        running.append(x)
        try:
            await (checkpoint() if x == 0 else forever())
        finally:
            running.remove(x)
        return x

    async def main():
        outcomes = amap(function, itertools.count(), workers=4)
        if how == "cancel":
            anyio = pytest.importorskip("anyio")
            with anyio.CancelScope() as scope:
                async for outcome in outcomes:
                    while len(running) < 2:
                        await checkpoint()
                    scope.cancel()
            assert scope.cancelled_caught
        elif how == "break":
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(outcomes.aclose)
                async for outcome in outcomes:
                    break
        else:
            await outcomes.__anext__()
            if how == "abandon":
                return outcomes  # closed by the end of the loop
            await outcomes.aclose()
        assert running == []
    outcomes = run(backend, main)
    assert running == []
    del outcomes


def test_a_cancelled_task_under_asyncio():
    running = []

    async def function(x):
        running.append(x)
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            running.remove(x)

    async def main():
        async def read():
            async for _ in amap(function, itertools.count(), workers=4):
                pass
        task = asyncio.ensure_future(read())
        while len(running) < 4:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running == []
    asyncio.run(main())


@pytest.mark.parametrize("backend", ANYIO)
def test_a_cancelled_call_in_a_thread_is_waited_for(backend):
    anyio = pytest.importorskip("anyio")
    done = []

    def function(x):
        begun.set()
        go.wait(60)
        done.append(x)
    begun, go = threading.Event(), threading.Event()

    async def main():
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                async def cancel():
                    while not begun.is_set():
                        await checkpoint()
                    scope.cancel()
                    threading.Timer(0.05, go.set).start()
                group.start_soon(cancel)
                async for _ in amap(function, range(3), workers=1):
                    pass
        assert done == [0]
    run(backend, main)


def test_maps_in_maps():
    def inner(x):
        return sum(outcome.value for outcome in rlimit_map(double, range(x), workers=2))
    assert [outcome.value for outcome in rlimit_map(inner, range(20), workers=4)] == [x * (x - 1) for x in range(20)]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("kind", ["thread", "coroutine", "queue", "amap"])
def test_keyboard_interrupt(kind):
    """A real Ctrl-C in a process of its own, while calls run or wait in the queue: it ends, and nothing is left."""
    script = textwrap.dedent("""
        import asyncio, faulthandler, itertools, os, threading
        from rlimit import Limiter, amap, map, per_day
        faulthandler.dump_traceback_later(50, exit=True)
        def ready():
            os.write(1, b"ready\\n")
        limiter = Limiter(requests=per_day(1)) if KIND == "queue" else None
        go = threading.Event()
        def thread(x):
            if x: ready()
            if x and KIND != "queue": go.wait(0.2)
        async def coroutine(x):
            if x: ready()
            if x: await asyncio.Event().wait()
        try:
            if KIND == "amap":
                async def main():
                    async for _ in amap(coroutine, itertools.count(), workers=3): pass
                asyncio.run(main())
            else:
                items = iter(lambda: (ready(), 1)[1], 2) if KIND == "queue" else itertools.count()
                for _ in map(coroutine if KIND == "coroutine" else thread, items, limiter=limiter, workers=3): pass
        except KeyboardInterrupt:
            left = limiter and (limiter.status().queued, limiter.status().active)
            print("interrupted", [thread.name for thread in threading.enumerate()], left)
    """).replace("KIND", repr(kind))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    left = "(0, 0)" if kind == "queue" else "None"
    assert out.splitlines()[-1:] == ["interrupted ['MainThread'] " + left], (out[-500:], err)


# -- Progress and context --

@pytest.mark.parametrize("items, total", [(range(4), 4), ([1, 2, 3, 4], 4), ((i for i in range(4)), None)])
def test_progress_by_a_function(items, total):
    seen = []
    outcomes = list(rlimit_map(fails, items, progress=lambda *numbers: seen.append(numbers), workers=1))
    failed = list(itertools.accumulate(not outcome.ok for outcome in outcomes))
    assert seen == [(i + 1, failed[i], total) for i in range(4)]


def test_progress_by_a_function_async():
    seen = []
    asyncio.run(collect_async(amap(double_async, range(3), progress=lambda *numbers: seen.append(numbers))))
    assert seen == [(1, 0, 3), (2, 0, 3), (3, 0, 3)]


@pytest.mark.parametrize("name", ["tqdm", "rich"])
def test_progress_by_a_library(name, capsys):
    pytest.importorskip(name)
    assert collect(rlimit_map(double, range(30), progress=name)) == expected(30)
    outcomes = rlimit_map(fails, (i for i in range(30)), progress=name)
    next(outcomes)
    outcomes.close()
    shown = "".join(capsys.readouterr())
    assert "30/30" in shown or name == "rich"


def test_progress_where_nothing_is_installed(monkeypatch, caplog):
    for name in ("tqdm", "rich", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING, "rlimit"):
        assert collect(rlimit_map(double, range(3), progress=True)) == expected(3)
    assert "neither tqdm nor rich is installed" in caplog.text
    with pytest.raises(ImportError):
        rlimit_map(double, range(3), progress="tqdm")


@pytest.mark.parametrize("function", ["thread", "coroutine"])
def test_context_variables_are_there(function):
    variable = contextvars.ContextVar("variable", default=0)

    def read(x):
        return variable.get()

    async def read_async(x):
        return variable.get()
    chosen = read if function == "thread" else read_async
    variable.set(7)
    assert [outcome.value for outcome in rlimit_map(chosen, range(5), workers=2)] == [7] * 5

    async def main():
        return [value for _, _, value, _ in await collect_async(amap(chosen, range(5), workers=2))]
    assert asyncio.run(main()) == [7] * 5


@pytest.mark.parametrize("how", ["threads", "loop", "amap"])
def test_what_was_paid_for_is_kept_where_actual_fails(how):
    limiter = rlimit.Limiter(requests=rlimit.per_minute(50))

    async def ask(item):
        return item * 2

    async def gather():
        return [outcome async for outcome in rlimit.amap(ask, [21], limiter=limiter, actual=lambda value: value["usage"])]
    if how == "amap":
        outcome, = asyncio.run(gather())
    else:
        outcome, = rlimit.map(ask if how == "loop" else lambda item: item * 2, [21], limiter=limiter, actual=lambda value: value["usage"])
    assert outcome.value == 42 and isinstance(outcome.error, TypeError) and not outcome.ok
    assert limiter.status().active == 0 and limiter.status().limits[0].used == 1
    with pytest.raises(TypeError):
        outcome.result()
