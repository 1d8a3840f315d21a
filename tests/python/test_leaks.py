"""Nothing is leaked: memory and references over many operations, under Python's debug allocator and the compiler's sanitizers."""
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

import toolchain as t

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = t.ROOT / "bindings" / "python"

OPERATIONS = r"""
import asyncio, gc, os, resource, sys, threading
import rlimit
from rlimit import Feedback, Limiter, ManualClock, Reading, Route, parse, per_day, per_minute, per_second, sliding, calendar_day

count = int(sys.argv[1])
limiter = Limiter(requests=per_second(10**9), input_tokens=sliding(10**10, 60), custom=calendar_day(1 << 40), concurrency=5, clock=ManualClock())
full = Limiter(requests=per_day(1), concurrency=5)
full.try_acquire().settle()
headers = {"retry-after": "7", "x-ratelimit-limit-requests": "50", "x-ratelimit-remaining-requests": "49"}
route, name = Route(), "".join(["input_", "tokens"])

def attempt(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except (ValueError, TypeError, RuntimeError, TimeoutError):
        return None

def plain():
    limiter.try_acquire(input_tokens=5, **{"cust" + "om": 7}).settle(input_tokens=7)
    limiter.try_acquire(requests=2).cancel()
    permit = limiter.try_acquire(**{name: 1})
    limiter.observe(Feedback(retry_after=0, readings=[Reading("requests")]), permit)
    permit.settle()
    attempt(permit.settle), attempt(permit.cancel)
    full.try_acquire(), full.check(), limiter.status(), limiter.check(input_tokens=3).binding, repr(permit), permit.cost, permit.limiter
    attempt(full.try_acquire, requests=9), attempt(full.try_acquire, 5), attempt(full.try_acquire, x=5), attempt(full.try_acquire, requests=-1)

def rare():
    with limiter.acquire(input_tokens=5, priority="high", timeout=5) as permit: pass
    attempt(full.acquire(timeout=0).wait), attempt(full.acquire(requests=7).wait), attempt(full.acquire, priority="x"), repr(limiter.acquire())
    answer = parse(429, headers, b'{"error": {}}', provider="openai")
    attempt(parse, 200, [(1, 2)]), attempt(parse, 200, 7), attempt(parse, 200, {}, provider="x")
    answer.feedback.readings, answer.feedback.named, repr(answer), repr(answer.feedback), answer.usage, answer.wait
    full.observe(answer.feedback)
    Reading("requests", limit=5), attempt(Reading, "x"), attempt(Feedback, "x"), attempt(Feedback, readings=[5])
    route.learn({"input_tokens": 5}, {"input_tokens": 7}), route.estimate(input_tokens=5), attempt(route.learn, {"x": 1}, {})
    made = Limiter(requests=[per_minute(5), sliding(5, 60)], name="a", clock=ManualClock())
    made.reconfigure(0, per_minute(6)), made.save(), attempt(made.reconfigure, 0, sliding(1, 1)), attempt(per_minute, 0), attempt(Limiter, requests=[sliding(1, 1, cells=600)] * 2), repr(made)
    Limiter(custom=calendar_day(1 << 40), clock=ManualClock()).restore(limiter.save()), limiter.debit(custom=1), limiter.pause(0)
    window = rlimit.Window(sliding(5, 60)); window.credit(1, window.take()[1]); window.status()
    bucket = rlimit.Bucket(per_second(5)); bucket.take(), bucket.status(), attempt(bucket.credit, 1 << 50)

def threads():
    line = Limiter(concurrency=1)
    permit = line.try_acquire()
    waiting = [line.acquire() for _ in range(4)]
    started = [threading.Thread(target=lambda one=one: attempt(lambda: one.wait().settle())) for one in waiting]
    [thread.start() for thread in started]
    waiting[1].cancel()
    permit.settle()
    [thread.join() for thread in started]

async def tasks():
    line = Limiter(concurrency=1)
    async def one():
        async with line.acquire(): await asyncio.sleep(0)
    for _ in range(5): await one()
    started = [asyncio.ensure_future(one()) for _ in range(6)]
    await asyncio.sleep(0)
    started[2].cancel()
    await asyncio.gather(*started, return_exceptions=True)
    coroutine = one()
    async with line.acquire():
        coroutine.send(None)
        coroutine.close()

def everything(times):
    for _ in range(times): plain()
    for _ in range(times // 10): rare()
    for _ in range(times // 100):
        threads()
        asyncio.run(tasks())
    gc.collect()

def resident():
    with open("/proc/self/statm") as file: return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def counted():
    watched = [value for value in vars(rlimit._rlimit).values() if isinstance(value, type)] + [None, limiter, full, route, rlimit._rlimit] + sorted(limiter.check()._fields if hasattr(rlimit.Check, "_fields") else [])
    return [sys.getrefcount(one) for one in watched]

everything(count // 5)
everything(count // 5)
before, objects, references = resident(), len(gc.get_objects()), counted()
everything(count)
grown, more = resident() - before, [after - was for was, after in zip(references, counted())]
assert len(gc.get_objects()) - objects < 100, (len(gc.get_objects()), objects)
assert all(abs(one) < max(200, count // 100) for one in more), more
assert limiter.status().active == 0
print(grown)
"""


def operate(count, **environment):
    done = subprocess.run([sys.executable, "-W", "ignore::ResourceWarning", "-c", OPERATIONS, str(count)], capture_output=True, text=True, timeout=240,
                          env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat():
    """About 10^6 operations."""
    assert operate(50000) < 1 << 20


def test_debug_allocator():
    operate(300, PYTHONMALLOC="debug", PYTHONDEVMODE="1")


def sanitized():
    """The extension with sanitizers in a package of its own, and what has to be loaded before Python."""
    folder = t.BUILD / "python-sanitized"
    with t.locked(t.BUILD / "python-sanitized.lock"):
        shutil.rmtree(folder / "rlimit", ignore_errors=True)
        shutil.copytree(PACKAGE / "rlimit", folder / "rlimit", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        command = ["gcc", "-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-shared", "-fPIC",
                   "-I", t.ROOT, "-I", t.ROOT / "ext", "-I", sysconfig.get_paths()["include"], PACKAGE / "_rlimit.c",
                   "-o", folder / "rlimit" / ("_rlimit" + sysconfig.get_config_var("EXT_SUFFIX"))]
        done = t.run(command)
        assert done.returncode == 0, done.stdout
    libraries = [t.run(["gcc", "-print-file-name=" + name]).stdout.strip() for name in ("libasan.so", "libubsan.so")]
    return folder, " ".join(libraries)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library")
def test_sanitizers():
    t.need("gcc")
    t.need_compiler("gcc", "-fsanitize=address,undefined")
    folder, preload = sanitized()
    files = [str(HERE / name) for name in ("test_limiter.py", "test_threads.py", "test_async.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files], capture_output=True, text=True, timeout=600, cwd=str(t.ROOT / "tests"),
        env=dict(os.environ, LD_PRELOAD=preload, ASAN_OPTIONS="detect_leaks=0", PYTHONMALLOC="malloc", RLIMIT_PACKAGE="1",
                 PYTHONPATH=os.pathsep.join([str(folder), str(t.ROOT / "tests")])))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
