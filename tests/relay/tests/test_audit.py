"""The audit agrees with policies that are right, and catches one that is wrong."""

import random

import pytest

from relay.audit import Audit
from relay.policies import POLICIES, Gate


def run(name, seed, cheat):
    """Random offers, settlements and limit changes; with `cheat`, every tenth refusal is let through."""
    rng = random.Random("%s %d" % (name, seed))
    period, anchor = rng.randint(10, 1000), rng.randint(0, 1000)
    limits = {"requests": rng.randint(2, 10), "tokens": rng.randint(50, 200)}
    gate = Gate({key: POLICIES[name](limit, period, anchor) for key, limit in limits.items()}, concurrency=3)
    audit = Audit(name, limits, period, anchor, 3)
    now, held, refusals, cheated = 0, [], 0, 0
    for _ in range(500):
        now += rng.randint(0, period // 5)
        costs = (1, rng.randint(0, 60))
        permit, _, wait = gate.offer(costs, now)
        if permit:
            audit.admit(now, costs)
            held.append(permit)
        elif wait is not None:
            refusals += 1
            if cheat and refusals % 10 == 0:
                audit.admit(now, costs)
                audit.release(now)
                cheated += 1
        if held and rng.random() < 0.6:
            permit = held.pop(rng.randrange(len(held)))
            actual = (1, rng.randint(0, 80))
            gate.settle(permit, actual, now)
            audit.settle(now, permit.at_ns, [old - new for old, new in zip(permit.costs, actual)])
            gate.release(permit)
            audit.release(now)
        if rng.random() < 0.02:
            limit = rng.randint(60, 300)
            gate.set_limit("tokens", limit, now)
            audit.set_limit(now, "tokens", limit)
        if rng.random() < 0.05:
            audit.check()
    return audit.check(), cheated


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_agrees_with_the_policy(name, seed):
    print("policy", name, "seed", seed)
    (violations, by_limit), _ = run(name, seed, cheat=False)
    assert violations == 0 and not any(by_limit.values()), (name, seed, by_limit)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_catches_what_should_have_been_refused(name):
    for seed in range(10):
        (violations, _), cheated = run(name, seed, cheat=True)
        assert cheated and violations >= cheated, (name, seed)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_one_unit_too_many(name):
    for extra in (0, 1):
        audit = Audit(name, {"tokens": 10}, 100)
        audit.admit(0, (10,))
        audit.admit(99, (extra if name != "bucket" else 9 + extra,))
        assert audit.check() == (extra, {"tokens": extra, "concurrency": 0})


def test_concurrency():
    audit = Audit("bucket", {}, 100, concurrency=1)
    audit.admit(0, ())
    audit.admit(1, ())
    audit.release(2)
    assert audit.check() == (1, {"concurrency": 1})
