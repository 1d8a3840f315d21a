"""The hour of a production conversation service against the referee's policies, in virtual time.

    python bench/trace.py TRACE_PROGRAM azure_llm_conv.csv.gz

All requests wait at the start; their token counts are known; each takes a random time up to 200 ms to reach the
server. Prints, for each policy, the utilisation (ideal time to the last admission over the real one) and the
number of 429s: of rlimit told the policy, of rlimit told nothing, and of the recipes people copy. The ideal is
what the policy itself admits in the same order with no delay at all.
"""

import csv
import gzip
import heapq
import random
import subprocess
import sys
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from relay.policies import POLICIES, Gate  # noqa: E402

SECOND = 10 ** 9
PERIOD = 60 * SECOND
REQUESTS, TOKENS = 1_000, 1_000_000  # a minute
DELAY = SECOND // 5  # the largest on the way to the server
START = 17 * SECOND + 300_000_001  # somewhere within a minute of the server's clock
TOLD = {"bucket": "bucket", "fixed": "fixed", "sliding": "window"}


def costs(path):
    with gzip.open(path, "rt", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        return [int(row[1]) + int(row[2]) for row in rows if row]


def gate(policy):
    return Gate({"requests": POLICIES[policy](REQUESTS, PERIOD), "tokens": POLICIES[policy](TOKENS, PERIOD)})


def ideal(policy, tokens):
    """When the last is admitted if each is sent the moment the server would take it."""
    server, now = gate(policy), START
    for n in tokens:
        while True:
            permit, _, wait = server.offer((1, n), now)
            if permit:
                break
            now += wait
    return now - START


def limited(program, policy, kind, tokens, seed):
    """rlimit, by its own program: it never needs an answer, so what it sends is known beforehand."""
    command = [program, kind, str(REQUESTS), str(TOKENS), str(PERIOD), str(DELAY), str(START)]
    text = subprocess.run(command, input="\n".join(map(str, tokens)), stdout=subprocess.PIPE, check=True, text=True)
    sent = list(map(int, text.stdout.split()))
    assert len(sent) == len(tokens), "every request is sent"
    draw, server, refused, last = random.Random(seed), gate(policy), 0, 0
    arrivals = sorted((at + draw.randrange(DELAY + 1), n) for at, n in zip(sent, tokens))
    for at, n in arrivals:
        if server.offer((1, n), at)[0]:
            last = at
        else:
            refused += 1
    return refused, last - START


class RetryOnly:
    """Send at once; on 429 wait as the SDKs do."""

    def wait(self, n, now):
        return 0


class FullBucket:
    """A token bucket of the whole limit, mirroring the server's."""

    def __init__(self, share=100):
        self.capacity = (REQUESTS * share // 100, TOKENS * share // 100)
        self.left, self.at = [float(self.capacity[0]), float(self.capacity[1])], START

    def wait(self, n, now):
        for i, capacity in enumerate(self.capacity):
            self.left[i] = min(capacity, self.left[i] + (now - self.at) * capacity / PERIOD)
        self.at = now
        short = max((need - left) / capacity for need, left, capacity in zip((1, n), self.left, self.capacity))
        if short > 0:
            return int(short * PERIOD) + 1
        self.left = [self.left[0] - 1, self.left[1] - n]
        return 0


class LastMinute:
    """A deque of what was sent in the last 60 s."""

    def __init__(self):
        self.sent, self.tokens = deque(), 0

    def wait(self, n, now):
        while self.sent and self.sent[0][0] <= now - PERIOD:
            self.tokens -= self.sent.popleft()[1]
        if len(self.sent) < REQUESTS and self.tokens + n <= TOKENS:
            self.sent.append((now, n))
            self.tokens += n
            return 0
        return self.sent[0][0] + PERIOD - now


def recipe(client, policy, tokens, seed, workers=64, latency=2 * SECOND):
    """So many workers, each sending one request at a time through `client`, in order, retrying on 429."""
    draw, server, refused, last, next_index = random.Random(seed), gate(policy), 0, 0, 0
    events = [(START, i, "free", 0, 0) for i in range(workers)]  # time, worker, what, tokens, attempt
    order = workers
    heapq.heapify(events)
    while events:
        now, _, what, n, attempt = heapq.heappop(events)
        order += 1
        if what == "free":
            if next_index == len(tokens):
                continue
            n, what = tokens[next_index], "ask"
            next_index += 1
        if what == "ask":
            wait = client.wait(n, now)
            if wait:
                heapq.heappush(events, (now + wait, order, "ask", n, attempt))
            else:
                heapq.heappush(events, (now + draw.randrange(DELAY + 1), order, "arrive", n, attempt))
        elif server.offer((1, n), now)[0]:
            last = now
            heapq.heappush(events, (now + latency, order, "free", 0, 0))
        else:
            refused += 1
            back = min(0.5 * 2 ** min(attempt, 4), 8) * (1 - 0.25 * draw.random())
            heapq.heappush(events, (now + int(back * SECOND), order, "ask", n, attempt + 1))
    return refused, last - START


def main():
    program, path = sys.argv[1:3]
    tokens = costs(path)
    recipes = {
        "retry_only": RetryOnly,
        "full_bucket": FullBucket,
        "deque_60s": LastMinute,
        "at_75_percent": lambda: FullBucket(75),
    }
    for policy in POLICIES:
        best = ideal(policy, tokens)
        rows = {"rlimit_told": limited(program, policy, TOLD[policy], tokens, 1),
                "rlimit_not_told": limited(program, policy, "window", tokens, 2)}
        for name, make in recipes.items():
            rows[name] = recipe(make(), policy, tokens, 3)
        for name, (refused, took) in rows.items():
            print("bench trace_%s_%s value=%.4f unit=utilisation floor=1.0000 ratio=%.4f rejected=%d"
                  % (policy, name, best / took, best / took, refused), flush=True)


main()
