"""Reference models of the limiter in exact rational arithmetic.

Slow and plain on purpose: Fractions and Python integers, every operation kept in a list, nothing rounded but the answers.
It shares no code with the implementation. README.md describes the cases; each model below answers the operations of one kind.

    model = Bucket(limit, start)
    model.ask(op)       the answer, nothing changes
    model.do(op)        the answer, and the change that goes with it

A few corners are open to more than one reading. READINGS names them. generate.py runs every reading side by side and writes no
operation on which two of them differ, so the vectors do not depend on the choice.
"""
from fractions import Fraction

NEVER = "never"            # larger than the limit, ever
RELEASE = "release"        # no time helps: somebody has to give a permit back
POSITIVE = "positive"      # refused under a clock that runs behind: any wait above 0 is right
OK = "ok"

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
AMOUNT_MAX = 2**40
PERIOD_MAX = 2**55
PERMITS_MAX = 2**31
SLOT_EPOCH_BACK = 2**48

READINGS = {
    "stale_literal": "window: an operation under a clock that runs behind is recorded at that clock",
    "stale_forward": "window: a clock that runs behind is taken as the latest clock seen",
    "empty_gone": "window: an operation credited down to nothing no longer holds up reset_ns",
    "zero_counts": "limiter: an all-zero cost asks a concurrency limit for one permit, not none",
}


