"""The arithmetic of rlimit.h, proved by Frama-C (tests/proof); and that the proofs fail where a fault is put in.

Minutes, and needs frama-c-base, why3, z3 and cvc4: `make check-long` runs it.
"""
import json
import os
import sys

import pytest

import toolchain as t

PROVE = t.ROOT / "tests" / "proof" / "prove.py"
GROUPS = json.loads((PROVE.parent / "groups.json").read_text())

pytestmark = pytest.mark.skipif(os.environ.get("RLIMIT_LONG", "") in ("", "0"), reason="takes minutes: make check-long")

# group, what stands in the header, what is put there
FAULTS = {
    "a lost +1: waits rounded down": (
        "wait", "rlm_i_load_seq_cst(&rate->ns_per_tick_frac)) + 1;\n}\n\n/* Decides", "rlm_i_load_seq_cst(&rate->ns_per_tick_frac));\n}\n\n/* Decides"),
    "rounding down in place of up": (
        "convert", "return (ticks - 1) / whole + 1;", "return ticks / whole;"),
    "a wrong shift": (
        "multiply", "return ah * bh + (middle >> 32) + (low >> 32);", "return ah * bh + (middle >> 31) + (low >> 32);"),
    "a carry that is dropped": (
        "multiply", "low = al * bh + (middle & 0xffffffffu);", "low = al * bh;"),
    "an unclamped reading": (
        "ticks", "since_ns = now_ns < epoch_ns ? 0 : max_ns;", "since_ns = now_ns < epoch_ns ? 0 : since_ns;"),
    "< in place of <=": (
        "small", "return used + n <= limit ? 0 : RLM_ON_RELEASE;", "return used + n < limit ? 0 : RLM_ON_RELEASE;"),
    "< in place of <= in a bucket": (
        "step", "} else if ((int64_t)free_at <= (int64_t)ticks) {\n            if", "} else if ((int64_t)free_at < (int64_t)ticks) {\n            if"),
    "TAT that may lie in the past": (
        "step", "step->next = (ticks << 2) + start > busy ? (ticks << 2) + start : busy;", "step->next = busy;"),
    "a wrong constant": (
        "token", "uint64_t ticks = q * ((9 + q) / q), token = p * ((9 + q) / q);",
        "uint64_t ticks = q * ((8 + q) / q), token = p * ((8 + q) / q);"),
    "a guard without its rounding": (
        "token", "(guard_ns == 0 ? 1 : 2)", "(guard_ns == 0 ? 1 : 1)"),
}


def prove(*options):
    t.need("frama-c")
    t.need("z3")
    t.need("cvc4")
    done = t.run([sys.executable, PROVE, *options], timeout=900)
    goals = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert goals, done.stdout
    return goals, done.stdout


def unproved(goals):
    return ["%(group)s: %(function)s %(property)s" % goal for goal in goals if not goal["proved"]]


@pytest.mark.parametrize("group", ["bits", *GROUPS])
def test_proved(group):
    goals, said = prove("--group", group)
    failed = unproved(goals)
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_not_proved(fault, tmp_path):
    group, right, wrong = FAULTS[fault]
    text = (t.ROOT / "rlimit.h").read_text()
    assert text.count(right) == 1, "the header no longer says: " + right
    header = tmp_path / "rlimit.h"
    header.write_text(text.replace(right, wrong))
    goals, said = prove("--group", group, "--header", header, "--out", tmp_path, "--timeout", "2")
    assert unproved(goals), said
