"""Arguments that will not do: each is answered at the call, by a ValueError or TypeError that names the field, and changes nothing."""
import asyncio
import io
import math
import re

import pytest

import rlimit
from rlimit import (Acquire, Backoff, Bucket, Calendar, Concurrency, Delays, Feedback, Limiter, ManualClock, Reading, RequestCost, RetryBudget, Route,
                    Window, adaptive, amap, calendar_day, calendar_month, classify, concurrent, estimate_tokens, fixed, learned, load, parse, per,
                    per_day, per_hour, per_minute, per_second, ramp, retry, sliding)


class Other:
    """Nothing that any argument could be."""


class Refuses:
    def __index__(self):
        raise ZeroDivisionError("of __index__ itself")


VALUES = [None, "x", "x\ud800", b"x", -1, 0, 1.5, math.nan, math.inf, -math.inf, 1j, 1 << 31, 1 << 63, 1 << 64, 10**400, -10**400, True,
          [], {}, (1, 2), [None], {"x": 1}, Other(), Refuses(), object]
BODY = {"messages": [{"role": "user", "content": "hi"}]}
TIER = "[tiers.t]\nconcurrency = 1"


def limiter(**options):
    return Limiter(requests=[per_minute(50), sliding(50, 60), calendar_day(50)], concurrency=5, clock=ManualClock(), **options)


def saved(key, value):
    items = limiter().save()
    items[0][key] = value
    return items


def same(value):
    return value


def sleep_of(value):
    """Sleeps only where it need not."""
    return ManualClock().sleep(0 if type(value) in (int, float, bool) and 0 <= value <= 1 << 62 else value)


