"""python.py - what the Python package costs, beside its floor measured in the same run, and beside its peers.

    python bench/python.py

Each figure is run in turn with its floor, ROUNDS times; printed are the medians, and the median of the ratios of the pairs:

    bench NAME value=V unit=U floor=F ratio=R

The floor of try_acquire is a C method of the same calling convention, given the same arguments, that reads the clock and returns;
that of an await is awaiting a coroutine that only calls try_acquire. Peers do the same work: one request that is admitted.
"""
import asyncio
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import time
import timeit

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import rlimit  # noqa: E402
from rlimit import Limiter, per_second  # noqa: E402

ROUNDS, OPERATIONS, AWAITS, WAITERS, STARTS = 15, 100000, 50000, 10000, 15
PLENTY = 10**9

FLOOR = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define RLM_STATIC
#define RLM_IMPLEMENTATION
#include "rlimit.h"

static volatile uint64_t sink;
static PyObject *clock_only(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    (void)self, (void)args, (void)given, (void)keywords;
    sink = rlm_now();
    Py_RETURN_NONE;
}
static rlm_bucket bucket, count;
static PyObject *decision(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *keywords) {
    uint64_t now_ns = rlm_now(), seen = count.word;
    (void)self, (void)args, (void)given, (void)keywords;
    sink = rlm_bucket_take(&bucket, 1, now_ns);
    (void)rlm_i_cas_seq_cst(&count.word, &seen, seen + 1);
    Py_RETURN_NONE;
}
static PyMethodDef methods[] = {
    {"clock", (PyCFunction)(void (*)(void))clock_only, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"decision", (PyCFunction)(void (*)(void))decision, METH_FASTCALL | METH_KEYWORDS, NULL}, {NULL, NULL, 0, NULL}};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
static PyType_Spec spec = {"floor.Floor", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, NULL, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_rlimit_floor(void) {
    PyObject *module = PyModule_Create(&definition);
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 1000000000);
    if (rlm_bucket_init(&bucket, &limit, rlm_now()) != RLM_OK) return NULL;
    PyModule_AddObject(module, "Floor", PyType_FromSpec(&spec));
    return module;
}
"""


def floor_of():
    """An object with a method that does no more than read the clock, and one that decides on one bucket besides."""
    folder = ROOT / "build" / "bench-python"
    folder.mkdir(parents=True, exist_ok=True)
    source, binary = folder / "floor.c", folder / ("rlimit_floor" + sysconfig.get_config_var("EXT_SUFFIX"))
    source.write_text(FLOOR)
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-I" + str(ROOT), "-I" + sysconfig.get_paths()["include"], str(source),
                    "-o", str(binary)], check=True)
    spec = importlib.util.spec_from_file_location("rlimit_floor", binary)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Floor()


def figure(name, value, floor=None, unit="ns", rounds=ROUNDS):
    """Runs both in turn, and prints their medians."""
    pairs = [(value(), floor() if floor is not None else None) for _ in range(rounds)]
    middle = statistics.median(pair[0] for pair in pairs)
    line = "bench %s value=%.4g unit=%s" % (name, middle, unit)
    if floor is not None:
        line += " floor=%.4g ratio=%.2f" % (statistics.median(pair[1] for pair in pairs),
                                            statistics.median(value / floor for value, floor in pairs))
    print(line, flush=True)


def loop(statement, **names):
    timer = timeit.Timer(statement, globals=names)
    return lambda: timer.timeit(OPERATIONS) / OPERATIONS * 1e9


def awaits(statement, **names):
    """Nanoseconds of an await of this, in one task."""
    space = dict(names)
    exec("async def run(count):\n    for _ in range(count):\n        %s\n" % statement, space)

    def measure():
        async def main():
            start = time.perf_counter_ns()
            await space["run"](AWAITS)
            return (time.perf_counter_ns() - start) / AWAITS
        return asyncio.run(main())
    return measure


def waiting(acquire):
    """Microseconds for each of many tasks that all have to wait their turn at a cap."""
    async def main():
        async def one():
            async with acquire():
                await asyncio.sleep(0)
        start = time.perf_counter_ns()
        await asyncio.gather(*(one() for _ in range(WAITERS)))
        return (time.perf_counter_ns() - start) / WAITERS / 1000
    return lambda: asyncio.run(main())


def import_time(name):
    """Milliseconds, of Python's own account."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import " + name], capture_output=True, text=True, check=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT / "bindings" / "python")))
    return int(done.stderr.splitlines()[-1].split("|")[1]) / 1000


