"""Rate policies in exact integer arithmetic, with time as an argument.

No I/O and no clock: every call takes `now_ns`, an integer number of nanoseconds, so the same code serves a
server in real time and a simulation in virtual time.

A policy allows `limit` units in `period_ns`:

    Bucket   continuous refill; burst = limit, refill = limit per period
    Fixed    a counter that restarts at every multiple of the period, counted from `anchor_ns`
    Sliding  an exact log; never more than `limit` in any half-open period (t - period_ns, t]

Common methods:

    wait(n, now_ns)          0: would be admitted; None: never (n > limit); else nanoseconds, rounded up
    take(n, now_ns)          takes n, returns a mark for credit(); ValueError if wait() is not 0
    credit(n, now_ns, mark)  gives back n of what was taken under `mark`; a negative n debits, even below zero
    remaining(now_ns)        whole units left, negative in debt
    reset_ns(now_ns)         nanoseconds until nothing is used: full replenishment, not the next admission
    set_limit(limit, now_ns) changes the limit; what was used stays used
    available(first, last)   the most the policy admits between two admissions, both included

wait, remaining and reset_ns change nothing, so they may be asked about a later time. A `now_ns` earlier than the
last change never gives anything back.
"""

from collections import deque

SECOND_NS = 10 ** 9
MINUTE_NS = 60 * SECOND_NS


