"""The same job by the plain recipes that people copy, by the packages they install, and by rlimit: asyncio, one task a worker.

    python recipes.py NAME virtual POLICY SEED REQUESTS TOKENS PERIOD_S < costs     an hour in virtual time, against tests/relay/policies.py
    python recipes.py NAME real POLICY REQUESTS TOKENS PERIOD_S URL < requests      over HTTP, against the referee

Both print one line of JSON. `costs` are numbers of tokens, one a line, and `requests` JSON lines {"body": ..., "tokens": N}: all of them wait
at the start. The code of a recipe is the same in both: in virtual time the event loop's clock jumps to the next timer, and the
packages read that clock.

A recipe is an async function acquire(tokens), and what it does on a 429: wait as the official SDKs do (what the server named, else
0.5 s doubling to 8 s less up to a quarter; scaled with the period), and ask again, without end.
"""
import asyncio
import collections
import heapq
import json
import random
import resource
import sys
import time
from pathlib import Path

MINUTE_S = 60
WORKERS = {"virtual": 64, "real": 128}
TICK_S = {"virtual": 0.02, "real": 0.001}  # of the cookbook's loop, which has 1 ms; virtual time has 60 times as much of it
DELAY_S = {"virtual": 0.2, "real": 0.02}   # the largest on the way to the server
GUARD_S = {"virtual": 0.2, "real": 0.1}    # real: with 80 ms for the event loops and timers of both sides, as in examples/demo.py
ANSWER_S = 2.0
STEP_S = 1e-6                              # virtual timers are so much late: time must pass for who asks again because of a rounding
START_NS = 1_700_000_000 * 10 ** 9 + 17_300_000_001  # somewhere within a minute of the server's clock


class Setup:
    """What a recipe may know: the limits, the policy's name if it asks for it, and its event loop's clock."""

    def __init__(self, mode, policy, requests, tokens, period_s, mean):
        self.mode, self.policy, self.requests, self.tokens, self.period_s = mode, policy, requests, tokens, period_s
        self.mean = mean  # tokens of a request on average, which only one recipe uses
        self.scale = period_s / MINUTE_S

    def now(self):
        return asyncio.get_running_loop().time()


class Recipe:
    def __init__(self, setup):
        self.setup = setup

    async def acquire(self, tokens):
        """Returns when the request may be sent."""

    def finished(self, held):
        """Told when the answer has come; held is what acquire returned."""

    async def refused(self, attempt, retry_after_s, draw):
        scale = self.setup.scale if self.setup.mode == "real" else 1
        wait = retry_after_s if retry_after_s else min(0.5 * 2 ** min(attempt, 4), 8) * (1 - 0.25 * draw.random()) * scale
        await asyncio.sleep(wait)


class RetryOnly(Recipe):
    pass


class SemaphoreSleep(Recipe):
    """Ten at a time, each of which keeps its place until its share of the minute is over; paced for the average request."""
    PLACES = 10

    def __init__(self, setup):
        super().__init__(setup)
        self.semaphore = asyncio.Semaphore(self.PLACES)
        self.pause_s = self.PLACES * setup.period_s / min(setup.requests, setup.tokens / setup.mean)

    async def acquire(self, tokens):
        await self.semaphore.acquire()
        asyncio.get_running_loop().call_later(self.pause_s, self.semaphore.release)


class SlidingDeque(Recipe):
    """A deque of what was sent within the last period, under a lock."""

    def __init__(self, setup):
        super().__init__(setup)
        self.lock, self.sent, self.used = asyncio.Lock(), collections.deque(), 0

    async def acquire(self, tokens):
        async with self.lock:
            while True:
                now = self.setup.now()
                while self.sent and self.sent[0][0] <= now - self.setup.period_s:
                    self.used -= self.sent.popleft()[1]
                if len(self.sent) < self.setup.requests and self.used + tokens <= self.setup.tokens:
                    break
                await asyncio.sleep(max(self.sent[0][0] + self.setup.period_s - now, 1e-6))
            self.sent.append((now, tokens))
            self.used += tokens


