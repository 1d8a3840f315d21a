"""A second opinion on every admission.

The server writes down what it did; the audit replays that log with arithmetic that shares nothing with policies.py
and counts the admissions that the policy forbids. The log is consumed as it is checked, every LOG_MAX entries at the
latest, so memory is bounded by what one period admits.
"""

import heapq

LOG_MAX = 4096


class _BucketAudit:
    """Arrival curve: between any two instants, no more than limit + limit * elapsed / period. With
    A(t) = period * admitted - limit * t, that is A(t) - min A before t <= limit * period."""

    def __init__(self, limit, period_ns, anchor_ns):
        self.limit, self.period_ns = limit, period_ns
        self.admitted, self.origin_ns, self.lowest = 0, None, 0

    def _curve(self, at_ns):
        if self.origin_ns is None:
            self.origin_ns = at_ns
        return self.period_ns * self.admitted - self.limit * (at_ns - self.origin_ns)

    def admit(self, at_ns, n):
        self.lowest = min(self.lowest, self._curve(at_ns))
        self.admitted += n
        return self._curve(at_ns) - self.lowest <= self.limit * self.period_ns

    def credit(self, at_ns, admitted_ns, n):
        self.lowest = min(self.lowest, self._curve(at_ns))
        self.admitted -= n

    def set_limit(self, at_ns, limit):
        used = max(self._curve(at_ns) - self.lowest, 0)
        left = min(self.limit * self.period_ns - used, limit * self.period_ns)
        self.limit, self.admitted, self.origin_ns = limit, 0, at_ns
        self.lowest = left - limit * self.period_ns


class _FixedAudit:
    """A total for each window."""

    def __init__(self, limit, period_ns, anchor_ns):
        self.limit, self.period_ns, self.anchor_ns = limit, period_ns, anchor_ns
        self.total = {}

    def _add(self, at_ns, n):
        window = (at_ns - self.anchor_ns) // self.period_ns
        self.total[window] = self.total.get(window, 0) + n
        return self.total[window]

    def admit(self, at_ns, n):
        return self._add(at_ns, n) <= self.limit

    def credit(self, at_ns, admitted_ns, n):
        self._add(admitted_ns if n > 0 else at_ns, -n)

    def set_limit(self, at_ns, limit):
        self.limit = limit


class _SlidingAudit:
    """The sum over (t - period, t] at each admission."""

    def __init__(self, limit, period_ns, anchor_ns):
        self.limit, self.period_ns = limit, period_ns
        self.inside, self.total = [], 0

    def _add(self, at_ns, n):
        heapq.heappush(self.inside, (at_ns, n))
        self.total += n

    def admit(self, at_ns, n):
        self._add(at_ns, n)
        while self.inside[0][0] + self.period_ns <= at_ns:
            self.total -= heapq.heappop(self.inside)[1]
        return self.total <= self.limit

    def credit(self, at_ns, admitted_ns, n):
        self._add(admitted_ns if n > 0 else at_ns, -n)

    def set_limit(self, at_ns, limit):
        self.limit = limit


_KINDS = {"bucket": _BucketAudit, "fixed": _FixedAudit, "sliding": _SlidingAudit}


class Audit:
    """`limits` maps names to limits; costs come in the same order."""

    def __init__(self, policy, limits, period_ns, anchor_ns=0, concurrency=None):
        self._checks = {name: _KINDS[policy](limit, period_ns, anchor_ns) for name, limit in limits.items()}
        self._concurrency = concurrency
        self._in_flight = 0
        self._log = []
        self._over = dict.fromkeys([*limits, "concurrency"], 0)
        self._violations = 0

    def admit(self, at_ns, costs):
        self._append(self._check_admit, at_ns, costs)

    def settle(self, at_ns, admitted_ns, credits):
        self._append(self._check_settle, at_ns, admitted_ns, credits)

    def release(self, at_ns):
        self._append(self._check_release, at_ns)

    def set_limit(self, at_ns, name, limit):
        self._append(self._check_set_limit, at_ns, name, limit)

    def check(self):
        """(admissions that broke at least one limit, the same by limit), since the beginning."""
        for entry in self._log:
            entry[0](*entry[1:])
        self._log.clear()
        return self._violations, dict(self._over)

    def _append(self, *entry):
        self._log.append(entry)
        if len(self._log) >= LOG_MAX:
            self.check()

    def _check_admit(self, at_ns, costs):
        broken = [name for (name, check), n in zip(self._checks.items(), costs) if n and not check.admit(at_ns, n)]
        self._in_flight += 1
        if self._concurrency is not None and self._in_flight > self._concurrency:
            broken.append("concurrency")
        for name in broken:
            self._over[name] += 1
        self._violations += bool(broken)

    def _check_settle(self, at_ns, admitted_ns, credits):
        for check, n in zip(self._checks.values(), credits):
            if n:
                check.credit(at_ns, admitted_ns, n)

    def _check_release(self, at_ns):
        self._in_flight -= 1

    def _check_set_limit(self, at_ns, name, limit):
        if name == "concurrency":
            self._concurrency = limit
        else:
            self._checks[name].set_limit(at_ns, limit)
