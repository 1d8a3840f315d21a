"""What following the server is worth: a limiter, a network and the referee in a closed loop, in virtual time.

    python bench/feedback.py build/libfeedback.so azure_llm_conv.csv.gz [SCENARIO ...]

More requests than can be admitted wait from the start; the head of the line is tried, one that was refused is tried
again before the others when its wait is over. Each request takes up to 200 ms to the server and its answer as much back.
The server tells the truth in its headers as of the admission of the request that it answers, so what the client reads is
as old as the answer took. Costs are those of the trace, or of a seeded lognormal of about its shape if it is absent.

One line a scenario, the worst of its seeds: utilisation is what the server charged over what was available, from the
first admission to the last (windows: to the end of one), of the limit that binds; rejected counts 429s; late, those of
requests that were sent after the client had an answer from after the last change of limits: those that could be avoided.
"""

import argparse
import csv
import ctypes
import dataclasses
import gzip
import heapq
import math
import random
import sys
from collections import deque
from email.utils import formatdate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from relay.policies import SECOND_NS  # noqa: E402
from relay.server import LIMIT_OPTIONS, Account, Options  # noqa: E402
from relay.wire import Anthropic, OpenAI, dumps  # noqa: E402

PERIOD = 60 * SECOND_NS
WALL = 1_700_000_040 * SECOND_NS  # a full minute since 1970 ...
START = WALL + 17 * SECOND_NS + 300_000_001  # ... and where a run begins
OFFSET = WALL - 12_345_678_901  # the wall clock less the client's
DELAY = SECOND_NS // 5  # the largest, each way
OUTPUT_MAX = 1_000  # what a request that does not know its output asks for
SLOTS = 4096
NEVER, ON_RELEASE = 2 ** 64 - 1, 2 ** 64 - 2

FAMILIES = {"openai": (OpenAI, {"rpm": 1_000, "tpm": 1_000_000}),
            "anthropic": (Anthropic, {"rpm": 1_000, "itpm": 800_000, "otpm": 200_000})}
METERS = {"requests": 0, "input_tokens": 1, "output_tokens": 2, "tokens": 3}
KINDS = {"bucket": 0, "sliding": 1, "fixed": 3}
FOLLOW = {"shrink": 0, "fixed": 1, "follow": 2}


@dataclasses.dataclass(frozen=True)
class Scenario:
    family: str = "openai"
    profile: str = ""  # of ext/rlimit_http.h; that of the family
    policy: str = "bucket"
    told: float = 1.0  # limits configured, as a multiple of the real ones; 0: none
    follow: str = "shrink"
    changes: tuple = ()  # (seconds from the start, multiple of the first limits)
    other: float = 0.0  # the share of the limits that a second client asks for
    spread: float = 0.0  # an input estimate is the truth x bias x U[1 - spread, 1 + spread]
    bias: float = 1.0
    quantile: int = 0  # permille of outputs that rlm_route's reservation covers; 0: costs are known
    hints: str = "all"  # "no_header": 429s without Retry-After; "bare": and without limits and figures; "silent": all so
    scale: float = 1.0  # of the limits
    latency: tuple = (0.5, 4.0)  # seconds
    stream: bool = False  # headers come at once, the rest after the latency
    workers: int = 128  # requests out at once, those that wait for a retry included
    minutes: int = 7
    allowed: int = 0  # 429s besides one for each limit that is other than the client thinks