class Cookbook(Recipe):
    """The method of the OpenAI cookbook's parallel request script: capacity that grows continuously, a loop that looks each
    millisecond, and a pause of 15 s for all after a 429. The cookbook advises half of the limit."""
    SHARE, PAUSE_S = 1.0, 15

    def __init__(self, setup):
        super().__init__(setup)
        self.full = (setup.requests * self.SHARE, setup.tokens * self.SHARE)
        self.left, self.at, self.lock, self.refused_at = list(self.full), setup.now(), asyncio.Lock(), None

    async def acquire(self, tokens):
        async with self.lock:
            while True:
                now = self.setup.now()
                if self.refused_at is not None:
                    rest = self.refused_at + self.PAUSE_S * self.setup.scale - now
                    if rest > 0:
                        await asyncio.sleep(rest)
                        continue
                for i, full in enumerate(self.full):
                    self.left[i] = min(full, self.left[i] + full * (now - self.at) / self.setup.period_s)
                self.at = now
                if self.left[0] >= 1 and self.left[1] >= tokens:
                    break
                await asyncio.sleep(TICK_S[self.setup.mode])
            self.left[0] -= 1
            self.left[1] -= tokens

    async def refused(self, attempt, retry_after_s, draw):
        self.refused_at = self.setup.now()


class CookbookHalf(Cookbook):
    SHARE = 0.5


class Aiolimiter(Recipe):
    def __init__(self, setup):
        super().__init__(setup)
        from aiolimiter import AsyncLimiter
        self.requests, self.tokens = AsyncLimiter(setup.requests, setup.period_s), AsyncLimiter(setup.tokens, setup.period_s)

    async def acquire(self, tokens):
        await self.requests.acquire()
        await self.tokens.acquire(tokens)


class Limits(Recipe):
    """The sliding window counter: the moving window keeps an entry for each token. The package does not wait: it is asked again."""

    def __init__(self, setup):
        super().__init__(setup)
        import limits
        import limits.storage.memory
        import limits.strategies
        if setup.mode == "virtual":
            limits.storage.memory.time = limits.strategies.time = virtual_time()
        self.limiter = limits.strategies.SlidingWindowCounterRateLimiter(limits.storage.MemoryStorage())
        period = int(setup.period_s)
        self.items = [limits.RateLimitItemPerSecond(setup.requests, period, "requests"),
                      limits.RateLimitItemPerSecond(setup.tokens, period, "tokens")]
        self.lock = asyncio.Lock()

    async def acquire(self, tokens):
        async with self.lock:
            while not (self.limiter.test(self.items[0], "key") and self.limiter.test(self.items[1], "key", cost=tokens)):
                await asyncio.sleep(self.setup.period_s / 1000)
            self.limiter.hit(self.items[0], "key")
            self.limiter.hit(self.items[1], "key", cost=tokens)


class Pyrate(Recipe):
    """Its GCRA: the default bucket keeps an entry for each token."""

    def __init__(self, setup):
        super().__init__(setup)
        import pyrate_limiter as pyrate
        if setup.mode == "virtual":
            import pyrate_limiter.clocks
            import pyrate_limiter.limiter
            clock = virtual_time()
            pyrate_limiter.clocks.monotonic_ns, pyrate_limiter.clocks.time_ns = clock.monotonic_ns, clock.time_ns
            pyrate_limiter.limiter.monotonic = clock.monotonic
        period = int(setup.period_s * 1000)
        self.limiters = [pyrate.Limiter(pyrate.StateBucket([pyrate.Rate(n, period)], algorithm=pyrate.GCRA()))
                         for n in (setup.requests, setup.tokens)]

    async def acquire(self, tokens):
        await self.limiters[0].try_acquire_async("key", 1)
        await self.limiters[1].try_acquire_async("key", tokens)