# By name: the call, and the field that its errors begin with.
CALLS = {
    **{function.__name__: (function, "amount") for function in (per_second, per_minute, per_hour, per_day, calendar_day, calendar_month,
                                                                concurrent)},
    "learned": (learned, "seconds"), "ramp": (ramp, "floor"), "adaptive": (adaptive, "least"),
    **{"%s %s" % (make.__name__, name): (lambda value, make=make, name=name, args=args: make(*args, **{name: value}), "(amount, )?" + name)
       for make, args, names in ((per, (5,), ("seconds",)), (per, (5, 60), ("burst", "guard")), (sliding, (5, 60), ("cells", "guard")),
                                 (fixed, (5,), ("seconds",)), (fixed, (5, 60), ("utc_offset", "guard")), (adaptive, (), ("most", "begin")),
                                 (ramp, (), ("hold",)), (calendar_month, (5,), ("utc_offset",))) for name in names},
    **{"replace %s of %r" % (name, limit): (lambda value, limit=limit, name=name: Limiter(
        **{"concurrency" if limit.kind == "concurrency" else "requests": limit.replace(**{name: value})}), "(requests: |concurrency: )?" + (
            "(amount|burst)" if name == "burst" else "(most|amount)" if name == "amount" else name))
       for limit in (per_minute(5), sliding(5, 60), calendar_day(5), calendar_month(5), concurrent(5), adaptive(2, 9))
       for name in ("amount", "seconds", "burst", "guard", "cells", "utc_offset", "wall_offset", "follow")},
    **{"Limiter %s" % name: (lambda value, name=name: Limiter(**{"custom": per_minute(5), name: value}), name)
       for name in ("requests", "input_tokens", "output_tokens", "tokens", "microdollars", "concurrency", "ramp", "provider", "queue", "ageing",
                    "clock", "name")},
    **{"%s %s" % (call, meter): (lambda value, call=call, meter=meter: getattr(limiter(), call)(**{meter: value}), "%s|debit: more debt" % meter)
       for call in ("try_acquire", "acquire", "check", "debit") for meter in ("requests", "input_tokens", "custom")},
    "acquire timeout": (lambda value: limiter().acquire(timeout=value), "timeout"),
    "acquire priority": (lambda value: limiter().acquire(priority=value), "priority"),
    "settle": (lambda value: limiter().try_acquire().settle(requests=value), "requests|settle: more debt"),
    "observe": (lambda value: limiter().observe(value), "feedback"), "observe permit": (lambda value: limiter().observe(Feedback(), value), "permit"),
    "sync_wall_clock": (lambda value: limiter().sync_wall_clock(value), "wall_ns"),
    "pause": (lambda value: limiter().pause(value), "seconds"), "pause meter": (lambda value: limiter().pause(1, value), "meter"),
    "reconfigure which": (lambda value: limiter().reconfigure(value, per_minute(3)), "which|concurrency|requests"),
    "reconfigure": (lambda value: limiter().reconfigure(0, value), "limit"),
    "reconfigure concurrency": (lambda value: limiter().reconfigure("concurrency", value), "limit|amount"),
    "restore": (lambda value: limiter().restore(value), "saved"), "restore [.]": (lambda value: limiter().restore([value]), "saved"),
    **{"restore %s" % key: (lambda value, key=key: limiter().restore(saved(key, value)), "saved: %s" % key)
       for key in ("meter", "seconds", "utc_offset", "period", "used")},
    **{"%s %s" % (kind.__name__, name): (lambda value, kind=kind, limit=limit, call=call: call(kind, limit, value), name)
       for kind, limit in ((Bucket, per_second(2)), (Window, sliding(2, 1)), (Concurrency, concurrent(2)), (Calendar, calendar_day(2)))
       for name, call in (("limit", lambda kind, limit, value: kind(value)), ("now", lambda kind, limit, value: kind(limit, value)),
                          ("n", lambda kind, limit, value: kind(limit).take(value)),
                          ("(limit)", lambda kind, limit, value: kind(limit).reconfigure(value)),
                          ("(n)", lambda kind, limit, value: getattr(kind(limit), "debit" if hasattr(kind, "debit") else "release")(value)),
                          ("(now)", lambda kind, limit, value: kind(limit).status(value)))},
    "Bucket reserve": (lambda value: Bucket(per_second(2)).reserve(1, value), "max_wait"),
    "Calendar restore": (lambda value: Calendar(calendar_day(2)).restore(value), "saved"),
    "Calendar restore (., 1)": (lambda value: Calendar(calendar_day(2)).restore((value, 1)), "saved: period"),
    "Calendar restore (1, .)": (lambda value: Calendar(calendar_day(2)).restore((1, value)), "saved: used"),
    "Calendar sync": (lambda value: Calendar(calendar_day(2)).sync(value), "wall"),
    "ManualClock": (ManualClock, "start"), "ManualClock set": (lambda value: ManualClock().set(value), "seconds"),
    "ManualClock advance": (lambda value: ManualClock(1).advance(value), "seconds"), "ManualClock sleep": (sleep_of, "seconds"),
    "Reading": (Reading, "meter"),
    **{"Reading %s" % name: (lambda value, name=name: Reading("requests", **{name: value}), name)
       for name in ("limit", "remaining", "rounding", "reset", "period", "period_least", "period_most")},
    "Feedback": (Feedback, "outcome"), "Feedback named [.]": (lambda value: Feedback(named=[value]), "named"),
    "Feedback readings [.]": (lambda value: Feedback(readings=[value]), "readings"),
    **{"Feedback %s" % name: (lambda value, name=name: Feedback(**{name: value}), name) for name in ("named", "retry_after", "requested", "readings")},
    "Route": (Route, "quantile"), "Route estimate": (lambda value: Route().estimate(input_tokens=value), "input_tokens"),
    "Route learn": (lambda value: Route().learn(value, {}), "estimate"), "Route learn actual": (lambda value: Route().learn({}, value), "actual"),
    "Route learn amount": (lambda value: Route().learn({"requests": value}, {}), "requests"),
    "parse": (lambda value: parse(value, {}), "status"), "parse headers": (lambda value: parse(200, value), "headers"),
    "parse headers [.]": (lambda value: parse(200, [value]), "headers"), "parse header": (lambda value: parse(200, {"a": value}), "headers"),
    "parse body": (lambda value: parse(200, {}, value), "body"), "parse provider": (lambda value: parse(200, {}, provider=value), "provider"),
    "parse wall_ns": (lambda value: parse(200, {}, wall_ns=value), "wall_ns"),
    **{"Backoff %s" % name: (lambda value, name=name: Backoff(**{name: value}), "base: must be at most cap|" + name)
       for name in ("base", "factor", "cap", "floor", "jitter", "fraction", "attempts", "bases", "least", "retry_after_max", "seed")},
    "Backoff bases [.]": (lambda value: Backoff(bases={"server": value}), "bases"), "Backoff start": (lambda value: Backoff().start(value), "seed"),
    "next": (lambda value: Backoff().next(value), "error_class"), "next priority": (lambda value: Backoff().next(priority=value), "priority"),
    "next retry_after": (lambda value: Backoff().next(retry_after=value), "retry_after"), "Delays": (Delays, "Delays"),
    **{"RetryBudget %s" % name: (lambda value, name=name: RetryBudget(**{name: value}), name) for name in ("share", "per_second", "burst", "clock")},
    "classify provider": (lambda value: classify(OSError(), value), "provider"),
    **{"retry %s" % name: (lambda value, name=name: retry(**{"limiter": limiter(), name: value}), name)
       for name in ("limiter", "backoff", "attempts", "retry_on", "cost", "actual", "priority", "timeout", "budget", "provider", "sleep", "cancel",
                    "clock")},
    "retry cost [.]": (lambda value: retry(cost={"requests": value}), "cost"), "retry(.)": (retry(), "retry"),
    **{"%s %s" % (function.__name__, name): (
        lambda value, function=function, name=name: function(same, [], **{"limiter": limiter(), name: value}), name)
       for function in (rlimit.map, amap) for name in ("limiter", "cost", "actual", "workers", "buffer", "priority", "timeout")},
    **{"%s function" % function.__name__: (lambda value, function=function: function(value, []), "function") for function in (rlimit.map, amap)},
    **{"%s items" % function.__name__: (lambda value, function=function: function(same, value), "items") for function in (rlimit.map, amap)},
    "estimate_tokens": (estimate_tokens, "text"), "estimate_tokens method": (lambda value: estimate_tokens("a", method=value), "method"),
    "estimate_tokens tokenizer": (lambda value: value is object or estimate_tokens("a", value), "tokenizer"),
    "estimate_tokens tokenizer()": (lambda value: estimate_tokens("a", lambda text: value), "tokenizer"),
    **{"RequestCost %s" % name: (lambda value, name=name: RequestCost(**{name: value}), name)
       for name in ("requests", "input_tokens", "output_tokens", "microdollars", "custom")},
    "RequestCost.of": (RequestCost.of, "body"),
    **{"RequestCost.of %s" % name: (lambda value, name=name: RequestCost.of(BODY, **{name: value}), name)
       for name in ("provider", "route", "method", "expected_output")},
    "priced": (lambda value: RequestCost().priced(value, 1), "input_price"), "priced output": (lambda value: RequestCost().priced(1, value), "output_price"),
    "load": (lambda value: isinstance(value, str) or load(value), "source"),
    "load environ": (lambda value: load(io.StringIO(TIER), environ=value), "environ"),
    "load file": (lambda value: load(type("File", (), {"read": lambda self: value})()), "source|<file>(:1)?: "),
    "Config limiter": (lambda value: load(io.StringIO(TIER)).limiter(value), "name|<file>"),
    "Config limiter queue": (lambda value: load(io.StringIO(TIER)).limiter("t", queue=value), "queue"),
}


