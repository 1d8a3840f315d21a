"""The shared cases of tests/vectors/ through the Python objects: the fixed ones and random ones by seed."""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

import rlimit
from rlimit import _rlimit

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"
KINDS = ("bucket", "window", "concurrency", "calendar")
METERS = ("requests", "input_tokens", "output_tokens", "tokens", "microdollars", "custom")
WAITS = {"never": rlimit.NEVER, "release": rlimit.ON_RELEASE}
FOREVER = (1 << 64) - 1
JITTERS = ("none", "fraction", "full", "equal", "decorrelated")


def spec_of(limit):
    """A limit as the extension takes it: what it is checked for is in C."""
    period_ns = (1 << 64) - 1 if limit.get("period_ns") == "month" else limit.get("period_ns", 0)
    return (KINDS.index(limit["kind"]) if limit["kind"] in KINDS else 9, limit.get("amount", 0), period_ns, limit.get("burst", 0),
            limit.get("guard_ns", 0), limit.get("cells", 0), limit.get("utc_offset_s", 0), limit.get("wall_offset_ns", 0), 0, 0)


def agrees(wait, expected):
    return 0 < wait < rlimit.NEVER if expected == "positive" else wait == WAITS.get(expected, expected)


def result_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        return "ok"
    except rlimit.LimitError as error:
        return error.code


class Piece:
    """One bucket, window, cap or quota."""

    def __init__(self, case):
        self.kind = case["kind"]
        self.core = getattr(rlimit, self.kind.capitalize())(spec_of(case["limit"]), now=case.get("start", 0))
        self.marks = {}

    def take(self, index, op):
        answer = self.core.take(op["n"], op.get("now", 0))
        wait, self.marks[index] = answer if isinstance(answer, tuple) else (answer, None)
        return {"wait": wait}

    def peek(self, index, op):
        return {"wait": self.core.peek(op["n"], op.get("now", 0))}

    def reserve(self, index, op):
        return {"wait": self.core.reserve(op["n"], op["max_wait"], op["now"])}

    def credit(self, index, op):
        second = self.marks[op["of"]] if self.kind in ("window", "calendar") else op["now"]
        return {"result": result_of(self.core.credit, op["n"], second)}

    def debit(self, index, op):
        return {"result": result_of(self.core.debit, op["n"], op["now"])}

    def release(self, index, op):
        return {"result": result_of(self.core.release, op["n"])}

    def reconfigure(self, index, op):
        return {"result": result_of(self.core.reconfigure, spec_of(op["limit"]), op.get("now", 0))}

    def status(self, index, op):
        return dict(zip(("limit", "used", "remaining", "reset_ns"), self.core.status(op.get("now", 0))))


