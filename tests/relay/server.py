"""The HTTP server.

A request passes, in this order: --network-ms; key; validation; faults before admission; admission, where
ceil(characters / 4) + max_tokens is charged; --latency-ms; faults after admission; the response. It is in flight from
admission until its response has been written whole, or its client has gone. With --charge actual the charge becomes
the actual usage when a response has been written whole; a response cut short keeps its estimate.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Optional, Tuple

from aiohttp import web

from .audit import Audit
from .faults import AFTER, BadFault, Faults, Rule, parse_header
from .policies import POLICIES, SECOND_NS, Gate
from .wire import FAMILIES, BadRequest, dumps

LIMIT_OPTIONS = {"rpm": "requests", "tpm": "tokens", "itpm": "input_tokens", "otpm": "output_tokens",
                 "concurrency": "concurrency"}
MAX_BODY = 32 * 2 ** 20


@dataclass
class Options:
    policy: str = "bucket"
    rpm: Optional[int] = None
    tpm: Optional[int] = None
    itpm: Optional[int] = None
    otpm: Optional[int] = None
    concurrency: Optional[int] = None
    period: float = 60
    anchor: float = 0
    keys: Tuple[str, ...] = ()
    charge: str = "estimate"
    advertise: str = "enforced"
    default_output: int = 256
    latency_ms: Tuple[float, float] = (0, 0)
    network_ms: Tuple[float, float] = (0, 0)
    seed: int = 1

    @property
    def period_ns(self):
        return round(self.period * SECOND_NS)

    def per_period(self, option, per_minute):
        """A limit a minute as the limit a period, rounded down. ValueError if nothing is left of it."""
        enforced = per_minute * self.period_ns // (60 * SECOND_NS)
        if enforced < 1:
            raise ValueError("%s: %d a minute is less than 1 in a period of %gs" % (option, per_minute, self.period))
        return enforced


class LimitState:
    """One limit at one instant: `limit` and `remaining` as advertised, `enforced` and `left` as they are."""

    __slots__ = ("name", "limit", "remaining", "enforced", "left", "reset_ns")

    def __init__(self, name, limit, enforced, left, reset_ns):
        self.name, self.limit, self.enforced, self.left, self.reset_ns = name, limit, enforced, left, reset_ns
        self.remaining = limit - enforced + left


class Account:
    """One key: its gate, its audit and its counts."""

    COUNTS = ("received", "admitted", "completed", "too_large", "invalid", "client_gone")

    def __init__(self, options):
        self.options = options
        self.per_minute = {name: getattr(options, option) for option, name in LIMIT_OPTIONS.items()
                           if getattr(options, option) is not None and name != "concurrency"}
        enforced = {name: options.per_period(option, self.per_minute[name])
                    for option, name in LIMIT_OPTIONS.items() if name in self.per_minute}
        anchor_ns = round(options.anchor * SECOND_NS)
        make = POLICIES[options.policy]
        self.gate = Gate({name: make(limit, options.period_ns, anchor_ns) for name, limit in enforced.items()},
                         options.concurrency)
        self.audit = Audit(options.policy, enforced, options.period_ns, anchor_ns, options.concurrency)
        self.max_in_flight = 0
        self.counts = dict.fromkeys(self.COUNTS, 0)
        self.refused = dict.fromkeys([*enforced, "concurrency"], 0)
        self.faults = {}
        self.start_span(0)

    def start_span(self, now_ns):
        """Utilization is counted from here."""
        self.span_ns = now_ns
        self.first_ns = self.last_ns = None
        self.charged = {"requests": 0, "tokens": 0, "input_tokens": 0, "output_tokens": 0}

    @staticmethod
    def _units(input_tokens, output_tokens):
        return {"requests": 1, "tokens": input_tokens + output_tokens,
                "input_tokens": input_tokens, "output_tokens": output_tokens}

    def _costs(self, units):
        return tuple([units[name] for name in self.gate.limits])

    def offer(self, call, now_ns):
        units = self._units(call.input_tokens, call.max_output)
        costs = self._costs(units)
        permit, limit, wait_ns = self.gate.offer(costs, now_ns)
        if permit is None:
            self._count(self.counts if wait_ns is None else self.refused, "too_large" if wait_ns is None else limit)
            return None, limit, wait_ns, units.get(limit, 1)
        self.audit.admit(now_ns, costs)
        self.counts["admitted"] += 1
        self.max_in_flight = max(self.max_in_flight, self.gate.in_flight)
        self.first_ns = now_ns if self.first_ns is None else self.first_ns
        self.last_ns = now_ns
        for name, n in units.items():
            self.charged[name] += n
        return permit, None, 0, 0

    def complete(self, permit, call, now_ns):
        """The response has been written whole."""
        self.counts["completed"] += 1
        if self.options.charge != "actual":
            return
        estimate = self._units(call.input_tokens, call.max_output)
        actual = self._units(call.input_tokens, call.output_used)
        costs = self._costs(actual)
        self.gate.settle(permit, costs, now_ns)
        self.audit.settle(now_ns, permit.at_ns, [old - new for old, new in zip(permit.costs, costs)])
        if permit.at_ns >= self.span_ns:
            for name, n in actual.items():
                self.charged[name] += n - estimate[name]

    def release(self, permit, now_ns):
        self.gate.release(permit)
        self.audit.release(now_ns)

    def count_fault(self, kind):
        self._count(self.faults, kind)

    @staticmethod
    def _count(counts, name):
        counts[name] = counts.get(name, 0) + 1

    def state(self, name, now_ns):
        if name == "concurrency":
            cap = self.gate.concurrency
            return LimitState(name, cap, cap, cap - self.gate.in_flight, 0)
        policy = self.gate.limits[name]
        limit = self.per_minute[name] if self.options.advertise == "nominal" else policy.limit
        return LimitState(name, limit, policy.limit, policy.remaining(now_ns), policy.reset_ns(now_ns))

    def states(self, now_ns):
        return [self.state(name, now_ns) for name in self.gate.limits]

    def set_limit(self, name, per_minute, enforced, now_ns):
        self.gate.set_limit(name, enforced, now_ns)
        self.audit.set_limit(now_ns, name, enforced)
        if name != "concurrency":
            self.per_minute[name] = per_minute
            self.start_span(now_ns)

    def available(self, first_ns, last_ns):
        """What each limit made available between two admissions; see policies.py."""
        return {name: policy.available(first_ns, last_ns) for name, policy in self.gate.limits.items()}

    def stats(self):
        over_limit, over_limit_by = self.audit.check()
        limits = {name: policy.limit for name, policy in self.gate.limits.items()}
        available = {} if self.first_ns is None else self.available(self.first_ns, self.last_ns)
        return {**self.counts, "refused": dict(self.refused), "over_limit": over_limit,
                "over_limit_by": over_limit_by, "faults": dict(self.faults), "in_flight": self.gate.in_flight,
                "max_in_flight": self.max_in_flight, "charged": dict(self.charged), "available": available,
                **utilization(self.charged, available), "first_ns": self.first_ns, "last_ns": self.last_ns,
                "limits": {**limits, "concurrency": self.gate.concurrency}}


def utilization(charged, available):
    by_limit = {name: charged[name] / n for name, n in available.items()}
    return {"utilization": max(by_limit.values(), default=None), "utilization_by": by_limit}


def _add(total, part):
    for name, n in part.items():
        total[name] = total.get(name, 0) + n


class Relay:
    def __init__(self, options, clock):
        self.options, self.clock = options, clock
        self.faults = Faults(None)
        self.request_count = 0
        self.reset()
        self.app = web.Application(client_max_size=MAX_BODY)
        for family in FAMILIES:
            self.app.router.add_post(family.path, self._endpoint(family))
        self.app.router.add_get("/_health", self._health)
        self.app.router.add_get("/_stats", self._stats)
        self.app.router.add_post("/_reset", self._reset)
        self.app.router.add_post("/_limits", self._limits)
        self.app.router.add_get("/_faults", self._list_faults)
        self.app.router.add_post("/_faults", self._add_fault)
        self.app.router.add_delete("/_faults", self._clear_faults)

    def reset(self):
        """New accounts with full quotas. What is in flight now is counted nowhere from here on."""
        self.random = self.faults.random = random.Random(self.options.seed)
        self.accounts = {key: Account(self.options) for key in self.options.keys}
        self.unauthorized = 0
        self.in_flight = self.max_in_flight = 0
        self.epoch = object()
        self.seen, self.completed = set(), {}

    def account(self, key):
        account = self.accounts.get(key)
        if account is None and key and not self.options.keys:
            account = self.accounts[key] = Account(self.options)
        return account

    def stats(self):
        keys = {key: account.stats() for key, account in self.accounts.items()}
        used = [account for account in self.accounts.values() if account.first_ns is not None]
        total = {"unauthorized": self.unauthorized}
        for name in (*Account.COUNTS, "over_limit", "in_flight"):
            total[name] = sum(stats[name] for stats in keys.values())
        for name in ("refused", "over_limit_by", "faults", "charged"):
            total[name] = {}
            for stats in keys.values():
                _add(total[name], stats[name])
        first_ns = min((account.first_ns for account in used), default=None)
        last_ns = max((account.last_ns for account in used), default=None)
        available = {}
        for account in used:
            _add(available, account.available(first_ns, last_ns))
        total.update(available=available, **utilization(total["charged"], available), first_ns=first_ns,
                     last_ns=last_ns, max_in_flight=self.max_in_flight)
        repeats = self.completed.values()
        return {"policy": self.options.policy, "period_ns": self.options.period_ns,
                "now_ns": self.clock.now_ns(), "total": total, "keys": keys, "seen_client_ids": len(self.seen),
                "completed_by_client_id": {"distinct": len(repeats), "max": max(repeats, default=0),
                                           "duplicates": sum(repeats) - len(repeats)}}

    # The API endpoints.

    def _endpoint(self, family):
        async def handle(request):
            return await _Exchange(self, family, request).run()
        return handle

    def between(self, bounds_ms):
        """Seconds."""
        low, high = bounds_ms
        return (low if low == high else self.random.uniform(low, high)) / 1000

    def next_request_id(self):
        self.request_count += 1
        return "req_%016x" % self.request_count

    # The control endpoints.

    async def _health(self, request):
        return _json({"status": "ok"})

    async def _stats(self, request):
        return _json(self.stats())

    async def _reset(self, request):
        self.reset()
        return _json({"status": "ok"})

    async def _list_faults(self, request):
        return _json([rule.as_dict() for rule in self.faults.rules])

    async def _add_fault(self, request):
        try:
            rule = Rule(await request.json())
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        self.faults.rules.append(rule)
        return _json(rule.as_dict(), 201)

    async def _clear_faults(self, request):
        self.faults.rules.clear()
        return _json([])

    async def _limits(self, request):
        try:
            self._change_limits(await request.json())
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json({"status": "ok"})

    def _change_limits(self, changes):
        """All changes or none. Without a key they hold for every account, also those to come."""
        if not isinstance(changes, dict):
            raise ValueError("the body is not a JSON object")
        key = changes.pop("key", None)
        if key is not None and key not in self.accounts:
            raise ValueError("key: unknown key %r" % (key,))
        enforced = {}
        for option, limit in changes.items():
            if option not in LIMIT_OPTIONS:
                raise ValueError("%s: unknown limit" % option)
            if getattr(self.options, option) is None:
                raise ValueError("%s: not limited at start" % option)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ValueError("%s: %r is not an integer of at least 1" % (option, limit))
            enforced[option] = limit if option == "concurrency" else self.options.per_period(option, limit)
        now_ns = self.clock.now_ns()
        for account in self.accounts.values() if key is None else (self.accounts[key],):
            for option, limit in enforced.items():
                account.set_limit(LIMIT_OPTIONS[option], changes[option], limit, now_ns)
        if key is None:
            for option in enforced:
                setattr(self.options, option, changes[option])


def _json(value, status=200):
    return web.Response(body=dumps(value), status=status, content_type="application/json")


class _Exchange:
    """One request and its response."""

    def __init__(self, relay, family, request):
        self.relay, self.family, self.request = relay, family, request
        self.request_id = relay.next_request_id()
        self.account, self.key, self.asked = None, None, ()
        self.client_id = None

    async def run(self):
        relay, family, request = self.relay, self.family, self.request
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self.error(413, family.error(413, "Request exceeds the maximum size", self.request_id))
        if relay.options.network_ms[1]:
            await relay.clock.sleep(relay.between(relay.options.network_ms))

        self.key = self._key()
        account = self.account = relay.account(self.key)
        if account is None:
            relay.unauthorized += 1
            return self.error(401, family.unauthorized(self.key, self.request_id))
        account.counts["received"] += 1
        self.client_id = request.headers.get("x-client-id") or request.headers.get("x-request-id")
        if self.client_id:
            relay.seen.add(self.client_id)
        try:
            call = family.parse(raw, relay.options.default_output)
            asked = request.headers.get("x-relay-fault")
            if asked:
                self.asked = parse_header(asked)
        except (BadRequest, BadFault) as error:
            account.counts["invalid"] += 1
            if isinstance(error, BadFault):
                error = BadRequest("x-relay-fault: %s" % error)
            return self.error(400, family.bad_request(error, self.request_id))
        return await self._decide(call)

    def _key(self):
        headers = self.request.headers
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else headers.get("x-api-key", "")

    async def _decide(self, call):
        relay, family, account = self.relay, self.family, self.account
        kind, value, delay = relay.faults.pick(self.key, self.asked)
        if delay:
            account.count_fault("delay")
        if kind:
            account.count_fault(kind)
            if kind not in AFTER:
                return self._fault_before(call, kind, value)

        now_ns = relay.clock.now_ns()
        permit, limit, wait_ns, requested = account.offer(call, now_ns)
        if permit is None:
            state = account.state(limit, now_ns)
            if wait_ns is None:
                return self.error(family.too_large_status,
                                  family.too_large(call, state, requested, self.request_id))
            return self.error(429, family.refused(call, state, requested, wait_ns, self.request_id), wait_ns)

        epoch = relay.epoch
        relay.in_flight += 1
        relay.max_in_flight = max(relay.max_in_flight, relay.in_flight)
        done = False
        try:
            response, done = await self._respond(call, kind, delay, now_ns)
            if done:
                account.complete(permit, call, relay.clock.now_ns())
                if self.client_id and epoch is relay.epoch:
                    relay.completed[self.client_id] = relay.completed.get(self.client_id, 0) + 1
            return response
        except (asyncio.CancelledError, ConnectionError):
            account.counts["client_gone"] += 1
            raise
        finally:
            account.release(permit, relay.clock.now_ns())
            if epoch is relay.epoch:
                relay.in_flight -= 1

    def _fault_before(self, call, kind, value):
        family = self.family
        if kind == "drop":
            return self._drop()
        if kind == "quota":
            return self.error(429, family.quota(self.request_id))
        if kind == "429":
            wait_ns = round((1.0 if value is None else value) * SECOND_NS)
            return self.error(429, family.refused(call, None, 1, wait_ns, self.request_id), wait_ns)
        return self.error(int(kind), family.fault(int(kind), self.request_id))

    async def _respond(self, call, fault, delay, now_ns):
        """(response, whether the answer has been written whole)."""
        relay, family, request = self.relay, self.family, self.request
        headers = self.headers(now_ns)
        latency = relay.between(relay.options.latency_ms) + delay
        if call.stream and fault in (None, "drop_mid"):
            return await self._stream(call, fault, latency, headers, now_ns)
        if latency:
            await relay.clock.sleep(latency)
        if fault == "drop_after":
            return self._drop(), False
        if fault not in (None, "drop_mid"):
            status = int(fault[:3])
            response = self.error(status, family.fault(status, self.request_id), headers=headers)
            await self._write(response)
            return response, False

        body = dumps(family.plain(call, self.request_id, now_ns))
        if fault == "drop_mid":
            response = web.StreamResponse(headers=headers)
            response.content_type = "application/json"
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[:len(body) // 2])
            self._close()
            return response, False
        response = web.Response(body=body, headers=headers, content_type="application/json")
        await self._write(response)
        return response, True

    async def _stream(self, call, fault, latency, headers, now_ns):
        events = self.family.events(call, self.request_id, now_ns)
        if fault == "drop_mid":
            last = len(events) // 2
        else:
            last = len(events) - 1
        response = web.StreamResponse(headers={**headers, "cache-control": "no-cache"})
        response.content_type = "text/event-stream"
        await response.prepare(self.request)
        for event in events[:last]:
            if latency:
                await self.relay.clock.sleep(latency / last)
            await response.write(event)
        if fault == "drop_mid":
            self._close()
            return response, False
        await response.write_eof(events[last])
        return response, True

    async def _write(self, response):
        await response.prepare(self.request)
        await response.write_eof()

    def _close(self):
        if self.request.transport is not None:
            self.request.transport.close()

    def _drop(self):
        self._close()
        return web.Response()

    def headers(self, now_ns):
        headers = {self.family.request_id_header: self.request_id}
        if self.account is not None:
            headers.update(self.family.headers(self.account.states(now_ns), now_ns))
        return headers

    def error(self, status, body, wait_ns=0, headers=None):
        """An error response; `wait_ns` 0 is unknown and gives no retry-after."""
        headers = self.headers(self.relay.clock.now_ns()) if headers is None else headers
        if wait_ns:
            headers["retry-after"] = str(-(-wait_ns // SECOND_NS))
            headers["retry-after-ms"] = str(-(-wait_ns // 10 ** 6))
        change = self.account and self.relay.faults.retry_after(self.key, self.asked)
        if change:
            self.account.count_fault(change[0])
            headers.pop("retry-after", None)
            headers.pop("retry-after-ms", None)
            if change[0] == "retry_after_absurd":
                headers["retry-after"] = change[1]
        return web.Response(body=dumps(body), status=status, headers=headers, content_type="application/json")


async def start(relay, host="127.0.0.1", port=0):
    """(runner, port). `await runner.cleanup()` stops it."""
    runner = web.AppRunner(relay.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]