@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_field_at_the_call(name):
    call, field = CALLS[name]
    for value in VALUES:
        try:
            call(value)
        except (ValueError, TypeError) as error:
            text = str(error)
            assert not isinstance(error, UnicodeError), (value, error)
            assert re.match("(%s)" % field, text) and not re.search("RLM_|NULL|C long|RuntimeWarning", text), (value, text)
        except ZeroDivisionError as error:  # of the object itself
            assert isinstance(value, Refuses), (value, error)


@pytest.mark.parametrize("call, text", [
    (lambda: limiter().acquire(timeout=-10**400), "timeout: must be 0 or more seconds, not -1000"),
    (lambda: limiter().acquire(timeout=True), "timeout: must be a number of seconds or None, not bool"),
    (lambda: limiter().pause("1"), "seconds: must be a number of seconds or None, not str"),
    (lambda: limiter().pause(None), "seconds: must be a number of seconds, not NoneType"),
    (lambda: limiter().restore(None), "saved: must be the list that save() returned, not NoneType"),
    (lambda: limiter().restore(saved("meter", [])), "saved: meter: must be a str, not list"),
    (lambda: limiter().restore(saved("used", -1)), "saved: used: must be 0 or more, not -1"),
    (lambda: limiter().restore(saved("used", 1 << 63)), "saved: used: more than calendar_day(50) can count, 9223372036854775808"),
    (lambda: parse("429", {}), "status: must be an int, not str"), (lambda: parse(10**20, {}), "status: must be 0 to 999, not 100000000000000000000"),
    (lambda: parse(200, {}, provider="x\ud800"), "provider: must be anthropic, openai, azure"),
    (lambda: Feedback(retry_after=math.inf), "retry_after: must be 0 to 36028797 seconds, not inf"),
    (lambda: Feedback(named="requests"), 'named: must be a sequence of meters, such as ["requests"], not str'),
    (lambda: Feedback("fine"), "outcome: must be answered, refused, slow_down, overloaded or failed, not 'fine'"),
    (lambda: Route().learn({"tokens": 5}, {}), "estimate: 'tokens': must be requests, input_tokens"),
    (lambda: Bucket(per_second(2)).debit(1 << 40), "n: must be 0 to 2^40, and no more than can be owed, not 1099511627776"),
    (lambda: Bucket(sliding(5, 60)), "limit: must be a bucket, as per() makes, not sliding(5, 60)"),
    (lambda: Calendar(calendar_day(5)).reconfigure(calendar_month(5)), "limit: seconds, guard: a window or a calendar keeps those"),
    (lambda: Concurrency(concurrent(5)).release(2), "n: must be at most what is out, not 2"),
    (lambda: ManualClock(4611686018).advance(1), "seconds: the clock would pass 4611686018, at 1 after 4611686018"),
    (lambda: retry(cancel="x"), "cancel: must be a threading.Event or None, not str"),
    (lambda: retry(limiter=asyncio.Semaphore()), "limiter: must be a Limiter or None, not Semaphore"),
    (lambda: retry(cost={"tokens": 5}), "cost: must be one of requests, input_tokens, output_tokens, microdollars, custom, not 'tokens'"),
    (lambda: rlimit.map(same, [1], cost={"input_tokens": -1}), "cost['input_tokens']: must be 0 to 2^40, not -1"),
    (lambda: rlimit.map(same, [1], timeout="x"), "timeout: must be a number of seconds or None, not str"),
    (lambda: rlimit.map(same, None), "items: must be an iterable, not NoneType"),
    (lambda: RequestCost.of(BODY, provider=""), "provider: must be anthropic"),
])
def test_the_words(call, text):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value).startswith(text)