class WholeLimiter:
    """A Limiter on a clock that is set by hand."""

    def __init__(self, case):
        self.clock = rlimit.ManualClock()
        self.clock._now_ns = case["start"]
        self.core = _rlimit.Limiter()
        limits = tuple(spec_of(limit) for limit in case["limits"])
        meters = tuple(METERS.index(limit["meter"]) for limit in case["limits"])
        status = self.core._begin(limits, meters, tuple(limit["meter"]
                                  for limit in case["limits"]), 10, 0, self.clock, None, None, 0)
        assert status == 0, _rlimit.strerror(status)
        self.permits = {}

    def cost(self, op, key):
        return dict({"requests": 0}, **op[key])

    def acquire(self, index, op):
        self.clock._now_ns = op["now"]
        cost = self.cost(op, "cost")
        wait, _ = self.core._check_ns(**cost)
        try:
            permit = self.core.try_acquire(**cost)
        except rlimit.NeverAdmitted:
            assert wait == rlimit.NEVER
        else:
            assert (permit is not None) == (wait == 0), "check and try_acquire differ: %r, %r" % (wait, permit)
            if permit is not None and any(cost.values()):  # a cost of nothing is a peek: there is nothing to end
                self.permits[op["permit"]] = permit
        return {"wait": wait}

    def check(self, index, op):
        self.clock._now_ns = op["now"]
        cost = self.cost(op, "cost")
        told, (wait, binding) = self.core.check(**cost), self.core._check_ns(**cost)
        assert told.available == (wait == 0)
        assert told.wait == (wait / 1e9 if wait < rlimit.ON_RELEASE else math.inf)
        return {"wait": wait, "binding": binding}

    def end(self, op, call):
        """What ending a permit says; one that was never admitted is not there to be ended."""
        self.clock._now_ns = op["now"]
        if op["permit"] not in self.permits:
            return {"result": "permit"}
        try:
            call(self.permits[op["permit"]])
            return {"result": "ok"}
        except rlimit.LimitError as error:
            return {"result": error.code}
        except RuntimeError:
            return {"result": "permit"}

    def settle(self, index, op):
        return self.end(op, lambda permit: permit.settle(
            **{meter: op["actual"].get(meter, 0) for meter in METERS if meter != "tokens"}))

    def cancel(self, index, op):
        return self.end(op, lambda permit: permit.cancel())

    def debit(self, index, op):
        self.clock._now_ns = op["now"]
        return {"result": result_of(self.core.debit, **op["cost"])}

    def reconfigure(self, index, op):
        self.clock._now_ns = op["now"]
        which, limit = op.get("index", 0), op["limit"]
        return {"result": _rlimit.strerror(self.core._reconfigure(which, METERS.index(limit["meter"]), spec_of(limit)))[2]}

    def status(self, index, op):
        self.clock._now_ns = op["now"]
        return dict(zip(("limit", "used", "remaining", "reset_ns"), self.core._status()[0][op.get("index", 0)]))


class BareQueue:
    def __init__(self, case):
        self.core = _rlimit.Queue(case["config"]["capacity"], case["config"]["ageing_ns"])
        self.ids, self.handles = {}, {}

    def name(self, data):
        return {"id": None if data is None else next(name for name, number in self.ids.items() if number == data)}

    def push(self, index, op):
        number = self.ids.setdefault(op["id"], len(self.ids))
        deadline = FOREVER if op.get("deadline") is None else op["deadline"]
        try:
            self.handles[op["id"]] = self.core.push(number, op["priority"], deadline, op["now"])
        except rlimit.LimitError as error:
            return {"result": error.code}
        return {"result": "ok"}

    def head(self, index, op):
        return self.name(self.core.head())

    def expire(self, index, op):
        return self.name(self.core.expire(op["now"]))

    def remove(self, index, op):
        return {"result": result_of(self.core.remove, self.handles[op["id"]]) if op["id"] in self.handles else "handle"}

    def deadline(self, index, op):
        deadline = self.core.deadline()
        return {"deadline": None if deadline == FOREVER else deadline}

    def count(self, index, op):
        return {"count": self.core.count()}


class Delays:
    def __init__(self, case):
        config = dict(case["config"], jitter=JITTERS.index(case["config"]["jitter"]))
        for key in ("base_class_ns", "least_class_ns"):
            config[key] = tuple(config[key])
        self.core = _rlimit.BackoffPlan(**config).start(case["seed"])

    def next(self, index, op):
        return {"delay": self.core.next(op["class"], op["priority"], op["retry_after"])}


SUBJECTS = {"limiter": WholeLimiter, "queue": BareQueue, "backoff": Delays, **dict.fromkeys(KINDS, Piece)}
ANSWERS = ("wait", "result", "limit", "used", "remaining", "reset_ns", "binding", "id", "deadline", "count", "delay")
ARGUMENTS = {"push": ("id", "deadline"), "remove": ("id",), "reconfigure": ("limit",)}