def ours(floor):
    one = Limiter(requests=per_second(PLENTY))
    three = Limiter(requests=per_second(PLENTY), input_tokens=per_second(10 * PLENTY), output_tokens=per_second(10 * PLENTY))
    capped = Limiter(requests=per_second(PLENTY), concurrency=10)
    spent = Limiter(requests=rlimit.per_day(1))
    spent.try_acquire()
    cost = "input_tokens=1200, output_tokens=400"
    figure("python_try_acquire", loop("call()", call=one.try_acquire), loop("call()", call=floor.clock))
    figure("python_try_acquire_over_its_decision", loop("call()", call=one.try_acquire), loop("call()", call=floor.decision))
    figure(
    "python_try_acquire_three_limits",
    loop(
        "it.try_acquire(%s)" %
        cost,
        it=three),
        loop(
            "it.clock(%s)" %
            cost,
             it=floor))
    figure("python_refusal", loop("call()", call=spent.try_acquire), loop("call()", call=floor.clock))
    figure(
    "python_acquire_and_settle",
    loop(
        "it.try_acquire(%s).settle(input_tokens=900)" %
        cost,
        it=capped),
        loop(
            "it.clock(%s)" %
            cost,
             it=floor))
    figure("python_check", loop("it.check(%s)" % cost, it=three), loop("it.clock(%s)" % cost, it=floor))

    async def trivial():
        return three.try_acquire(input_tokens=1200, output_tokens=400)
    figure(
    "python_await_acquire", awaits(
        "await it.acquire(%s)" %
        cost, it=three), awaits(
            "await trivial()", trivial=trivial))
    figure(
    "python_async_with_acquire", awaits(
        "async with it.acquire(%s): pass" %
        cost, it=three), awaits(
            "await trivial()", trivial=trivial))
    line = Limiter(concurrency=10, queue=WAITERS)

    class Semaphore:  # made anew in each loop, as older versions of Python want it
        def __call__(self):
            loop = asyncio.get_running_loop()
            if getattr(self, "loop", None) is not loop:
                self.loop, self.semaphore = loop, asyncio.Semaphore(10)
            return self.semaphore
    figure("python_10000_waiters", waiting(line.acquire), waiting(Semaphore()), "us", 5)
    figure("python_import", lambda: import_time("rlimit"), lambda: import_time("asyncio"), "ms", STARTS)


def peer_limits():
    from limits import RateLimitItemPerSecond, storage, strategies
    limiter = strategies.SlidingWindowCounterRateLimiter(storage.MemoryStorage())
    item = RateLimitItemPerSecond(PLENTY)
    return loop("limiter.hit(item, 'key')", limiter=limiter, item=item)


def peer_pyrate():
    from pyrate_limiter import Duration, Limiter as Pyrate, Rate
    limiter = Pyrate(Rate(100000, Duration.SECOND))
    return loop("limiter.try_acquire('key', blocking=False)", limiter=limiter)


def peer_aiolimiter():
    from aiolimiter import AsyncLimiter
    return awaits("async with it: pass", it=AsyncLimiter(PLENTY, 1))


def peers():
    """The same work through others: value is theirs, floor ours, ratio how many times ours."""
    limiter = Limiter(requests=per_second(PLENTY))
    for name, make, own in (("limits", peer_limits, loop("call()", call=limiter.try_acquire)),
                            ("pyrate_limiter", peer_pyrate, loop("call()", call=limiter.try_acquire)),
                            ("aiolimiter", peer_aiolimiter, awaits("async with it.acquire(): pass", it=limiter))):
        try:
            measure = make()
            measure()
        except Exception as error:
            print("bench python_peer_%s skipped: %s: %s" % (name, type(error).__name__, error))
            continue
        figure("python_peer_%s" % name, measure, own, rounds=5)


if __name__ == "__main__":
    ours(floor_of())
    peers()
