"""Faults on demand.

Before admission, nothing is charged:
    400 401 403 408 409 429 500 502 503 504 529   answered with this status; `429=SECONDS` sets its retry-after
    quota                                         429 that says the money is spent; no retry-after
    drop                                          the connection is closed without a response
After admission, the request is charged and was in flight:
    500_after 502_after 503_after 504_after 529_after    answered with this status once the latency has passed
    drop_after                                    closed without a response once the latency has passed
    drop_mid                                      closed in the middle of the body or of the stream
    delay=SECONDS                                 added to the latency; combines with any other fault
On an error response, whether a fault or a true refusal:
    retry_after_missing                           neither retry-after nor retry-after-ms
    retry_after_absurd[=VALUE]                    retry-after: VALUE (86400 unless given), without retry-after-ms

A request asks for its own faults in the header `x-relay-fault`, separated by ";". `no-retry-after` and
`retry-after=VALUE` also name the last two, and "-" may stand for "_". Rules apply to the requests that follow.
Authentication and validation come before any fault.
"""

STATUSES = ("400", "401", "403", "408", "409", "429", "500", "502", "503", "504", "529")
BEFORE = frozenset(STATUSES + ("quota", "drop"))
AFTER = frozenset(("500_after", "502_after", "503_after", "504_after", "529_after", "drop_after", "drop_mid"))
RETRY_AFTER = frozenset(("retry_after_missing", "retry_after_absurd"))
KINDS = BEFORE | AFTER | RETRY_AFTER | {"delay"}

_ALIASES = {"no_retry_after": "retry_after_missing", "retry_after": "retry_after_absurd"}
_FIELDS = {"kind", "value", "count", "every", "rate", "skip", "key"}


class BadFault(ValueError):
    pass


def _check(kind, value):
    kind = _ALIASES.get(kind.replace("-", "_"), kind.replace("-", "_"))
    if kind not in KINDS:
        raise BadFault("kind: unknown fault %r" % kind)
    if kind in ("delay", "429") and (value is not None or kind == "delay"):
        try:
            value = float(value)
        except (TypeError, ValueError):
            value = -1.0
        if not 0 <= value < 1e6:
            raise BadFault("value: %s needs a number of seconds" % kind)
    elif kind == "retry_after_absurd":
        value = "86400" if value is None else str(value)
        if not value.isprintable():
            raise BadFault("value: retry-after cannot be %r" % value)
    elif value is not None and kind != "429":
        raise BadFault("value: %s takes no value" % kind)
    return kind, value


def parse_header(text):
    """[(kind, value)] from the header x-relay-fault."""
    faults = []
    for item in text.split(";"):
        kind, equals, value = item.strip().partition("=")
        faults.append(_check(kind, value if equals else None))
    return faults


class Rule:
    """Fires for the requests after the first `skip`, on each `every`-th of them, with probability `rate`, at most
    `count` times, for one `key` or all."""

    def __init__(self, fields):
        if not isinstance(fields, dict):
            raise BadFault("a fault is a JSON object")
        unknown = sorted(set(fields) - _FIELDS)
        if unknown:
            raise BadFault("%s: unknown field" % unknown[0])
        self.kind, self.value = _check(str(fields.get("kind")), fields.get("value"))
        self.count = self._whole(fields, "count", 1, None)
        self.every = self._whole(fields, "every", 1, 1)
        self.skip = self._whole(fields, "skip", 0, 0)
        self.rate = fields.get("rate", 1)
        if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)) or not 0 <= self.rate <= 1:
            raise BadFault("rate: %r is not between 0 and 1" % (self.rate,))
        self.key = fields.get("key")
        self.seen = self.fired = 0

    @staticmethod
    def _whole(fields, name, least, default):
        value = fields.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadFault("%s: %r is not a whole number of at least %d" % (name, value, least))
        return value

    def fires(self, key, random):
        if self.key is not None and key != self.key:
            return False
        if self.count is not None and self.fired >= self.count:
            return False
        self.seen += 1
        nth = self.seen - self.skip
        if nth <= 0 or nth % self.every or (self.rate < 1 and random.random() >= self.rate):
            return False
        self.fired += 1
        return True

    def as_dict(self):
        return {name: getattr(self, name)
                for name in ("kind", "value", "count", "every", "rate", "skip", "key", "seen", "fired")}


class Faults:
    def __init__(self, random):
        self.random = random
        self.rules = []

    def pick(self, key, asked):
        """(kind or None, its value, delay in seconds) for a request; what it asked for itself comes first."""
        chosen, delay = None, 0.0
        for kind, value in asked:
            if kind == "delay":
                delay += value
            elif kind not in RETRY_AFTER and chosen is None:
                chosen = kind, value
        for rule in self.rules:
            if rule.kind in RETRY_AFTER or (chosen and rule.kind != "delay"):
                continue
            if rule.fires(key, self.random):
                if rule.kind == "delay":
                    delay += rule.value
                else:
                    chosen = rule.kind, rule.value
        return (*(chosen or (None, None)), delay)

    def retry_after(self, key, asked):
        """(kind, value) that changes the retry-after of an error response, or None."""
        for kind, value in asked:
            if kind in RETRY_AFTER:
                return kind, value
        for rule in self.rules:
            if rule.kind in RETRY_AFTER and rule.fires(key, self.random):
                return rule.kind, rule.value
        return None