def run_ops(case):
    subject = SUBJECTS[case["kind"]](case)
    for index, op in enumerate(case["ops"]):
        found = getattr(subject, op["op"])(index, op)
        for key in ANSWERS:
            if key not in op or key in ARGUMENTS.get(op["op"], ()):
                continue
            if key in ("wait", "delay"):
                right = agrees(found[key], op[key])
            else:
                right = found[key] == op[key]
            assert right, "%s, op %d %r: %s is %r" % (case["name"], index, op, key, found[key])


def run_errors(case):
    spec, meter = spec_of(case["limit"]), case["limit"]["meter"]
    number = METERS.index(meter) if meter in METERS else 9
    limiter = _rlimit.Limiter()
    assert _rlimit.strerror(limiter._begin((spec,), (number,), (str(meter),),
                            10, 0, None, None, None, 0))[2] == case["error"]


def unsaid(value):
    return rlimit.NEVER if value == "unsaid" else value


def run_http(case):
    expected, body = case["expected"], b" " * case.get("pad", 0) + case["body"].encode()
    pairs = [(name.encode(), value.encode()) for name, value in case["headers"]]
    answer = rlimit.parse(case["status"], pairs, body, provider=case["profile"], wall_ns=case["wall_ns"])
    feedback = answer.feedback
    found = {"verdict": answer.verdict, "reason": answer.reason or "none", "error_class": answer.error_class, "outcome": feedback.outcome,
             "capped": answer.capped, "wait_ns": answer._wait_ns, "retry_after_ns": feedback._retry_after_ns,
             "requested": rlimit.NEVER if feedback.requested is None else feedback.requested}
    for key, value in expected.items():
        if key == "named":
            assert sorted(feedback.named) == sorted(value)
        else:
            assert found[key] == unsaid(value), "%s: %s is %r, not %r" % (case["name"], key, found[key], value)
    if "readings" in case:
        keys = ("limit", "remaining", "rounding", "reset_ns", "period_ns", "period_least_ns", "period_most_ns")
        assert [(reading.meter, *reading._raw) for reading in feedback.readings] == [
            (reading["meter"], *(unsaid(reading[key]) for key in keys)) for reading in case["readings"]]


def run_case(case):
    if case["kind"] == "errors":
        run_errors(case)
    elif case["kind"] == "http":
        run_http(case)
    else:
        run_ops(case)


def calls(case):
    bucket = rlimit.Bucket(spec_of(case["limit"]), now=case.get("start", 0))
    log = []
    for now, n in case["calls"]:
        wait = bucket.take(n, now)
        log.append([now, n, "never" if wait == rlimit.NEVER else wait])
    return {"name": case["name"], "limit": case["limit"], "start": case.get(
        "start", 0), "tolerance_ns": case.get("tolerance_ns", 1), "log": log}


def judged(cases, folder):
    """check.py's word on buckets whose rate cannot be carried exactly."""
    path = folder / "bound.jsonl"
    path.write_text("".join(json.dumps(calls(case)) + "\n" for case in cases))
    done = subprocess.run([sys.executable, str(VECTORS / "check.py"), str(path)],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def fixed_cases():
    for path in sorted(VECTORS.glob("*.json")):
        for case in json.loads(path.read_text()):
            yield pytest.param(case, id="%s-%s" % (path.stem, case["name"].replace(" ", "_")))


@pytest.mark.parametrize("case", fixed_cases())
def test_fixed(case, tmp_path):
    if case["kind"] == "bucket_bound":
        judged([case], tmp_path)
    else:
        run_case(case)


@pytest.mark.parametrize("seed", [11, "fresh"])
def test_random(seed, tmp_path):
    seed = int(os.environ.get("RLIMIT_TEST_SEED", "1")) if seed == "fresh" else seed
    path = tmp_path / "random.jsonl"
    subprocess.run([sys.executable, str(VECTORS / "generate.py"), "--random",
                   str(seed), "250", str(path)], check=True, timeout=300)
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    for case in cases:
        if case["kind"] != "bucket_bound":
            run_case(case)
    bound = [case for case in cases if case["kind"] == "bucket_bound"]
    if bound:
        judged(bound, tmp_path)
