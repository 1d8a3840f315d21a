"""Each policy against a brute-force model that steps through time one nanosecond at a time."""

import random
from fractions import Fraction

import pytest

from relay.policies import POLICIES, Bucket, Fixed, Gate, Sliding

SEEDS = range(60)


class BucketModel:
    def __init__(self, limit, period, anchor):
        self.limit, self.period, self.level, self.now = limit, period, Fraction(limit), 0

    def at(self, now):
        while self.now < now:
            self.level = min(Fraction(self.limit), self.level + Fraction(self.limit, self.period))
            self.now += 1

    def left(self):
        return self.level

    def add(self, n):
        self.level -= n
        return None

    def credit(self, n, mark):
        self.level = min(Fraction(self.limit), self.level + n)

    def copy(self):
        other = BucketModel(self.limit, self.period, 0)
        other.level, other.now = self.level, self.now
        return other


class FixedModel:
    def __init__(self, limit, period, anchor, taken=()):
        self.limit, self.period, self.anchor, self.taken, self.now = limit, period, anchor, list(taken), 0

    def at(self, now):
        self.now = now

    def inside(self, at):
        start = self.now
        while (start - self.anchor) % self.period:
            start -= 1
        return start <= at < start + self.period

    def left(self):
        return self.limit - sum(n for at, n in self.taken if self.inside(at))

    def add(self, n):
        self.taken.append((self.now, n))
        return self.now

    def credit(self, n, mark):
        self.taken.append((mark if n > 0 else self.now, -n))

    def copy(self):
        other = type(self)(self.limit, self.period, self.anchor, self.taken)
        other.now = self.now
        return other


class SlidingModel(FixedModel):
    def inside(self, at):
        return self.now - self.period < at <= self.now


MODELS = {"bucket": BucketModel, "fixed": FixedModel, "sliding": SlidingModel}