class Throttled(Recipe):
    def __init__(self, setup):
        super().__init__(setup)
        import datetime
        from throttled import asyncio as throttled, utils
        if setup.mode == "virtual":
            utils.time = virtual_time()
        period = datetime.timedelta(seconds=setup.period_s)
        self.limiters = [throttled.Throttled(key=name, using="gcra", quota=throttled.per_duration(period, n, n), store=throttled.MemoryStore())
                         for name, n in (("requests", setup.requests), ("tokens", setup.tokens))]

    async def acquire(self, tokens):
        for limiter, n in zip(self.limiters, (1, tokens)):
            while True:
                result = await limiter.limit(cost=n)
                if not result.limited:
                    break
                await asyncio.sleep(max(result.state.retry_after, 1e-4))


class Rlimit(Recipe):
    """Told the limits and how the server counts."""

    def __init__(self, setup):
        super().__init__(setup)
        import rlimit
        make = {"bucket": rlimit.per, "fixed": rlimit.fixed, "sliding": rlimit.sliding}[self.counts()]
        limits = [make(n, setup.period_s, guard=GUARD_S[setup.mode]) for n in (setup.requests, setup.tokens)]
        clock = virtual_time().time_ns if setup.mode == "virtual" else None
        if clock and self.counts() == "fixed":  # virtual time is its own wall clock: whole periods apart
            limits = [limit.replace(wall_offset=setup.period_s) for limit in limits]
        self.limiter = rlimit.Limiter(requests=limits[0], tokens=limits[1], queue=100_000, clock=clock)

    def counts(self):
        return self.setup.policy

    async def acquire(self, tokens):
        return await self.limiter.acquire(input_tokens=tokens)

    def finished(self, held):
        held.settle(input_tokens=held.cost["input_tokens"])


class RlimitSliding(Rlimit):
    """Told the limits only: a sliding window satisfies every policy."""

    def counts(self):
        return "sliding"


class RlimitNothing(Recipe):
    """Told nothing at all: one line in front of the HTTP session learns the limits of the answers. Only over HTTP, and only of a bucket: the
    headers of the other policies do not tell their period, which is then taken for a minute, and a minute is scaled here."""
    middleware = None

    def __init__(self, setup):
        super().__init__(setup)
        import rlimit
        import rlimit.aiohttp
        self.middleware = rlimit.aiohttp.Middleware(rlimit.Limiter(provider="openai", queue=100_000), provider="openai")


RECIPES = {"retry_only": RetryOnly, "semaphore_sleep": SemaphoreSleep, "sliding_deque": SlidingDeque, "cookbook": Cookbook,
           "cookbook_half": CookbookHalf, "aiolimiter": Aiolimiter, "limits": Limits, "pyrate_limiter": Pyrate, "throttled": Throttled,
           "rlimit": Rlimit, "rlimit_sliding": RlimitSliding, "rlimit_nothing": RlimitNothing}
REAL_ONLY = ("rlimit_nothing",)
BUCKET_ONLY = ("rlimit_nothing",)


# -- virtual time