def ceil(x):
    return -(-x // 1)


def rank(wait):
    """Orders waits: numbers, then release, then never."""
    if wait == NEVER:
        return (2, 0)
    if wait == RELEASE:
        return (1, 0)
    return (0, wait)


# ---- one limit -------------------------------------------------------------------------------------------------------

class Single:
    """What the four kinds of limit have in common."""

    def __init__(self, limit, start, reading=frozenset()):
        self.reading = reading
        self.latest = start         # the latest clock seen
        self.start = start
        self.index = 0              # of the next operation in the case: a take is known by it
        self.configure(limit)

    def ask(self, op):
        name, now = op["op"], op.get("now", 0)
        if name in ("take", "peek", "reserve"):
            return {"wait": self.wait(op["n"], now)}
        if name == "status":
            return self.status(now)
        if name == "release":
            return {"result": OK if op["n"] <= self.used else "permit"}
        if name in ("credit", "debit") and op["n"] > AMOUNT_MAX:
            return {"result": "cost"}
        return {"result": OK}

    def do(self, op):
        answer = self.ask(op)
        name, now, n = op["op"], op.get("now", 0), op.get("n")
        if name == "take" and answer["wait"] == 0:
            self.take(n, now, self.index)
        elif name == "reserve" and isinstance(answer["wait"], int) and answer["wait"] <= op["max_wait"]:
            self.take(n, now, self.index)
        elif name == "credit" and answer["result"] == OK:
            self.credit(n, now, op.get("of"))
        elif name == "debit" and answer["result"] == OK:
            self.debit(n, now)
        elif name == "release" and answer["result"] == OK:
            self.used -= n
        elif name == "reconfigure":
            self.reconfigure(op["limit"], now)
        self.latest = max(self.latest, now)
        self.index += 1
        return answer


class Bucket(Single):
    """A token bucket. tat is the time at which it will be full again if nothing more is taken."""

    def __init__(self, limit, start, reading=frozenset()):
        super().__init__(limit, start, reading)
        self.tat = Fraction(start)

    def configure(self, limit):
        self.burst = limit["burst"]
        self.guard = limit.get("guard_ns", 0)
        self.token = Fraction(limit["period_ns"], limit["amount"])      # ns for one token
        self.tau = self.burst * self.token                              # ns from empty to full

    def debt(self, now):
        """Tokens missing from a full bucket."""
        return (max(self.tat, now) - now) / self.token

    def wait(self, n, now):
        if n > self.burst:
            return NEVER
        wait = max(0, ceil(max(self.tat, now) + n * self.token - (now + self.tau)))
        if wait > 0 and now < self.latest and self.tat > now + self.tau:
            return POSITIVE
        return wait

    def take(self, n, now, ref):
        self.debit(n, now)

    def debit(self, n, now):
        if n > 0:
            self.tat = max(self.tat, now + self.guard) + n * self.token

    def credit(self, n, now, ref):
        if self.tat > now:
            self.tat = max(self.tat - n * self.token, Fraction(now))

    def reconfigure(self, limit, now):
        debt, burst = self.debt(now), self.burst
        self.configure(limit)
        self.tat = now + max(0, debt + self.burst - burst) * self.token     # what is available stays, up to the burst

    def status(self, now):
        debt = self.debt(now)
        return {"limit": self.burst, "used": ceil(debt), "remaining": (self.burst - debt) // 1,
                "reset_ns": ceil(max(self.tat, now) - now)}


class Window(Single):
    """Never more than the amount in any period, however it is placed. Operations are [when, weight, ref], oldest first, where
    when is a time (exact) or a slot number (slotted)."""

    def __init__(self, limit, start, reading=frozenset()):
        super().__init__(limit, start, reading)
        self.operations = []

    def configure(self, limit):
        self.amount = limit["amount"]
        self.span = limit["period_ns"] + limit.get("guard_ns", 0)
        cells = limit.get("cells", 0)
        self.slots = 0
        if cells:
            assert cells < self.amount + 2, "cells above the amount are not defined here"
            self.slots = cells - 2
            self.width = -(-self.span // self.slots)
            self.epoch = max(0, self.start - SLOT_EPOCH_BACK)
        else:
            assert self.amount <= 256, "the default number of cells is not defined here"

    def clock(self, now):
        return max(now, self.latest) if "stale_forward" in self.reading else now

    def place(self, now):
        """Where an operation at this time is recorded."""
        if self.slots:
            when = (now - self.epoch) // self.width
        elif "stale_literal" in self.reading:
            return now
        else:
            when = now
        return max(when, self.operations[-1][0]) if self.operations else when

    def leaves(self, operation):
        """The first time at which it no longer counts."""
        if self.slots:
            return self.epoch + (operation[0] + self.slots + 1) * self.width
        return operation[0] + self.span

    def counted(self, now):
        return [operation for operation in self.operations if now < self.leaves(operation)]

    def used(self, now):
        return sum(weight for _, weight, _ in self.counted(now))

    def wait(self, n, now):
        if n > self.amount:
            return NEVER
        stale, now = now < self.latest, self.clock(now)
        used = self.used(now)
        if used + n <= self.amount:
            return 0
        if stale:
            return POSITIVE
        for operation in sorted(self.counted(now), key=self.leaves):
            used -= operation[1]
            if used + n <= self.amount:
                return self.leaves(operation) - now
        raise AssertionError("an empty window refused")

    def take(self, n, now, ref):
        if n > 0:
            self.operations.append([self.place(self.clock(now)), n, ref])

    def credit(self, n, now, ref):
        for operation in self.counted(self.clock(now)):
            if operation[2] == ref:
                operation[1] -= min(n, operation[1])

    def debit(self, n, now):
        if n > 0:
            self.operations.append([self.place(self.clock(now)), n, None])

    def reconfigure(self, limit, now):
        self.amount = limit["amount"]

    def status(self, now):
        now = self.clock(now)
        used = self.used(now)
        last = [operation for operation in self.counted(now) if operation[1] > 0 or "empty_gone" not in self.reading]
        return {"limit": self.amount, "used": used, "remaining": self.amount - used,
                "reset_ns": max(map(self.leaves, last)) - now if last else 0}


class Concurrency(Single):
    """Permits in flight. Time plays no part."""

    def __init__(self, limit, start=0, reading=frozenset()):
        super().__init__(limit, start, reading)
        self.used = 0

    def configure(self, limit):
        self.amount = limit["amount"]

    def wait(self, n, now):
        if n > self.amount:
            return NEVER
        return 0 if self.used + n <= self.amount else RELEASE

    def take(self, n, now, ref):
        self.used += n

    def reconfigure(self, limit, now):
        self.configure(limit)

    def status(self, now):
        return {"limit": self.amount, "used": self.used, "remaining": self.amount - self.used}


def is_leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(month):
    """Days of a month that is counted from January 1970 = 0."""
    year = 1970 + month // 12
    return (31, 29 if is_leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month % 12]


def month_of_day(day):
    """(month, first day, first day of the next) of a day, both counted from 1970-01-01. Walks the months: slow, and plain."""
    month = first = 0
    while first + month_days(month) <= day:
        first += month_days(month)
        month += 1
    return month, first, first + month_days(month)


class Calendar(Single):
    """An amount a day, month or any other period of the civil clock."""

    def __init__(self, limit, start, reading=frozenset()):
        super().__init__(limit, start, reading)
        self.stored = self.period_at(start)[0]
        self.count = 0
        self.taken_in = {}          # ref -> period

    def configure(self, limit):
        self.amount = limit["amount"]
        self.period = limit["period_ns"]
        self.guard = limit.get("guard_ns", 0)
        self.offset = limit.get("wall_offset_ns", 0) + limit.get("utc_offset_s", 0) * SECOND

    def period_at(self, now):
        """(number of the period, ns to the next boundary)"""
        local = now + self.offset
        assert local >= 0
        if self.period == "month":
            month, _, end = month_of_day(local // DAY)
            return month, end * DAY - local
        number = local // self.period
        return number, (number + 1) * self.period - local

    def used(self, now):
        return 0 if self.period_at(now)[0] > self.stored else self.count

    def roll(self, now):
        self.count = self.used(now)
        self.stored = max(self.stored, self.period_at(now)[0])

    def wait(self, n, now):
        if n > self.amount:
            return NEVER
        number, boundary = self.period_at(now)
        guarded = n > 0 and boundary <= self.guard
        if self.used(now) + n <= self.amount and not guarded:
            return 0
        return POSITIVE if number < self.stored else boundary

    def take(self, n, now, ref):
        self.debit(n, now)
        self.taken_in[ref] = self.stored

    def credit(self, n, now, ref):
        if self.taken_in.get(ref) == self.stored:
            self.count -= min(n, self.count)

    def debit(self, n, now):
        if n > 0:                   # only what is taken begins a period
            self.roll(now)
            self.count += n

    def reconfigure(self, limit, now):
        self.amount = limit["amount"]

    def status(self, now):
        used = self.used(now)
        return {"limit": self.amount, "used": used, "remaining": self.amount - used,
                "reset_ns": self.period_at(now)[1] if used else 0}


KINDS = {"bucket": Bucket, "window": Window, "concurrency": Concurrency, "calendar": Calendar}


# ---- several limits as one -------------------------------------------------------------------------------------------

METERS = {
    "requests": ("requests",),
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "tokens": ("input_tokens", "output_tokens"),
    "microdollars": ("microdollars",),
    "custom": ("custom",),
}


class Limiter:
    def __init__(self, limits, start, reading=frozenset()):
        self.limits = limits
        self.reading = reading
        self.members = [KINDS[limit["kind"]](limit, start, reading) for limit in limits]
        self.permits = {}           # name -> the amounts that were taken, one a limit
        self.acquired = 0           # numbers the acquisitions

    def amounts(self, cost):
        zero = not any(cost.values())
        amounts = []
        for limit in self.limits:
            if limit["kind"] == "concurrency":
                amounts.append(0 if zero and "zero_counts" not in self.reading else 1)
            else:
                amounts.append(sum(cost.get(part, 0) for part in METERS[limit["meter"]]))
        return amounts

    def check(self, cost, now):
        waits = [member.wait(n, now) for member, n in zip(self.members, self.amounts(cost))]
        longest = max(waits, key=rank)
        binding = -1 if longest == 0 else waits.index(longest)
        while isinstance(longest, int) and longest > 0:         # a wait may end in the guard of a calendar
            more = [member.wait(n, now + longest) for limit, member, n in zip(self.limits, self.members, self.amounts(cost))
                    if limit["kind"] == "calendar"]
            more = max(more, key=rank, default=0)
            if more == 0:
                break
            longest = longest + more if isinstance(more, int) else more
        return {"wait": longest, "binding": binding}

    def ask(self, op):
        name, now = op["op"], op["now"]
        if name == "acquire":
            return {"wait": self.check(op["cost"], now)["wait"]}
        if name == "check":
            return self.check(op["cost"], now)
        if name == "status":
            return self.members[op["index"]].status(now)
        return {"result": OK if op["permit"] in self.permits else "permit"}      # settle, cancel

    def do(self, op):
        answer = self.ask(op)
        name, now = op["op"], op["now"]
        if name == "acquire" and answer["wait"] == 0 and any(op["cost"].values()):
            amounts = self.amounts(op["cost"])
            for member, n in zip(self.members, amounts):
                if n > 0:
                    member.take(n, now, self.acquired)
            self.permits[op["permit"]] = (self.acquired, amounts)
            self.acquired += 1
        elif name in ("settle", "cancel") and answer["result"] == OK:
            ref, taken = self.permits.pop(op["permit"])
            actual = self.amounts(op["actual"]) if name == "settle" else [0] * len(taken)
            for limit, member, estimate, final in zip(self.limits, self.members, taken, actual):
                if limit["kind"] == "concurrency":
                    member.used -= 1
                elif final < estimate:
                    member.credit(estimate - final, now, ref)
                elif final > estimate:
                    member.debit(final - estimate, now)
        for member in self.members:
            member.latest = max(member.latest, now)
        return answer


# ---- waiters ---------------------------------------------------------------------------------------------------------

class Queue:
    def __init__(self, config, reading=frozenset()):
        self.capacity = config["capacity"]
        self.ageing = config["ageing_ns"]
        self.reading = reading
        self.waiters = []           # in the order of pushing: (id, priority, deadline, since)

    def find(self, name):
        return next((waiter for waiter in self.waiters if waiter[0] == name), None)

    def head(self):
        firsts = {}
        for waiter in self.waiters:
            firsts.setdefault(waiter[1], waiter)
        if not firsts:
            return None
        return min(firsts.values(), key=lambda waiter: (waiter[3] + waiter[1] * self.ageing, waiter[1]))[0]

    def overdue(self, now):
        late = [waiter for waiter in self.waiters if waiter[2] is not None and waiter[2] <= now]
        return min(late, key=lambda waiter: waiter[2])[0] if late else None

    def ask(self, op):
        name = op["op"]
        if name == "push":
            if not 0 <= op["priority"] <= 3:
                return {"result": "priority"}
            return {"result": "full" if len(self.waiters) >= self.capacity else OK}
        if name == "head":
            return {"id": self.head()}
        if name == "expire":
            return {"id": self.overdue(op["now"])}
        if name == "remove":
            return {"result": OK if self.find(op["id"]) else "handle"}
        if name == "deadline":
            return {"deadline": min((w[2] for w in self.waiters if w[2] is not None), default=None)}
        if name == "count":
            return {"count": len(self.waiters)}
        raise ValueError(name)

    def do(self, op):
        answer = self.ask(op)
        name = op["op"]
        if name == "push" and answer["result"] == OK:
            now = op["now"]         # who came by a later clock came now
            self.waiters = [waiter[:3] + (min(waiter[3], now),) for waiter in self.waiters]
            self.waiters.append((op["id"], op["priority"], op["deadline"], now))
        elif name == "remove" and answer["result"] == OK:
            self.waiters.remove(self.find(op["id"]))
        elif name == "expire" and answer["id"] is not None:
            self.waiters.remove(self.find(answer["id"]))
        return answer


# ---- backoff ---------------------------------------------------------------------------------------------------------

FATAL = 3
MASK = 2**64 - 1


class Backoff:
    def __init__(self, config, seed):
        self.config = config
        self.state = seed
        self.attempts = 0
        self.previous = 0

    def draw(self, low, high):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        return low + (z * (high - low + 1) >> 64)

    def do(self, op):
        config, kind = self.config, op["class"]
        if kind == FATAL or self.attempts >= config["attempts_max"]:
            return {"delay": NEVER}
        cap = config["cap_ns"]
        base = config["base_class_ns"][kind] or config["base_ns"]
        delay = base
        for _ in range(self.attempts):
            if delay >= cap:
                break
            delay = delay * config["factor_permille"] // 1000
        delay = min(delay, cap)

        jitter = config["jitter"]
        if jitter == "fraction":
            part = delay * config["fraction_permille"] // 1000
            delay = self.draw(delay - part, delay + part)
        elif jitter == "full":
            delay = self.draw(0, delay)
        elif jitter == "equal":
            half = delay // 2
            delay = delay - half + self.draw(0, half)
        elif jitter == "decorrelated":
            low = min(base, cap)
            high = min(cap, 3 * (self.previous or base))
            delay = self.draw(low, max(low, high))
        else:
            assert jitter == "none"
        self.previous = delay

        if op["priority"] in (0, 1):
            delay //= 2
        delay = min(max(delay, config["floor_ns"], config["least_class_ns"][kind]), cap)
        if 0 < op["retry_after"] <= config["retry_after_max_ns"]:
            delay = op["retry_after"]
        self.attempts += 1
        return {"delay": delay}


# ---- limits that are not accepted ------------------------------------------------------------------------------------

def init_error(limit):
    """The name of the field that is refused, or "ok"."""
    kind, amount = limit["kind"], limit["amount"]
    period, guard = limit.get("period_ns", 0), limit.get("guard_ns", 0)
    month = period == "month"
    if kind not in KINDS:
        return "kind"
    if limit["meter"] not in METERS:
        return "meter"
    if not 1 <= amount <= (PERMITS_MAX if kind == "concurrency" else AMOUNT_MAX):
        return "amount"
    if kind == "concurrency":
        return OK
    if month and kind != "calendar" or not month and not 1 <= period <= PERIOD_MAX:
        return "period"
    if kind in ("bucket", "window") and amount > 10 * period:
        return "rate"
    if kind == "bucket" and not 1 <= limit["burst"] <= AMOUNT_MAX:
        return "burst"
    if guard > (0 if month else period - (kind == "calendar")):
        return "guard"
    if kind == "bucket" and limit["burst"] * period > 2**62 * amount:       # the exact edge is the implementation's own
        return "span"
    if kind == "calendar" and abs(limit.get("utc_offset_s", 0)) > 86400:
        return "utc_offset"
    if kind == "window" and (limit.get("cells", 0) in (1, 2) or limit.get("cells", 0) > 65536):
        return "cells"
    return OK


# ---- cases -----------------------------------------------------------------------------------------------------------

def model_of(case, reading=frozenset()):
    kind = case["kind"]
    if kind in KINDS:
        return KINDS[kind](case["limit"], case.get("start", 0), reading)
    if kind == "limiter":
        return Limiter(case["limits"], case["start"], reading)
    if kind == "queue":
        return Queue(case["config"], reading)
    if kind == "backoff":
        return Backoff(case["config"], case["seed"])
    raise ValueError(kind)


def readings_of(kind):
    """The plain reading first, then each of the others that can matter to this kind."""
    if kind in ("window", "limiter", "queue"):
        return [frozenset()] + [frozenset([name]) for name, text in READINGS.items()
                                if text.startswith(kind) or kind == "limiter" and not text.startswith("queue")]
    return [frozenset()]


def answers_wrong(case):
    """The first operation of a case whose recorded answers are not those of the oracle, or None."""
    if case["kind"] == "errors":
        return None if case["error"] == init_error(case["limit"]) else case["limit"]
    if case["kind"] == "bucket_bound":
        return None
    for reading in readings_of(case["kind"]):
        model = model_of(case, reading)
        for op in case["ops"]:
            for key, value in model.do(op).items():
                if op[key] != value or type(op[key]) is not type(value):
                    return dict(op, reading=sorted(reading), oracle={key: value})
    return None


# ---- rates that ticks cannot carry exactly ---------------------------------------------------------------------------

def check_bound(limit, log, start=0, tolerance_ns=1, drift_ns=0):
    """Judges what an implementation did with a bucket. log holds [now, n, wait] with times that never go back.

    Returns None, or a text that says what is wrong:
      - the admitted amount of some pair of calls is above burst + rate * time between them;
      - a wait (or a refusal) is longer than the exact bucket's, following the same admissions, by more than tolerance_ns
        + drift_ns for each admission since that bucket was last full;
      - a wait is shorter than the exact one, or never is said of n <= burst, or not said of n > burst.
    """
    bucket = Bucket(limit, start)
    rate = 1 / bucket.token
    total, highest, first, busy = 0, None, None, 0
    for index, (now, n, wait) in enumerate(log):
        where = "call %d (now %d, n %d, wait %s): " % (index, now, n, wait)
        if (wait == NEVER) != (n > bucket.burst):
            return where + "never is for n above the burst of %d, and only for it" % bucket.burst
        if wait == NEVER:
            continue
        exact = max(bucket.tat, now) + n * bucket.token - bucket.tau        # the exact earliest time, when it is above now
        drift = busy * Fraction(drift_ns)
        if wait > 0:
            if now + wait < exact:
                return where + "told to come %s ns too early" % float(exact - now - wait)
            allowed = tolerance_ns + drift
            if now + wait > ceil(exact) + allowed:
                return where + "exactly it is admitted at %d, that is %d ns from now" % (ceil(exact), ceil(exact) - now)
        elif n > 0:
            # sum over i..j <= burst + rate * (t_j - t_i) for all i <= j, with the worst i kept: the largest rate * t_i - sum before i
            if highest is None or rate * now - total > highest:
                highest, first = rate * now - total, index
            total += n
            if total + highest - rate * now > bucket.burst:
                return where + "%s tokens above the bound since call %d" % (
                    float(total + highest - rate * now - bucket.burst), first)
            busy = 1 if bucket.tat + drift <= now else busy + 1
            bucket.debit(n, now)
    return None
