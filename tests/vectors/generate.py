"""Writes the conformance vectors.

    python generate.py OUT_DIR                      the fixed cases, one file a kind
    python generate.py --check                      compares the files beside this one with what would be written
    python generate.py --random SEED COUNT FILE     COUNT random cases of all kinds, one a line; FILE may be - for standard output

The answers come from oracle.py, those of kind http from http_oracle.py. In the fixed cases most are also written down by hand, and have to agree. Python 3.9 or later.
"""
import json
import os
import random
import sys

import http_cases
import oracle
from oracle import AMOUNT_MAX, DAY, HOUR, MINUTE, NEVER, OK, PERIOD_MAX, POSITIVE, RELEASE, SECOND, ceil

HERE = os.path.dirname(os.path.abspath(__file__))
LATEST = 2**62                  # no clock goes beyond
YEAR = 365 * DAY
BIG = AMOUNT_MAX

# ---- limits ----------------------------------------------------------------------------------------------------------


def bucket(amount, period, burst, guard=0, meter="requests"):
    limit = {"kind": "bucket", "meter": meter, "amount": amount, "period_ns": period, "burst": burst}
    return dict(limit, guard_ns=guard) if guard else limit


def window(amount, period, cells=0, guard=0, meter="requests"):
    limit = {"kind": "window", "meter": meter, "amount": amount, "period_ns": period}
    if cells:
        limit["cells"] = cells
    return dict(limit, guard_ns=guard) if guard else limit


def concurrency(amount):
    return {"kind": "concurrency", "meter": "requests", "amount": amount}


def calendar(amount, period, wall, utc=0, guard=0, meter="requests"):
    limit = {"kind": "calendar", "meter": meter, "amount": amount, "period_ns": period, "wall_offset_ns": wall, "utc_offset_s": utc}
    return dict(limit, guard_ns=guard) if guard else limit


def days(year, month, day):
    """Days from 1970-01-01."""
    count = sum(366 if oracle.is_leap(y) else 365 for y in range(1970, year))
    first = (year - 1970) * 12
    return count + sum(oracle.month_days(m) for m in range(first, first + month - 1)) + day - 1


def wall(year, month, day, hour=0, minute=0, second=0):
    return days(year, month, day) * DAY + hour * HOUR + minute * MINUTE + second * SECOND


# ---- operations: the last argument is the answer by hand, where it is given ------------------------------------------

BLANK = object()


def answer(op, **known):
    op.update((key, value) for key, value in known.items() if value is not BLANK)
    return op


def take(n, now, wait=BLANK):
    return answer({"op": "take", "n": n, "now": now}, wait=wait)


def peek(n, now, wait=BLANK):
    return answer({"op": "peek", "n": n, "now": now}, wait=wait)


def reserve(n, most, now, wait=BLANK):
    return answer({"op": "reserve", "n": n, "max_wait": most, "now": now}, wait=wait)


def credit(n, now, of=None):
    op = {"op": "credit", "n": n, "now": now}
    return op if of is None else dict(op, of=of)


def debit(n, now):
    return {"op": "debit", "n": n, "now": now}


def status(now, limit=BLANK, used=BLANK, remaining=BLANK, reset=BLANK):
    return answer({"op": "status", "now": now}, limit=limit, used=used, remaining=remaining, reset_ns=reset)


def reconfigure(limit, now):
    return {"op": "reconfigure", "limit": limit, "now": now}


def cost(requests=0, into=0, out=0, micro=0, custom=0):
    pairs = (("requests", requests), ("input_tokens", into), ("output_tokens", out), ("microdollars", micro), ("custom", custom))
    return {key: value for key, value in pairs if value}


def acquire(permit, what, now, wait=BLANK):
    return answer({"op": "acquire", "permit": permit, "cost": what, "now": now}, wait=wait)


def check(what, now, wait=BLANK, binding=BLANK):
    return answer({"op": "check", "cost": what, "now": now}, wait=wait, binding=binding)


def settle(permit, actual, now, result=BLANK):
    return answer({"op": "settle", "permit": permit, "actual": actual, "now": now}, result=result)


def cancel(permit, now, result=BLANK):
    return answer({"op": "cancel", "permit": permit, "now": now}, result=result)


def status_of(index, now, limit=BLANK, used=BLANK, remaining=BLANK, reset=BLANK):
    return answer({"op": "status", "index": index, "now": now}, limit=limit, used=used, remaining=remaining, reset_ns=reset)


def ctake(n, wait=BLANK):
    return answer({"op": "take", "n": n}, wait=wait)


def cpeek(n, wait=BLANK):
    return answer({"op": "peek", "n": n}, wait=wait)


def release(n, result=OK):
    return {"op": "release", "n": n, "result": result}


def cstatus(limit, used, remaining):
    return {"op": "status", "limit": limit, "used": used, "remaining": remaining}


def push(name, priority, now, deadline=None, result=OK):
    return {"op": "push", "id": name, "priority": priority, "deadline": deadline, "now": now, "result": result}


def head(name):
    return {"op": "head", "id": name}


def remove(name, result=OK):
    return {"op": "remove", "id": name, "result": result}


def leave(name):
    """The head, then its leaving."""
    return [head(name), remove(name)]


def expire(now, name):
    return {"op": "expire", "now": now, "id": name}


def deadline(value):
    return {"op": "deadline", "deadline": value}


def count(value):
    return {"op": "count", "count": value}


def retry(kind, delay=BLANK, priority=2, after=0):
    return answer({"op": "next", "class": kind, "priority": priority, "retry_after": after}, delay=delay)


# ---- cases -----------------------------------------------------------------------------------------------------------

class Disagreement(Exception):
    pass


class Models:
    """A case under all its readings at once."""

    def __init__(self, case):
        self.all = [oracle.model_of(case, reading) for reading in oracle.readings_of(case["kind"])]
        self.first = self.all[0]

    def ask(self, op):
        """The answer, or None where the readings differ."""
        if not hasattr(self.first, "ask"):
            return None
        answers = [model.ask(op) for model in self.all]
        return answers[0] if all(other == answers[0] for other in answers) else None

    def do(self, op):
        answers = [model.do(op) for model in self.all]
        if any(other != answers[0] for other in answers):
            raise Disagreement("%s: the readings differ: %s" % (op, answers))
        return answers[0]


def flat(ops):
    for op in ops:
        if isinstance(op, list):
            yield from flat(op)
        else:
            yield op


def case(name, why, kind, ops, **head_fields):
    made = dict({"name": name, "why": why, "kind": kind}, **head_fields)
    models = Models(made)
    made["ops"] = []
    for op in flat(ops):
        answers = models.do({key: value for key, value in op.items()})
        for key, value in answers.items():
            if op["op"] in ("head", "expire", "deadline", "count") or key in op:
                if op[key] != value:
                    raise Disagreement("%s: %s: by hand %r, the oracle says %r" % (name, op, op[key], value))
        made["ops"].append(dict(op, **answers))
    return made


def single(name, why, limit, ops, start=0):
    return case(name, why, limit["kind"], ops, limit=limit, start=start)


def many(name, why, limits, ops, start=0):
    return case(name, why, "limiter", ops, limits=limits, start=start)


def bound(name, why, limit, seed, start=0, length=48):
    return {"name": name, "why": why, "kind": "bucket_bound", "limit": limit, "start": start, "tolerance_ns": 1,
            "calls": bound_calls(random.Random(seed), limit, start, length)}