def _positive(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError("%s must be a positive integer, not %r" % (name, value))
    return value


def _amount(n):
    if n < 0:
        raise ValueError("n must not be negative, not %r" % (n,))


class _Policy:
    def __init__(self, limit, period_ns=MINUTE_NS, anchor_ns=0):
        self.limit = _positive("limit", limit)
        self.period_ns = _positive("period_ns", period_ns)
        self.anchor_ns = anchor_ns

    def advance(self, now_ns):
        """Drops what no longer matters at now_ns. Only a matter of speed."""

    def set_limit(self, limit, now_ns):
        self.limit = _positive("limit", limit)

    def _refuse(self, n, now_ns):
        raise ValueError("%d is not available at %d: wait is %s" % (n, now_ns, self.wait(n, now_ns)))


class Bucket(_Policy):
    """Continuous token bucket. Amounts are kept in 1/period_ns of a unit, so that one nanosecond refills
    exactly `limit` of them and nothing is ever rounded."""

    name = "bucket"

    def __init__(self, limit, period_ns=MINUTE_NS, anchor_ns=0):
        super().__init__(limit, period_ns, anchor_ns)
        self._used = 0
        self._at_ns = 0

    def _used_at(self, now_ns):
        if now_ns <= self._at_ns:
            return self._used
        used = self._used - self.limit * (now_ns - self._at_ns)
        return used if used > 0 else 0

    def _set(self, used, now_ns):
        self._used = used
        if now_ns > self._at_ns:
            self._at_ns = now_ns

    def wait(self, n, now_ns):
        if n > self.limit:
            return None
        if n <= 0:
            return _amount(n) or 0
        missing = self._used_at(now_ns) + (n - self.limit) * self.period_ns
        if missing <= 0:
            return 0
        return max(self._at_ns - now_ns, 0) - (-missing // self.limit)

    def take(self, n, now_ns):
        used = self._used_at(now_ns) + n * self.period_ns
        if n < 0 or (n and used > self.limit * self.period_ns):
            self._refuse(n, now_ns)
        self._set(used, now_ns)

    def credit(self, n, now_ns, mark=None):
        self._set(max(self._used_at(now_ns) - n * self.period_ns, 0), now_ns)

    def remaining(self, now_ns):
        return (self.limit * self.period_ns - self._used_at(now_ns)) // self.period_ns

    def reset_ns(self, now_ns):
        used = self._used_at(now_ns)
        return max(self._at_ns - now_ns, 0) - (-used // self.limit) if used else 0

    def set_limit(self, limit, now_ns):
        """Keeps what is left, up to the new limit: raising a limit is not a burst."""
        left = self.limit * self.period_ns - self._used_at(now_ns)
        super().set_limit(limit, now_ns)
        full = limit * self.period_ns
        self._set(full - min(left, full), now_ns)

    def available(self, first_ns, last_ns):
        return self.limit + self.limit * (last_ns - first_ns) // self.period_ns


class Fixed(_Policy):
    """A counter that restarts at each window. A credit counts only in the window of its admission; a debit counts
    in the window in which it arrives; debt ends with its window."""

    name = "fixed"

    def __init__(self, limit, period_ns=MINUTE_NS, anchor_ns=0):
        super().__init__(limit, period_ns, anchor_ns)
        self._used = 0
        self._window = None

    def _window_at(self, now_ns):
        window = (now_ns - self.anchor_ns) // self.period_ns
        return window if self._window is None or window > self._window else self._window

    def _used_at(self, now_ns):
        return self._used if self._window_at(now_ns) == self._window else 0

    def _roll(self, now_ns):
        window = self._window_at(now_ns)
        if window != self._window:
            self._window, self._used = window, 0

    def _left_ns(self, now_ns):
        return (self._window_at(now_ns) + 1) * self.period_ns + self.anchor_ns - now_ns

    def wait(self, n, now_ns):
        if n > self.limit:
            return None
        if n <= 0:
            return _amount(n) or 0
        return 0 if self._used_at(now_ns) + n <= self.limit else self._left_ns(now_ns)

    def take(self, n, now_ns):
        self._roll(now_ns)
        if n < 0 or (n and self._used + n > self.limit):
            self._refuse(n, now_ns)
        self._used += n
        return self._window

    def credit(self, n, now_ns, mark=None):
        self._roll(now_ns)
        if n < 0 or mark is None or mark == self._window:
            self._used = max(self._used - n, 0)

    def remaining(self, now_ns):
        return self.limit - self._used_at(now_ns)

    def reset_ns(self, now_ns):
        return self._left_ns(now_ns) if self._used_at(now_ns) else 0

    def available(self, first_ns, last_ns):
        """The limit for each window touched."""
        windows = (last_ns - self.anchor_ns) // self.period_ns - (first_ns - self.anchor_ns) // self.period_ns + 1
        return self.limit * windows


class Sliding(_Policy):
    """An exact log of [time, amount]. What was taken at t leaves at t + period_ns. A credit reduces its own entry;
    a debit is a new entry."""

    name = "sliding"

    def __init__(self, limit, period_ns=MINUTE_NS, anchor_ns=0):
        super().__init__(limit, period_ns, anchor_ns)
        self._log = deque()
        self._used = 0

    def advance(self, now_ns):
        log, gone_ns = self._log, now_ns - self.period_ns
        while log and log[0][0] <= gone_ns:
            self._used -= log.popleft()[1]

    def _used_at(self, now_ns):
        used, gone_ns = self._used, now_ns - self.period_ns
        for at_ns, amount in self._log:
            if at_ns > gone_ns:
                break
            used -= amount
        return used

    def _append(self, n, now_ns):
        if self._log:
            now_ns = max(now_ns, self._log[-1][0])
        entry = [now_ns, n]
        self._log.append(entry)
        self._used += n
        return entry

    def wait(self, n, now_ns):
        if n > self.limit:
            return None
        if n <= 0:
            return _amount(n) or 0
        excess = self._used + n - self.limit
        if excess <= 0:
            return 0
        for at_ns, amount in self._log:
            excess -= amount
            if excess <= 0:
                return max(at_ns + self.period_ns - now_ns, 0)
        raise AssertionError("the log does not add up")

    def take(self, n, now_ns):
        self.advance(now_ns)
        if n < 0 or (n and self._used + n > self.limit):
            self._refuse(n, now_ns)
        return self._append(n, now_ns) if n else None

    def credit(self, n, now_ns, mark=None):
        self.advance(now_ns)
        if n < 0:
            self._append(-n, now_ns)
        elif mark is None:
            if n:
                raise ValueError("a sliding log needs the mark of what is given back")
        elif mark[0] > now_ns - self.period_ns:
            n = min(n, mark[1])
            mark[1] -= n
            self._used -= n

    def remaining(self, now_ns):
        return self.limit - self._used_at(now_ns)

    def reset_ns(self, now_ns):
        for at_ns, amount in reversed(self._log):
            if amount:
                return max(at_ns + self.period_ns - now_ns, 0)
        return 0

    def available(self, first_ns, last_ns):
        """The limit for each half-open period needed to cover the span."""
        return self.limit * ((last_ns - first_ns) // self.period_ns + 1)


POLICIES = {policy.name: policy for policy in (Bucket, Fixed, Sliding)}


class Permit:
    """What an admitted request holds."""

    __slots__ = ("costs", "at_ns", "marks", "in_flight", "settled")

    def __init__(self, costs, at_ns, marks):
        self.costs, self.at_ns, self.marks = costs, at_ns, marks
        self.in_flight, self.settled = True, False


class Gate:
    """Several limits as one decision, all or nothing; a refusal changes nothing.

    `limits` maps names to policies. `costs` is a sequence of integers in the same order. `concurrency` is the number
    of permits in flight, None for no cap.
    """

    def __init__(self, limits, concurrency=None):
        self.limits = dict(limits)
        self.concurrency = None if concurrency is None else _positive("concurrency", concurrency)
        self.in_flight = 0
        self._named = list(self.limits.items())
        self._policies = list(self.limits.values())
        self._sliding = [policy for policy in self._policies if isinstance(policy, Sliding)]

    def check(self, costs, now_ns):
        """(None, 0) if it would be admitted; else (limit, wait_ns): wait_ns is None for never, and 0 for
        "concurrency", whose wait nobody knows. The limit named is one that can never admit, else the one with the
        longest wait, else concurrency."""
        refused, longest = None, 0
        for (name, policy), n in zip(self._named, costs):
            wait = policy.wait(n, now_ns)
            if wait is None:
                return name, None
            if wait > longest:
                refused, longest = name, wait
        if refused is None and self.concurrency is not None and self.in_flight >= self.concurrency:
            return "concurrency", 0
        return refused, longest

    def offer(self, costs, now_ns):
        """(permit, None, 0) if admitted; else (None, limit, wait_ns) as check() has it."""
        if len(costs) != len(self._policies):
            raise ValueError("%d costs for %d limits" % (len(costs), len(self._policies)))
        for policy in self._sliding:
            policy.advance(now_ns)
        refused, wait = self.check(costs, now_ns)
        if refused is not None:
            return None, refused, wait
        self.in_flight += 1
        marks = [policy.take(n, now_ns) for policy, n in zip(self._policies, costs)]
        return Permit(costs, now_ns, marks), None, 0

    def settle(self, permit, actual, now_ns):
        """Replaces the costs charged at admission by the actual ones, once."""
        if permit.settled:
            raise ValueError("the permit was settled before")
        permit.settled = True
        for policy, mark, charged, used in zip(self._policies, permit.marks, permit.costs, actual):
            if charged != used:
                policy.credit(charged - used, now_ns, mark)

    def release(self, permit):
        """Ends the permit's time in flight, once."""
        if not permit.in_flight:
            raise ValueError("the permit was released before")
        permit.in_flight = False
        self.in_flight -= 1

    def set_limit(self, name, limit, now_ns):
        """Changes a limit by name, or "concurrency"."""
        if name == "concurrency":
            self.concurrency = _positive("concurrency", limit)
        elif name in self.limits:
            self.limits[name].set_limit(limit, now_ns)
        else:
            raise ValueError("no limit named %r" % (name,))
