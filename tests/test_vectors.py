"""The shared cases of tests/vectors/ in C: the fixed ones case by case, random ones by seed, and both on other processors.

tests/c/vectors.c reads no JSON; flat() says the same in lines of words.
"""
import functools
import hashlib
import json
import os
import sys

import pytest

import toolchain as t

VECTORS = t.ROOT / "tests" / "vectors"
FOLDER = t.BUILD / "vectors"
FIXED = sorted(VECTORS.glob("*.json"))
SEEDS = [1, 2, 3]
COUNT = 700             # random cases for each seed
ORACLES = ("oracle.py", "generate.py", "http_oracle.py", "http_cases.py")

LIMIT = ("amount", "period_ns", "burst", "guard_ns", "cells", "utc_offset_s", "wall_offset_ns")
METERS = ("requests", "input_tokens", "output_tokens", "microdollars", "custom")
READING = ("limit", "remaining", "rounding", "reset_ns", "period_ns", "period_least_ns", "period_most_ns")
MONTH = 2**64 - 1


# ---- JSON to lines --------------------------------------------------------------------------------

def flat_limit(limit):
    numbers = [MONTH if limit.get(key) == "month" else limit.get(key, 0) for key in LIMIT]
    return " ".join(map(str, [limit["kind"], limit["meter"], *numbers]))


def flat_cost(cost):
    return " ".join(str(cost.get(meter, 0)) for meter in METERS)


class Numbers(dict):
    """Numbers the names that it is asked for, from 0."""

    def __missing__(self, name):
        self[name] = len(self)
        return self[name]


def flat_op(op, permits, ids):
    name = op["op"]

    def number(key, absent="-"):
        return absent if op.get(key) is None else op[key]

    def waiter(key):
        return ids[op[key]] if op[key] is not None else "never"

    words = {
        "take": lambda: [op["n"], number("now", 0), op["wait"]],
        "peek": lambda: [op["n"], number("now", 0), op["wait"]],
        "reserve": lambda: [op["n"], op["max_wait"], op["now"], op["wait"]],
        "credit": lambda: [op["n"], op["now"], number("of"), op["result"]],
        "debit": lambda: [op["n"], op["now"], op["result"]],
        "release": lambda: [op["n"], op["result"]],
        "reconfigure": lambda: [flat_limit(op["limit"]), number("now", 0), op["result"]],
        "status": lambda: [number("index", 0), number("now", 0), *map(number, ("limit", "used", "remaining", "reset_ns"))],
        "acquire": lambda: [permits[op["permit"]], flat_cost(op["cost"]), op["now"], op["wait"]],
        "check": lambda: [flat_cost(op["cost"]), op["now"], op["wait"], number("binding")],
        "settle": lambda: [permits[op["permit"]], flat_cost(op["actual"]), op["now"], op["result"]],
        "cancel": lambda: [permits[op["permit"]], op["now"], op["result"]],
        "push": lambda: [ids[op["id"]], op["priority"], number("deadline", "none"), op["now"], op["result"]],
        "head": lambda: [waiter("id")],
        "expire": lambda: [op["now"], waiter("id")],
        "remove": lambda: [ids[op["id"]], op["result"]],
        "deadline": lambda: [number("deadline", "never")],
        "count": lambda: [op["count"]],
        "next": lambda: [op["class"], op["priority"], op["retry_after"], op["delay"]],
    }
    return " ".join(map(str, [name, *words[name]()]))


def hexed(text):
    return text.encode().hex() or "-"


def flat_http(case):
    """The operations of a case of kind http: what goes in, then what is expected."""
    expected = case["expected"]

    def word(key):
        value = expected.get(key, "-")
        if key == "named" and value != "-":
            return "+".join(value) or "none"
        return int(value) if isinstance(value, bool) else value

    for name, value in case["headers"]:
        yield "header %s %s" % (hexed(name), hexed(value))
    yield "body %d %d %s" % (case["status"], case.get("pad", 0), hexed(case["body"]))
    for key in ("verdict", "reason", "class", "outcome", "named"):
        yield "%s %s" % (key, word("error_class" if key == "class" else key))
    yield "waits " + " ".join(str(word(key)) for key in ("capped", "wait_ns", "retry_after_ns", "requested"))
    if "readings" in case:
        yield "readings %d" % len(case["readings"])
        for index, reading in enumerate(case["readings"]):
            yield " ".join(map(str, ["reading", index, reading["meter"], *(reading[key] for key in READING)]))


def flat(case):
    """The lines of a case."""
    kind, permits, ids = case["kind"], Numbers(), Numbers()
    ops = [flat_op(op, permits, ids) for op in case.get("ops", [])]
    begin = "begin"
    if kind == "queue":
        begin += " %d %d" % (case["config"]["capacity"], case["config"]["ageing_ns"])
    elif kind == "backoff":
        config = case["config"]
        numbers = [config[key] for key in ("factor_permille", "fraction_permille", "attempts_max", "base_ns", "cap_ns", "floor_ns")]
        numbers += [*config["base_class_ns"], *config["least_class_ns"], config["retry_after_max_ns"], case["seed"]]
        begin += " %s %s" % (config["jitter"], " ".join(map(str, numbers)))
    elif kind == "errors":
        begin, ops = None, ["init %s %s" % (flat_limit(case["limit"]), case["error"])]
    elif kind == "http":
        begin += " %s %d" % (case["profile"], case["wall_ns"])
        ops = list(flat_http(case))
    elif kind == "bucket_bound":
        kind, ops = "bucket", ["call %d %d" % tuple(call) for call in case["calls"]]
    yield "case %s %s" % (kind, case["name"])
    yield "start %d" % case.get("start", 0)
    if begin:
        for limit in case.get("limits", [case["limit"]] if "limit" in case else []):
            yield "limit " + flat_limit(limit)
        yield "sizes %d %d %d" % (len(ops), len(permits), len(ids))
        yield begin
    yield from ops
    yield "end"