def bound_calls(rng, limit, start, length):
    """Calls near the boundaries of the exact bucket. It is left to fill up after every seventh admission, so that what the
    operations of an implementation round away cannot add up to the tolerance."""
    model, now, calls, busy = oracle.Bucket(limit, start), start, [], 0
    while len(calls) < length:
        n = rng.choice((1, 1, 1, model.burst, max(1, model.burst // 2), rng.randrange(1, model.burst + 1)))
        if rng.randrange(24) == 0:
            n = model.burst + 1
        if busy >= 7:
            now = max(now, ceil(model.tat) + rng.choice((1, 2, 1000)))
            busy = 0
        else:
            wait = model.wait(n, now)
            if wait != NEVER and wait > 0:
                now += max(0, wait + rng.choice((-2, -1, 0, 0, 0, 1, 2, 1 + int(model.token))))
            elif rng.randrange(3) == 0:
                now += rng.randrange(int(model.tau) + 2)
        if now > LATEST:
            break
        calls.append([now, n])
        if model.do({"op": "take", "n": n, "now": now})["wait"] == 0:
            busy += 1
    return calls


# ---- bucket ----------------------------------------------------------------------------------------------------------

def bucket_cases():
    s, day = SECOND, DAY
    t18 = 10**18
    yield single("burst 1", "pitfall 7: a burst of 1 is not unlimited", bucket(1, s, 1), [
        take(1, 0, 0), take(1, 0, s), take(1, 1, s - 1), take(1, s - 1, 1), take(1, s, 0), take(1, s, s), take(1, 2 * s - 1, 1),
        take(1, 2 * s, 0), take(2, 10 * s, NEVER), take(1, 10 * s, 0), take(1, 10 * s, s)])
    yield single("burst 1, fresh at a high start", "pitfalls 4, 7: the first request does not depend on the uptime",
        bucket(1, s, 1), [
        take(1, t18, 0), take(1, t18, s), take(1, t18 + s - 1, 1), take(1, t18 + s, 0)], t18)
    yield single("three at once", "3 a second, burst 3: thirds of a second are exact", bucket(3, s, 3), [
        take(1, 0, 0), take(1, 0, 0), take(1, 0, 0), take(1, 0, 333333334), take(1, 333333333, 1), take(1, 333333334, 0),
        take(1, 333333334, 333333333), take(1, 666666666, 1), take(1, 666666667, 0), take(1, s, 0), take(1, s, 333333334),
        take(3, s, s), take(3, 2 * s - 1, 1), take(3, 2 * s, 0)])
    yield single("thirds do not drift", "waits are rounded, the state is not: 3 a second for 10 s", bucket(3, s, 2), [
        take(1, 0, 0), [take(1, -(-i * s // 3), 0) for i in range(31)], take(1, 10 * s, 333333334),
        status(10 * s, 2, 2, 0, 666666667)])
    yield single("no 17 for 10", "pitfall 7: 50 a minute, burst 10, idle for an hour: exactly 10", bucket(50, MINUTE, 10), [
        [take(1, HOUR, 0) for _ in range(10)], [take(1, HOUR, 1200000000) for _ in range(3)], take(1, HOUR + 1200000000, 0),
        take(1, HOUR + 1200000000, 1200000000)])
    yield single("full again, and not more", "pitfall 7: used up, idle for one refill, burst exactly", bucket(50, MINUTE, 10), [
        [take(1, 0, 0) for _ in range(10)], take(10, 12 * s - 1, 1), peek(9, 12 * s - 1, 0), status(12 * s - 1, 10, 1, 9, 1),
        status(12 * s, 10, 0, 10, 0), [take(1, 12 * s, 0) for _ in range(10)], take(1, 12 * s, 1200000000),
        take(10, 24 * s, 0), take(1, 24 * s, 1200000000), [take(1, 24 * s + 12 * s + 7, 0) for _ in range(10)],
        take(1, 36 * s + 7, 1200000000)])
    yield single("the whole burst at once", "n = burst, n = burst + 1, n = the largest", bucket(80000, MINUTE, 80000), [
        take(80001, 0, NEVER), take(BIG + 1, 0, NEVER), take(80000, 0, 0), take(80000, 0, MINUTE), take(80001, 0, NEVER),
        take(1, 0, 750000), take(2, 0, 1500000), take(2, 1499999, 1), take(2, 1500000, 0), take(79998, MINUTE - 1, 1),
        take(79998, MINUTE, 0)])
    yield single("n = 0", "pitfall 12: a peek; nothing changes", bucket(1, s, 2), [
        take(0, 0, 0), peek(0, 0, 0), take(2, 0, 0), take(0, 0, 0), take(1, 0, s), debit(1, 0), take(0, 0, s), peek(0, 0, s),
        take(0, s - 1, 1), take(0, s, 0), take(1, s, s), take(1, 2 * s, 0)])
    yield single("a refusal changes nothing", "pitfall 10", bucket(1, s, 5), [
        take(5, 0, 0), [take(5, i, 5 * s - i) for i in range(6)], [take(1, s // 2, s // 2) for _ in range(6)],
        [take(6, s // 2, NEVER) for _ in range(3)], take(1, s, 0), take(4, 5 * s - 1, 1), take(4, 5 * s, 0), take(1, 5 * s, s)])
    yield single("peeks change nothing", "pitfall 12", bucket(2, s, 2), [
        peek(2, 0, 0), peek(2, 0, 0), peek(3, 0, NEVER), take(2, 0, 0), peek(1, 0, s // 2), peek(2, 0, s), peek(1, s // 2, 0),
        peek(1, s // 2, 0), take(1, s // 2, 0), peek(1, s // 2, s // 2)])
    yield single("small ones pass a large one", "each answer is for that n alone", bucket(10, s, 10), [
        take(8, 0, 0), take(5, 0, 300000000), take(2, 0, 0), take(5, 0, 500000000), take(1, 0, 100000000),
        take(5, 499999999, 1), take(5, 500000000, 0), take(1, 500000000, 100000000)])
    yield single("10^10 a second", "pitfall 5: a tenth of a nanosecond a token", bucket(10**10, s, 10), [
        take(11, 0, NEVER), take(10, 0, 0), take(1, 0, 1), take(10, 0, 1), take(10, 1, 0), take(5, 1, 1), take(5, 2, 0),
        take(5, 2, 0),
        take(1, 2, 1), take(3, 3, 0), take(3, 3, 0), take(3, 3, 0), take(1, 3, 0), take(1, 3, 1), take(10, 10**9, 0)])
    yield single("10^10 a second, late", "pitfall 4: tenths of a nanosecond at 10^18", bucket(10**10, s, 25), [
        take(25, t18, 0), take(1, t18, 1), take(11, t18, 2), take(11, t18 + 1, 1), take(10, t18 + 1, 0), take(5, t18 + 2, 0),
        take(5, t18 + 2, 0), take(1, t18 + 2, 1), status(t18 + 2, 25, 25, 0, 3), take(25, t18 + 4, 1), take(25, t18 + 5, 0)], t18)
    yield single("7 * 10^8 a second", "pitfall 5: 10/7 of a nanosecond a token; whole nanoseconds are 43 % wrong",
        bucket(7 * 10**8, s, 7), [
        take(7, 0, 0), take(1, 0, 2), take(1, 1, 1), take(1, 2, 0), take(1, 2, 1), take(1, 3, 0), take(1, 3, 2), take(1, 5, 0),
        take(1, 5, 1), take(1, 6, 0), take(7, 14, 2), take(7, 16, 0), status(16, 7, 7, 0, 10), status(17, 7, 7, 0, 9)])
    yield single("7 * 10^8 in exactly a second", "pitfall 5: the rate is the rate over a second", bucket(7 * 10**8, s, 7 * 10**8), [
        take(7 * 10**8, 0, 0), status(0, 7 * 10**8, 7 * 10**8, 0, s), take(7 * 10**8, 0, s), take(7 * 10**8, s - 1, 1),
        take(7 * 10**8, s, 0), take(1, s, 2), take(3 * 10**8, s, 428571429), take(3 * 10**8, s + 428571428, 1),
        take(3 * 10**8, s + 428571429, 0)])
    yield single("19 for 2 ns", "a rate close to the highest, in an odd fraction", bucket(19, 2, 19), [
        take(19, 0, 0), take(1, 0, 1), take(9, 0, 1), take(10, 0, 2), take(9, 1, 0), take(1, 1, 1), take(10, 2, 0), take(19, 3, 1),
        take(18, 4, 0), take(1, 4, 0), take(1, 4, 1)])
    yield single("1 a day", "a very low rate", bucket(1, day, 1), [
        take(1, 0, 0), take(1, 1, day - 1), take(1, day - 1, 1), take(1, day, 0), take(1, day, day), take(1, YEAR, 0),
        take(1, YEAR, day)])
    yield single("1 a day, burst 10", "a very low rate, ten days to fill", bucket(1, day, 10), [
        take(10, 0, 0), take(1, 0, day), take(10, 0, 10 * day), take(3, 3 * day - 1, 1), take(3, 3 * day, 0),
        status(3 * day, 10, 10, 0, 10 * day),
        take(10, 13 * day - 1, 1), take(10, 13 * day, 0)])
    yield single("7 a minute", "a rate that does not divide", bucket(7, MINUTE, 7), [
        take(7, 0, 0), take(1, 0, 8571428572), take(1, 8571428571, 1), take(1, 8571428572, 0), take(1, 17142857142, 1),
        take(1, 17142857143, 0), take(5, MINUTE - 1, 1), take(5, MINUTE, 0), take(1, MINUTE, 8571428572)])
    yield single("1 a minute", "pitfall 14: not one per 62.5 s", bucket(1, MINUTE, 1),
        [take(1, i * MINUTE, 0) for i in range(10)] + [
        take(1, 10 * MINUTE - 1, 1)])
    yield single("100 a second", "pitfall 14: not 130.7 a second", bucket(100, s, 1), [
        take(1, 0, 0), take(1, 7650000, 2350000), take(1, 9999999, 1), take(1, 10000000, 0), take(1, 17650000, 2350000),
        take(1, 20000000, 0), take(1, 29999999, 1), take(1, 30000000, 0)])
    yield single("burst 2^40, 318 days to fill", "the largest burst: 40000 a second", bucket(40000, s, BIG), [
        take(BIG + 1, 0, NEVER), take(BIG, 0, 0), take(BIG, 0, BIG * 25000), take(1, 0, 25000), take(BIG, BIG * 25000 - 1, 1),
        take(BIG, BIG * 25000, 0), status(BIG * 25000, BIG, BIG, 0, BIG * 25000)])
    yield single("amount and burst 2^40", "the largest amount: one a microsecond", bucket(BIG, 1000 * BIG, BIG), [
        take(BIG, 0, 0), take(1, 0, 1000), take(BIG // 2, 0, 500 * BIG), take(BIG // 2, 500 * BIG, 0), take(1, 500 * BIG + 999, 1),
        take(1, 500 * BIG + 1000, 0), take(BIG, 2000 * BIG, 0)])
    yield single("burst 2^40 at 10^10 a second", "large and fast: 110 s to fill", bucket(10**10, s, BIG), [
        take(BIG, 0, 0), take(1, 0, 1), take(BIG, 0, 109951162778), take(BIG, 109951162777, 1), take(BIG, 109951162778, 0),
        status(109951162778, BIG, BIG, 0, 109951162778), take(7, 109951162778, 1), take(7, 109951162779, 0)])
    yield single("at 10^18", "pitfalls 4, 6: a double has steps of 128 ns here", bucket(1, s, 3), [
        take(1, t18 + 1, 0), take(1, t18 + 1, 0), take(1, t18 + 2, 0), take(1, t18 + 2, s - 1), take(1, t18 + s, 1),
        take(1, t18 + s + 1, 0),
        take(1, t18 + s + 2, s - 1), status(t18 + s + 2, 3, 3, 0, 3 * s - 1)], t18)
    yield single("just below 2^62", "the last year of the clock", bucket(10, s, 10), [
        take(10, LATEST - 10 * s, 0), take(1, LATEST - 10 * s, s // 10), take(10, LATEST - 9 * s - 1, 1),
        take(10, LATEST - 9 * s, 0),
        take(10, LATEST - s, 0), take(10, LATEST - 1, 1), take(10, LATEST, 0), take(1, LATEST, s // 10)], LATEST - 20 * s)
    yield single("idle for 10 years", "pitfall 6: a long idle time does not overflow", bucket(3, s, 3), [
        take(3, 0, 0), take(3, 10 * YEAR, 0), take(1, 10 * YEAR, 333333334), take(3, 20 * YEAR, 0), take(3, 20 * YEAR + s - 1, 1),
        take(3, 20 * YEAR + s, 0)])
    yield single("idle from 0 to 10^18", "pitfall 6: 31 years", bucket(10**10, s, 1000), [
        take(1000, 0, 0), take(1000, t18, 0), take(1000, t18, 100), take(1000, t18 + 99, 1), take(1000, t18 + 100, 0)])
    yield single("waits are followed", "pitfall 9: admitted at the wait, not one nanosecond before",
        bucket(7, MINUTE, 5, meter="custom"), [
        take(5, 0, 0), take(3, 0, 25714285715), take(3, 25714285714, 1), take(3, 25714285715, 0), take(2, 25714285715, 17142857143),
        take(2, 42857142857, 1), take(2, 42857142858, 0), take(5, 42857142858, 42857142857), take(5, 85714285714, 1),
        take(5, 85714285715, 0)])
    yield single("debt", "what is settled above the estimate delays others and is not forgiven (pitfall 8)", bucket(1, s, 10), [
        take(10, 0, 0), debit(25, 0), status(0, 10, 35, -25, 35 * s), take(0, 0, 25 * s), take(1, 0, 26 * s), take(10, 0, 35 * s),
        take(11, 0, NEVER), take(1, 26 * s - 1, 1), status(20 * s, 10, 15, -5, 15 * s), take(1, 26 * s, 0), take(1, 26 * s, s),
        take(10, 36 * s - 1, 1), take(10, 36 * s, 0)])
    yield single("debt longer than the burst", "pitfall 8: a debit of 10 bursts outlasts 9 of them", bucket(10, s, 10), [
        debit(100, 0), take(1, 0, 9100000000), take(1, 5 * s, 4100000000), take(1, 9 * s, 100000000), take(1, 9100000000 - 1, 1),
        take(1, 9100000000, 0), take(1, 9100000000, 100000000)])
    yield single("a debit from a full bucket", "no less and no more than a take", bucket(1, s, 5), [
        debit(2, 100), status(100, 5, 2, 3, 2 * s), take(3, 100, 0), take(1, 100, s), debit(1, 5 * s + 100),
        take(4, 5 * s + 100, 0),
        take(1, 5 * s + 100, s)])
    yield single("credit", "pitfall 17: never above capacity", bucket(1, s, 10), [
        take(6, 0, 0), credit(2, 0), status(0, 10, 4, 6, 4 * s), credit(100, 0), status(0, 10, 0, 10, 0), credit(5, 0),
        take(10, 0, 0),
        take(1, 0, s), credit(1, 0), take(1, 0, 0), take(1, 0, s), credit(3, 5 * s), status(5 * s, 10, 2, 8, 2 * s),
        take(8, 5 * s, 0),
        take(1, 5 * s, s)])
    yield single("credit to a full bucket", "pitfall 17: nothing to give back, then or later", bucket(1, s, 2), [
        credit(2, 0), take(2, 0, 0), take(1, 0, s), credit(1, 2 * s), credit(1, 3 * s), take(2, 3 * s, 0), take(1, 3 * s, s)])
    yield single("credit against a debt", "it pays the debt off, and no more than fills the bucket", bucket(1, s, 10), [
        debit(35, 0), credit(4, 0), status(0, 10, 31, -21, 31 * s), credit(10, 0), status(0, 10, 21, -11, 21 * s),
        take(1, 0, 12 * s),
        credit(20, 0), take(9, 0, 0), take(1, 0, s), debit(100, 0), credit(BIG, 0), take(10, 0, 0), take(1, 0, s)])
    yield single("reserve", "a place in line, if it is not too far back", bucket(1, s, 2), [
        reserve(2, 0, 0, 0), reserve(1, s - 1, 0, s), reserve(1, s, 0, s), reserve(1, 5 * s, 0, 2 * s), reserve(2, 3 * s, 0, 4 * s),
        reserve(3, LATEST, 0, NEVER), take(1, 0, 3 * s), status(0, 2, 4, -2, 4 * s), take(1, 3 * s - 1, 1), take(1, 3 * s, 0),
        reserve(1, 0, 3 * s, s), reserve(1, 0, 4 * s - 1, 1), reserve(1, 0, 4 * s, 0), take(1, 4 * s, s)])
    yield single("reserve and give back", "pitfall 17: a place that is credited moves the others up by that much", bucket(2, s, 2),
        [
        reserve(2, s, 0, 0), reserve(2, s, 0, s), reserve(1, 2 * s, 0, 3 * s // 2), credit(2, 0), peek(1, 0, s), take(1, s, 0),
        take(1, s, s // 2)])
    yield single("reserve beyond the wait changes nothing", "pitfalls 10, 11", bucket(3, s, 3), [
        reserve(3, 0, 0, 0), [reserve(1, 333333333, 0, 333333334) for _ in range(4)], reserve(4, LATEST, 0, NEVER),
        take(1, 333333334, 0)])
    yield single("guard", "the worst arrival: what is taken counts from now + guard", bucket(1, s, 1, s // 10), [
        take(1, 0, 0), take(1, 0, s + s // 10), take(1, s, s // 10), take(1, s + s // 10 - 1, 1), take(1, s + s // 10, 0),
        take(1, s + s // 10, s + s // 10), take(1, 10 * s, 0)])
    yield single("guard and a burst", "the guard is paid once, not for each operation in line", bucket(10, s, 10, s // 2), [
        take(1, 0, 0), peek(10, 0, 600000000), take(4, 0, 0), take(1, 0, 100000000), take(5, 499999999, 1), take(5, 500000000, 0),
        peek(0, 500000000, 0), status(500000000, 10, 10, 0, s), debit(5, 2 * s), take(1, 2 * s, 100000000),
        status(2 * s, 10, 10, 0, s),
        credit(5, 2 * s), status(2 * s, 10, 5, 5, s // 2)])
    yield single("guard, the whole burst", "beyond capacity for as long as the guard; n = 0 says so", bucket(10, s, 10, s // 2), [
        take(10, 0, 0), status(0, 10, 15, -5, 3 * s // 2), take(0, 0, s // 2), take(1, 0, 600000000), take(1, 599999999, 1),
        take(1, 600000000, 0)])
    yield single("guard equal to the period", "the largest guard", bucket(1, s, 3, s), [
        take(3, 0, 0), take(1, 0, 2 * s), take(1, 2 * s - 1, 1), take(1, 2 * s, 0), take(3, 5 * s - 1, 1), take(3, 5 * s, 0)])
    yield single("reconfigure to a larger burst", "pitfall 22: no burst is granted; the new room fills at the rate",
        bucket(1, s, 10), [
        take(10, 0, 0), reconfigure(bucket(1, s, 20), 0), status(0, 20, 20, 0, 20 * s), take(1, 0, s), take(20, 20 * s - 1, 1),
        take(20, 20 * s, 0), reconfigure(bucket(1, s, 25), 40 * s), take(21, 40 * s, s), take(20, 40 * s, 0), take(25, 65 * s, 0)])
    yield single("reconfigure to a smaller burst", "pitfall 22: what is available stays, up to the burst", bucket(1, s, 10), [
        take(4, 0, 0), reconfigure(bucket(1, s, 5), 0), status(0, 5, 0, 5, 0), take(6, 0, NEVER), take(5, 0, 0), take(1, 0, s),
        take(5, 5 * s, 0), reconfigure(bucket(1, s, 2), 5 * s), status(5 * s, 2, 2, 0, 2 * s), take(0, 5 * s, 0),
        take(1, 5 * s, s), take(1, 6 * s, 0), take(1, 6 * s, s), debit(7, 6 * s), reconfigure(bucket(1, s, 1), 6 * s),
        status(6 * s, 1, 8, -7, 8 * s)])
    yield single("reconfigure up and down", "pitfall 22: turning the knob mints nothing and costs nothing", bucket(1, s, 4), [
        take(2, 0, 0), [[reconfigure(bucket(1, s, 8), 0), reconfigure(bucket(1, s, 4), 0)] for _ in range(3)],
        status(0, 4, 2, 2, 2 * s), take(2, 0, 0), take(1, 0, s), take(1, s, 0), take(1, s, s)])
    yield single("reconfigure the rate", "the tokens owed stay, the time they need changes", bucket(1, s, 10), [
        take(8, 0, 0), reconfigure(bucket(4, s, 10), s), status(s, 10, 7, 3, 1750000000), take(3, s, 0), take(1, s, 250000000),
        reconfigure(bucket(1, MINUTE, 10), s + 500000000), status(s + 500000000, 10, 8, 2, 8 * MINUTE), take(2, s + 500000000, 0),
        take(1, s + 500000000, MINUTE), reconfigure(bucket(10**10, s, 10), s + 500000000), take(1, s + 500000000, 1),
        take(10, s + 500000001, 0), take(10, s + 500000001, 1)])
    yield single("reconfigure a debt", "below empty, the debt stays", bucket(1, s, 2), [
        debit(5, 0), reconfigure(bucket(2, s, 2), 0), status(0, 2, 5, -3, 2500000000), take(1, 0, 2 * s),
        reconfigure(bucket(2, s, 3), 0),
        status(0, 3, 6, -3, 3 * s), take(1, 2 * s, 0), take(1, 2 * s, s // 2)])
    yield single("reconfigure a full bucket", "nothing owed, nothing granted", bucket(5, s, 5), [
        reconfigure(bucket(5, s, 5), 10 * s), take(5, 10 * s, 0), take(1, 10 * s, s // 5), reconfigure(bucket(1, s, 3), 20 * s),
        take(3, 20 * s, 0), take(1, 20 * s, s), reconfigure(bucket(1, s, 1), 30 * s), take(2, 30 * s, NEVER), take(1, 30 * s, 0),
        take(1, 30 * s, s)])
    yield single("reconfigure the guard", "a guard from now on", bucket(1, s, 2), [
        take(1, 0, 0), reconfigure(bucket(1, s, 2, s // 2), 0), take(1, 0, 0), take(1, 0, s), take(1, 3 * s, 0),
        take(1, 3 * s, s // 2), take(1, 7 * s // 2, 0)])
    yield single("a stale clock mints nothing", "pitfall 2: fresh and stale calls in turn", bucket(1, s, 10), [
        take(10, 1000 * s, 0), [[take(1, 900 * s, POSITIVE), take(1, 1000 * s, s)] for _ in range(4)], take(10, 900 * s, POSITIVE),
        take(11, 900 * s, NEVER), take(1, 1001 * s - 1, 1), take(1, 1001 * s, 0), take(1, 995 * s, POSITIVE), take(1, 1001 * s, s)],
        900 * s)
    yield single("a clock that runs behind a little", "stale by less than the spare room: the same formulas", bucket(1, s, 10), [
        take(5, 100 * s, 0), take(1, 97 * s, 0), take(2, 97 * s, s), take(1, 97 * s, 0), take(1, 97 * s, s),
        status(97 * s, 10, 10, 0, 10 * s),
        take(3, 100 * s, 0), take(1, 100 * s, s), take(0, 100 * s, 0)], 90 * s)
    yield single("stale credit and debit", "pitfall 2: also there the stored time is only moved by what is given", bucket(1, s, 10),
        [
        take(8, 100 * s, 0), credit(3, 99 * s), status(100 * s, 10, 5, 5, 5 * s), debit(4, 99 * s),
        status(100 * s, 10, 9, 1, 9 * s),
        take(1, 100 * s, 0), take(1, 100 * s, s), credit(1, 99 * s), take(1, 100 * s, 0), take(1, 100 * s, s)], 90 * s)
    yield single("status between tokens", "used is rounded up, remaining down", bucket(3, s, 3), [
        status(0, 3, 0, 3, 0), take(1, 0, 0), status(0, 3, 1, 2, 333333334), status(1, 3, 1, 2, 333333333),
        status(333333333, 3, 1, 2, 1),
        status(333333334, 3, 0, 3, 0), take(2, s, 0), status(s, 3, 2, 1, 666666667), status(s + 333333333, 3, 2, 1, 333333334),
        status(s + 333333334, 3, 1, 2, 333333333)])
    for name, limit, seed in (
            ("997 a second", bucket(997, s, 10), 1), ("10007 a minute, burst 1", bucket(10007, MINUTE, 1), 2),
            ("123457 an hour", bucket(123457, HOUR, 1000), 3), ("2^40 a day, burst 2^30", bucket(BIG, DAY, 2**30), 4),
            ("9999999999 a second", bucket(9999999999, s, 1000), 5), ("a prime below 2^40, in 2^50 ns",
            bucket(1099511627689, 2**50, BIG), 6),
            ("1000003 a day, burst 1000003", bucket(1000003, DAY, 1000003), 7), ("23 for 3 ns", bucket(23, 3, 23), 8),
            ("29 a week", bucket(29, 7 * DAY, 5), 9), ("997 a second with a guard", bucket(997, s, 100, 10**7), 10)):
        yield bound("bound: " + name, "a rate that ticks round: never above it, and refused by no more than 1 ns", limit, seed)
    yield bound("bound: 65537 a second at 10^18", "pitfall 4", bucket(65537, s, 50), 11, t18)


# ---- window ----------------------------------------------------------------------------------------------------------

def window_cases():
    s = SECOND
    yield single("one in any second", "amount 1", window(1, s), [
        take(1, 0, 0), take(1, 0, s), take(1, s - 1, 1), take(1, s, 0), take(1, s, s), take(2, s, NEVER), take(1, 2 * s - 1, 1),
        take(1, 10 * s, 0)])
    yield single("no double across a boundary", "pitfall 16: late in one second and early in the next", window(3, s), [
        take(1, 900000000, 0), take(1, 900000000, 0), take(1, 950000000, 0), take(1, s, 900000000), take(1, 1899999999, 1),
        take(1, 1900000000, 0),
        take(1, 1900000000, 0), take(1, 1900000000, 50000000), take(1, 1949999999, 1), take(1, 1950000000, 0),
        take(1, 1950000000, 950000000)])
    yield single("weights", "several have to leave before a large one fits", window(10, s), [
        take(4, 0, 0), take(3, 100, 0), take(3, 200, 0), take(1, 200, s - 200), take(4, 200, s - 200), take(5, 200, s - 100),
        take(7, 200, s - 100),
        take(8, 200, s), take(10, 200, s), take(11, 200, NEVER), take(8, s + 199, 1), take(8, s + 200, 0), take(2, s + 200, 0),
        take(1, s + 200, s)])
    yield single("n = 0, n = amount, n above", "pitfalls 11, 12", window(5, MINUTE), [
        take(0, 0, 0), take(6, 0, NEVER), take(BIG + 1, 0, NEVER), take(5, 0, 0), take(0, 0, 0), peek(5, 0, MINUTE),
        take(6, 0, NEVER),
        debit(1, 0), take(0, 0, MINUTE), take(0, MINUTE - 1, 1), take(0, MINUTE, 0), take(5, MINUTE, 0)])
    yield single("a refusal changes nothing", "pitfall 10", window(2, s), [
        take(2, 0, 0), [take(1, i * 1000, s - i * 1000) for i in range(8)], take(3, 7000, NEVER), peek(2, 7000, s - 7000),
        take(2, s, 0), take(2, s, s)])
    yield single("long idle", "exactly the amount after an idle time", window(10, s), [
        take(10, 0, 0), [take(1, HOUR, 0) for _ in range(10)], take(1, HOUR, s), take(1, HOUR + s - 1, 1), take(10, HOUR + s, 0)])
    yield single("at 10^18", "pitfall 4", window(2, s), [
        take(1, 10**18, 0), take(1, 10**18 + 1, 0), take(1, 10**18 + 1, s - 1), take(1, 10**18 + s - 1, 1), take(1, 10**18 + s, 0),
        take(1, 10**18 + s, 1), take(1, 10**18 + s + 1, 0)], 10**18)
    yield single("just below 2^62", "a late clock", window(2, s), [
        take(2, LATEST - 2 * s, 0), take(1, LATEST - s - 1, 1), take(2, LATEST - s, 0), take(2, LATEST - 1, 1), take(2, LATEST, 0)],
        LATEST - 3 * s)
    yield single("one a day", "a long period", window(1, DAY), [take(1, 5, 0), take(1, DAY + 4, 1), take(1, DAY + 5, 0),
        take(1, DAY + 5, DAY)])
    yield single("ten for a nanosecond", "the highest rate", window(10, 1), [
        take(10, 0, 0), take(1, 0, 1), take(10, 1, 0), take(4, 2, 0), take(6, 2, 0), take(1, 2, 1), status(2, 10, 10, 0, 1),
        status(3, 10, 0, 10, 0)])
    yield single("256 one by one", "the largest exact window", window(256, 257), [
        [take(1, i, 0) for i in range(256)], take(1, 256, 1), [take(1, 257 + i, 0) for i in range(8)], take(1, 264, 1),
        take(2, 264, 2), take(256, 264, 257)])
    yield single("status", "used, and when the newest has left", window(10, s), [
        status(0, 10, 0, 10, 0), take(4, 0, 0), status(0, 10, 4, 6, s), take(3, 500, 0), status(500, 10, 7, 3, s),
        status(s - 1, 10, 7, 3, 501),
        status(s, 10, 3, 7, 500), status(s + 499, 10, 3, 7, 1), status(s + 500, 10, 0, 10, 0)])
    yield single("guard", "an operation counts for the period and the guard", window(2, s, 0, 1000), [
        take(1, 0, 0), take(1, 10, 0), take(1, 10, s + 990), take(1, s, 1000), take(1, s + 999, 1), take(1, s + 1000, 0),
        take(1, s + 1000, 10),
        take(2, s + 1000, s + 1000), status(s + 1000, 2, 2, 0, s + 1000)])
    yield single("credit", "pitfall 17: to the operation it belongs to, while that counts", window(10, s), [
        take(6, 0, 0), take(4, 100, 0), credit(2, 200, 0), status(200, 10, 8, 2, s - 100), take(2, 200, 0), take(1, 200, s - 200),
        credit(4, 300, 1),
        take(3, 300, 0), take(1, 300, 0), take(1, 300, s - 300), take(4, s, 0), take(1, s, 200)])
    yield single("a late credit", "pitfall 17: an operation that has left gives nothing back", window(3, s), [
        take(3, 0, 0), take(3, s, 0), credit(3, s, 0), take(1, s, s), status(s, 3, 3, 0, s), credit(3, 2 * s - 1, 1),
        take(3, 2 * s - 1, 0),
        credit(2, 2 * s, 1), take(1, 2 * s, s - 1)])
    yield single("credit above the operation", "pitfall 17: no more than it weighs", window(10, s), [
        take(3, 0, 0), take(7, 5, 0), credit(9, 10, 0), status(10, 10, 7, 3, s - 5), take(3, 10, 0), take(1, 10, s - 5)])
    yield single("debit", "an operation that is not asked for", window(10, s), [
        take(4, 0, 0), take(3, 100, 0), debit(2, 500), status(500, 10, 9, 1, s), take(1, 500, 0), take(1, 500, s - 500),
        take(4, s, 0),
        status(s, 10, 10, 0, s), take(1, s, 100), take(6, s + 499, 1), take(6, s + 500, 0)])
    yield single("debit beyond the amount", "a debt delays and is not lost", window(10, s), [
        take(5, 0, 0), take(5, 10, 0), debit(20, 20), status(20, 10, 30, -20, s), take(0, 20, s), take(1, 20, s),
        take(0, s + 19, 1), take(10, s + 20, 0)])
    yield single("debit first", "with nothing before it", window(10, s), [
        debit(4, 50), status(50, 10, 4, 6, s), take(6, 60, 0), take(1, 60, s - 10), take(4, s + 49, 1), take(4, s + 50, 0),
        take(1, s + 50, 10)])
    yield single("debit, then credit of what has left", "the debit stays", window(10, s), [
        take(5, 0, 0), debit(3, s - 1), status(s - 1, 10, 8, 2, s), take(3, s - 1, 1), credit(5, s, 0), status(s, 10, 3, 7, s - 1),
        take(7, s, 0), take(1, s, s - 1)])
    yield single("a debit long after", "it counts, and what has left does not come back", window(10, s), [
        take(3, 0, 0), debit(9, 10 * s), status(10 * s, 10, 9, 1, s), take(2, 10 * s, s), take(10, 10 * s, s), take(2, 11 * s - 1, 1), take(10, 11 * s, 0)])
    yield single("reconfigure", "pitfall 22: what is counted stays", window(5, s), [
        take(5, 0, 0), reconfigure(window(8, s), 10), status(10, 8, 5, 3, s - 10), take(3, 10, 0), take(1, 10, s - 10),
        reconfigure(window(2, s), 20),
        status(20, 2, 8, -6, s - 10), take(3, 20, NEVER), take(0, 20, s - 10), take(2, 20, s - 10), take(0, s, 10),
        take(2, s + 10, 0),
        reconfigure(window(256, s), s + 10), take(254, s + 10, 0), take(1, s + 10, s), reconfigure(window(1, s), s + 10),
        take(1, 2 * s + 9, 1), take(1, 2 * s + 10, 0)])
    yield single("stale clock", "pitfall 2: a clock behind admits nothing more", window(3, s), [
        take(3, 100 * s, 0), take(1, 100 * s - 5, POSITIVE), take(1, 50 * s, POSITIVE), take(4, 50 * s, NEVER),
        take(1, 101 * s - 1, 1), take(3, 101 * s, 0)], 40 * s)
    yield single("stale clock with room", "pitfall 2: what is taken under a clock behind counts at least its period", window(3, s),
        [
        take(1, 100 * s, 0), take(1, 100 * s - 50, 0), take(1, 100 * s, 0), take(1, 100 * s - 50, POSITIVE),
        take(4, 100 * s, NEVER), take(3, 101 * s, 0),
        take(1, 101 * s, s)], 99 * s)
    # slotted: cells - 2 slots; from slot j an operation counts to the end of slot j + slots
    yield single("slots of 100 ms", "conservative by at most a slot, never above", window(20, s, 12), [
        take(20, 50000000, 0), take(1, 50000000, 1050000000), take(1, s, 100000000), take(1, 1099999999, 1), take(1, 1100000000, 0),
        take(19, 1100000000, 0),
        take(1, 1100000000, 1100000000)])
    yield single("slots leave one by one", "weights over several slots", window(100, s, 12), [
        take(40, 0, 0), take(30, 99999999, 0), take(30, 100000000, 0), take(1, 100000000, s), take(70, 100000000, s),
        take(71, 100000000, 1100000000),
        take(70, 1099999999, 1), take(71, 1099999999, 100000001), take(70, 1100000000, 0), take(1, 1100000000, 100000000),
        take(30, 1200000000, 0),
        take(1, 1200000000, s)])
    yield single("one slot", "cells 3: the coarsest", window(10, s, 3), [
        take(10, 0, 0), take(1, s, s), take(1, 2 * s - 1, 1), take(10, 2 * s, 0), take(1, 3 * s - 1, s + 1), take(10, 4 * s, 0)])
    yield single("a width that does not divide", "the width is rounded up: 7 slots of 142857143 ns", window(100, s, 9), [
        take(100, 142857142, 0), take(1, 142857143, s + 1), take(1, 142857143 * 8 - 1, 1), take(100, 142857143 * 8, 0),
        take(1, 142857143 * 8, 142857143 * 8)])
    yield single("slots and guard", "the guard widens the slots", window(50, s, 12, s // 10), [
        take(50, 0, 0), take(1, 110000000 * 11 - 1, 1), take(50, 110000000 * 11, 0),
        status(110000000 * 11, 50, 50, 0, 110000000 * 11)])
    yield single("256 slots, a large amount", "2^40 tokens a day", window(BIG, DAY, 258, meter="tokens"), [
        take(BIG, 0, 0), take(1, 0, 337500000000 * 257), take(BIG + 1, 0, NEVER), take(1, 337500000000 * 257 - 1, 1),
        take(BIG, 337500000000 * 257, 0),
        take(0, 337500000000 * 257, 0)])
    yield single("slots: status and credit", "a credit goes to its own slot", window(1000, MINUTE, 62), [
        take(600, 0, 0), take(400, 1500000000, 0), status(1500000000, 1000, 1000, 0, 60500000000), credit(100, 2 * s, 0),
        status(2 * s, 1000, 900, 100, MINUTE),
        take(100, 2 * s, 0), take(1, 2 * s, 59 * s), take(500, 61 * s - 1, 1), take(500, 61 * s, 0), credit(400, 61 * s, 0),
        take(1, 61 * s, s),
        credit(400, 61 * s, 1), take(400, 61 * s, 0), take(1, 61 * s, 2 * s)])
    yield single("slots: debit", "recorded in the slot of now", window(1000, MINUTE, 62), [
        take(900, 0, 0), debit(300, 10 * s), status(10 * s, 1000, 1200, -200, 61 * s), take(0, 10 * s, 51 * s),
        take(700, 10 * s, 51 * s), take(701, 10 * s, 61 * s),
        take(700, 61 * s, 0), take(301, 71 * s - 1, 51 * s + 1), take(300, 71 * s - 1, 1), take(300, 71 * s, 0)])
    yield single("slots: idle", "slots are reused after a long idle time", window(100, s, 12), [
        take(60, 0, 0), take(40, 500000000, 0), take(100, HOUR, 0), take(1, HOUR, 1100000000), take(100, HOUR + 1099999999, 1),
        take(100, HOUR + 1100000000, 0),
        take(100, 10**18, 0), take(1, 10**18, 1100000000)])
    yield single("slots: reconfigure", "what is counted stays", window(100, s, 12), [
        take(100, 0, 0), reconfigure(window(150, s, 12), 0), take(50, 0, 0), take(1, 0, 1100000000),
        reconfigure(window(20, s, 12), 0), take(21, 0, NEVER),
        status(0, 20, 150, -130, 1100000000), take(0, 0, 1100000000), take(20, 1100000000, 0), take(1, 1100000000, 1100000000)])
    yield single("slots: stale clock", "pitfall 2: behind within the slot, and before it", window(100, s, 12), [
        take(50, 50 * s + 90, 0), take(40, 50 * s + 10, 0), take(11, 50 * s + 10, POSITIVE), take(11, 49 * s, POSITIVE),
        take(10, 50 * s + 90, 0),
        take(1, 51100000000 - 1, 1), take(100, 51100000000, 0)])


# ---- concurrency -----------------------------------------------------------------------------------------------------

def concurrency_cases():
    def one(name, why, amount, ops):
        return case(name, why, "concurrency", ops, limit=concurrency(amount))
    yield one("one permit", "the smallest", 1, [
        ctake(1, 0), ctake(1, RELEASE), ctake(2, NEVER), release(1), ctake(1, 0), ctake(1, RELEASE), release(1),
        release(1, "permit")])
    yield one("ten permits", "one by one", 10, [[ctake(1, 0) for _ in range(10)], ctake(1, RELEASE), release(1), ctake(1, 0),
        ctake(1, RELEASE), cstatus(10, 10, 0)])
    yield one("released twice", "an error, and nothing changes", 2, [
        ctake(1, 0), release(1), release(1, "permit"), release(1, "permit"), cstatus(2, 0, 2), ctake(1, 0), ctake(1, 0),
        ctake(1, RELEASE)])
    yield one("never taken", "an error on a fresh limit", 3, [release(1, "permit"), cstatus(3, 0, 3), ctake(3, 0),
        ctake(1, RELEASE)])
    yield one("several at once", "all or nothing", 5, [
        ctake(3, 0), ctake(3, RELEASE), ctake(2, 0), ctake(1, RELEASE), release(4), cstatus(5, 1, 4), ctake(5, RELEASE),
        ctake(4, 0), release(6, "permit"),
        cstatus(5, 5, 0), release(5), ctake(5, 0)])
    yield one("too large", "pitfall 11: never, also when free", 4, [ctake(5, NEVER), ctake(BIG + 1, NEVER), ctake(4, 0),
        ctake(5, NEVER), release(4), ctake(4, 0)])
    yield one("n = 0", "pitfall 12: a peek", 1, [ctake(0, 0), cpeek(0, 0), ctake(1, 0), ctake(0, 0), cstatus(1, 1, 0), release(1)])
    yield one("peeks change nothing", "", 2, [cpeek(2, 0), cpeek(3, NEVER), ctake(1, 0), cpeek(2, RELEASE), cpeek(1, 0),
        cpeek(1, 0), ctake(1, 0), cpeek(1, RELEASE)])
    yield one("a refusal changes nothing", "pitfall 10", 2, [ctake(2, 0), [ctake(1, RELEASE) for _ in range(5)], ctake(3, NEVER),
        release(2), release(1, "permit"), ctake(2, 0)])
    yield one("reconfigure up", "room at once", 1, [ctake(1, 0), ctake(1, RELEASE), {"op": "reconfigure", "limit": concurrency(3)},
        ctake(2, 0), ctake(1, RELEASE), release(3)])
    yield one("reconfigure down", "those in flight stay; they are over the limit until they end", 5, [
        ctake(5, 0), {"op": "reconfigure", "limit": concurrency(2)}, cstatus(2, 5, -3), ctake(0, RELEASE), ctake(1, RELEASE),
        ctake(3, NEVER), release(3),
        cstatus(2, 2, 0), ctake(0, 0), ctake(1, RELEASE), release(1), ctake(1, 0), release(2), release(1, "permit")])
    yield one("the most permits", "2^31", 2**31, [ctake(2**31 + 1, NEVER), ctake(2**31, 0), ctake(1, RELEASE), release(2**31),
        ctake(2**31 - 1, 0), ctake(1, 0), ctake(1, RELEASE)])
    yield one("release more than is out", "an error as a whole", 8, [ctake(3, 0), release(4, "permit"), cstatus(8, 3, 5),
        release(3), release(1, "permit")])
    yield one("in and out", "used is what was taken less what was released", 3, [
        [[ctake(1, 0), ctake(2, 0), ctake(1, RELEASE), release(2), ctake(1, 0), release(2)] for _ in range(4)], cstatus(3, 0, 3)])
    yield one("reconfigure under load", "up and down again", 4, [
        ctake(4, 0), {"op": "reconfigure", "limit": concurrency(1)}, release(2), ctake(1, RELEASE),
        {"op": "reconfigure", "limit": concurrency(4)}, ctake(2, 0),
        ctake(1, RELEASE), cstatus(4, 4, 0)])


# ---- calendar --------------------------------------------------------------------------------------------------------

def calendar_cases():
    s = SECOND
    noon = wall(2024, 3, 10, 12)
    yield single("a day in UTC", "the last instant before midnight, and midnight", calendar(2, DAY, noon), [
        take(1, 0, 0), take(1, 0, 0), take(1, 0, 12 * HOUR), take(3, 0, NEVER), take(1, 12 * HOUR - 1, 1), take(1, 12 * HOUR, 0),
        take(1, 12 * HOUR, 0),
        take(1, 12 * HOUR, DAY), take(2, 36 * HOUR - 1, 1), take(2, 36 * HOUR, 0)])
    for name, utc, until in (("east of Greenwich, +05:30", 19800, 6 * HOUR + 30 * MINUTE),
        ("Kathmandu, +05:45", 20700, 6 * HOUR + 15 * MINUTE),
                             ("west, -08:00", -28800, 20 * HOUR), ("west, -03:30", -12600, 15 * HOUR + 30 * MINUTE),
                             ("+14:00", 50400, 22 * HOUR),
                             ("a whole day ahead", 86400, 12 * HOUR), ("a whole day behind", -86400, 12 * HOUR)):
        yield single("a day, " + name, "the boundary is midnight there", calendar(1, DAY, noon, utc), [
            take(1, 0, 0), take(1, 0, until), take(1, until - 1, 1), take(1, until, 0), take(1, until, DAY),
            status(until, 1, 1, 0, DAY)])
    for year, february in ((2024, 29), (2023, 28), (2100, 28), (2000, 29)):
        yield single("February %d" % year, "leap years", calendar(5, "month", wall(year, 2, 28, 23, 59, 59)), [
            take(5, 0, 0), take(1, 0, (february - 28) * DAY + s), take(1, s, DAY) if february == 29 else take(5, s, 0),
            take(5, (february - 28) * DAY + s - 1, 1) if february == 29 else take(1, s, 31 * DAY),
            take(5, DAY + s, 0) if february == 29 else take(1, DAY + s, 30 * DAY),
            take(1, 2 * DAY + s, 30 * DAY) if february == 29 else take(1, 2 * DAY + s, 29 * DAY)])
    yield single("months of a leap year", "31 29 31 30 31 30 31 31 30 31 30 31", calendar(1, "month", wall(2024, 1, 1)), [
        [[take(1, before * DAY, 0), take(1, before * DAY, length * DAY), take(1, (before + length) * DAY - 1, 1)] for before,
        length in (
            (0, 31), (31, 29), (60, 31), (91, 30), (121, 31), (152, 30), (182, 31), (213, 31), (244, 30), (274, 31), (305, 30),
            (335, 31))], take(1, 366 * DAY, 0)])
    yield single("a month in a zone", "the month ends at midnight there: 2024-01-31 20:00 UTC is February in +05:30",
        calendar(3, "month", wall(2024, 1, 31, 18), 19800), [
        take(3, 0, 0), take(1, 0, 30 * MINUTE), take(1, 30 * MINUTE - 1, 1), take(3, 30 * MINUTE, 0),
        take(1, 30 * MINUTE, 29 * DAY)])
    yield single("a month in the west", "2024-03-01 02:00 UTC is still February in -05:00",
        calendar(3, "month", wall(2024, 3, 1, 2), -18000), [
        take(3, 0, 0), take(1, 0, 3 * HOUR), take(3, 3 * HOUR, 0), take(1, 3 * HOUR, 31 * DAY)])
    yield single("the turn of the year", "December to January", calendar(1, "month", wall(2024, 12, 31, 23, 59, 59)), [
        take(1, 0, 0), take(1, 0, s), take(1, s, 0), take(1, s, 31 * DAY), take(1, 32 * DAY, 0)])
    yield single("a minute", "pitfall 16 is the provider's here: the fixed minute is what is counted",
        calendar(10, MINUTE, wall(2025, 6, 1)), [
        take(10, MINUTE - 1, 0), take(1, MINUTE - 1, 1), take(10, MINUTE, 0), take(1, MINUTE, MINUTE)])
    yield single("an hour in a half-hour zone", "the offset moves the hour", calendar(1, HOUR, noon, 19800),
        [take(1, 0, 0), take(1, 0, 30 * MINUTE), take(1, 30 * MINUTE, 0), take(1, 30 * MINUTE, HOUR)])
    yield single("a week", "periods are counted from 1970-01-01, a Thursday", calendar(1, 7 * DAY, wall(2024, 3, 13, 12)), [
        take(1, 0, 0), take(1, 0, 12 * HOUR), take(1, 12 * HOUR, 0), take(1, 12 * HOUR, 7 * DAY)])
    yield single("an odd period", "7 ns at a late clock", calendar(3, 7, 0), [
        take(3, 700000000000000000, 0), take(1, 700000000000000006, 1), take(1, 700000000000000007, 0),
        take(3, 700000000000000007, 7), take(2, 700000000000000007, 0)], 700000000000000000)
    yield single("n = 0, n = amount", "pitfalls 11, 12", calendar(7, DAY, noon), [
        take(0, 0, 0), take(7, 0, 0), take(0, 0, 0), peek(7, 0, 12 * HOUR), debit(1, 0), take(0, 0, 12 * HOUR), take(8, 0, NEVER),
        take(BIG + 1, 0, NEVER),
        take(0, 12 * HOUR - 1, 1), take(0, 12 * HOUR, 0), take(7, 12 * HOUR, 0)])
    yield single("a refusal changes nothing", "pitfall 10", calendar(3, DAY, noon),
        [take(2, 0, 0), [take(2, i, 12 * HOUR - i) for i in range(6)], take(1, 6, 0), take(1, 6, 12 * HOUR - 6)])
    yield single("micro-dollars a day", "a large amount", calendar(BIG, DAY, noon, meter="microdollars"), [
        take(BIG - 1, 0, 0), take(2, 0, 12 * HOUR), take(1, 0, 0), status(0, BIG, BIG, 0, 12 * HOUR), take(BIG, 12 * HOUR, 0)])
    yield single("status", "reset only when something is used", calendar(10, DAY, noon), [
        status(0, 10, 0, 10, 0), take(4, 0, 0), status(HOUR, 10, 4, 6, 11 * HOUR), debit(9, HOUR),
        status(HOUR, 10, 13, -3, 11 * HOUR), status(12 * HOUR - 1, 10, 13, -3, 1),
        status(12 * HOUR, 10, 0, 10, 0)])
    yield single("credit in the period", "pitfall 17", calendar(10, DAY, noon), [
        take(10, 0, 0), credit(4, HOUR, 0), take(4, HOUR, 0), take(1, HOUR, 11 * HOUR), credit(6, 2 * HOUR, 0),
        status(2 * HOUR, 10, 4, 6, 10 * HOUR),
        credit(10, 2 * HOUR, 0), status(2 * HOUR, 10, 0, 10, 0), take(10, 2 * HOUR, 0), take(1, 2 * HOUR, 10 * HOUR)])
    yield single("credit from the period before", "pitfall 17: yesterday's gives nothing back today", calendar(10, DAY, noon), [
        take(10, 0, 0), take(6, 12 * HOUR, 0), credit(10, 12 * HOUR, 0), status(12 * HOUR, 10, 6, 4, DAY), take(5, 12 * HOUR, DAY),
        credit(2, 12 * HOUR, 1), take(5, 12 * HOUR, 0)])
    yield single("a late debit", "counts in the period in which it is made known", calendar(10, DAY, noon), [
        take(10, 0, 0), debit(3, 12 * HOUR), status(12 * HOUR, 10, 3, 7, DAY), take(8, 12 * HOUR, DAY), take(7, 12 * HOUR, 0)])
    yield single("a debt ends with its period", "a new period starts from 0", calendar(5, MINUTE, wall(2025, 6, 1)), [
        debit(100, 0), take(1, 0, MINUTE), take(0, MINUTE - 1, 1), take(5, MINUTE, 0), take(1, MINUTE, MINUTE)])
    yield single("guard", "nothing is sent so late that it may arrive in the next period",
        calendar(10, MINUTE, wall(2025, 6, 1), 0, 2 * s), [
        take(1, 58 * s - 1, 0), take(1, 58 * s, 2 * s), take(1, MINUTE - 1, 1), take(0, 59 * s, 0), take(11, 59 * s, NEVER),
        peek(1, 59 * s, s), take(1, MINUTE, 0),
        take(9, MINUTE, 0), take(1, MINUTE, MINUTE), status(MINUTE, 10, 10, 0, MINUTE)])
    yield single("guard and debt", "n = 0 asks for the debt alone", calendar(3, MINUTE, wall(2025, 6, 1), 0, s), [
        debit(4, 59500000000), take(0, 59500000000, 500000000), take(1, 59500000000, 500000000), take(3, MINUTE, 0),
        take(0, MINUTE, 0), credit(3, 119 * s, 3), take(1, 119 * s, s),
        status(119 * s, 3, 0, 3, 0)])
    yield single("stale clock at midnight", "pitfall 39: a clock that goes back does not reopen a period",
        calendar(3, DAY, wall(2025, 6, 1, 23, 59)), [
        take(3, 59 * s, 0), take(2, MINUTE, 0), take(1, MINUTE - 1, 0), take(1, MINUTE - 1, POSITIVE), take(1, 59 * s, POSITIVE),
        take(4, 59 * s, NEVER), take(1, MINUTE, DAY),
        take(3, DAY + MINUTE, 0)])
    yield single("reconfigure", "pitfall 22: what is used stays", calendar(5, DAY, noon), [
        take(5, 0, 0), reconfigure(calendar(8, DAY, noon), 0), take(3, 0, 0), take(1, 0, 12 * HOUR),
        reconfigure(calendar(2, DAY, noon), HOUR), status(HOUR, 2, 8, -6, 11 * HOUR),
        take(0, HOUR, 11 * HOUR), take(3, HOUR, NEVER), take(2, 12 * HOUR, 0), take(1, 12 * HOUR, DAY)])
    yield single("years later", "periods that were skipped leave nothing behind", calendar(5, "month", wall(1999, 12, 31, 23)), [
        take(5, 0, 0), take(1, 0, HOUR), take(5, 24 * YEAR, 0), take(1, 24 * YEAR, 6 * DAY + HOUR)])
    yield single("the first month", "January 1970", calendar(1, "month", 0),
        [take(1, 0, 0), take(1, 0, 31 * DAY), take(1, 31 * DAY - 1, 1), take(1, 31 * DAY, 0), take(1, 31 * DAY, 28 * DAY)])


# ---- limiter ---------------------------------------------------------------------------------------------------------

def limiter_cases():
    s = SECOND
    noon = wall(2024, 3, 10, 12)
    model = [bucket(50, MINUTE, 50), bucket(80000, MINUTE, 80000, meter="input_tokens"),
    bucket(16000, MINUTE, 16000, meter="output_tokens"),
             bucket(5000, DAY, 5000), concurrency(10)]
    yield many("the limits of a model", "five limits, one decision", model, [
        acquire("a", cost(1, 1200, 400), 0, 0), status_of(0, 0, 50, 1, 49, 1200000000),
        status_of(1, 0, 80000, 1200, 78800, 900000000),
        status_of(2, 0, 16000, 400, 15600, 1500000000), status_of(4, 0, 10, 1, 9), settle("a", cost(1, 1200, 380), s, OK),
        status_of(4, s, 10, 0, 10),
        status_of(2, s, 16000, 114, 15886, 425000000), acquire("b", cost(1, 80000, 1), s, 0),
        acquire("c", cost(1, 80000, 1), s, MINUTE)])
    yield many("all or nothing", "pitfall 18: a refusal by the last limit leaves the others whole",
        [bucket(10, s, 10), bucket(100, s, 100, meter="tokens"), concurrency(1)], [
        acquire("a", cost(1, 10, 10), 0, 0), [acquire("b", cost(1, 10, 10), 0, RELEASE) for _ in range(20)],
        status_of(0, 0, 10, 1, 9, s // 10), status_of(1, 0, 100, 20, 80, s // 5),
        settle("a", cost(1, 10, 10), 0, OK), acquire("b", cost(1, 60, 30), 0, s // 10), status_of(0, 0, 10, 1, 9, s // 10),
        status_of(2, 0, 1, 0, 1),
        acquire("c", cost(9, 40, 40), 0, 0), acquire("d", cost(1), 0, RELEASE)])
    yield many("never above release above waits", "pitfall 11: the three kinds of answer together",
        [bucket(1, s, 5), concurrency(1), window(3, MINUTE, meter="custom")], [
        check(cost(6, custom=4), 0, NEVER, 0), check(cost(1, custom=4), 0, NEVER, 2), acquire("a", cost(5, custom=3), 0, 0),
        check(cost(1), 0, RELEASE, 1),
        check(cost(6), 0, NEVER, 0), cancel("a", 0, OK), check(cost(5, custom=3), 0, 0, -1), acquire("b", cost(5, custom=3), 0, 0),
        settle("b", cost(5, custom=3), 0, OK),
        check(cost(1), 0, s, 0), check(cost(1, custom=1), 0, MINUTE, 2), check(cost(custom=1), 0, MINUTE, 2),
        acquire("c", cost(1, custom=1), MINUTE - 1, 1), acquire("c", cost(1, custom=1), MINUTE, 0)])
    yield many("the first of equals binds", "pitfall 30: the limit that binds is named",
        [bucket(1, s, 1), bucket(1, s, 1, meter="custom"), bucket(1, s, 1)], [
        check(cost(1, custom=1), 0, 0, -1), acquire("a", cost(1, custom=1), 0, 0), check(cost(1, custom=1), 0, s, 0),
        check(cost(custom=1), 0, s, 1), check(cost(1), s - 1, 1, 0),
        check(cost(1, custom=2), s, NEVER, 1), check(cost(2, custom=2), s, NEVER, 0)])
    yield many("two limits on one meter", "a burst limit and a daily one", [bucket(2, s, 2), calendar(5, DAY, noon)], [
        acquire("a", cost(2), 0, 0), acquire("b", cost(2), 0, s), acquire("b", cost(2), s, 0),
        acquire("c", cost(2), 2 * s, 12 * HOUR - 2 * s), check(cost(2), 2 * s, 12 * HOUR - 2 * s, 1),
        acquire("c", cost(1), 2 * s, 0), check(cost(1), 2 * s, 12 * HOUR - 2 * s, 1), check(cost(6), 2 * s, NEVER, 0),
        acquire("d", cost(2), 12 * HOUR, 0), status_of(1, 12 * HOUR, 5, 2, 3, DAY)])
    yield many("tokens are input and output", "one limit counts the sum, others the parts",
               [bucket(100, s, 100, meter="tokens"), bucket(80, s, 80, meter="input_tokens"),
               bucket(60, s, 60, meter="output_tokens")], [
                   check(cost(1, 60, 50), 0, NEVER, 0), check(cost(1, 81), 0, NEVER, 1), acquire("a", cost(1, 50, 50), 0, 0),
                   check(cost(1, 1), 0, 10000000, 0),
                   check(cost(1, 40, 40), 0, 800000000, 0), status_of(0, 0, 100, 100, 0, s), status_of(1, 0, 80, 50, 30, 625000000),
                   status_of(2, 0, 60, 50, 10, 833333334),
                   settle("a", cost(1, 20, 55), 0, OK), status_of(0, 0, 100, 75, 25, 750000000),
                   status_of(1, 0, 80, 20, 60, 250000000), status_of(2, 0, 60, 55, 5, 916666667)])
    yield many("settle below the estimate", "the difference comes back", [bucket(1000, MINUTE, 1000, meter="output_tokens")], [
        acquire("a", cost(1, 0, 1000), 0, 0), check(cost(1, 0, 1), 0, 60000000, 0), settle("a", cost(1, 0, 300), 0, OK),
        acquire("b", cost(1, 0, 700), 0, 0), check(cost(1, 0, 1), 0, 60000000, 0),
        settle("b", {}, 60 * s, OK), status_of(0, 60 * s, 1000, 0, 1000, 0)])
    yield many("settle above the estimate", "the difference is owed, and delays",
        [bucket(1000, MINUTE, 1000, meter="output_tokens"), concurrency(2)], [
        acquire("a", cost(1, 0, 100), 0, 0), settle("a", cost(1, 0, 2500), 0, OK), status_of(0, 0, 1000, 2500, -1500, 150 * s),
        check(cost(1), 0, 90 * s, 0),
        check(cost(1, 0, 1), 0, 90 * s + 60000000, 0), acquire("b", cost(1), 90 * s - 1, 1), acquire("b", cost(1), 90 * s, 0),
        status_of(1, 90 * s, 2, 1, 1)])
    yield many("settled twice", "an error, and nothing changes", [bucket(10, s, 10), concurrency(2)], [
        acquire("a", cost(5), 0, 0), acquire("b", cost(5), 0, 0), settle("a", cost(2), 0, OK), settle("a", cost(2), 0, "permit"),
        cancel("a", 0, "permit"), settle("z", cost(1), 0, "permit"),
        cancel("z", 0, "permit"), status_of(0, 0, 10, 7, 3, 700000000), status_of(1, 0, 2, 1, 1), cancel("b", 0, OK),
        cancel("b", 0, "permit"), settle("b", cost(9), 0, "permit"),
        status_of(0, 0, 10, 2, 8, 200000000), status_of(1, 0, 2, 0, 2)])
    yield many("a refused permit", "was never admitted", [bucket(1, s, 1), concurrency(5)], [
        acquire("a", cost(1), 0, 0), acquire("b", cost(1), 0, s), settle("b", cost(1), 0, "permit"), cancel("b", 0, "permit"),
        acquire("c", cost(2), 0, NEVER), cancel("c", 0, "permit"),
        status_of(1, 0, 5, 1, 4), acquire("b", cost(1), s, 0), settle("b", cost(1), s, OK), status_of(1, s, 5, 1, 4)])
    yield many("cancel", "pitfall 17, 23: everything comes back, and not more",
        [bucket(1, s, 10), window(10, s), calendar(10, DAY, noon), concurrency(1)], [
        acquire("a", cost(10), 0, 0), check(cost(1), 0, RELEASE, 3), cancel("a", 0, OK), status_of(0, 0, 10, 0, 10, 0),
        status_of(2, 0, 10, 0, 10, 0), status_of(3, 0, 1, 0, 1),
        acquire("b", cost(10), 0, 0), cancel("b", 5 * s, OK), status_of(0, 5 * s, 10, 0, 10, 0), acquire("c", cost(10), 5 * s, 0),
        check(cost(1), 5 * s, RELEASE, 3)])
    yield many("cancel after the window", "nothing that has left comes back", [window(3, s), calendar(6, MINUTE, noon)], [
        acquire("a", cost(3), 0, 0), acquire("b", cost(3), s, 0), cancel("a", s, OK), status_of(0, s, 3, 3, 0, s),
        status_of(1, s, 6, 3, 3, 59 * s), cancel("b", MINUTE, OK),
        status_of(1, MINUTE, 6, 0, 6, 0), acquire("c", cost(3), MINUTE, 0), cancel("c", MINUTE, OK),
        status_of(1, MINUTE, 6, 0, 6, 0)])
    yield many("settle a window to its own operation", "not to the newest", [window(10, s)], [
        acquire("a", cost(5), 0, 0), acquire("b", cost(5), 500, 0), settle("a", cost(2), 600, OK), check(cost(4), 600, s - 600, 0),
        acquire("c", cost(3), 600, 0),
        check(cost(2), s - 1, 1, 0), acquire("d", cost(2), s, 0), check(cost(1), s, 500, 0), settle("b", cost(7), s + 100, OK),
        status_of(0, s + 100, 10, 12, -2, s), check({}, s + 100, 400, 0)])
    yield many("an all-zero cost", "pitfall 12: a peek that fills no permit", [bucket(1, s, 2), concurrency(3)], [
        acquire("a", {}, 0, 0), settle("a", {}, 0, "permit"), check({}, 0, 0, -1), acquire("b", cost(2), 0, 0),
        acquire("c", {}, 0, 0), settle("b", cost(5), 0, OK),
        acquire("d", {}, 0, 3 * s), check({}, 0, 3 * s, 0), status_of(1, 0, 3, 0, 3), acquire("d", {}, 3 * s, 0),
        cancel("d", 3 * s, "permit")])
    yield many("a meter the cost does not use", "debt on it delays, an empty bucket does not",
        [bucket(1, s, 1, meter="custom"), bucket(10, s, 10)], [
        acquire("a", cost(1, custom=1), 0, 0), acquire("b", cost(1), 0, 0), settle("a", cost(1, custom=4), 0, OK),
        acquire("c", cost(1), 0, 3 * s), check(cost(1), 0, 3 * s, 0),
        acquire("c", cost(1), 3 * s - 1, 1), acquire("c", cost(1), 3 * s, 0)])
    yield many("settle a meter that was not estimated", "estimate 0: all of it is owed",
        [bucket(10, s, 10, meter="microdollars"), bucket(10, s, 10)], [
        acquire("a", cost(1), 0, 0), settle("a", cost(1, micro=12), 0, OK), status_of(0, 0, 10, 12, -2, 1200000000),
        check(cost(1), 0, 200000000, 0), acquire("b", cost(1, micro=1), 300000000, 0)])
    yield many("a connection held for long", "a permit is held until it is settled, whatever the clock says",
        [concurrency(2), bucket(10, s, 10)], [
        acquire("a", cost(1), 0, 0), acquire("b", cost(1), 0, 0), acquire("c", cost(1), DAY, RELEASE),
        check(cost(1), DAY, RELEASE, 0), settle("a", cost(1), DAY, OK), acquire("c", cost(1), DAY, 0),
        acquire("d", cost(1), DAY, RELEASE), cancel("b", DAY, OK), acquire("d", cost(1), DAY, 0)])
    yield many("over-reservation", "pitfall 20: an estimate above the limit is never, the true size fits",
        [bucket(500, MINUTE, 500, meter="output_tokens")], [
        acquire("a", cost(1, 0, 1024), 0, NEVER), acquire("a", cost(1, 0, 500), 0, 0), settle("a", cost(1, 0, 20), 0, OK),
        acquire("b", cost(1, 0, 480), 0, 0)])
    yield many("guards", "the worst arrival on every limit", [bucket(10, s, 10, s // 10), window(20, s, 0, s // 10),
        calendar(100, MINUTE, noon, 0, s // 10)], [
        acquire("a", cost(10), 0, 0), check(cost(10), 0, 1100000000, 0), acquire("b", cost(10), 1099999999, 1),
        acquire("b", cost(10), 1100000000, 0), check(cost(1), 59950000000, 50000000, 2),
        acquire("c", cost(1), 59899999999, 0), acquire("d", cost(1), 59900000000, 100000000), acquire("d", cost(1), MINUTE, 0),
        status_of(2, MINUTE, 100, 1, 99, MINUTE)])
    yield many("exact waits over three limits", "pitfall 9: the longest wait, to the nanosecond",
        [bucket(3, s, 3), bucket(7, MINUTE, 7, meter="custom"), window(4, 2 * s)], [
        acquire("a", cost(3, custom=7), 0, 0), acquire("b", cost(1), 0, 333333334), acquire("b", cost(1), 333333333, 1),
        acquire("b", cost(1), 333333334, 0), check(cost(1), 333333334, 1666666666, 2),
        check(cost(1, custom=1), 333333334, 8238095238, 1), acquire("c", cost(1, custom=1), 8571428571, 1),
        acquire("c", cost(1, custom=1), 8571428572, 0)])
    yield many("slotted window", "settle and debit by slots", [window(1000, MINUTE, 62, meter="tokens"), bucket(10, s, 10)], [
        acquire("a", cost(1, 500, 300), 0, 0), settle("a", cost(1, 500, 100), 10 * s, OK),
        status_of(0, 10 * s, 1000, 600, 400, 51 * s), acquire("b", cost(1, 400), 10 * s, 0),
        settle("b", cost(1, 400, 200), 20 * s, OK), status_of(0, 20 * s, 1000, 1200, -200, 61 * s),
        check(cost(1), 20 * s, 41 * s, 0), check(cost(1, 601), 20 * s, 51 * s, 0),
        acquire("c", cost(1, 400), 61 * s - 1, 1), acquire("c", cost(1, 400), 61 * s, 0), acquire("d", cost(1, 1), 61 * s, 10 * s)])
    yield many("a month of money", "micro-dollars by the month, and a daily cap",
        [calendar(1000000, "month", wall(2024, 2, 28, 12), meter="microdollars"),
        calendar(600000, DAY, wall(2024, 2, 28, 12), meter="microdollars")], [
        acquire("a", cost(1, micro=600000), 0, 0), check(cost(1, micro=1), 0, 12 * HOUR, 1),
        acquire("b", cost(1, micro=400000), 12 * HOUR, 0), check(cost(1, micro=1), 12 * HOUR, DAY, 0),
        settle("a", cost(1, micro=500000), 12 * HOUR, OK), status_of(0, 12 * HOUR, 1000000, 900000, 100000, DAY),
        status_of(1, 12 * HOUR, 600000, 400000, 200000, DAY),
        acquire("c", cost(1, micro=100000), 12 * HOUR, 0), acquire("d", cost(1, micro=600000), 36 * HOUR, 0),
        status_of(0, 36 * HOUR, 1000000, 600000, 400000, 31 * DAY)])
    yield many("at 10^18", "pitfall 4", [bucket(10**10, s, 100, meter="tokens"), bucket(1, DAY, 2)], [
        acquire("a", cost(1, 50, 50), 10**18, 0), acquire("b", cost(1, 0, 1), 10**18, 1),
        acquire("b", cost(1, 5, 5), 10**18 + 1, 0), check(cost(1), 10**18 + 1, DAY - 1, 1), check(cost(1), 10**18 + DAY - 1, 1, 1)],
        10**18)


# ---- queue -----------------------------------------------------------------------------------------------------------

def queue_cases():
    s = SECOND

    def one(name, why, capacity, ageing, ops):
        return case(name, why, "queue", ops, config={"capacity": capacity, "ageing_ns": ageing})
    yield one("first in, first out", "pitfall 28", 8, s, [
        head(None), count(0), push(1, 1, 0), push(2, 1, 0), push(3, 1, 5), count(3), leave(1), leave(2), leave(3), head(None),
        remove(3, "handle"), count(0)])
    yield one("priorities", "higher first, when all come at once", 8, s, [push(1, 3, 0), push(2, 2, 0), push(3, 1, 0),
        push(4, 0, 0), push(5, 0, 0), leave(4), leave(5), leave(3), leave(2), leave(1)])
    yield one("ageing", "a waiter gains a class for each ageing_ns; nobody starves", 8, s, [
        push(1, 3, 0), push(2, 0, 3 * s - 1), head(2), push(3, 0, 3 * s), remove(2), head(3), push(4, 0, 3 * s + 1), remove(3),
        head(1), remove(1), head(4)])
    yield one("ties go to the higher priority", "equal keys", 8, s, [push(1, 2, 0), push(2, 1, s), push(3, 0, 2 * s), leave(3),
        leave(2), leave(1)])
    yield one("one nanosecond either side of a tie", "the key decides, to the nanosecond", 8, s, [
        push(1, 1, 0), push(2, 0, s + 1), head(1), push(3, 3, 3), remove(1), head(2), remove(2), push(4, 2, s + 4), head(3),
        remove(4), push(5, 2, s + 3), head(5)])
    yield one("full", "pitfall 29: bounded", 2, s, [
        push(1, 2, 0), push(2, 0, 1), push(3, 0, 2, None, "full"), head(2), count(2), remove(1), push(3, 3, 3),
        push(4, 3, 4, None, "full"), leave(2), leave(3), head(None)])
    yield one("capacity 1", "the smallest", 1, s, [push(1, 3, 0), push(2, 0, 0, None, "full"), leave(1), push(2, 0, 1), leave(2),
        remove(2, "handle"), push(3, 1, 2, 50), expire(50, 3), push(4, 1, 60), head(4)])
    yield one("no such priority", "bad input is answered", 4, s, [push(1, 4, 0, None, "priority"), push(1, 3, 0),
        push(2, 255, 0, None, "priority"), count(1), head(1)])
    yield one("a waiter that gives up", "pitfall 23: no place and no order is lost", 8, s, [
        push(1, 1, 0), push(2, 1, 1), push(3, 1, 2), push(4, 1, 3), remove(2), remove(2, "handle"), head(1), remove(1), head(3),
        remove(4), remove(4, "handle"), head(3), count(1),
        push(5, 1, 4), leave(3), leave(5)])
    yield one("the head gives up", "the next one of its priority stands in its place", 8, s, [
        push(1, 0, 0), push(2, 2, 0), push(3, 0, 5 * s), head(1), remove(1), head(2), remove(2), head(3)])
    yield one("deadlines", "earliest first; pitfall 26", 8, s, [
        deadline(None), push(1, 1, 0, 300), push(2, 1, 0, 100), push(3, 1, 0), push(4, 0, 0, 200), deadline(100), expire(99, None),
        expire(100, 2), deadline(200), expire(100, None),
        remove(2, "handle"), expire(1000, 4), expire(1000, 1), expire(1000, None), deadline(None), count(1), head(3)])
    yield one("removed before its deadline", "a deadline leaves with its waiter", 4, s, [
        push(1, 1, 0, 50), push(2, 1, 0, 70), remove(1), deadline(70), expire(60, None), expire(70, 2), expire(DAY, None),
        count(0)])
    yield one("deadlines and the order", "a deadline does not move a waiter up", 8, s,
        [push(1, 1, 0, 900), push(2, 1, 1, 100), push(3, 1, 2, 500), head(1), deadline(100), expire(100, 2), leave(1),
        deadline(500), leave(3), deadline(None)])
    yield one("the head expires", "", 8, s, [push(1, 0, 0, 10), push(2, 0, 1), push(3, 0, 2, 10**18), head(1), expire(10, 1),
        head(2), remove(1, "handle"), leave(2), expire(10**18 - 1, None), expire(10**18, 3), head(None)])
    yield one("stale clock at push", "pitfall 2: FIFO inside a priority, whatever the clock says", 8, s, [
        push(1, 1, 10 * s), push(2, 1, 5 * s), push(3, 1, 20 * s), leave(1), push(4, 0, 11 * s + 1), head(2), remove(2), head(4),
        remove(4), head(3)])
    yield one("a clock that was ahead", "pitfall 3: who came by a later clock came now", 8, s, [
        push(1, 0, 10 * s), push(2, 0, 0), push(3, 1, 8 * s), leave(1), leave(2), push(4, 2, 100 * s), push(5, 0, 9 * s), leave(5),
        leave(3), leave(4)])
    yield one("a line that ran empty", "an old clock does not hold back a new line", 8, s, [
        push(1, 1, 100 * s), remove(1), push(2, 1, 5 * s), push(3, 0, 7 * s), head(2), remove(2), head(3)])
    yield one("late clocks", "keys near 2^61 do not overflow", 8, 2**40, [
        push(1, 3, 2**61), push(2, 0, 2**61 + 3 * 2**40 - 1), head(2), remove(2), push(3, 0, 2**61 + 3 * 2**40 + 1), head(1)])
    yield one("slow ageing", "a priority is as good as strict", 8, 2**50,
        [push(1, 3, 0), push(2, 1, DAY), push(3, 0, 2 * DAY), push(4, 2, 3 * DAY), leave(3), leave(2), leave(4), leave(1)])
    yield one("fast ageing", "a priority only breaks ties", 8, 1, [push(1, 3, 0), push(2, 2, 1), push(3, 1, 3), push(4, 0, 4),
        push(5, 0, 5), leave(2), leave(1), leave(4), leave(3), leave(5)])
    yield one("places are reused", "fill and empty many times", 3, s, [
        [[push(10 * i + j, (i + j) % 4, 100 * i + j) for j in range(3)] + [push(10 * i + 9, 0, 100 * i + 9, None,
        "full")] + [remove(10 * i + j) for j in (1, 0, 2)]
         + [remove(10 * i + 1, "handle"), head(None), count(0)] for i in range(5)]])
    yield one("everybody gets a turn", "pitfall 24: a steady stream of critical work does not starve the last class", 16, s, [
        push(1, 3, 0), [[push(100 + i, 0, i * s // 2)] + leave(100 + i) for i in range(6)], push(106, 0, 3 * s), head(106),
        remove(106), push(107, 0, 3 * s + s // 2), leave(1), leave(107)])


# ---- backoff ---------------------------------------------------------------------------------------------------------

def backoff(jitter="none", **changes):
    config = {"jitter": jitter, "factor_permille": 2000, "fraction_permille": 200, "attempts_max": 8, "base_ns": SECOND,
    "cap_ns": MINUTE, "floor_ns": 0,
              "base_class_ns": [0, 0, 0, 0], "least_class_ns": [0, 0, 0, 0], "retry_after_max_ns": HOUR}
    return dict(config, **changes)


def backoff_cases():
    s = SECOND

    def one(name, why, config, ops, seed=1):
        return case(name, why, "backoff", ops, config=config, seed=seed)
    yield one("doubling", "no jitter, up to the cap, then never", backoff(), [
        retry(0, s), retry(0, 2 * s), retry(0, 4 * s), retry(0, 8 * s), retry(0, 16 * s), retry(0, 32 * s), retry(0, MINUTE),
        retry(0, MINUTE), retry(0, NEVER), retry(0, NEVER)])
    yield one("fatal", "never, and nothing changes", backoff(), [retry(3, NEVER), retry(3, NEVER, 0, 5 * s), retry(0, s),
        retry(3, NEVER), retry(0, 2 * s)])
    yield one("one attempt", "the smallest", backoff(attempts_max=1), [retry(1, s), retry(1, NEVER), retry(1, NEVER, 2, s)])
    yield one("factor 1.5", "rounded down at each step: 7, 10, 15, 22, 33, 49", backoff(factor_permille=1500, base_ns=7, cap_ns=50),
        [
        retry(0, 7), retry(0, 10), retry(0, 15), retry(0, 22), retry(0, 33), retry(0, 49), retry(0, 50), retry(0, 50)])
    yield one("factor 1", "constant", backoff(factor_permille=1000), [retry(0, s) for _ in range(8)] + [retry(0, NEVER)])
    yield one("factor 10", "large steps", backoff(factor_permille=10000, base_ns=1, cap_ns=2**48, attempts_max=20),
        [retry(0, min(10**i, 2**48)) for i in range(20)] + [retry(0, NEVER)])
    yield one("a base for each class", "attempts are counted together", backoff(base_class_ns=[5 * s, 0, s // 10, 0]), [
        retry(0, 5 * s), retry(1, 2 * s), retry(2, 4 * s // 10), retry(0, 40 * s), retry(2, 16 * s // 10), retry(1, 32 * s)])
    yield one("priorities", "critical and high wait half", backoff(), [retry(0, s // 2, 0), retry(0, s, 1), retry(0, 4 * s, 2),
        retry(0, 8 * s, 3), retry(0, 8 * s, 0)])
    yield one("half of an odd number", "rounded down", backoff(base_ns=7, factor_permille=1000),
        [retry(0, 3, 0), retry(0, 3, 1), retry(0, 7, 2)])
    yield one("floor", "the floor comes after the halving", backoff(floor_ns=3 * s),
        [retry(0, 3 * s), retry(0, 3 * s, 0), retry(0, 4 * s), retry(0, 4 * s, 1), retry(0, 16 * s)])
    yield one("a least delay for a class", "and for that class only", backoff(least_class_ns=[10 * s, 0, s // 2, 0]),
        [retry(0, 10 * s), retry(1, 2 * s), retry(2, 4 * s), retry(0, 10 * s), retry(0, 16 * s), retry(0, 16 * s, 0)])
    yield one("Retry-After", "taken as it is, above the cap and below the floor; attempts go on", backoff(floor_ns=3 * s), [
        retry(0, 90 * s, 2, 90 * s), retry(0, s, 0, s), retry(0, 4 * s), retry(0, HOUR, 2, HOUR), retry(0, 16 * s, 2, HOUR + 1),
        retry(0, 1, 2, 1), retry(0, MINUTE)])
    yield one("Retry-After and the last attempt", "never has the last word", backoff(attempts_max=2),
        [retry(0, 5 * s, 2, 5 * s), retry(0, 5 * s, 2, 5 * s), retry(0, NEVER, 2, 5 * s)])
    for jitter in ("fraction", "full", "equal", "decorrelated"):
        for seed in (0, 1, 2**64 - 1):
            yield one("%s, seed %d" % (jitter, seed), "the same seed gives the same delays", backoff(jitter, attempts_max=12),
                [retry(i % 3) for i in range(12)] + [retry(0, NEVER)], seed)
    yield one("fraction of 1", "from 0 to twice the delay, cut at the cap", backoff("fraction", fraction_permille=1000),
        [retry(0) for _ in range(9)], 7)
    yield one("a tiny fraction", "the part rounds down to 0: no jitter", backoff("fraction", fraction_permille=1, base_ns=999,
        cap_ns=999), [retry(0, 999) for _ in range(3)], 7)
    yield one("one draw for each delay", "also when Retry-After is taken; none for never", backoff("full", attempts_max=6), [
        retry(0), retry(0, 7 * s, 2, 7 * s), retry(3, NEVER), retry(0), retry(1), retry(0, 9 * s, 0, 9 * s), retry(2),
        retry(2, NEVER)], 42)
    yield one("decorrelated keeps its own previous", "before the halving, the floor and Retry-After",
        backoff("decorrelated", floor_ns=2 * s, attempts_max=12), [
        retry(0, BLANK, 0), retry(0, BLANK, 2), retry(0, 30 * s, 2, 30 * s), retry(0, BLANK, 1), retry(0), retry(0),
        retry(0, BLANK, 0), retry(0), retry(0), retry(0), retry(0), retry(0), retry(0, NEVER)], 99)
    yield one("decorrelated over classes", "the lower end is the base of the class",
        backoff("decorrelated", base_class_ns=[10 * s, 0, s // 10, 0], attempts_max=12), [retry(i % 3) for i in range(12)], 12345)
    yield one("full jitter of small delays", "whole nanoseconds", backoff("full", base_ns=1, cap_ns=3, attempts_max=12),
        [retry(0) for _ in range(12)], 3)
    yield one("equal jitter of an odd delay", "the larger half is certain", backoff("equal", base_ns=7, cap_ns=7, attempts_max=12),
        [retry(0) for _ in range(12)], 4)


# ---- limits that are refused -----------------------------------------------------------------------------------------

def error_cases():
    s = SECOND
    noon = wall(2024, 3, 10, 12)

    def one(name, limit, error, why="the field that is wrong is named"):
        return {"name": name, "why": why, "kind": "errors", "limit": limit, "error": error}
    order = "the checks happen in a fixed order"
    edge = "the last value that is accepted"
    yield one("no such kind", dict(bucket(1, s, 1), kind="leaky"), "kind")
    yield one("no such meter", bucket(1, s, 1, meter="bytes"), "meter")
    for limit in (bucket(1, s, 1), window(1, s), concurrency(1), calendar(1, DAY, noon)):
        kind = limit["kind"]
        most = 2**31 if kind == "concurrency" else BIG
        longer = {} if kind == "concurrency" else {"period_ns": 2**50}
        yield one("%s: amount 0" % kind, dict(limit, amount=0), "amount", "pitfall 12")
        yield one("%s: amount too large" % kind, dict(limit, amount=most + 1, **longer), "amount")
        if kind != "window":
            yield one("%s: the largest amount" % kind, dict(limit, amount=most, **longer), OK, edge)
        if kind != "concurrency":
            yield one("%s: period 0" % kind, dict(limit, period_ns=0), "period", "pitfall 12")
            yield one("%s: period too long" % kind, dict(limit, period_ns=PERIOD_MAX + 1), "period")
            yield one("%s: guard above the period" % kind, dict(limit, guard_ns=limit["period_ns"] + 1), "guard")
            yield one("%s: guard equal to the period" % kind, dict(limit, guard_ns=limit["period_ns"]),
                "guard" if kind == "calendar" else OK, edge)
    yield one("bucket: the longest period", bucket(1000, PERIOD_MAX, 1), OK, edge)
    yield one("bucket: a month", bucket(1, "month", 1), "period")
    yield one("window: a month", window(1, "month"), "period")
    yield one("bucket: rate too high", bucket(10**10 + 1, s, 1), "rate", "pitfall 12: an infinite rate is no rate")
    yield one("bucket: the highest rate", bucket(10**10, s, 1), OK, edge)
    yield one("bucket: 11 for a nanosecond", bucket(11, 1, 1), "rate")
    yield one("window: rate too high", window(11, 1), "rate")
    yield one("window: the highest rate", window(10, 1), OK, edge)
    yield one("bucket: burst 0", bucket(1, s, 0), "burst", "pitfall 12")
    yield one("bucket: burst too large", bucket(10**6, s, BIG + 1), "burst")
    yield one("bucket: the largest burst", bucket(10**6, s, BIG), OK, edge)
    yield one("bucket: too long to fill", bucket(1, DAY, BIG), "span")
    yield one("calendar: a month with a guard", calendar(1, "month", noon, 0, 1), "guard")
    yield one("calendar: a month", calendar(1, "month", noon), OK)
    yield one("calendar: offset too far east", calendar(1, DAY, noon, 86401), "utc_offset")
    yield one("calendar: offset too far west", calendar(1, DAY, noon, -86401), "utc_offset")
    yield one("calendar: a day east", calendar(1, DAY, noon, 86400), OK, edge)
    yield one("calendar: a day west", calendar(1, DAY, noon, -86400), OK, edge)
    for cells in (1, 2, 65537):
        yield one("window: %d cells" % cells, window(100000, s, cells), "cells")
    yield one("window: 3 cells", window(100000, s, 3), OK, edge)
    yield one("kind before meter", dict(bucket(0, 0, 0, meter="bytes"), kind="leaky"), "kind", order)
    yield one("meter before amount", bucket(0, 0, 0, meter="bytes"), "meter", order)
    yield one("amount before period", bucket(0, 0, 0), "amount", order)
    yield one("period before burst", bucket(1, 0, 0), "period", order)
    yield one("rate before burst", bucket(11, 1, 0, 2), "rate", order)
    yield one("burst before guard", bucket(1, s, 0, s + 1), "burst", order)
    yield one("guard before span", bucket(1, DAY, BIG, DAY + 1), "guard", order)
    yield one("guard before utc_offset", calendar(1, DAY, noon, 90000, DAY + 1), "guard", order)
    yield one("rate before cells", window(11, 1, 2, 2), "rate", order)
    yield one("guard before cells", window(100, s, 2, s + 1), "guard", order)


FILES = (("bucket", bucket_cases), ("window", window_cases), ("concurrency", concurrency_cases), ("calendar", calendar_cases),
         ("limiter", limiter_cases), ("queue", queue_cases), ("backoff", backoff_cases), ("errors", error_cases),
         ("http", http_cases.http_cases))


# ---- random cases ----------------------------------------------------------------------------------------------------

HUMAN = ((50, MINUTE), (80000, MINUTE), (16000, MINUTE), (5000, DAY), (1, DAY), (3, SECOND), (7, MINUTE), (10**10, SECOND),
(7 * 10**8, SECOND), (10, SECOND),
         (1000, SECOND), (1, SECOND), (17, MINUTE), (100, HOUR), (450000, MINUTE), (10**6, SECOND), (13, 2))


def spread(rng, low, high):
    """A whole number in low..high, even on a logarithmic scale."""
    if high <= low:
        return low
    bits = rng.randrange(max(1, low).bit_length(), high.bit_length() + 1)
    return min(high, max(low, rng.randrange(2**bits)))


def random_bucket(rng, meter="requests", period=None):
    if rng.randrange(2):
        amount, period = rng.choice(HUMAN)
    else:
        k = rng.randrange(1, 20)
        m = max(-(-k // 10), spread(rng, 1, 2**44))
        scale = spread(rng, 1, min(AMOUNT_MAX // k, PERIOD_MAX // m))
        amount, period = k * scale, m * scale
    most = max(1, min(AMOUNT_MAX, 2**53 * amount // period))
    burst = min(most, rng.choice((1, 1, 2, 3, 10, amount, spread(rng, 1, most), spread(rng, 1, min(most, 100)))))
    guard = spread(rng, 1, max(1, min(period, burst * period // amount))) if rng.randrange(4) == 0 else 0
    return bucket(amount, period, burst, min(guard, period), meter)


def random_window(rng, meter="requests", most=2**50):
    if rng.randrange(2):
        period = rng.choice((SECOND, MINUTE, spread(rng, 26, most)))
        amount = rng.choice((1, 2, 3, 5, 10, rng.randrange(1, 257)))
        cells = 0
    else:
        period = rng.choice((SECOND, MINUTE, spread(rng, 100, most)))
        amount = max(2, min(period // 1000, rng.choice((5, 10, 100, 1000, 80000, spread(rng, 2, AMOUNT_MAX)))))
        cells = min(amount + 1, rng.choice((3, 4, 5, 12, 62, 258, rng.randrange(3, 259))))
    guard = spread(rng, 1, period) if rng.randrange(5) == 0 else 0
    return window(amount, period, cells, guard, meter)


def random_calendar(rng, meter="requests"):
    period = rng.choice(("month", "month", DAY, DAY, HOUR, MINUTE, 7 * DAY, spread(rng, 1000, 2**50)))
    amount = rng.choice((1, 3, 10, rng.randrange(1, 50), spread(rng, 1, AMOUNT_MAX)))
    if period != "month":           # so that the periods of 20 years can be counted beside such an amount
        period = max(period, HOUR if amount > 2**20 else 10**6)
    guard = spread(rng, 1, period // 4) if period != "month" and rng.randrange(4) == 0 else 0
    moment = wall(rng.randrange(1971, 2099), rng.randrange(1, 13), rng.randrange(1, 29)) + rng.randrange(DAY)
    return calendar(amount, period, moment, rng.choice((0, 0, 3600, 19800, 20700, -12600, -28800, 50400, 86400, -86400)), guard,
        meter)


def pick_n(rng, capacity, remaining):
    n = rng.choice((0, 1, 1, 1, 1, 2, capacity, capacity, capacity + 1, AMOUNT_MAX + 1, remaining, remaining + 1,
        spread(rng, 1, capacity), spread(rng, 1, capacity),
                    rng.randrange(1, capacity + 1), max(1, capacity // 3)))
    return min(max(n, 0), AMOUNT_MAX + 1)


def near(rng):
    return rng.choice((-1, 0, 0, 0, 1))


def later(rng, now, waits, span):
    """The next time: the same, near an instant that matters, or some while later."""
    dice = rng.randrange(20)
    if dice < 6:
        step = 0
    elif dice < 14 and waits:
        step = max(0, rng.choice(waits) + near(rng))
    elif dice < 18:
        step = spread(rng, 0, 2 * span)
    elif dice < 19:
        step = 1
    else:
        step = spread(rng, 1, rng.choice((10 * span, 2**50, 2**58)))
    return min(now + step, LATEST)


class Writer:
    """Collects the operations on which all the readings agree."""

    def __init__(self, case):
        self.case, self.ops = case, []
        self.models = Models(case)
        self.model = self.models.first

    def add(self, op):
        """The answers, or None if the operation was left out."""
        answers = self.models.ask(op)
        if answers is None:
            return None
        self.models.do(op)
        self.ops.append(dict(op, **answers))
        return answers

    def done(self):
        return dict(self.case, ops=self.ops)


def random_bucket_case(rng):
    limit = random_bucket(rng)
    start = rng.choice((0, 0, 1, spread(rng, 1, 2**40), 10**18, 2**61 + rng.randrange(1000)))
    writer = Writer({"kind": "bucket", "limit": limit, "start": start})
    model, now = writer.model, start
    for _ in range(rng.randrange(20, 61)):
        report = model.status(now)
        n = pick_n(rng, model.burst, report["remaining"])
        wait = model.wait(n, now)
        waits = [report["reset_ns"]] + ([wait] * 3 if wait != NEVER and wait > 0 else [])
        now = later(rng, now, waits, int(model.tau) + 1)
        dice = rng.randrange(100)
        room = 2**54 - n * model.token - (max(model.tat, now) - now)       # keeps debts below 208 days
        if dice < 60:
            writer.add(take(n, now))
        elif dice < 65:
            writer.add(peek(n, now))
        elif dice < 73:
            wait = model.wait(n, now)
            most = rng.choice((0, 2**62)) if wait in (NEVER, 0) else max(0,
            rng.choice((0, wait - 1, wait, wait, wait + 1, 2 * wait, 2**62)))
            if n > 0 and (wait == NEVER or room > 0):
                writer.add(reserve(n, most, now))
        elif dice < 80:
            writer.add(credit(max(1, n), now))
        elif dice < 85:
            if n > 0 and room > 0:
                writer.add(debit(n, now))
        elif dice < 91:
            writer.add(status(now))
        elif dice < 96:
            change = random_reconfigure(rng, model, limit, now)
            if change:
                limit = change
                writer.add(reconfigure(limit, now))
        elif model.latest == now and writer.ops and writer.ops[-1]["now"] == now:         # one at a time
            behind = max(start, now - spread(rng, 1, int(model.tau) + 1))
            if behind < now and (model.tat <= behind + model.tau or n > 0):
                writer.add(rng.choice((take, peek))(n, behind))
    return writer.done()


def random_reconfigure(rng, model, limit, now):
    """Another limit for which the new state is a whole nanosecond, or None."""
    for _ in range(10):
        dice = rng.randrange(4)
        if dice == 0:
            new = random_bucket(rng)
        elif dice == 1:
            new = dict(limit, burst=max(1, min(AMOUNT_MAX, rng.choice((limit["burst"] * 2, limit["burst"] // 2, limit["burst"] + 1,
            1)))))
        elif dice == 2:
            new = dict(limit, period_ns=min(PERIOD_MAX, limit["period_ns"] * rng.choice((2, 3, 10))))
        else:
            new = dict(limit, amount=min(AMOUNT_MAX, 10 * limit["period_ns"], limit["amount"] * rng.choice((2, 5, 10))))
        other = oracle.Bucket(new, 0)
        rate = 1 / other.token
        kept = model.debt(now) * other.token
        added = (other.burst - model.burst) * other.token
        if rate.numerator <= 19 and kept.denominator == 1 and added.denominator == 1 and other.tau <= 2**53 and kept + added <= 2**54:
            return new
    return None


def random_bound_case(rng):
    while True:
        period = rng.choice((SECOND, MINUTE, HOUR, DAY, spread(rng, 30, PERIOD_MAX)))
        amount = spread(rng, 20, min(AMOUNT_MAX, 10 * period))
        most = max(1, min(AMOUNT_MAX, 2**53 * amount // period))
        limit = bucket(amount, period, rng.choice((1, 2, 10, spread(rng, 1, most))),
        spread(rng, 1, period) if rng.randrange(6) == 0 else 0)
        exact = oracle.Bucket(limit, 0)
        if (1 / exact.token).numerator > 19 and exact.tau <= 2**53:
            break
    start = rng.choice((0, 1, spread(rng, 1, 2**40), 10**18))
    return {"kind": "bucket_bound", "limit": limit, "start": start, "tolerance_ns": 1,
        "calls": bound_calls(rng, limit, start, rng.randrange(20, 61))}


def random_window_case(rng):
    limit = random_window(rng)
    first = limit["amount"]
    start = 0 if limit.get("cells") else rng.choice((0, 0, spread(rng, 1, 2**40), 10**18))
    writer = Writer({"kind": "window", "limit": limit, "start": start})
    model, now = writer.model, start
    now += spread(rng, 0, 2**45) if rng.randrange(2) else 0
    open_takes = {}                 # index -> n, to be credited at most once
    for _ in range(rng.randrange(20, 61)):
        report = model.status(now)
        n = pick_n(rng, model.amount, report["remaining"])
        wait = model.wait(n, now)
        waits = [report["reset_ns"]] + ([wait] * 3 if wait != NEVER and wait > 0 else [])
        now = later(rng, now, waits, model.span)
        dice = rng.randrange(100)
        if dice < 65:
            answers = writer.add(take(n, now))
            if answers and answers["wait"] == 0 and n > 0:
                open_takes[len(writer.ops) - 1] = n
        elif dice < 70:
            writer.add(peek(n, now))
        elif dice < 80 and open_takes:
            of = rng.choice(sorted(open_takes)[-4:])
            writer.add(credit(rng.randrange(1, open_takes.pop(of) + 1), now, of))
        elif dice < 86:
            writer.add(debit(max(1, min(n, 2 * model.amount)), now))
        elif dice < 94:
            writer.add(status(now))
        elif dice < 97:
            least, most = (limit.get("cells", 0) - 1, AMOUNT_MAX) if limit.get("cells") else (1, 256)
            amount = max(least, min(most, 10 * limit["period_ns"], rng.choice((first * 2, limit["amount"] // 2,
                min(2 * first, limit["amount"] + 1)))))
            limit = dict(limit, amount=amount)
            writer.add(reconfigure(limit, now))
    return writer.done()


def random_concurrency_case(rng):
    amount = rng.choice((1, 2, 5, 10, spread(rng, 1, 2**31)))
    writer = Writer({"kind": "concurrency", "limit": concurrency(amount)})
    model = writer.model
    for _ in range(rng.randrange(20, 61)):
        dice = rng.randrange(20)
        n = pick_n(rng, model.amount, model.amount - model.used)
        if dice < 10:
            writer.add(ctake(n))
        elif dice < 11:
            writer.add(cpeek(n))
        elif dice < 16:
            n = max(1, rng.choice((1, 1, model.used, model.used + 1, spread(rng, 1, max(1, model.used)))))
            writer.add({"op": "release", "n": n})
        elif dice < 18:
            writer.add({"op": "status"})
        else:
            writer.add({"op": "reconfigure", "limit": concurrency(max(1, min(2**31,
                rng.choice((model.amount * 2, model.amount // 2, model.used or 1)))))})
    return writer.done()


def random_calendar_case(rng):
    limit = random_calendar(rng)
    first = limit["amount"]
    start = rng.choice((0, spread(rng, 1, 2**40)))
    writer = Writer({"kind": "calendar", "limit": limit, "start": start})
    model, now = writer.model, start
    span = 30 * DAY if limit["period_ns"] == "month" else limit["period_ns"]
    taken = []
    for _ in range(rng.randrange(20, 61)):
        boundary = model.period_at(now)[1]
        before = now
        now = later(rng, now, [boundary, boundary] + ([boundary - model.guard] * 2 if 0 < model.guard <= boundary else []), span)
        if now > before + 200 * span or now > 20 * YEAR:       # stays within the years of the civil calendar that are at hand
            now = before
        n = pick_n(rng, model.amount, model.amount - model.used(now))
        dice = rng.randrange(100)
        if dice < 65:
            answers = writer.add(take(n, now))
            if answers and answers["wait"] == 0 and n > 0:
                taken.append((len(writer.ops) - 1, n))
        elif dice < 70:
            writer.add(peek(n, now))
        elif dice < 80 and taken:
            of, n = rng.choice(taken[-3:])
            writer.add(credit(rng.randrange(1, n + 1), now, of))
        elif dice < 86:
            writer.add(debit(max(1, min(n, 2 * model.amount)), now))
        elif dice < 94:
            writer.add(status(now))
        elif dice < 97:
            limit = dict(limit, amount=max(1, min(AMOUNT_MAX, rng.choice((first * 2, limit["amount"] // 2)))))
            writer.add(reconfigure(limit, now))
        elif not limit.get("guard_ns"):
            behind = max(start, now - spread(rng, 1, MINUTE))
            if model.latest == now and behind < now and writer.ops and writer.ops[-1]["now"] == now:
                writer.add(rng.choice((take, peek))(n, behind))
    return writer.done()


def random_limiter_case(rng):
    limits, meters = [], rng.choice((("requests",), ("requests", "tokens"), ("requests", "input_tokens", "output_tokens"),
        ("requests", "tokens", "microdollars", "custom"),
                                     ("tokens", "input_tokens", "output_tokens")))
    for _ in range(rng.randrange(1, 6)):
        kind, meter = rng.randrange(10), rng.choice(meters)
        limits.append(random_bucket(rng, meter) if kind < 5 else random_window(rng, meter,
            2**42) if kind < 7 else random_calendar(rng, meter) if kind < 8 else
                      concurrency(rng.choice((1, 2, 3, 5, 10))))
    writer = Writer({"kind": "limiter", "limits": limits, "start": 0})
    model, now, names, waiting = writer.model, 0, [], None
    capacities = {}
    for limit in limits:
        if limit["kind"] != "concurrency":
            size = limit["burst"] if limit["kind"] == "bucket" else limit["amount"]
            for part in oracle.METERS[limit["meter"]]:
                capacities[part] = min(capacities.get(part, 2**39), size)
    spans = [limit["period_ns"] for limit in limits if limit.get("period_ns", "month") != "month"] or [SECOND]

    def random_cost(zero):
        made = {}
        for part, size in capacities.items():
            if rng.randrange(zero):
                made[part] = rng.choice((1, 1, 1, spread(rng, 1, size), max(1, size // 2), max(1, size // 2), size,
                    size + 1 if rng.randrange(6) == 0 else 1))
        return {part: made[part] for part in ("requests", "input_tokens", "output_tokens", "microdollars",
            "custom") if part in made}

    for number in range(rng.randrange(20, 61)):
        what = waiting if waiting and rng.randrange(3) else random_cost(8)
        if not what and rng.randrange(3):
            what = random_cost(8)
        if not capacities:
            what = cost(1)
        while model.check(what, now)["wait"] == NEVER and rng.randrange(8):
            what = {part: value // 2 or 1 for part, value in what.items()}
        wait = model.check(what, now)["wait"]
        waits = [wait] * 3 if isinstance(wait, int) and wait > 0 else []
        waits += [member.status(now).get("reset_ns", 0) for member in model.members]
        before = now
        now = later(rng, now, waits, spread(rng, 1, rng.choice(spans)))
        if now > 2**60:
            now = before
        dice = rng.randrange(100)
        if dice < 50:
            name = "p%d" % number
            answers = writer.add(acquire(name, what, now))
            if answers:
                waiting = what if isinstance(answers["wait"], int) and answers["wait"] > 0 else None
                if rng.randrange(10) == 0 or answers["wait"] == 0:
                    names.append((name, what))
        elif dice < 60:
            writer.add(check(what, now))
        elif dice < 80 and names:
            name, estimate = names.pop(rng.randrange(len(names))) if rng.randrange(8) else names[-1]
            actual = {}
            for part, size in capacities.items():
                guess = estimate.get(part, 0)
                actual[part] = rng.choice((guess, guess, guess, guess // 2, 0, guess + 1, guess + spread(rng, 1, min(size, 10**6))))
            actual = {part: value for part, value in actual.items() if value}
            if all(limit["kind"] != "bucket" or model.members[i].tat - now < 2**54 for i, limit in enumerate(limits)):
                writer.add(settle(name, actual, now))
        elif dice < 86 and names:
            name, _ = names.pop(rng.randrange(len(names))) if rng.randrange(8) else names[-1]
            writer.add(cancel(name, now))
        else:
            writer.add(status_of(rng.randrange(len(limits)), now))
    return writer.done()


def random_queue_case(rng):
    ageing = rng.choice((1, 10, 1000, SECOND, 2**40))
    writer = Writer({"kind": "queue", "config": {"capacity": rng.choice((1, 2, 3, 5, 8, 16, 64)), "ageing_ns": ageing}})
    model, now, used = writer.model, spread(rng, 0, 10**18), set()
    identity = 0
    for _ in range(rng.randrange(20, 51)):
        now += rng.choice((0, 0, 1, ageing, ageing - 1, spread(rng, 0, 4 * ageing)))
        dice = rng.randrange(20)
        if dice < 8:
            identity += 1
            when = now + spread(rng, 1, 20 * ageing) if rng.randrange(3) == 0 else None
            while when in used:
                when += 1
            used.add(when) if when else None
            moment = max(0, now - spread(rng, 1, 3 * ageing)) if rng.randrange(10) == 0 else now
            priority = rng.randrange(4)
            if rng.randrange(30) == 0 and len(model.waiters) < model.capacity:
                priority = 4 + rng.randrange(3)
            writer.add({"op": "push", "id": identity, "priority": priority, "deadline": when, "now": moment})
        elif dice < 13:
            answers = writer.add({"op": "head"})
            if answers and answers["id"] is not None and rng.randrange(4):
                writer.add({"op": "remove", "id": answers["id"]})
        elif dice < 15 and identity:
            known = [op["id"] for op in writer.ops if op["op"] == "push" and op["result"] == OK]
            if known:
                writer.add({"op": "remove", "id": rng.choice(known)})
        elif dice < 17:
            earliest = model.ask({"op": "deadline"})["deadline"]
            if earliest is not None and rng.randrange(2):
                now = max(now, earliest - rng.randrange(2))
            writer.add({"op": "expire", "now": now})
        elif dice < 18:
            writer.add({"op": "deadline"})
        else:
            writer.add({"op": "count"})
    return writer.done()


def random_backoff_case(rng):
    base = spread(rng, 1, 2**40)
    cap = max(base, spread(rng, 1, 2**48))
    config = backoff(
        rng.choice(("none", "fraction", "full", "equal", "decorrelated", "decorrelated")),
        factor_permille=rng.choice((1000, 1500, 2000, 3000, rng.randrange(1000, 10001))),
        fraction_permille=rng.randrange(1, 1001), attempts_max=rng.randrange(1, 40), base_ns=base, cap_ns=cap,
        floor_ns=rng.choice((0, 0, spread(rng, 0, cap))),
        base_class_ns=[rng.choice((0, 0, spread(rng, 1, min(cap, 2**40)))) for _ in range(4)],
        least_class_ns=[rng.choice((0, 0, spread(rng, 1, min(cap, 2**40)))) for _ in range(4)],
        retry_after_max_ns=spread(rng, 1, 2**50))
    made = {"kind": "backoff", "config": config, "seed": rng.randrange(2**64)}
    model, ops = oracle.model_of(made), []
    for _ in range(rng.randrange(20, 61)):
        most = config["retry_after_max_ns"]
        op = retry(rng.choice((0, 0, 0, 1, 1, 2, 2, 3)), BLANK, rng.randrange(4),
        rng.choice((0, 0, 0, 0, 1, most, most + 1, spread(rng, 1, 2**50))))
        ops.append(dict(op, **model.do(op)))
    return dict(made, ops=ops)


RANDOM = ((random_bucket_case, 30), (random_bound_case, 8), (random_window_case, 18), (random_concurrency_case, 5),
(random_calendar_case, 11), (random_limiter_case, 18),
          (random_queue_case, 6), (random_backoff_case, 4), (http_cases.random_http_case, 20))


def random_cases(seed, number):
    """Case i of a seed does not depend on how many are asked for."""
    for index in range(number):
        rng = random.Random("%d/%d" % (seed, index))
        dice = rng.randrange(sum(weight for _, weight in RANDOM))
        for make, weight in RANDOM:
            dice -= weight
            if dice < 0:
                break
        yield dict({"name": "seed %d case %d" % (seed, index), "why": "random"}, **make(rng))


# ---- files -----------------------------------------------------------------------------------------------------------

def text_of(cases):
    """JSON with a line for each field of a case and for each operation."""
    def compact(value):
        return json.dumps(value, ensure_ascii=True)
    parts = []
    for made in cases:
        lines = []
        for key, value in made.items():
            if key in ("ops", "calls", "limits", "readings") and value:
                lines.append('  "%s": [\n    %s\n  ]' % (key, ",\n    ".join(compact(item) for item in value)))
            else:
                lines.append('  "%s": %s' % (key, compact(value)))
        parts.append(" {\n%s\n }" % ",\n".join(lines))
    return "[\n%s\n]\n" % ",\n".join(parts)


def fixed_files():
    for name, make in FILES:
        yield name + ".json", text_of(list(make()))


def main(arguments):
    if len(arguments) == 4 and arguments[0] == "--random":
        seed, number, path = int(arguments[1]), int(arguments[2]), arguments[3]
        out = sys.stdout if path == "-" else open(path, "w", newline="\n")
        with out:
            for made in random_cases(seed, number):
                out.write(json.dumps(made, separators=(",", ":")) + "\n")
        return 0
    if arguments == ["--check"]:
        wrong = []
        for name, text in fixed_files():
            path = os.path.join(HERE, name)
            if not os.path.exists(path) or open(path, newline="").read() != text:
                wrong.append(name)
        print("not what generate.py writes: %s" % ", ".join(wrong) if wrong else "ok")
        return 1 if wrong else 0
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        for name, text in fixed_files():
            with open(os.path.join(arguments[0], name), "w", newline="\n") as out:
                out.write(text)
        return 0
    print(__doc__.strip())
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
