"""Python's limiters behind the line protocol of bench/peers/run.py."""
import asyncio
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import threading
import time
from functools import partial

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would be fetched from the network

import limits  # noqa: E402
import limits.storage.memory  # noqa: E402
import limits.strategies  # noqa: E402
import pyrate_limiter  # noqa: E402
import rlimit  # noqa: E402
import throttled  # noqa: E402
import throttled.utils  # noqa: E402
from aiolimiter import AsyncLimiter  # noqa: E402

SECOND_NS, DAY_NS, PLENTY = 10 ** 9, 86_400 * 10 ** 9, 10 ** 9


class Plain:
    """The bucket that one writes oneself: no lock."""

    def __init__(self, amount, period_ns):
        self.now = time.monotonic_ns
        self.burst, self.tokens, self.rate, self.at = amount, amount, amount / period_ns, self.now()

    def take(self, cost=1):
        now = self.now()
        if now > self.at:
            self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
            self.at = now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


def item_of(amount, period_ns):
    for name, span in (("SECOND", SECOND_NS), ("MINUTE", 60 * SECOND_NS), ("DAY", DAY_NS)):
        if period_ns == span:
            return getattr(limits, "RateLimitItemPer" + name.capitalize())(amount)
    raise ValueError("limits has no period of %d ns" % period_ns)


STRATEGIES = {"limits_moving_window": limits.strategies.MovingWindowRateLimiter,
              "limits_sliding_counter": limits.strategies.SlidingWindowCounterRateLimiter,
              "limits_fixed_window": limits.strategies.FixedWindowRateLimiter}


def by_limits(name, amount, period_ns):
    limiter, item = STRATEGIES[name](limits.storage.MemoryStorage()), item_of(amount, period_ns)
    return lambda cost=1: limiter.hit(item, "key", cost=cost)