# ---- Running --------------------------------------------------------------------------------------

# name: compiler, flags
TARGETS = {
    "gcc": ("gcc", ["-O2"]),
    "m32": ("gcc", ["-O2", "-m32"]),
    "sanitizers": ("clang", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
    "windows": (t.MINGW, ["-O2", "-static"]),
    **{processor: (compiler, ["-O2", "-static"]) for processor, (compiler, _) in t.EMULATED.items()},
}


def load(path):
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line.strip()]


def random_file(seed):
    """Cases of a seed, made once as long as the oracle stays the same."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    oracle = hashlib.sha256(b"".join((VECTORS / name).read_bytes() for name in ORACLES)).hexdigest()[:16]
    path = FOLDER / ("random-%d-%d-%s.jsonl" % (seed, COUNT, oracle))
    with t.locked(FOLDER / ("random-%d.lock" % seed)):
        if not path.exists():
            part = path.with_suffix(".part")
            t.run_ok([sys.executable, VECTORS / "generate.py", "--random", seed, COUNT, part])
            part.replace(path)
    return path


def binary_of(target):
    """(what runs it, the binary)"""
    compiler, flags = TARGETS[target]
    t.need_compiler(compiler, *flags)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", *flags]
    runner = t.emulator(target) if target in t.EMULATED else t.wine() if target == "windows" else []
    return runner, t.compile_or_fail("vectors-" + target, t.C_TESTS / "vectors.c", compiler, flags, name="vectors.exe")


def execute(target, path):
    """{name of a case: what was wrong, or None} of a file of cases."""
    runner, binary = binary_of(target)
    cases = load(path)
    names = [case["name"] for case in cases]
    assert cases and len(set(names)) == len(names), "names of cases are to be unique"
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / ("%s-%d.txt" % (path.name, os.getpid()))
    text.write_text("".join(line + "\n" for case in cases for line in flat(case)))
    done = t.run_foreign(runner, [binary, text], timeout=600)
    text.unlink()
    verdicts, said, logs = {}, [], {}
    for line in done.stdout.splitlines():
        head, _, rest = line.partition(" ")
        if line.startswith("ok ") or line.startswith("not ok "):
            name = line.partition("ok ")[2]
            verdicts[name] = None if line.startswith("ok ") else "\n".join(said) or "not ok"
            said = []
        elif head == "log":
            now, n, wait = rest.split()
            logs.setdefault(names[len(verdicts)], []).append([int(now), int(n), wait if wait == "never" else int(wait)])
        else:
            said.append(line)
    if done.returncode not in (0, 1) or len(verdicts) != len(cases):
        pytest.fail("%s: exit code %d after %d of %d cases\n%s" % (
            path.name, done.returncode, len(verdicts), len(cases), "\n".join(done.stdout.splitlines()[-40:])), pytrace=False)
    for name, reason in judge([case for case in cases if case["kind"] == "bucket_bound"], logs, folder).items():
        verdicts[name] = verdicts[name] or reason
    return verdicts


def judge(cases, logs, folder):
    """What check.py says of those cases that have a bound instead of answers."""
    if not cases:
        return {}
    path = folder / ("bound-%d.jsonl" % os.getpid())
    lines = [{"name": case["name"], "limit": case["limit"], "start": case.get("start", 0),
              "tolerance_ns": case.get("tolerance_ns", 1), "log": logs.get(case["name"], [])} for case in cases]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = t.run([sys.executable, VECTORS / "check.py", path])
    path.unlink()
    wrong = {}
    for line in done.stdout.splitlines():
        if line.startswith("line "):
            number = int(line.split()[1])
            wrong[cases[number - 1]["name"]] = line
    if done.returncode != 0 and not wrong:
        pytest.fail("check.py: exit code %d\n%s" % (done.returncode, done.stdout), pytrace=False)
    return wrong


@functools.lru_cache(maxsize=None)
def execute_once(target, path):
    return execute(target, path)


def check_all(target, path, repeat=""):
    verdicts = execute(target, path)
    wrong = [reason for reason in verdicts.values() if reason]
    if wrong:
        pytest.fail("%s, %s: %d of %d cases wrong%s\n%s" % (
            target, path.name, len(wrong), len(verdicts), repeat, "\n".join(wrong[:20])), pytrace=False)


def fixed_cases():
    for path in FIXED:
        for case in load(path):
            yield pytest.param(path, case["name"], id="%s-%s" % (path.stem, case["name"].replace(" ", "_")))


@pytest.mark.parametrize("path, name", fixed_cases())
def test_fixed(path, name):
    reason = execute_once("gcc", path)[name]
    if reason:
        pytest.fail(reason, pytrace=False)


@pytest.mark.parametrize("path", FIXED, ids=[path.stem for path in FIXED])
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "gcc"])
def test_fixed_elsewhere(target, path):
    check_all(target, path)


@pytest.mark.parametrize("seed", [*SEEDS, "fresh"])
def test_random(seed):
    seed = int(os.environ["RLIMIT_TEST_SEED"]) if seed == "fresh" else seed
    check_all("gcc", random_file(seed), "; SEED=%d repeats it" % seed)


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "gcc"])
def test_random_elsewhere(target):
    check_all(target, random_file(SEEDS[0]))


def test_every_kind_is_covered():
    kinds = {case["kind"] for path in FIXED for case in load(path)}
    assert {"bucket", "window", "concurrency", "calendar", "limiter", "queue", "backoff", "errors", "http", "bucket_bound"} <= kinds