class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing to do."""
    now_s = 0.0

    def time(self):
        return self.now_s

    def _run_once(self):
        if not self._ready and self._scheduled:
            while self._scheduled and self._scheduled[0]._cancelled:
                self._timer_cancelled_count -= 1
                handle = heapq.heappop(self._scheduled)
                handle._scheduled = False
            if self._scheduled:
                self.now_s = max(self.now_s, self._scheduled[0].when()) + STEP_S
        super()._run_once()


class _Time:
    """Stands for the time module in packages that read no other clock."""
    loop = None

    def __getattr__(self, name):
        return getattr(time, name)

    def time_ns(self):
        return START_NS + round(self.loop.now_s * 1e9)

    def time(self):
        return self.time_ns() / 1e9

    monotonic = perf_counter = time
    monotonic_ns = perf_counter_ns = time_ns


def virtual_time(made=_Time()):
    return made


class VirtualServer:
    """The referee's policies, a random way there of up to DELAY_S, an answer after two seconds."""
    middleware = None

    def __init__(self, policy, requests, tokens, period_s, seed):
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
        from relay.policies import POLICIES, Gate
        period_ns = round(period_s * 1e9)
        self.gate = Gate({"requests": POLICIES[policy](requests, period_ns), "tokens": POLICIES[policy](tokens, period_ns)})
        self.draw, self.refused, self.last_ns = random.Random(seed), 0, 0

    async def send(self, item, tokens):
        await asyncio.sleep(self.draw.random() * DELAY_S["virtual"])
        now_ns = virtual_time().time_ns()
        permit, _, wait_ns = self.gate.offer((1, tokens), now_ns)
        if not permit:
            self.refused += 1
            return 429, wait_ns / 1e9
        self.last_ns = now_ns
        await asyncio.sleep(ANSWER_S)
        self.gate.release(permit)
        return 200, 0


# -- over HTTP

class HttpServer:
    def __init__(self, session, url):
        self.session, self.url = session, url + "/v1/chat/completions"

    async def send(self, item, tokens):
        async with self.session.post(self.url, json=item) as answer:
            await answer.read()
            return answer.status, float(answer.headers.get("retry-after-ms", 0)) / 1000


# -- the job

async def work(recipe, server, items, workers, seed):
    """Each worker takes the next request, and brings it to its end."""
    draw, waiting = random.Random(seed), iter(items)

    async def worker():
        for item, tokens in waiting:
            attempt = 0
            while True:
                held = await recipe.acquire(tokens)
                status, retry_after_s = await server.send(item, tokens)
                recipe.finished(held)
                if status == 200:
                    break
                if status != 429:
                    raise SystemExit("recipes: the server answered %d" % status)
                await recipe.refused(attempt, retry_after_s, draw)
                attempt += 1
    await asyncio.gather(*(worker() for _ in range(workers)))


def virtual(name, policy, seed, requests, tokens, period_s):
    items = [(None, int(line)) for line in sys.stdin]
    loop = virtual_time().loop = VirtualLoop()

    async def main():
        setup = Setup("virtual", policy, requests, tokens, period_s, sum(n for _, n in items) / len(items))
        server = VirtualServer(policy, requests, tokens, period_s, seed)
        await work(RECIPES[name](setup), server, items, WORKERS["virtual"], seed)
        return {"refused": server.refused, "makespan_s": (server.last_ns - START_NS) / 1e9}
    return loop.run_until_complete(main())


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def real(name, policy, requests, tokens, period_s, url):
    import aiohttp
    lines = [json.loads(line) for line in sys.stdin]
    items = [(line["body"], line["tokens"]) for line in lines]

    async def main():
        setup = Setup("real", policy, requests, tokens, period_s, sum(n for _, n in items) / len(items))
        recipe = RECIPES[name](setup)
        middlewares = [recipe.middleware] if name in REAL_ONLY else []
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, middlewares=middlewares, timeout=aiohttp.ClientTimeout(total=None),
                                         headers={"Authorization": "Bearer peers"}) as session:
            began_ns, cpu = time.time_ns(), cpu_s()
            await work(recipe, HttpServer(session, url), items, WORKERS["real"], 1)
            return {"began_ns": began_ns, "seconds": (time.time_ns() - began_ns) / 1e9, "cpu_s": cpu_s() - cpu}
    figures = asyncio.run(main())
    figures["peak_kb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return figures


def main():
    name, mode, policy, *rest = sys.argv[1:]
    if mode == "virtual":
        seed, requests, tokens, period_s = rest
        figures = virtual(name, policy, int(seed), int(requests), int(tokens), float(period_s))
    else:
        requests, tokens, period_s, url = rest
        figures = real(name, policy, int(requests), int(tokens), float(period_s), url)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
