"""tests/explore: every interleaving of a few threads through rlimit.h, threads killed anywhere, and faults that must be found.

Each scenario has a short budget here; a run of `scenarios --long` in build/tests/explore goes further. A failure prints
the schedule, and `scenarios NAME --replay SCHEDULE` tells it step by step.
"""
import importlib.util
import json
import platform
import subprocess

import pytest

import toolchain as t

EXPLORE = t.ROOT / "tests" / "explore"
SOURCE = EXPLORE / "scenarios.c"
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
SECONDS = 20            # of processor time, for a scenario; most take hundredths

pytestmark = pytest.mark.skipif(platform.system() not in ("Linux", "FreeBSD"), reason="needs ucontext.h")


def faults():
    spec = importlib.util.spec_from_file_location("explore_faults", EXPLORE / "faults.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FAULTS


def build():
    return t.compile_c("explore", SOURCE, "gcc", [*FLAGS, "-O2"])


def names():
    try:
        return t.run_ok([build(), "--list"]).split()
    except (t.CompileError, OSError):
        return ["all"]


def explore(binary, *arguments):
    """The exit code, the results, and the lines that say why."""
    done = t.run([binary, "--json", *arguments], timeout=600)
    lines = done.stdout.splitlines()
    return done.returncode, [json.loads(line) for line in lines if line.startswith("{")], "\n".join(lines)


@pytest.mark.parametrize("name", names())
def test_scenario(name):
    t.need("gcc")
    binary = t.compile_or_fail("explore", SOURCE, "gcc", [*FLAGS, "-O2"])
    code, results, said = explore(binary, "--seconds", SECONDS, *([] if name == "all" else [name]))
    if code != 0 or not results:
        pytest.fail("exit code %d: %s %s\n%s" % (code, binary, name, said), pytrace=False)
    assert all(result["executions"] > 1 for result in results), said
    assert all(result["exhausted"] for result in results), "not finished in %d s:\n%s" % (SECONDS, said)


def faulty(number, old, new):
    """A build with one fault."""
    header = (t.ROOT / "rlimit.h").read_text()
    if header.count(old) != 1:
        pytest.fail("this text occurs %d times in rlimit.h, not once: write the fault anew\n%s" % (header.count(old), old), pytrace=False)
    configuration = "explore-fault-%d" % number
    folder = t.write_unit(configuration, "rlimit.h", header.replace(old, new)).parent
    return t.compile_or_fail(configuration, SOURCE, "gcc", ["-std=gnu11", "-O0", "-w", "-I", str(folder)])


@pytest.mark.parametrize("number, old, new, scenarios", [
    pytest.param(number, old, new, scenarios, id=name) for number, (name, old, new, scenarios) in enumerate(faults())])
def test_fault(number, old, new, scenarios):
    """A fault is found, and the schedule that is printed finds it again."""
    t.need("gcc")
    binary = faulty(number, old, new)
    for scenario in scenarios:
        code, results, said = explore(binary, "--seconds", SECONDS, scenario)
        if code == 0:
            continue
        assert code == 1 and results and not results[0]["ok"], said
        schedule = next((line for line in said.splitlines() if line.startswith("# --replay '")), None)
        assert schedule, said
        _, choices, kill = schedule.split("'")
        again = t.run([binary, scenario, "--replay", choices, *kill.split()])
        assert again.returncode == 1, "the schedule does not fail again: %s\n%s" % (schedule, again.stdout)
        assert [line for line in again.stdout.splitlines() if line.startswith("# " + scenario.partition("+")[0])] == \
               [line for line in said.splitlines() if line.startswith("# " + scenario.partition("+")[0])]
        return
    pytest.fail("found by none of " + ", ".join(scenarios), pytrace=False)


def test_reduction_loses_nothing(tmp_path):
    """Of small random programs the reduced search reaches every end that the full one does."""
    t.need("gcc")
    binary = t.compile_or_fail("explore", EXPLORE / "reduction.c", "gcc", [*FLAGS, "-O2"])
    done = subprocess.run([binary, t.os.environ.get("RLIMIT_TEST_SEED", "1")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