STEPS = ((90, 0.5), (180, 1.0), (270, 0.5))
RISE = ((90, 0.5), (180, 2.0), (270, 0.5))
IN_A_BURST = ((102, 0.5), (166, 1.0), (222, 0.5))  # a fixed window: before two of them, and while one is being used
SLOW = {"latency": (5, 40), "workers": 1000}  # as of language models that write long answers
SMALL = {"scale": 0.05, "workers": 16, "minutes": 20}  # 50 requests a minute: one may be a quarter of its tokens
WRONG = {"spread": 0.2, "quantile": 900}
SCENARIOS = {
    "a_told": Scenario(),
    "a_told_anthropic": Scenario(family="anthropic"),
    "a_told_fixed_window": Scenario(policy="fixed", profile="azure"),
    "a_told_sliding": Scenario(policy="sliding", profile="generic"),
    "a_told_slow": Scenario(**SLOW),
    "a_told_small": Scenario(**SMALL),
    "a_told_all_at_once": Scenario(workers=2000),
    "b_twice_follow": Scenario(told=2, follow="follow"),
    "b_twice_follow_anthropic": Scenario(told=2, follow="follow", family="anthropic"),
    "b_twice_follow_all_at_once": Scenario(told=2, follow="follow", workers=2000),
    "b_twice_shrink": Scenario(told=2),
    "b_twice_fixed": Scenario(told=2, follow="fixed"),
    "b_twice_follow_fixed_window": Scenario(told=2, follow="follow", policy="fixed", profile="azure"),
    "b_twice_follow_sliding": Scenario(told=2, follow="follow", policy="sliding", profile="generic"),
    "c_half_follow": Scenario(told=0.5, follow="follow"),
    "c_half_follow_anthropic": Scenario(told=0.5, follow="follow", family="anthropic"),
    "c_half_follow_fixed_window": Scenario(told=0.5, follow="follow", policy="fixed", profile="azure"),
    "c_half_follow_sliding": Scenario(told=0.5, follow="follow", policy="sliding", profile="generic"),
    "d_changes_shrink": Scenario(changes=STEPS),
    "d_changes_follow": Scenario(changes=RISE, follow="follow"),
    "d_changes_follow_anthropic": Scenario(changes=RISE, follow="follow", family="anthropic"),
    "d_changes_follow_stream": Scenario(changes=RISE, follow="follow", stream=True),
    "d_changes_shrink_fixed_window": Scenario(changes=IN_A_BURST, policy="fixed", profile="azure"),
    "d_changes_shrink_idle_window": Scenario(changes=STEPS, policy="fixed", profile="azure"),
    "d_changes_shrink_sliding": Scenario(changes=STEPS, policy="sliding", profile="generic"),
    "d_changes_follow_small": Scenario(changes=RISE, follow="follow", **SMALL),
    "e_second_client": Scenario(other=1 / 3),
    "e_second_client_anthropic": Scenario(other=1 / 3, family="anthropic"),
    "e_second_client_stream": Scenario(other=1 / 3, stream=True, allowed=1),
    "e_second_client_slow": Scenario(other=1 / 3, **SLOW),
    "e_second_client_small": Scenario(other=1 / 3, allowed=3, **SMALL),
    "e_second_client_all_at_once": Scenario(other=1 / 3, workers=2000, allowed=1),
    "f_none_openai": Scenario(told=0),
    "f_none_openai_small": Scenario(told=0, **SMALL),
    "f_none_anthropic": Scenario(told=0, family="anthropic"),
    "f_none_openai_stream_slow": Scenario(told=0, stream=True, **SLOW),
    "f_none_anthropic_slow": Scenario(told=0, family="anthropic", minutes=30, **SLOW),
    "f_none_openai_all_at_once": Scenario(told=0, workers=2000),
    "f_none_azure_fixed_window": Scenario(told=0, policy="fixed", profile="azure"),
    "f_none_generic_sliding": Scenario(told=0, policy="sliding", profile="generic"),
    "g_estimates": Scenario(**WRONG),
    "g_estimates_above": Scenario(**WRONG, bias=1.2),
    "g_estimates_below": Scenario(**WRONG, bias=0.8),
    "g_estimates_anthropic": Scenario(**WRONG, family="anthropic"),
    "g_estimates_fixed_window": Scenario(**WRONG, policy="fixed", profile="azure"),
    "g_estimates_sliding": Scenario(**WRONG, policy="sliding", profile="generic"),
    "g_estimates_slow": Scenario(**WRONG, **SLOW),
    "g_estimates_small": Scenario(**WRONG, **SMALL),
    "h_no_retry_after": Scenario(changes=RISE, follow="follow", hints="no_header"),
    "h_no_retry_after_anthropic": Scenario(changes=RISE, follow="follow", hints="no_header", family="anthropic"),
    "h_bare_429": Scenario(changes=RISE, follow="follow", hints="bare"),
    "h_fixed_no_retry_after": Scenario(told=2, follow="fixed", hints="no_header"),
    "h_fixed_bare_429": Scenario(told=2, follow="fixed", hints="bare"),
    "h_silent_twice": Scenario(told=2, follow="follow", hints="silent"),
    "h_silent_none": Scenario(told=0, hints="silent"),
    "i_all_openai": Scenario(told=0, other=1 / 3, **WRONG),
    "i_all_anthropic": Scenario(told=0, other=1 / 3, family="anthropic", **WRONG),
    "i_all_openai_stream": Scenario(told=0, other=1 / 3, stream=True, allowed=1, **WRONG),
    "i_all_openai_small": Scenario(told=0, other=1 / 3, allowed=3, **WRONG, **SMALL),
}
# There to compare: a client that is told nothing but no; windows, of which no reserve can be kept and no news comes
# while all of one is used; a second client of which the news is 5 s old at best.
BEYOND = ("d_changes_shrink_idle_window", "d_changes_shrink_sliding", "e_second_client_slow", "h_silent_twice",
          "h_silent_none")
