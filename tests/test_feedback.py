"""The limiter follows what the server says: bench/feedback.py with two seeds and invented costs, held to its goals.

At most one 429 for a limit that changed or was configured wrong, none otherwise; and at least 0.97 of what was available.
"""
import dataclasses
import importlib.util

import pytest

import toolchain as t

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2", "-fPIC", "-shared"]
SEEDS = (1, 2)


def load():
    spec = importlib.util.spec_from_file_location("feedback", t.ROOT / "bench" / "feedback.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


feedback = load()
COSTS, _ = feedback.trace(None)


@pytest.fixture(scope="module")
def lib():
    compiler = t.need_compiler("gcc", "-shared", "-fPIC")
    path = t.compile_or_fail("feedback", t.ROOT / "bench" / "feedback.c", compiler, FLAGS, name="libfeedback.so")
    return feedback.library(path)


def run(lib, name, seed):
    scenario = feedback.SCENARIOS[name]
    result = feedback.run_limited(lib, scenario, COSTS, seed)
    said = "%s, seed %d: %d rejected (%d late) of %d, utilisation %.4f, learned %s; 429s %s" % (
        name, seed, result.rejected, result.late, result.sent, result.utilisation, result.learned, result.refusals[:20])
    return scenario, result, said


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", feedback.GOALS)
def test_goals(lib, name, seed):
    scenario, result, said = run(lib, name, seed)
    assert result.rejected <= feedback.refusals_allowed(scenario), said
    assert result.utilisation >= 0.97, said
    assert result.over_limit == 0 and result.given_up == 0, said


def test_deterministic(lib):
    first, again = (run(lib, "i_all_openai", 5)[1] for _ in range(2))
    assert (first.sent, first.rejected, first.utilisation, first.refusals) == (
        again.sent, again.rejected, again.utilisation, again.refusals)


@pytest.mark.parametrize("name", ["f_none_openai", "f_none_anthropic"])
def test_learns_the_limits(lib, name):
    """What is in force at the end is what the server enforces."""
    scenario, result, said = run(lib, name, 3)
    for meter, amount in feedback.limits_of(dataclasses.replace(scenario, told=1)).items():
        assert "%s:%d/60s" % (meter, amount) in result.learned.split(","), said


def test_recipes_need_more():
    """The harness tells a client that obeys from one that does not."""
    scenario = feedback.SCENARIOS["e_second_client"]
    assert feedback.run_recipe("retry_only", scenario, COSTS, 1).rejected > 1000
    assert feedback.run_recipe("full_bucket", scenario, COSTS, 1).rejected > 50
    told = feedback.SCENARIOS["a_told"]
    assert feedback.run_recipe("at_75_percent", told, COSTS, 1).utilisation < 0.76
