"""The limiter by hand: keywords, errors, permits, status, what the server says. Times are a ManualClock's."""
import copy
import doctest
import gc
import json
import logging
import math
import pickle
import threading
import time
import weakref

import pytest

import rlimit
from rlimit import (Feedback, Limiter, ManualClock, NeverAdmitted, Reading, Route, adaptive, calendar_day, calendar_month, concurrent, fixed, learned,
                    parse, per, per_day, per_hour, per_minute, per_second, ramp, sliding)


@pytest.fixture
def clock():
    return ManualClock()


# -- limits --

@pytest.mark.parametrize("limit", [
    per(3, 7), per(3, 7, burst=1), per(5, 0.5), per(3, 7, guard=0.25), per_second(
        1), per_minute(2), per_hour(3), per_day(4), sliding(5, 60),
    sliding(
    5, 60, cells=10, guard=1), fixed(
        6, 3600), fixed(
            6, 60, utc_offset=30, guard=2), calendar_day(7), calendar_day(
                7, utc_offset=-28800),
    calendar_month(8), learned(), learned(86400), concurrent(
        9), adaptive(), adaptive(2, 32, begin=4), ramp(), ramp(floor=3, hold=60),
    per_minute(50).replace(follow="fixed"), sliding(9, 60).replace(follow="learn")], ids=repr)
def test_the_repr_of_a_limit_makes_it(limit):
    again = eval(repr(limit), vars(rlimit))
    assert again == limit and hash(again) == hash(limit) and pickle.loads(pickle.dumps(limit)) == limit


def test_limits_are_values():
    limit = per_minute(50)
    assert (
    limit.kind,
    limit.amount,
    limit.seconds,
    limit.burst,
    limit.guard,
    limit.follow) == (
        "bucket",
        50,
        60,
        50,
        0,
         "shrink")
    assert limit.replace(amount=60).burst == 60 and per(9, 1, burst=2).replace(amount=60).burst == 2
    assert limit.replace(seconds=1) == per_second(50) != limit and limit != 50
    assert learned().amount is None and calendar_month(3).seconds is None
    with pytest.raises(AttributeError, match="amount: a limit cannot be changed"):
        limit.amount = 3
    with pytest.raises(AttributeError):
        del limit.amount
    with pytest.raises(ValueError, match="follow: must be shrink, fixed, follow or learn, not 'ramp'"):
        limit.replace(follow="ramp")