GOALS = tuple(name for name in SCENARIOS if name not in BEYOND)
# Of a second client nothing is known at first, and one request of its may be as much as a reserve (allowed, above).
COMPARED = ("a_told", "e_second_client", "g_estimates")  # with the recipes that people copy


def trace(path):
    """[(input, output)], and whether they are real."""
    if path and Path(path).exists():
        with gzip.open(path, "rt", newline="") as lines:
            rows = csv.reader(lines)
            next(rows)
            return [(int(row[1]), int(row[2])) for row in rows if row], True
    draw = random.Random(2023)

    def lognormal(mean, deviation, most):
        return max(1, min(most, round(math.exp(draw.gauss(mean, deviation)))))

    return [(lognormal(6.6, 0.95, 14_050), lognormal(5.0, 0.85, OUTPUT_MAX)) for _ in range(20_000)], False


def refusals_allowed(scenario):
    """429s: one for each change of limits, and for limits configured too high."""
    return len(scenario.changes) + (scenario.told > 1) + scenario.allowed


class Call:
    """What the referee needs of a request: it charges the tokens that the request will have used."""

    __slots__ = ("model", "input_tokens", "max_output", "output_used")

    def __init__(self, tokens):
        self.model = "model"
        self.input_tokens, self.max_output = tokens
        self.output_used = self.max_output


class Request:
    __slots__ = ("call", "input", "output", "slot", "attempt", "sent")

    def __init__(self, call, estimate, output):
        self.call, self.input, self.output = call, estimate, output
        self.slot, self.attempt, self.sent = None, 0, 0


def real_limits(scenario):
    """{option of the referee: amount}."""
    return {option: round(n * scenario.scale) for option, n in FAMILIES[scenario.family][1].items()}