def test_waits_without_end_are_waits():
    for timeout in (math.inf, 10**400, 1 << 64):
        assert isinstance(limiter().acquire(timeout=timeout), Acquire)
    paused = limiter()
    paused.pause(math.inf)
    assert paused.check().wait > 36_000_000


def test_a_restore_that_fails_adds_nothing():
    both = Limiter(requests=[calendar_day(5), calendar_month(50)], clock=ManualClock())
    both.try_acquire(requests=3)
    for key, bad in (("used", 1 << 63), ("period", "x"), ("utc_offset", None)):
        again = Limiter(requests=[calendar_day(5), calendar_month(50)], clock=ManualClock())
        items = both.save()
        items[1][key] = bad
        with pytest.raises((ValueError, TypeError)):
            again.restore(items)
        assert [usage.used for usage in again.status().limits] == [0, 0]


def test_a_permit_for_nothing_costs_nothing():
    busy = limiter()
    for _ in range(3):
        busy.try_acquire(requests=7, input_tokens=9).settle()
    assert set(busy.try_acquire(requests=0).cost.values()) == {0}


def test_what_a_function_returned_is_named():
    for wrong in (5, "x", [1]):
        with pytest.raises(TypeError, match="^cost: must return a mapping of meters to ints, not "):
            retry(limiter(), cost=lambda: wrong)(lambda: 1)()
        with pytest.raises(TypeError, match="^actual: must return a mapping of meters to ints, not "):
            retry(limiter(), actual=lambda result: wrong)(lambda: 1)()
        outcome, = rlimit.map(same, [1], limiter=limiter(), actual=lambda result: wrong)
        assert "actual: must return" in str(outcome.error)