def pyrate_of(name, amount, period_ns):
    rate = pyrate_limiter.Rate(amount, period_ns // 10 ** 6)
    return pyrate_limiter.Limiter(pyrate_limiter.StateBucket([rate], algorithm=pyrate_limiter.GCRA()) if name.endswith("gcra") else rate)


def by_pyrate(name, amount, period_ns):
    limiter = pyrate_of(name, amount, period_ns)
    return lambda cost=1: limiter.try_acquire("key", weight=cost, blocking=False)


def throttled_of(amount, period_ns):
    quota = throttled.per_duration(datetime.timedelta(seconds=period_ns / SECOND_NS), amount, amount)
    return throttled.Throttled(key="key", using="gcra", quota=quota, store=throttled.MemoryStore())


def by_throttled(amount, period_ns):
    limiter = throttled_of(amount, period_ns)
    return lambda cost=1: not limiter.limit(cost=cost).limited


def litellm_of(amount, period_ns):
    """The router's check before each call, of a deployment's requests a minute; and the error it refuses with."""
    import litellm
    from litellm.caching.dual_cache import DualCache
    from litellm.router_strategy.lowest_tpm_rpm_v2 import LowestTPMLoggingHandler_v2
    check = LowestTPMLoggingHandler_v2(router_cache=DualCache())
    deployment = {"model_name": "m", "litellm_params": {"model": "openai/m", "rpm": max(amount * 60 * SECOND_NS // period_ns, 1)},
                  "model_info": {"id": "1"}}
    return check.pre_call_check, deployment, litellm.RateLimitError


def by_litellm(amount, period_ns):
    check, deployment, error = litellm_of(amount, period_ns)

    def take(cost=1):
        try:
            check(deployment)
            return True
        except error:
            return False
    return take


def by_rlimit(amount, period_ns, clock=None):
    limiter = rlimit.Limiter(requests=rlimit.per(amount, period_ns / SECOND_NS), clock=clock)
    take = limiter.try_acquire
    return lambda cost=1: take(requests=cost) is not None


class Busy:
    """A bucket of aiolimiter has no way to refuse but has_capacity, which takes nothing: both are asked."""

    def __init__(self, amount, period_ns):
        self.limiter = AsyncLimiter(amount, period_ns / SECOND_NS)

    async def take(self, cost=1):
        if not self.limiter.has_capacity(cost):
            return False
        await self.limiter.acquire(cost)
        return True


MAKERS = {
    "plain": lambda amount, period_ns: Plain(amount, period_ns).take,
    "rlimit": by_rlimit,
    **{name: partial(by_limits, name) for name in STRATEGIES},
    "pyrate_limiter": partial(by_pyrate, "pyrate_limiter"),
    "pyrate_limiter_gcra": partial(by_pyrate, "pyrate_limiter_gcra"),
    "throttled": by_throttled,
    "litellm_router": by_litellm,
}

CLOCKS = {"limits_moving_window": "time.time", "limits_sliding_counter": "time.time", "limits_fixed_window": "time.time",
          "aiolimiter": "loop.time", "throttled": "time.monotonic", "litellm_router": "datetime.now",
          "rlimit": "clock_gettime(CLOCK_MONOTONIC)", "aio_rlimit": "clock_gettime(CLOCK_MONOTONIC)"}
PACKAGES = {"limits": "limits", "pyrate": "pyrate-limiter", "throttled": "throttled-py", "litellm": "litellm", "aiolimiter": "aiolimiter"}


# -- (1) decisions

def repeat(take, ops):
    granted, start = 0, time.perf_counter_ns()
    for _ in range(ops):
        if take():
            granted += 1
    return time.perf_counter_ns() - start, granted


def repeat_throttled(limit, ops):
    granted, start = 0, time.perf_counter_ns()
    for _ in range(ops):
        if not limit().limited:
            granted += 1
    return time.perf_counter_ns() - start, granted


def repeat_litellm(check, deployment, error, ops):
    granted, start = 0, time.perf_counter_ns()
    for _ in range(ops):
        try:
            check(deployment)
            granted += 1
        except error:
            pass
    return time.perf_counter_ns() - start, granted


def work_of(name, amount, period_ns):
    """A function of a number of decisions: nanoseconds and grants. Each peer is called without a wrapper of ours."""
    if name == "rlimit":
        return partial(repeat, rlimit.Limiter(requests=rlimit.per(amount, period_ns / SECOND_NS)).try_acquire)
    if name.startswith("limits"):
        return partial(repeat, partial(STRATEGIES[name](limits.storage.MemoryStorage()).hit, item_of(amount, period_ns), "key"))
    if name.startswith("pyrate"):
        return partial(repeat, partial(pyrate_of(name, amount, period_ns).try_acquire, "key", 1, False))
    if name == "throttled":
        return partial(repeat_throttled, throttled_of(amount, period_ns).limit)
    if name == "litellm_router":
        return partial(repeat_litellm, *litellm_of(amount, period_ns))
    return partial(repeat, MAKERS[name](amount, period_ns))


def in_threads(work, ops, threads):
    """From the first that began to the last that ended: who starts them may be kept waiting."""
    barrier, spans = threading.Barrier(threads), []

    def one():
        barrier.wait()
        start = time.perf_counter_ns()
        granted = work(ops)[1]
        spans.append((start, time.perf_counter_ns(), granted))
    all_threads = [threading.Thread(target=one) for _ in range(threads)]
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    return max(span[1] for span in spans) - min(span[0] for span in spans), sum(span[2] for span in spans)


async def repeat_awaited(name, amount, period_ns, ops, refused):
    granted = 0
    if name == "aio_rlimit":
        limiter = rlimit.Limiter(requests=rlimit.per(amount, period_ns / SECOND_NS))
        start = time.perf_counter_ns()
        for _ in range(ops):
            await limiter.acquire()
            granted += 1
    elif refused:
        busy = Busy(amount, period_ns)
        await busy.take()
        start = time.perf_counter_ns()
        for _ in range(ops):
            granted += busy.limiter.has_capacity()
    else:
        limiter = AsyncLimiter(amount, period_ns / SECOND_NS)
        start = time.perf_counter_ns()
        for _ in range(ops):
            await limiter.acquire()
            granted += 1
    return time.perf_counter_ns() - start, granted


def decide(name, given):
    ops, threads, refused = int(given["ops"]), int(given["threads"]), given["case"] == "refused"
    amount, period_ns = (1, DAY_NS) if refused else (PLENTY, SECOND_NS)
    if name == "litellm_router" and refused:
        amount, period_ns = 1, 60 * SECOND_NS
    if name in ("aiolimiter", "aio_rlimit"):
        elapsed, granted = asyncio.run(repeat_awaited(name, amount, period_ns, ops, refused))
    else:
        work = work_of(name, amount, period_ns)
        if refused:
            work(1)
        elapsed, granted = work(ops) if threads == 1 else in_threads(work, ops, threads)
    return {"elapsed_ns": elapsed, "operations": ops * threads, "granted": granted, "clock": CLOCKS.get(name, "time.monotonic")}


# -- (2) accuracy, in virtual time

class Patched:
    """Stands for the time module in the modules of a peer."""

    def __init__(self, base_ns):
        self.now_ns = base_ns

    def __getattr__(self, name):
        return getattr(time, name)

    def time(self):
        return self.now_ns / SECOND_NS

    monotonic = perf_counter = time

    def time_ns(self):
        return self.now_ns

    monotonic_ns = perf_counter_ns = time_ns


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a clock of ours."""
    patched = None

    def time(self):
        return self.patched.time() if self.patched else super().time()


def virtual_taker(name, given, clock):
    amount, period_ns = int(given["amount"]), int(given["period_ns"])
    if name.startswith("limits"):
        limits.storage.memory.time = limits.strategies.time = clock
    elif name.startswith("throttled"):
        throttled.utils.time = clock
    elif name.startswith("pyrate"):
        import pyrate_limiter.clocks
        pyrate_limiter.clocks.monotonic_ns = clock.monotonic_ns
        pyrate_limiter.clocks.time_ns = clock.time_ns
    elif name == "litellm_router":
        import litellm.router_strategy.lowest_tpm_rpm_v2 as module
        module.get_utc_datetime = lambda: datetime.datetime.fromtimestamp(clock.time(), datetime.timezone.utc)
    elif name == "rlimit":
        return by_rlimit(amount, period_ns, clock=clock.time_ns)
    elif name == "plain":
        made = Plain(amount, period_ns)
        made.now, made.at = clock.time_ns, clock.time_ns()
        return made.take
    return MAKERS[name](amount, period_ns)


def accuracy(name, given):
    base_ns = int(given["base_ns"])
    clock, grants = Patched(base_ns), []
    steps = [tuple(map(int, step.split(":"))) for step in given["steps"].split(",")]
    if name == "aiolimiter":
        loop = Loop()
        loop.patched = clock

        async def ask():
            busy = Busy(int(given["amount"]), int(given["period_ns"]))
            for at, tries, cost in steps:
                clock.now_ns = base_ns + at
                grants.append([at, at, cost * sum([await busy.take(cost) for _ in range(tries)])])
        loop.run_until_complete(ask())
        loop.close()
    else:
        take = virtual_taker(name, given, clock)
        for at, tries, cost in steps:
            clock.now_ns = base_ns + at
            grants.append([at, at, cost * sum(bool(take(cost) if cost != 1 else take()) for _ in range(tries))])
    return {"clock": "virtual", "grants": grants}


# -- the protocol

def list_peers():
    peers = {}
    for name in (*MAKERS, "aiolimiter", "aio_rlimit"):
        says = {"jobs": {"decide": True, "accuracy": "virtual"}, "weights": name != "litellm_router"}
        if name == "plain":
            says["jobs"]["decide"] = ["granted 1", "refused 1"]
        elif name == "aiolimiter":
            says["jobs"]["decide"] = ["granted 1", "refused 1"]
            says["why"] = "one thread: an event loop's"
        elif name == "aio_rlimit":
            says = {"jobs": {"decide": ["granted 1"]}}
        elif name == "litellm_router":
            says["minute"] = True
        elif name.startswith("pyrate") or name == "limits_moving_window":
            says["entries"] = name not in ("pyrate_limiter_gcra",)
        package = PACKAGES.get(name.split("_")[0])
        if package:
            says["version"] = importlib.metadata.version(package)
        elif "rlimit" in name:
            says["version"] = rlimit.__version__
        peers[name] = says
    return {"version": platform.python_version(), "peers": peers}


def answer(line):
    name, *words = line.split()
    given = dict(word.split("=", 1) for word in words)
    try:
        if name == "list":
            return list_peers()
        return {"peer": name, **(decide if given["job"] == "decide" else accuracy)(name, given)}
    except Exception as error:  # of a peer: said in the report
        return {"peer": name, "error": "%s: %s" % (type(error).__name__, error)}


if __name__ == "__main__":
    for text in sys.stdin:
        print(json.dumps(answer(text)), flush=True)