class Server:
    """The referee's account of one key, as its HTTP server would show it."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.family, self.limits = FAMILIES[scenario.family][0], real_limits(scenario)
        self.account = Account(Options(policy=scenario.policy, **self.limits))
        self.phases = [(START, 1.0)]
        self.ours, self.others = dict.fromkeys(METERS, 0), dict.fromkeys(METERS, 0)
        self.first = self.last = None

    def change(self, factor, now):
        for option, amount in self.limits.items():
            amount = round(amount * factor)
            self.account.set_limit(LIMIT_OPTIONS[option], amount, amount, now)
        self.phases.append((now, factor))

    def arrive(self, call, now, ours=True):
        """(status, headers, body) of the answer; it is sent after the latency if the status is 200."""
        permit, limit, wait, requested = self.account.offer(call, now)
        if permit is None:
            assert wait is not None, "larger than the limit"
            return self._refusal(call, limit, wait, requested, now) if ours else (429, None, None)
        self.account.release(permit, now)
        charged = self.ours if ours else self.others
        for name, n in Account._units(call.input_tokens, call.max_output).items():
            charged[name] += n
        if not ours:
            return 200, None, None
        self.first, self.last = now if self.first is None else self.first, now
        return 200, {} if self.scenario.hints == "silent" else self._headers(now), ""

    def _headers(self, now):
        return self.family.headers(self.account.states(now), now)

    def _refusal(self, call, limit, wait, requested, now):
        hints = self.scenario.hints
        if hints in ("bare", "silent"):
            return 429, {}, ""
        headers = self._headers(now)
        if hints == "all":
            headers["retry-after"] = str(-(-wait // SECOND_NS))
            headers["retry-after-ms"] = str(-(-wait // 10 ** 6))
        error = self.family.refused(call, self.account.state(limit, now), requested, wait, "req_1")
        return 429, headers, dumps(error).decode()

    def available(self, name, end):
        """The most that the policy admits from the first admission to the end; see relay/README.md. Where limits
        changed: a bucket's refill at the rate of each phase, a window at the largest limit it had."""
        policy = self.account.gate.limits[name]
        base = self.limits[next(option for option, known in LIMIT_OPTIONS.items() if known == name)]
        spans = [(max(at, self.first), min(until, end), base * factor)
                 for (at, factor), (until, _) in zip(self.phases, self.phases[1:] + [(end, 0)]) if until > self.first]
        if self.scenario.policy == "bucket":
            return spans[0][2] + sum(n * (until - at) / PERIOD for at, until, n in spans)
        origin = self.first if self.scenario.policy == "sliding" else policy.anchor_ns
        total, at = 0, self.first
        while at <= end:
            until = origin + ((at - origin) // PERIOD + 1) * PERIOD
            total += max(n for begin, last, n in spans if begin < until and last > at)
            at = until
        return total

    def utilisation(self, end):
        if self.scenario.policy == "bucket":  # what a large request is saving for at the end is not lost
            end = max(self.last, end - PERIOD // 2)
        return max(self.ours[name] / (self.available(name, end) - self.others[name]) for name in self.account.gate.limits)


def limits_of(scenario):
    """{name: amount} as configured."""
    return {LIMIT_OPTIONS[option]: round(n * scenario.told) for option, n in real_limits(scenario).items()}


def sdk_wait(headers, attempt, draw):
    """The wait of the official SDKs, ns."""
    said = headers.get("retry-after-ms")
    said = float(said) / 1000 if said else float(headers.get("retry-after", 0))
    if not 0 < said <= 60:
        said = min(0.5 * 2 ** min(attempt, 4), 8) * (1 - 0.25 * draw.random())
    return int(said * SECOND_NS)


class Recipe:
    """A client that knows its limits and reads no more of an answer than the SDKs do."""

    def __init__(self, scenario, seed):
        self.limits = limits_of(scenario)
        self.draw = random.Random(seed)

    def acquire(self, request, now):
        units = Account._units(request.input, request.output)
        return self.wait([units[name] for name in self.limits], now)

    def answer(self, request, status, headers, body, now):
        return 0 if status == 200 else sdk_wait(headers, request.attempt, self.draw)

    def settle(self, request, now):
        pass

    def cancel(self, request, now, given_up=False):
        pass

    def learned(self):
        return "nothing"


class RetryOnly(Recipe):
    """Send at once; on 429 wait as the SDKs do."""

    def wait(self, amounts, now):
        return 0


class FullBucket(Recipe):
    """Token buckets of the whole limits, mirroring the server's."""

    def __init__(self, scenario, seed, share=1.0):
        super().__init__(scenario, seed)
        self.capacity = [n * share for n in self.limits.values()]
        self.left, self.at = list(self.capacity), START

    def wait(self, amounts, now):
        passed, self.at = now - self.at, now
        self.left = [min(most, left + passed * most / PERIOD) for left, most in zip(self.left, self.capacity)]
        short = max((need - left) / most for need, left, most in zip(amounts, self.left, self.capacity))
        if short > 0:
            return int(short * PERIOD) + 1
        self.left = [left - need for left, need in zip(self.left, amounts)]
        return 0


class ThreeQuarters(FullBucket):
    """Stay at 75 % of the limit."""

    def __init__(self, scenario, seed):
        super().__init__(scenario, seed, 0.75)


class LastMinute(Recipe):
    """A deque of what was sent in the last 60 s."""

    def __init__(self, scenario, seed):
        super().__init__(scenario, seed)
        self.sent, self.used = deque(), [0] * len(self.limits)

    def wait(self, amounts, now):
        while self.sent and self.sent[0][0] <= now - PERIOD:
            self.used = [used - n for used, n in zip(self.used, self.sent.popleft()[1])]
        if all(used + n <= most for used, n, most in zip(self.used, amounts, self.limits.values())):
            self.sent.append((now, amounts))
            self.used = [used + n for used, n in zip(self.used, amounts)]
            return 0
        return self.sent[0][0] + PERIOD - now


RECIPES = {"retry_only": RetryOnly, "full_bucket": FullBucket, "deque_60s": LastMinute, "at_75_percent": ThreeQuarters}


def library(path):
    """build/libfeedback.so."""
    lib = ctypes.CDLL(str(Path(path).resolve()))
    u64, u32, pointer, text = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
            ("make", pointer, (text, pointer, u64, u32, u64, u32, u64, u64)),
            ("acquire", u64, (pointer, u64, u64, u64, u64)),
            ("answer", u64, (pointer, u64, ctypes.c_int, text, text, u64, u64)),
            ("settle", ctypes.c_int, (pointer, u64, u64, u64, u64)),
            ("cancel", ctypes.c_int, (pointer, u64, u64)),
            ("in_force", ctypes.c_int, (pointer, u64, pointer)),
            ("remaining", ctypes.c_int64, (pointer, u64, u64)),
            ("free", None, (pointer,))):
        function = getattr(lib, "feedback_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


class Limited:
    """rlimit, through bench/feedback.c."""

    def __init__(self, lib, scenario):
        self.lib, self.free = lib, list(range(SLOTS - 1, -1, -1))
        told = []
        for name, amount in limits_of(scenario).items() if scenario.told else ():
            told += [KINDS[scenario.policy], METERS[name], amount, PERIOD]
        self.client = lib.feedback_make(
            (scenario.profile or scenario.family).encode(), (ctypes.c_uint64 * max(len(told), 1))(*told), len(told) // 4,
            FOLLOW[scenario.follow], DELAY, scenario.quantile, START, START - OFFSET)
        assert self.client, "the library takes these limits"

    def close(self):
        self.lib.feedback_free(self.client)

    def acquire(self, request, now):
        if request.slot is None:
            request.slot = self.free.pop()
        wait = self.lib.feedback_acquire(self.client, request.slot, request.input, request.output, now - OFFSET)
        assert wait != NEVER, "a request larger than a limit"
        return None if wait == ON_RELEASE else wait

    def answer(self, request, status, headers, body, now):
        lines = "".join("%s: %s\r\n" % header for header in headers.items())
        wait = self.lib.feedback_answer(self.client, request.slot, status, lines.encode(), body.encode(), now, now - OFFSET)
        return None if wait == NEVER else wait

    def settle(self, request, now):
        call = request.call
        status = self.lib.feedback_settle(self.client, request.slot, call.input_tokens, call.output_used, now - OFFSET)
        assert status == 0, "settled once, not %d" % status
        self.free.append(request.slot)

    def cancel(self, request, now, given_up=False):
        if given_up:
            self.free.append(request.slot)
        status = self.lib.feedback_cancel(self.client, request.slot, now - OFFSET)
        assert status == 0, "cancelled once, not %d" % status

    def limits(self):
        """[(meter, amount, period, guard)] in force."""
        out, limits = (ctypes.c_uint64 * 4)(), []
        while self.lib.feedback_in_force(self.client, len(limits), out) == 0:
            limits.append(tuple(out))
        return limits

    def remaining(self, now):
        """{meter name: what it believes to be left}; the least of several limits on one meter."""
        names, left = list(METERS), {}
        for index, (meter, _, _, _) in enumerate(self.limits()):
            name = names[meter] if meter < 4 else str(meter)
            n = self.lib.feedback_remaining(self.client, index, now - OFFSET)
            left[name] = min(left.get(name, n), n)
        return left

    def learned(self):
        names = list(METERS)
        return ",".join("%s:%d/%gs" % (names[meter] if meter < 4 else meter, amount, period / SECOND_NS)
                        for meter, amount, period, _ in self.limits())


class Result:
    """rejected: 429s. late: of them, those sent after news of the last change had come. given_up: requests that were
    refused more often than the backoff allows. utilisation, learned."""

    def __init__(self):
        self.rejected = self.late = self.given_up = self.sent = 0
        self.utilisation, self.learned, self.over_limit = 0.0, "", 0
        self.samples = []  # of a watched run: (seconds, meter name, left at the server less what is on the way, believed)
        self.refusals = []  # (seconds sent, seconds refused, cost, whether late)


class Run:
    """One scenario, one seed, one client."""

    def __init__(self, scenario, client, costs, seed, watch=0.0):
        self.scenario, self.client, self.watch = scenario, client, watch
        self.draw = random.Random("%d %s" % (seed, "network"))
        self.guess = random.Random("%d %s" % (seed, "estimates"))
        self.costs, self.next = costs, random.Random("%d %s" % (seed, "trace")).randrange(len(costs))
        self.server, self.result = Server(scenario), Result()
        # Windows end with the run; from the first admission, which is a little later than START.
        self.end = (WALL if scenario.policy == "fixed" else START) + scenario.minutes * PERIOD - 1
        self.events, self.order = [], 0
        self.out, self.head, self.retries, self.asleep_until = 0, None, [], None
        self.on_the_way = dict.fromkeys(METERS, 0)
        self.changed, self.known = START, None  # when limits changed last; when an answer from after that had come

    def at(self, time, what, *data):
        self.order += 1
        heapq.heappush(self.events, (time, self.order, what, data))

    def go(self):
        self.at(START, self.pump)
        for seconds, factor in self.scenario.changes:
            self.at(START + seconds * SECOND_NS, self.change, factor)
        if self.scenario.other:
            self.begin_other()
        if self.watch:
            self.at(START, self.look)
        while self.events[0][0] <= self.end:
            now, _, what, data = heapq.heappop(self.events)
            what(now, *data)
        result = self.result
        result.utilisation = self.server.utilisation(self.end)
        result.learned = self.client.learned()
        result.over_limit = self.server.account.stats()["over_limit"]
        return result

    def change(self, now, factor):
        self.server.change(factor, now)
        self.changed, self.known = now, None

    # The second client: it asks for its share whatever happens, and forgets what was refused.

    def begin_other(self):
        draw = self.other = random.Random(self.guess.random())
        limits = real_limits(self.scenario)
        means = [sum(column) / len(self.costs) for column in zip(*self.costs)]
        per_request = {"rpm": 1, "tpm": sum(means), "itpm": means[0], "otpm": means[1]}
        self.gap = max(per_request[option] / n for option, n in limits.items()) * PERIOD / self.scenario.other
        self.at(START + int(draw.expovariate(1) * self.gap), self.other_arrives)

    def other_arrives(self, now):
        self.server.arrive(Call(self.other.choice(self.costs)), now, ours=False)
        self.at(now + int(self.other.expovariate(1) * self.gap) + 1, self.other_arrives)

    # Ours.

    def request(self):
        scenario, call = self.scenario, Call(self.costs[self.next])
        self.next = (self.next + 1) % len(self.costs)
        if not scenario.quantile:
            return Request(call, call.input_tokens, call.max_output)
        factor = scenario.bias * self.guess.uniform(1 - scenario.spread, 1 + scenario.spread)
        return Request(call, max(1, round(call.input_tokens * factor)), OUTPUT_MAX)

    def pump(self, now):
        """Sends while the head of the line may go."""
        self.asleep_until = None
        while True:
            due = bool(self.retries) and self.retries[0][0] <= now
            if due:
                request = self.retries[0][2]
            elif self.out < self.scenario.workers:
                request = self.head = self.head or self.request()
            else:
                return
            wait = self.client.acquire(request, now)
            if wait is None:
                return
            if wait:
                self.sleep(now + wait)
                return
            if due:
                heapq.heappop(self.retries)
            else:
                self.head = None
                self.out += 1
            self.send(request, now)

    def sleep(self, until):
        if self.asleep_until is None or until < self.asleep_until:
            self.asleep_until = until
            self.at(until, self.wake)

    def wake(self, now):
        if self.asleep_until == now:
            self.pump(now)

    def send(self, request, now):
        self.result.sent += 1
        request.sent = now
        self.count_on_the_way(request, 1)
        self.at(now + self.draw.randrange(DELAY + 1), self.arrive, request)

    def count_on_the_way(self, request, sign):
        for name, n in Account._units(request.call.input_tokens, request.call.max_output).items():
            self.on_the_way[name] += sign * n

    def arrive(self, now, request):
        self.count_on_the_way(request, -1)
        status, headers, body = self.server.arrive(request.call, now)
        latency = 0
        if status == 200:
            latency = int(self.draw.uniform(*self.scenario.latency) * SECOND_NS)
        else:
            late = self.known is not None and request.sent >= self.known
            self.result.rejected += 1
            self.result.late += late
            self.result.refusals.append(((request.sent - START) / 1e9, (now - START) / 1e9,
                                         request.call.input_tokens + request.call.max_output, late))
        back, first_byte = self.draw.randrange(DELAY + 1), now if self.scenario.stream else now + latency
        headers = dict(headers, date=formatdate(first_byte // SECOND_NS, usegmt=True)) if headers else headers
        self.at(first_byte + back, self.answer, request, status, headers, body, now)
        if status == 200:
            self.at(now + latency + back, self.done, request)

    def answer(self, now, request, status, headers, body, decided):
        if self.known is None and decided >= self.changed:
            self.known = now
        wait = self.client.answer(request, status, headers, body, now)
        if status == 200:
            if self.scenario.stream:
                self.pump(now)
            return
        self.client.cancel(request, now, wait is None)
        if wait is None:
            self.result.given_up += 1
            self.out -= 1
        else:
            request.attempt += 1
            self.order += 1
            heapq.heappush(self.retries, (now + wait, self.order, request))
            self.at(now + wait, self.pump)
        self.pump(now)

    def done(self, now, request):
        self.client.settle(request, now)
        self.out -= 1
        self.pump(now)

    def look(self, now):
        believed = self.client.remaining(now)
        for name, policy in self.server.account.gate.limits.items():
            self.result.samples.append(((now - START) / 1e9, name, policy.remaining(now) - self.on_the_way[name],
                                        believed.get(name)))
        self.at(now + int(self.watch * SECOND_NS), self.look)


def run_limited(lib, scenario, costs, seed, watch=0.0):
    client = Limited(lib, scenario)
    try:
        return Run(scenario, client, costs, seed, watch).go()
    finally:
        client.close()


def run_recipe(name, scenario, costs, seed):
    return Run(scenario, RECIPES[name](scenario, seed), costs, seed).go()


def report(name, results):
    worst = min(result.utilisation for result in results)
    rejected, late, given_up = (max(getattr(result, count) for result in results)
                                for count in ("rejected", "late", "given_up"))
    print("bench feedback_%s value=%.4f unit=utilisation floor=1.0000 ratio=%.4f rejected=%d late=%d given_up=%d learned=%s"
          % (name, worst, worst, rejected, late, given_up, results[0].learned), flush=True)


def show(result):
    """What a watched run saw, for people."""
    for sent, refused, cost, late in result.refusals:
        print("  429: sent %.3f s, refused %.3f s, %d tokens%s" % (sent, refused, cost, ", late" if late else ""))
    for at, name, left, believed in result.samples:
        print("  %8.2f s  %-14s left %9d  believed %s" % (at, name, left, believed))


def main():
    parser = argparse.ArgumentParser(description="limits learned from a server, in virtual time")
    parser.add_argument("library")
    parser.add_argument("trace", nargs="?")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="the beginning of its name; all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--watch", type=float, default=0.0,
                        help="print what is left and what the client believes, every so many s")
    parser.add_argument("--recipes-only", action="store_true")
    options = parser.parse_args()
    costs, real = trace(options.trace)
    if not real:
        print("bench feedback: no trace, costs are of a seeded lognormal")
    seeds = range(1, options.seeds + 1)
    lib = None if options.recipes_only else library(options.library)
    for name, scenario in SCENARIOS.items():
        if options.scenarios and not name.startswith(tuple(options.scenarios)):
            continue
        if lib is not None:
            results = [run_limited(lib, scenario, costs, seed, options.watch) for seed in seeds]
            report(name, results)
            if options.watch:
                show(results[0])
        for recipe in RECIPES if name in COMPARED else ():
            report("%s_%s" % (name, recipe), [run_recipe(recipe, scenario, costs, seed) for seed in seeds])


if __name__ == "__main__":
    main()