def test_an_acquire_is_awaited_by_what_takes_awaitables():
    async def main():
        one = limiter()
        with pytest.raises(TypeError):
            asyncio.create_task(one.acquire())
        permits = [await asyncio.ensure_future(one.acquire()), *await asyncio.gather(one.acquire()), await asyncio.wait_for(one.acquire(), 5)]

        async def wait():
            return await one.acquire()
        permits.append(await asyncio.create_task(wait()))
        assert one.status().active == 4
        waiting = asyncio.ensure_future(Limiter(concurrency=1, requests=per_minute(1), clock=ManualClock()).acquire(requests=1))
        permits.append(await waiting)
        full = Limiter(concurrency=1)
        held = await full.acquire()
        late = asyncio.ensure_future(full.acquire())
        await asyncio.sleep(0)
        assert not late.done() and full.status().queued == 1
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert full.status().queued == 0
        for permit in (*permits, held):
            permit.cancel()
    asyncio.run(main())


@pytest.mark.parametrize("is_async", [False, True])
def test_retries_are_counted(is_async):
    one = Limiter(requests=per_minute(50), clock=ManualClock())
    left = [ConnectionResetError(), ConnectionResetError()]

    def function():
        if left:
            raise left.pop()
        return "done"

    async def function_async():
        return function()
    again = retry(one, backoff=Backoff(jitter="none"), sleep=lambda seconds: None)
    assert (asyncio.run(again(function_async)()) if is_async else again(function)()) == "done"
    status = one.status()
    assert (status.retried, status.requests_last_minute, status.limits[0].used) == (2, 3, 3)


def test_an_outcome_of_anything_can_be_shown():
    assert repr(rlimit.Outcome("a", None)) == "Outcome(item='a', index=None, value=None)"


@pytest.mark.parametrize("call", [
    lambda limiter: limiter.status(), lambda limiter: limiter.check(), lambda limiter: limiter.acquire(), lambda limiter: limiter.try_acquire(),
    lambda limiter: limiter.debit(requests=1), lambda limiter: limiter.pause(1)])
def test_a_subclass_that_does_not_begin(call):
    class Mine(rlimit.Limiter):
        def __init__(self):
            pass
    with pytest.raises(RuntimeError, match="^Limiter: __init__ was not called"):
        call(Mine())


@pytest.mark.parametrize("call, error, text", [
    (lambda limiter: rlimit.Limiter(requests=rlimit.per_minute(5), clock=lambda: 1.5), TypeError,
     "clock: must return nanoseconds as an int, not float"),
    (lambda limiter: rlimit.Limiter(requests=rlimit.per_minute(5), clock=lambda: True), TypeError,
     "clock: must return nanoseconds as an int, not bool"),
    (lambda limiter: limiter.pause(1, meter="zz"), ValueError, "meter: no limit 'zz'; there are requests, concurrency"),
    (lambda limiter: limiter.pause(1, meter=1.5), TypeError, "meter: must be the name of a meter"),
    (lambda limiter: limiter.reconfigure("zz", 5), ValueError, "which: no limit 'zz'"),
    (lambda limiter: limiter.reconfigure("concurrency", 0), ValueError, "limit: must be 1 to 2^31, not 0")])
def test_the_argument_that_was_given_is_named(call, error, text):
    with pytest.raises(error) as caught:
        call(rlimit.Limiter(requests=rlimit.per_minute(5), concurrency=3))
    assert str(caught.value).startswith(text)