@pytest.mark.parametrize("make, error, text", [
    (lambda: per_minute("5"), TypeError, "amount: must be an int, not str"),
    (lambda: per_minute(1.5), TypeError, "amount: must be an int, not float"),
    (lambda: per_minute(True), TypeError, "amount: must be an int, not bool"),
    (lambda: per_minute(-1), ValueError, "amount: must be 1 to 2^40, not -1"),
    (lambda: per(1, "60"), TypeError, "seconds: must be a number of seconds, not str"),
    (lambda: per(1, -1), ValueError, "seconds: must be more than 0 and at most 36028797 seconds (417 days), not -1"),
    (lambda: per(1, math.nan), ValueError, "seconds: must be more than 0 and at most 36028797 seconds (417 days), not nan"),
    (lambda: per(1, 60, burst=None, guard=None), TypeError, "guard: must be a number of seconds, not NoneType"),
    (lambda: sliding(1, 60, cells=70000), ValueError, "cells: must be 0 or 3 to 65536, not 70000"),
    (lambda: calendar_day(1, utc_offset=100000), ValueError, "utc_offset: must be -86400 to 86400 seconds, not 100000"),
    (lambda: adaptive(5, 2), ValueError, "least: must be at most most, 2, not 5"),
    (lambda: Limiter(), ValueError, "limits: none given"),
    (lambda: per_minute(0), ValueError, "amount: must be 1 to 2^40, not 0"),
    (lambda: calendar_day(1 << 41), ValueError, "amount: must be 1 to 2^40, not 2199023255552"),
    (lambda: concurrent(1 << 32), ValueError, "amount: must be 1 to 2^31, not 4294967296"),
    (lambda: per(1, 0), ValueError, "seconds: must be more than 0 and at most 36028797 seconds (417 days), not 0"),
    (lambda: per(1, 60, burst=0), ValueError, "burst: must be 1 to 2^40, not 0"),
    (lambda: per(1, 60, guard=61), ValueError, "guard: must be at most seconds, 60, not 61"),
    (lambda: fixed(1, 60, guard=60), ValueError, "guard: must be less than seconds, 60, not 60"),
    (lambda: calendar_month(1).replace(guard=1), ValueError, "guard: must be 0 for a month, not 1"),
    (lambda: per_second(1 << 40), ValueError, "amount, seconds: the rate must not exceed 10^10 a second, not 1099511627776 and 1"),
    (lambda: adaptive(1, 64, begin=65), ValueError, "begin: must be least to most, 1 to 64, not 65"),
    (lambda: adaptive(4, 64).replace(amount=3), ValueError, "most: must be at least least, 4, not 3"),
    (lambda: ramp(0), ValueError, "floor: must be 1 to 2^40, not 0"),
    (lambda: ramp(hold=0), ValueError, "hold: must be more than 0"),
    (lambda: calendar_day(5).replace(burst=3), ValueError, "burst: of a calendar there is none, and 3 was given"),
    (lambda: per_minute(5).replace(utc_offset=-1), ValueError, "utc_offset: of a bucket there is none, and -1 was given"),
    (lambda: sliding(1, 60, cells=2), ValueError, "cells: must be 0 or 3 to 65536, not 2"),
    (lambda: sliding(1, 60, cells=-1), ValueError, "cells: must be 0 or 3 to 65536, not -1"),
    (lambda: calendar_day(1).replace(wall_offset=math.inf), ValueError, "wall_offset: must be -4611686018 to 4611686018 seconds, not inf"),
    (lambda: Limiter(requests=50), TypeError, "requests: must be a Limit such as per_minute(50), a sequence of them, or None, not 50"),
    (lambda: Limiter(requests=[per_minute(5), 5]), TypeError, "requests: must be a Limit"),
    (lambda: Limiter(requests=concurrent(5)), ValueError, "requests: concurrent(5) counts connections: give it as concurrency="),
    (lambda: Limiter(requests=ramp()), ValueError, "give it as ramp="),
    (lambda: Limiter(concurrency=0), ValueError, "concurrency: must be 1 to 2^31, not 0"),
    (lambda: Limiter(concurrency=2.0), TypeError, "concurrency: must be an int, adaptive() or None, not float"),
    (lambda: Limiter(concurrency=per_minute(5)), ValueError, "concurrency: must be an int, adaptive() or None"),
    (lambda: Limiter(ramp=per_minute(5)), ValueError, "ramp: must be ramp(), not per_minute(5)"),
    (lambda: Limiter(provider="acme"), ValueError, "provider: must be anthropic, openai"),
    (lambda: Limiter(requests=[per_minute(n) for n in range(1, 14)]), ValueError, "limits: at most 12, not 13"),
    (lambda: Limiter(requests=[sliding(1, n, cells=600) for n in (1, 2)]),
     ValueError, "requests: cells: must be 0 or 3 to 65536, and all windows"),
    (lambda: Limiter(requests=per_minute(1), queue=-1), ValueError, "queue: must be 0 to 2^31, not -1"),
    (lambda: Limiter(requests=per_minute(1), queue=1.5), TypeError, "queue: must be an int, not float"),
    (lambda: Limiter(requests=per_minute(1), ageing=-1), ValueError, "ageing: must be 0 or more seconds, or math.inf, not -1"),
    (lambda: Limiter(requests=per_minute(1), clock=5), TypeError, "clock: must be a ManualClock, a callable"),
    (lambda: Limiter(requests=per_minute(1), name=5), TypeError, "name: must be a str or None, not int"),
    (lambda: Limiter(per_minute(1)), TypeError, "positional"),
])
def test_errors_name_field_and_value(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


def test_repr_and_limits():
    limiter = Limiter(requests=[per_minute(50), per_day(5000)], concurrency=10, name="claude", provider=None)
    assert repr(limiter) == "Limiter(requests=[per_minute(50), per_day(5000)], concurrency=10, name='claude')"
    assert limiter.meters == ("requests", "requests", "concurrency")
    assert limiter.limits == (per_minute(50), per_day(5000), concurrent(10))
    assert (limiter.name, limiter.provider, limiter.clock, limiter.closed) == ("claude", None, None, False)


@pytest.mark.parametrize("provider", rlimit.PROVIDERS)
def test_a_provider_alone_is_learned(provider):
    limiter = Limiter(provider=provider)
    assert limiter.meters[-2:] == ("concurrency", "ramp") and limiter.limits[-2:] == (adaptive(1, 64), ramp())
    assert all(limit.follow == "learn" for limit in limiter.limits[:-2])
    assert Limiter(provider=provider, concurrency=3, ramp=False).limits[-1] == concurrent(3)


def test_what_is_given_is_not_learned():
    assert Limiter(provider="anthropic", requests=per_minute(5)).meters == ("requests", "input_tokens", "output_tokens")
    assert Limiter(provider="openai", tokens=per_minute(5)).limits == (learned(), per_minute(5))
    assert Limiter(
    provider="openai",
    input_tokens=per_minute(5),
    output_tokens=per_minute(5)).meters == (
        "requests",
        "input_tokens",
         "output_tokens")


# -- permits --

def test_try_acquire(clock):
    limiter = Limiter(requests=per_minute(2), input_tokens=per_minute(1000), clock=clock)
    permit = limiter.try_acquire(input_tokens=600)
    assert permit.state == "out" and permit.waited == 0 and permit.limiter is limiter
    assert permit.cost == {"requests": 1, "input_tokens": 600, "output_tokens": 0, "microdollars": 0, "custom": 0}
    assert limiter.try_acquire(input_tokens=600) is None
    assert limiter.check(input_tokens=600) == (False, 12.0, per_minute(1000), "input_tokens")
    assert clock.advance(12) == 12
    assert limiter.try_acquire(input_tokens=600).state == "out"


def test_settle_gives_back_and_charges(clock):
    limiter = Limiter(input_tokens=per_minute(1000), output_tokens=per_minute(1000), clock=clock)
    limiter.try_acquire(input_tokens=600, output_tokens=600).settle(input_tokens=100)
    assert [usage.used for usage in limiter.status().limits] == [100, 600]
    limiter.try_acquire(input_tokens=100, output_tokens=100).settle(input_tokens=100, output_tokens=1500)
    assert [usage.remaining for usage in limiter.status().limits] == [800, -1100]
    assert limiter.check(requests=0, output_tokens=1).wait == pytest.approx(66.06)


def test_cancel_gives_everything_back(clock):
    limiter = Limiter(requests=per_minute(1), concurrency=1, clock=clock)
    limiter.try_acquire().cancel()
    assert limiter.status().limits[0].used == 0 and limiter.status().active == 0
    assert limiter.try_acquire() is not None


@pytest.mark.parametrize("first", ["settle", "cancel"])
@pytest.mark.parametrize("second", ["settle", "cancel"])
def test_a_permit_ends_once(first, second):
    limiter = Limiter(requests=per_minute(5), concurrency=5)
    permit = limiter.try_acquire()
    getattr(permit, first)()
    with pytest.raises(RuntimeError, match="%s: this permit is %s already" % (second, {"settle": "settled", "cancel": "cancelled"}[first])):
        getattr(permit, second)()
    with pytest.raises(RuntimeError, match="observe: this permit is"):
        limiter.observe(Feedback(), permit)
    assert limiter.status().limits[1].used == 0


@pytest.mark.parametrize("call", ["try_acquire", "acquire", "check", "debit"])
@pytest.mark.parametrize("cost, error, text", [
    ({"input_tokens": -1}, ValueError, "input_tokens: must be 0 to 2^40, not -1"),
    ({"requests": (1 << 40) + 1}, ValueError, "requests: must be 0 to 2^40, not 1099511627777"),
    ({"custom": 1 << 70}, ValueError, "custom: must be 0 to 2^40, not 1180591620717411303424"),
    ({"output_tokens": 1.0}, TypeError, "output_tokens: must be an int, not float"),
    ({"microdollars": "5"}, TypeError, "microdollars: must be an int, not str"),
    ({"tokens": 5}, TypeError, "unexpected keyword argument 'tokens'")])
def test_bad_costs(call, cost, error, text):
    limiter = Limiter(requests=per_minute(50))
    with pytest.raises(error) as caught:
        getattr(limiter, call)(**cost)
    assert text in str(caught.value) and limiter.status().limits[0].used == 0
    permit = limiter.try_acquire()
    with pytest.raises(error):
        permit.settle(**cost)
    assert permit.state == "out"


def test_bad_arguments():
    limiter = Limiter(requests=per_minute(50))
    for call, text in ((lambda: limiter.try_acquire(1), "keyword arguments only"), (lambda: limiter.acquire(priority="urgent"), "priority: must be critical"),
                       (lambda: limiter.acquire(priority=1), "priority: must be a str"), (lambda: limiter.acquire(
                           timeout=-1), "timeout: must be 0 or more"),
                       (lambda: limiter.acquire(timeout="x"),
                        "timeout: must be a number"), (lambda: limiter.acquire(timeout=math.nan), "timeout"),
                       (lambda: limiter.observe(5), "feedback: must be a Feedback"), (lambda: limiter.observe(
                           Feedback(), 5), "permit: must be a Permit"),
                       (lambda: limiter.observe(), "takes feedback"), (lambda: limiter.pause("x"),
                        "seconds"), (lambda: limiter.pause(1, "custom"), "meter: no limit"),
                       (lambda: limiter.reconfigure("requests", "x"), "limit: must be a Limit"), (lambda: limiter.restore([5]), "saved: must be what")):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert text in str(caught.value)


def test_keywords_that_are_not_interned(clock):
    limiter = Limiter(requests=per_minute(5), clock=clock)
    name = "".join(["input_", "tokens"])
    assert limiter.try_acquire(**{name: 5}).cost["input_tokens"] == 5
    assert limiter.acquire(**{"".join(["prior", "ity"]): "".join(["hi", "gh"])}).priority == "high"


class Index:
    def __index__(self):
        return 7


def test_amounts_of_other_integers():
    limiter = Limiter(requests=per_minute(5))
    assert limiter.try_acquire(custom=Index()).cost["custom"] == 7 and limiter.try_acquire(custom=True).cost["custom"] == 1
    assert limiter.try_acquire(custom=1 << 40).cost["custom"] == 1 << 40


def test_never_admitted_names_the_limit(clock):
    limiter = Limiter(requests=per_minute(50), input_tokens=[per_minute(1000), per_day(9000)], clock=clock)
    for call in (limiter.try_acquire, lambda **cost: limiter.acquire(**cost).wait()):
        with pytest.raises(NeverAdmitted, match=r"input_tokens: 1001 is more than per_minute\(1000\) admits at once") as caught:
            call(input_tokens=1001)
        assert caught.value.limit == per_minute(
            1000) and caught.value.meter == "input_tokens" and isinstance(caught.value, ValueError)
    assert limiter.check(input_tokens=1001) == (False, math.inf, per_minute(1000), "input_tokens")


def test_a_cost_of_nothing(clock):
    limiter = Limiter(requests=per_minute(1), concurrency=1, clock=clock)
    with limiter.acquire(requests=0) as permit:
        assert limiter.status().active == 0 and permit.cost["requests"] == 0
    limiter.try_acquire(requests=0).cancel()
    assert limiter.try_acquire() is not None


def test_a_permit_that_is_dropped_is_settled(clock):
    limiter = Limiter(requests=per_minute(5), clock=clock)
    limiter.try_acquire()
    assert limiter.status()[1:] == (0, 0, 1, 1, 0, 0, 0) and limiter.status().limits[0].used == 1
    capped = Limiter(concurrency=1, clock=clock)
    with pytest.warns(ResourceWarning, match="dropped without settle"):
        capped.try_acquire()
    assert capped.try_acquire() is not None or True


def test_blocks(clock):
    limiter = Limiter(requests=per_minute(50), input_tokens=per_minute(1000), concurrency=5, clock=clock)
    with limiter.acquire(input_tokens=100) as permit:
        assert permit.state == "out" and limiter.status().active == 1
    assert permit.state == "settled"
    with pytest.raises(KeyError):
        with limiter.acquire(input_tokens=100) as permit:
            raise KeyError
    assert permit.state == "settled"
    with limiter.acquire(input_tokens=100) as permit:
        permit.cancel()
    with limiter.try_acquire(input_tokens=100) as permit:
        permit.settle(input_tokens=50)
    status = limiter.status()
    assert status.limits[1].used == 250 and (status.active, status.succeeded, status.failed) == (0, 2, 1)


def test_an_acquire_is_used_once():
    acquire = Limiter(requests=per_minute(50)).acquire()
    assert "not waited for yet" in repr(acquire)
    acquire.wait().settle()
    with pytest.raises(RuntimeError, match="used already"):
        acquire.wait()
    with pytest.raises(RuntimeError, match="not admitted"):
        next(acquire)


def test_timeout_zero_does_not_wait(clock):
    limiter = Limiter(requests=per_minute(1), concurrency=3, clock=clock)
    limiter.try_acquire().settle()
    with pytest.raises(TimeoutError, match=r"timeout: not admitted within 0.0 s: requests, per_minute\(1\)") as caught:
        limiter.acquire(timeout=0).wait()
    assert (caught.value.limit, caught.value.meter, caught.value.waited) == (per_minute(1), "requests", 0.0)
    assert limiter.status().queued == 0


def test_no_queue():
    limiter = Limiter(requests=per_minute(1), queue=0)
    limiter.try_acquire()
    with pytest.raises(rlimit.QueueFull, match="queue: full: 0 wait already"):
        limiter.acquire().wait()


@pytest.mark.parametrize("make", [lambda: Limiter(requests=per_minute(5)), lambda: Limiter(requests=per_minute(5)).try_acquire(),
                                  lambda: Limiter(requests=per_minute(5)).acquire(
                                  ), ManualClock, Route, Feedback, lambda: parse(200, {}),
                                  lambda: rlimit.Bucket(per_minute(5))])
def test_not_pickled_nor_copied(make):
    thing = make()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle or copy"):
            attempt(thing)


def test_what_a_limiter_makes_cannot_be_made():
    for kind in (rlimit.Permit, rlimit.Acquire, rlimit.Response):
        with pytest.raises(TypeError):
            kind()


def test_a_subclass_without_init():
    class Lazy(Limiter):
        def __init__(self):
            pass
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        Lazy().try_acquire()
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        Lazy().acquire().wait()
    for call in (Lazy().status, Lazy().check, Lazy().acquire):
        with pytest.raises(RuntimeError, match="__init__ was not called"):
            call()
    Lazy().close(), repr(Lazy())


def test_init_twice():
    limiter = Limiter(requests=per_minute(5))
    with pytest.raises(RuntimeError, match="called already"):
        limiter.__init__(requests=per_minute(5))


# -- status, changes --

def test_status(clock):
    limiter = Limiter(requests=per_minute(6), tokens=per_minute(600), concurrency=2, clock=clock)
    permit = limiter.try_acquire(input_tokens=50, output_tokens=10)
    status = limiter.status()
    first, second, third = status.limits
    assert (first.meter, first.limit, first.used, first.remaining, first.reset, first.in_force, first.capacity) == (
        "requests", per_minute(6), 1, 5, 10.0, per_minute(6), 6)
    assert (second.meter, second.used) == ("tokens", 60)
    assert (third.meter, third.used, third.remaining, third.reset) == ("concurrency", 1, 1, math.inf)
    assert (status.active, status.queued, status.requests_last_minute) == (1, 0, 1)
    permit.settle()


@pytest.mark.parametrize("outcome, counts", [("answered", (1, 0, 0)), ("refused", (0, 0, 1)), ("overloaded", (0, 1, 0)), ("slow_down", (0, 1, 0)),
                                             ("failed", (0, 1, 0))])
def test_totals(outcome, counts, clock):
    limiter = Limiter(requests=per_minute(50), clock=clock)
    permit = limiter.try_acquire()
    limiter.observe(Feedback(), permit)
    limiter.observe(feedback=Feedback(outcome), permit=permit)
    permit.settle()
    limiter._count_retry()
    status = limiter.status()
    assert (status.succeeded, status.failed, status.refused, status.retried) == (*counts, 1)
    limiter.observe(Feedback(outcome))
    assert tuple(
    getattr(
        limiter.status(),
        name) for name in (
            "succeeded",
            "failed",
            "refused")) == tuple(
                2 *
                 n for n in counts)


def test_a_cancelled_permit_counts_as_nothing():
    limiter = Limiter(requests=per_minute(50))
    limiter.try_acquire().cancel()
    assert limiter.status()[4:] == (0, 0, 0, 0)


def test_observe(clock):
    limiter = Limiter(requests=per_minute(50), input_tokens=per_minute(1000), clock=clock)
    permit = limiter.try_acquire(input_tokens=100)
    limiter.observe(
    Feedback(
        readings=[
            Reading(
                "requests",
                limit=50,
                remaining=10),
                Reading(
                    "input_tokens",
                    limit=500,
                    remaining=300)]),
                     permit)
    permit.settle()
    status = limiter.status()
    assert status.limits[0].remaining <= 10 and status.limits[1].remaining <= 300
    assert status.limits[1].in_force.amount == 500 and status.limits[1].limit == per_minute(1000)
    limiter.observe(parse(429, {"retry-after": "7"}).feedback)
    assert limiter.check().wait == 7.0


def test_learning(clock):
    limiter = Limiter(requests=learned(), clock=clock)
    assert limiter.status().limits[0].in_force is None
    permit = limiter.try_acquire()
    assert limiter.try_acquire() is None and limiter.check() == (False, math.inf, learned(), "requests")
    limiter.observe(Feedback(readings=[Reading("requests", limit=30, remaining=29, reset=2)]), permit)
    permit.settle()
    assert limiter.status().limits[0].in_force.amount == 30 and limiter.try_acquire() is not None


def test_reconfigure(clock):
    limiter = Limiter(requests=[per_minute(5), per_day(100)], concurrency=1, clock=clock)
    limiter.reconfigure("requests", per_minute(10))
    limiter.reconfigure("concurrency", 4)
    limiter.reconfigure(1, per_day(50))
    assert limiter.limits == (per_minute(10), per_day(50), concurrent(4))
    assert [usage.limit.amount for usage in limiter.status().limits] == [10, 50, 4]
    with pytest.raises(ValueError, match="which: 'requests' could be any of"):
        limiter.reconfigure("requests", per_hour(9))
    with pytest.raises(ValueError, match="which: no limit 'custom'; there are requests, requests, concurrency"):
        limiter.reconfigure("custom", per_hour(9))
    with pytest.raises(ValueError, match="requests: must be a bucket, as per\\(\\) makes, not sliding\\(9, 60\\)"):
        limiter.reconfigure(0, sliding(9, 60))
    with pytest.raises(TypeError, match="limit: must be a Limit such as per_minute\\(50\\), not 5: an int will do for \"concurrency\" only"):
        limiter.reconfigure("requests", 5)
    assert limiter.limits == (per_minute(10), per_day(50), concurrent(4))


@pytest.mark.parametrize("keywords, which, limit, text", [
    ({"requests": calendar_day(5)}, "requests", calendar_month(5), "requests: seconds, guard: a window or a calendar keeps"),
    ({"requests": calendar_day(5)}, "requests", calendar_day(1 << 39), "requests: amount: more than this limit has memory for"),
    ({"concurrency": adaptive(4, 64)}, "concurrency", 3, "concurrency: most: must be at least least, 4, not 3"),
    ({"concurrency": adaptive(4, 64)}, "concurrency", adaptive(2, 9), "concurrency: stays adaptive(least=4, most=64) but for its numbers"),
    ({"concurrency": 5}, "concurrency", adaptive(2, 9), "concurrency: stays concurrent(5) but for its numbers"),
    ({"concurrency": 5, "ramp": True}, "ramp", per_minute(5), "ramp: stays ramp(floor=15, hold=900) but for its numbers"),
    ({"requests": per_minute(5)}, "requests", per_minute(5).replace(follow="learn"), "requests: stays per_minute(5) but for its numbers")])
def test_what_reconfigure_cannot_change(keywords, which, limit, text, clock):
    limiter = Limiter(**keywords, clock=clock)
    before = limiter.limits
    with pytest.raises(ValueError) as caught:
        limiter.reconfigure(which, limit)
    assert str(caught.value).startswith(text) and limiter.limits == before


def test_reconfigured_limits_follow_as_before(clock):
    limiter = Limiter(requests=learned(), concurrency=adaptive(4, 64), clock=clock)
    limiter.reconfigure("requests", per_minute(9))
    limiter.reconfigure("concurrency", 9)
    assert limiter.limits == (per_minute(9).replace(follow="learn"), adaptive(4, 9))


def test_pause_and_debit(clock):
    limiter = Limiter(requests=per_minute(50), input_tokens=per_minute(1000), clock=clock)
    limiter.pause(5)
    assert limiter.try_acquire() is None and limiter.check().wait == 5.0
    limiter.pause(0)
    limiter.pause(3, "input_tokens")
    assert limiter.try_acquire() is not None and limiter.try_acquire(input_tokens=1) is None
    limiter.pause(0)
    limiter.debit(input_tokens=1500)
    assert limiter.status().limits[1].remaining == -500
    for amount in ((1 << 40) - 1, 1 << 40):
        owing = Limiter(requests=sliding(5, 60), input_tokens=per_minute(100), clock=clock)
        with pytest.raises(rlimit.LimitError) as caught:
            owing.debit(requests=amount, input_tokens=7)
        assert str(caught.value) == "debit: more debt than a limit can hold: requests=%d input_tokens=7; nothing was taken" % amount
        assert [usage.used for usage in owing.status().limits] == [0, 0] and caught.value.code == "cost"
    permit = owing.try_acquire()
    with pytest.raises(ValueError, match="settle: more debt than a limit can hold: requests=1099511627776; the permit is still out"):
        permit.settle(requests=1 << 40)
    assert permit.state == "out"


def test_save_and_restore(clock):
    def make():
        return Limiter(requests=per_minute(5), microdollars=[calendar_day(100), calendar_month(1000)], clock=clock)
    limiter = make()
    limiter.try_acquire(microdollars=40)
    saved = json.loads(json.dumps(limiter.save()))
    assert [(item["meter"], item["used"]) for item in saved] == [("microdollars", 40), ("microdollars", 40)]
    again = make()
    again.restore(saved)
    assert [usage.used for usage in again.status().limits] == [0, 40, 40]
    clock.advance(86400)
    late = make()
    late.restore(saved)
    assert [usage.used for usage in late.status().limits] == [0, 0, 40]


def test_calendars_follow_the_wall_clock():
    limiter = Limiter(requests=calendar_day(1))
    assert 0 <= limiter.status().limits[0].reset <= 86400
    limiter.try_acquire()
    wait = limiter.check().wait
    assert 0 < wait <= 86400
    seconds = rlimit._rlimit.wall() // 10**9 % 86400
    assert wait == pytest.approx(86400 - seconds, abs=60) or seconds < 60
    limiter.sync_wall_clock(wall_ns=rlimit._rlimit.wall() + 86400 * 10**9)
    assert limiter.try_acquire() is not None


def test_clocks():
    times = [0]
    limiter = Limiter(requests=per_second(1), clock=lambda: times[0])
    assert limiter.try_acquire() is not None and limiter.try_acquire() is None
    times[0] += 10**9
    assert limiter.try_acquire() is not None
    broken = Limiter(requests=per_second(1), clock=lambda: times[1 if times[0] < 0 else 0])
    times[0] = -1
    with pytest.raises(IndexError):
        broken.try_acquire()
    with pytest.raises(TypeError, match="clock: must return nanoseconds as an int, not float"):
        Limiter(requests=per_second(1), clock=lambda: 1.0)
    fast = Limiter(requests=per_second(1), clock=rlimit._rlimit.now_coarse)
    assert fast.try_acquire() is not None


def test_manual_clock():
    clock = ManualClock(5)
    assert (clock.now, clock.now_ns, repr(clock)) == (5, 5 * 10**9, "ManualClock(5)")
    assert clock.advance(0.5) == 5.5
    clock.set(1)
    assert clock.now == 1
    for value, error in ((-1, ValueError), ("x", TypeError), (1e12, ValueError)):
        with pytest.raises(error, match="seconds: must be"):
            clock.advance(value)
    clock.sleep(0)


def test_close():
    limiter = Limiter(requests=per_minute(5), concurrency=1)
    permit = limiter.try_acquire()
    with limiter as same:
        assert same is limiter
    assert limiter.closed
    for call in (limiter.try_acquire, limiter.acquire().wait):
        with pytest.raises(rlimit.AcquireCancelled, match="the limiter is closed"):
            call()
    permit.settle()


def test_logging(caplog, clock):
    limiter = Limiter(requests=per_minute(1), name="claude", clock=clock)
    limiter.try_acquire()
    acquire = limiter.acquire()
    with caplog.at_level(logging.DEBUG, logger="rlimit"):
        thread = threading.Thread(target=acquire.wait)
        thread.start()
        while not caplog.messages and thread.is_alive():
            time.sleep(0)
        clock.advance(60)
        thread.join()
    assert caplog.messages == ["claude: a request waits until it is woken for requests: per_minute(1) (1 in the queue)"]


# -- what the server says --

def test_feedback_by_hand():
    reading = Reading("input_tokens", limit=5, remaining=3, rounding=1, reset=1.5, period=60, period_least=1, period_most=90)
    feedback = Feedback("refused", named=["requests", "concurrency"], retry_after=2.5, requested=9, readings=(reading,))
    assert (
    feedback.outcome,
    feedback.named,
    feedback.retry_after,
    feedback.requested) == (
        "refused",
        ("requests",
        "concurrency"),
        2.5,
         9)
    again, = feedback.readings
    assert (again.meter, again.limit, again.remaining, again.rounding, again.reset, again.period, again.period_least, again.period_most) == (
        "input_tokens", 5, 3, 1, 1.5, 60.0, 1.0, 90.0)
    empty = Reading("custom")
    assert (empty.limit, empty.remaining, empty.reset, empty.period, empty.period_most) == (None,) * 5
    for call, error in ((lambda: Feedback("fine"), ValueError), (lambda: Feedback(named=["x"]), ValueError), (lambda: Reading("x"), ValueError),
                        (lambda: Feedback(readings=[5]), TypeError), (lambda: Feedback(readings=[reading] * 9), TypeError),
                        (lambda: Feedback(retry_after="5"), TypeError), (lambda: Reading("custom", limit=-1), ValueError)):
        with pytest.raises(error):
            call()


@pytest.mark.parametrize("headers", [{"Retry-After": "7"}, [("retry-after", "7")], [(b"retry-after", b"7")], [["Retry-After", b"7"]],
                                     iter([("x-bad", "\udcff"), ("retry-after", "7")])])
def test_parse_headers(headers):
    answer = parse(429, headers, b"", provider="openai")
    assert (
    answer.verdict,
    answer.wait,
    answer.reason,
    answer.error_class,
    answer.capped) == (
        "wait",
        7.0,
        "rate_limit",
        "rate_limit",
         False)
    assert answer.feedback.outcome == "refused" and answer.feedback.retry_after == 7.0


@pytest.mark.parametrize("body", [b'{"usage": {"prompt_tokens": 5, "completion_tokens": 7}}', '{"usage": {"input_tokens": 5, "output_tokens": 7}}',
                                  bytearray(b'{"usage": {"input_tokens": 5, "output_tokens": 7}}'), memoryview(b'{"usage": {"input_tokens": 5, "output_tokens": 7}}')],
                         ids=lambda body: type(body).__name__)
def test_parse_usage(body):
    usage = parse(200, {}, body).usage
    assert (usage.input, usage.output) == (5, 7)
    assert parse(200, None).usage is None and parse(200, {}, b"x").usage is None and parse(200, {}, b"{}").usage is None


def test_parse_errors():
    for call, error in ((lambda: parse("200", {}), TypeError), (lambda: parse(200, 5), TypeError), (lambda: parse(200, [("a",)]), ValueError),
                        (lambda: parse(200, [(1, 2)]), TypeError), (lambda: parse(200, {}, 5),
                         TypeError), (lambda: parse(200, {}, provider="x"), ValueError),
                        (lambda: parse(200, {}, provider=5), TypeError), (lambda: parse(200, {}, wall_ns=-1), ValueError), (lambda: parse(200), TypeError)):
        with pytest.raises(error):
            call()
    assert parse(0, ()).verdict == "retry" and parse(0, ()).error_class == "network" and parse(200, {}).wait is None


def test_route():
    route = Route(0.9)
    assert route.estimate(
    input_tokens=100,
    output_tokens=4000) == {
        "requests": 1,
        "input_tokens": 100,
        "output_tokens": 4000,
        "microdollars": 0,
         "custom": 0}
    for _ in range(30):
        route.learn({"input_tokens": 100, "output_tokens": 4000}, {"input_tokens": 200, "output_tokens": 300})
    better = route.estimate(input_tokens=100, output_tokens=4000)
    assert 200 <= better["input_tokens"] < 260 and 300 <= better["output_tokens"] < 400
    for call, error in ((lambda: Route(2), ValueError), (lambda: Route("x"), TypeError), (lambda: route.learn({"x": 1}, {}), ValueError),
                        (lambda: route.learn(5, {}), (TypeError, AttributeError)), (lambda: route.learn({"requests": -1}, {}), ValueError)):
        with pytest.raises(error):
            call()


# -- the pieces --

def test_pieces():
    bucket = rlimit.Bucket(per_second(2), now=0)
    assert (
    bucket.take(
        2, now=0), bucket.take(
            1, now=0), bucket.reserve(
                1, now=0), bucket.peek(
                    1, now=0)) == (
                        0, 500000000, 500000000, 1000000000)
    with pytest.raises(rlimit.LimitError) as caught:
        rlimit.Bucket(sliding(5, 60))
    assert caught.value.code == "kind"
    slots = rlimit.Concurrency(concurrent(1))
    assert (slots.take(), slots.take() == rlimit.ON_RELEASE, slots.release()) == (0, True, None)
    with pytest.raises(rlimit.LimitError) as caught:
        slots.release()
    assert caught.value.code == "permit"
    day = rlimit.Calendar(calendar_day(1))
    wait, mark = day.take()
    assert wait == 0 and 0 < day.peek() <= 86400 * 10**9
    day.credit(1, mark)
    saved = day.save()
    day.restore(saved)
    day.sync(rlimit._rlimit.wall())
    window = rlimit.Window(sliding(5, 60))
    assert window.take(5)[0] == 0 and 0 < window.peek() <= 60 * 10**9 and window.status()[0] == 5
    for kind in (rlimit.Window, rlimit.Calendar):
        bare = kind.__new__(kind)
        for call in (bare.take, bare.peek, bare.status, bare.debit):
            with pytest.raises(RuntimeError, match="__init__ was not called"):
                call()


# -- objects --

def test_nothing_is_kept():
    limiter = Limiter(requests=per_minute(50), concurrency=5)
    permit, gone = limiter.try_acquire(), weakref.ref(limiter)
    del limiter
    assert gone() is not None
    permit.settle()
    del permit
    gc.collect()
    assert gone() is None


def test_names_are_there():
    assert set(rlimit.__all__) <= set(dir(rlimit)) and all(getattr(rlimit, name) is not None for name in rlimit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rlimit.nothing
    assert rlimit.__version__.count(".") == 2


def examples():
    from rlimit import _clock, _estimate, _limit, _limiter, _rlimit
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in (_limit, _limiter, _clock, _estimate, _rlimit):
        for found in finder.find(module, module.__name__, globs=vars(rlimit)):
            if found.examples:
                yield pytest.param(found, id=found.name)
    for owner in vars(_rlimit).values():  # methods of C are not found
        for name, member in vars(owner).items() if isinstance(owner, type) else ():
            text = getattr(member, "__doc__", None)
            if text and ">>>" in text:
                yield pytest.param(doctest.DocTestParser().get_doctest(text, dict(vars(rlimit)), "%s.%s" % (owner.__name__, name), None, 0),
                                   id="%s.%s" % (owner.__name__, name))


@pytest.mark.parametrize("example", examples())
def test_examples_of_docstrings(example):
    said = []
    runner = doctest.DocTestRunner(verbose=False)
    example.globs = {name: getattr(rlimit, name) for name in rlimit.__all__}
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)