def first_admission(model, n, horizon):
    model = model.copy()
    start = model.now
    for now in range(start, start + horizon):
        model.at(now)
        if model.left() >= n:
            return now - start
    raise AssertionError("not admitted within %d ns" % horizon)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_against_brute_force(name, seed):
    print("policy", name, "seed", seed)
    rng = random.Random("%s %d" % (name, seed))
    limit, period, anchor = rng.randint(1, 12), rng.randint(1, 40), rng.randint(-5, 50)
    policy, model = POLICIES[name](limit, period, anchor), MODELS[name](limit, period, anchor)
    now, taken = 0, []
    for step in range(80):
        now += rng.choice((0, 0, 1, rng.randint(0, 5), rng.randint(0, 2 * period)))
        model.at(now)
        n = rng.randint(1, limit + 1)
        where = (name, seed, limit, period, anchor, step, now, n)
        wait = policy.wait(n, now)
        assert policy.remaining(now) == model.left() // 1, where
        assert policy.reset_ns(now) == first_admission(model, limit, 10 * period + 50), where
        if n > limit:
            assert wait is None, where
        else:
            assert wait == first_admission(model, n, 10 * period + 50), where
        if wait == 0:
            taken.append((policy.take(n, now), model.add(n), n, now))
        else:
            with pytest.raises(ValueError):
                policy.take(n, now)
        if taken and rng.random() < 0.3:
            mark, model_mark, n, _ = taken.pop(rng.randrange(len(taken)))
            change = rng.randint(-3, n)
            policy.credit(change, now, mark)
            model.credit(change, model_mark)
            assert policy.remaining(now) == model.left() // 1, where


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_never_more_than_allowed_in_any_interval(name, seed):
    print("policy", name, "seed", seed)
    rng = random.Random("%s %d" % (name, seed))
    limit, period, anchor = rng.randint(1, 50), rng.randint(1, 10 ** 6), rng.randint(0, 10 ** 6)
    policy, now, log = POLICIES[name](limit, period, anchor), 0, []
    for _ in range(300):
        now += rng.randint(0, max(1, period // 10))
        n = rng.randint(1, limit)
        wait = policy.wait(n, now)
        if wait and rng.random() < 0.5:
            now += wait
            assert policy.wait(n, now) == 0, (name, seed)
        if policy.wait(n, now) == 0:
            policy.take(n, now)
            log.append((now, n))
    for first in range(len(log)):
        total = 0
        for at, n in log[first:]:
            total += n
            elapsed = at - log[first][0]
            assert total <= policy.available(log[first][0], at), (name, seed)
            if name == "bucket":
                assert total * period <= limit * (period + elapsed), (name, seed)
            elif name == "sliding" and elapsed < period:
                assert total <= limit, (name, seed)
            elif name == "fixed" and (at - anchor) // period == (log[first][0] - anchor) // period:
                assert total <= limit, (name, seed)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_questions_change_nothing(name, seed):
    print("policy", name, "seed", seed)
    rng = random.Random(seed)
    asked, plain = POLICIES[name](9, 100), POLICIES[name](9, 100)
    now = 0
    for _ in range(200):
        now += rng.randint(0, 30)
        later = now + rng.randint(0, 500)
        asked.wait(rng.randint(0, 10), later), asked.remaining(later), asked.reset_ns(later)
        n = rng.randint(0, 9)
        assert asked.wait(n, now) == plain.wait(n, now)
        if plain.wait(n, now) == 0:
            asked.take(n, now), plain.take(n, now)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_an_earlier_now_gives_nothing_back(name):
    policy = POLICIES[name](10, 100)
    policy.take(10, 1000)
    for now in (0, 500, 950, 1000):
        assert policy.remaining(now) == 0
        wait = policy.wait(10, now)
        assert now + wait == 1100
        assert policy.wait(1, now) > 0
    assert policy.wait(10, 1100) == 0


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_bad_arguments(name):
    for limit in (0, -1, 1.5, True, "5"):
        with pytest.raises(ValueError, match="limit"):
            POLICIES[name](limit)
    with pytest.raises(ValueError, match="period_ns"):
        POLICIES[name](1, 0)
    policy = POLICIES[name](1)
    assert policy.wait(0, 0) == 0
    assert policy.wait(2, 0) is None
    for call in (policy.wait, policy.take):
        with pytest.raises(ValueError):
            call(-1, 0)


def test_boundaries():
    fixed = Fixed(10, 100, anchor_ns=7)
    fixed.take(10, 106)
    assert fixed.wait(1, 106) == 1 and fixed.wait(10, 107) == 0
    sliding = Sliding(10, 100)
    sliding.take(10, 50)
    assert sliding.wait(1, 149) == 1 and sliding.wait(10, 150) == 0
    bucket = Bucket(3, 100)
    bucket.take(3, 0)
    assert bucket.wait(1, 0) == 34 and bucket.wait(1, 33) == 1 and bucket.wait(1, 34) == 0


def test_debt_delays():
    bucket = Bucket(10, 100)
    bucket.take(10, 0)
    bucket.credit(-10, 0)
    assert bucket.remaining(0) == -10 and bucket.reset_ns(0) == 200
    assert bucket.wait(1, 0) == 110 and bucket.wait(0, 0) == 0


def test_raising_a_bucket_is_not_a_burst():
    bucket = Bucket(10, 100)
    bucket.take(10, 0)
    bucket.set_limit(1000, 0)
    assert bucket.remaining(0) == 0 and bucket.wait(1, 0) == 1
    bucket.set_limit(5, 1000)
    assert bucket.remaining(1000) == 5


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_gate_is_all_or_nothing(name, seed):
    print("policy", name, "seed", seed)
    rng = random.Random("%s %d" % (name, seed))
    period = 1000
    make = POLICIES[name]
    gate = Gate({"requests": make(5, period), "tokens": make(100, period)}, concurrency=3)
    requests, tokens, permits, now = make(5, period), make(100, period), [], 0
    for _ in range(300):
        now += rng.randint(0, 200)
        costs = (1, rng.randint(1, 110))
        waits = {"requests": requests.wait(1, now), "tokens": tokens.wait(costs[1], now)}
        before = [policy.remaining(now) for policy in gate.limits.values()]
        assert gate.check(costs, now)[0] == gate.check(costs, now)[0]
        permit, limit, wait = gate.offer(costs, now)
        if None in waits.values():
            assert (permit, limit, wait) == (None, "tokens", None)
        elif any(waits.values()):
            assert permit is None and wait == max(waits.values()) == waits[limit]
        elif len(permits) == 3:
            assert (permit, limit, wait) == (None, "concurrency", 0)
        else:
            assert permit is not None
            permits.append((permit, requests.take(1, now), tokens.take(costs[1], now)))
        if permit is None:
            assert before == [policy.remaining(now) for policy in gate.limits.values()]
        if permits and rng.random() < 0.5:
            permit, _, mark = permits.pop(rng.randrange(len(permits)))
            actual = rng.randint(0, 120)
            gate.settle(permit, (1, actual), now)
            if permit.costs[1] != actual:
                tokens.credit(permit.costs[1] - actual, now, mark)
            gate.release(permit)
        assert gate.in_flight == len(permits)
        assert gate.limits["tokens"].remaining(now) == tokens.remaining(now)


def test_a_permit_ends_once():
    gate = Gate({"requests": Bucket(5)}, concurrency=1)
    permit = gate.offer((1,), 0)[0]
    assert gate.check((1,), 0) == ("concurrency", 0)
    gate.release(permit)
    gate.settle(permit, (1,), 0)
    with pytest.raises(ValueError):
        gate.release(permit)
    with pytest.raises(ValueError):
        gate.settle(permit, (1,), 0)
    assert gate.in_flight == 0
    with pytest.raises(ValueError):
        gate.offer((1, 1), 0)
    with pytest.raises(ValueError):
        gate.set_limit("tokens", 1, 0)
