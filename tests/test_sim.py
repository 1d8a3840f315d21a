"""The simulator, tests/sim/: whole clients on virtual time. A short run here; `make check-long` runs 10^8 operations."""
import json
import os

import pytest

import toolchain as t

SOURCE = t.ROOT / "tests" / "sim" / "sim.c"
OPS = 10 ** 7
FOUND = [ # worlds in which a limiter failed once: seed, operations
    (67333896200126, 4773), (90000002001757, 7025), (90000003009581, 2065), (90000004005015, 1889), (90000006009486, 989),
    (90000007000693, 12952), (90000012007314, 82), (90000015007663, 553), (9314, 983), (92000000222278, 308)]
LONG = os.environ.get("RLIMIT_SIM_OPS")


def build(name, compiler, flags):
    t.need_compiler(compiler, *flags)
    flags = ["-std=gnu11", *flags, "-Wall", "-Wextra", "-Werror", "-I", str(SOURCE.parent)]
    return t.compile_or_fail("sim-" + name, SOURCE, compiler, flags)


def check(binary, seed, ops, folder):
    record = folder / "sim.json"
    done = t.run([binary, "--seed", seed, "--ops", ops, "--json", record], timeout=3600)
    if done.returncode != 0:
        pytest.fail(done.stdout, pytrace=False)
    return json.loads(record.read_text())


def test_worlds(tmp_path):
    """Fixed worlds; with RLIMIT_SIM_OPS so many, and those of a seed that is new: what fails is printed with the command that
    repeats it."""
    told = check(build("gcc", "gcc", ["-O2"]), 1, int(LONG or OPS), tmp_path)
    assert told["ok"] and told["operations"] >= OPS // 2 and told["worlds_told"] > 0
    assert told["done"] > 0 and told["cancelled"] > 0 and told["failed"] > 0 and told["expired"] > 0 and told["never"] > 0
    assert all(told["worlds_with"].values()), "a feature that no world has: %s" % told["worlds_with"]
    if LONG:
        assert check(build("gcc", "gcc", ["-O2"]), int(os.environ["RLIMIT_TEST_SEED"]) * 100000, int(LONG), tmp_path)["ok"]


@pytest.mark.parametrize("seed, ops", FOUND)
def test_what_failed_once(seed, ops, tmp_path):
    assert check(build("gcc", "gcc", ["-O2"]), seed, ops, tmp_path)["ok"]


def test_sanitizers(tmp_path):
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    assert check(build("sanitizers", "clang", flags), 1, 300000, tmp_path)["ok"]


def test_a_seed_repeats_exactly(tmp_path):
    """The same seed makes the same worlds, to the last call."""
    binary = build("gcc", "gcc", ["-O2"])
    first, again = (check(binary, 77, 200000, tmp_path) for _ in range(2))
    first.pop("seconds"), again.pop("seconds")
    assert first == again


def test_a_broken_limiter_is_found(tmp_path):
    """A header that admits one too many, once in a while, does not pass; and what is printed repeats the failure."""
    text = (t.ROOT / "rlimit.h").read_text()
    was = "if (view.held + n <= (force ? mask >> 1 : amount) && "
    assert text.count(was) == 1
    (tmp_path / "rlimit.h").write_text(text.replace(was, was.replace("amount)", "amount + (view.held == 7))")))
    binary = tmp_path / "sim"
    t.need_compiler("gcc")
    t.run_ok(["gcc", "-std=gnu11", "-O1", "-I", tmp_path, "-I", SOURCE.parent, SOURCE, "-o", binary])
    done = t.run([binary, "--ops", 3 * 10 ** 6])
    assert done.returncode == 1 and "too many" in done.stdout, done.stdout
    repeat = next(line for line in done.stdout.splitlines() if line.startswith("repeat: sim ")).split()[2:]
    again = t.run([binary, *repeat])
    assert again.returncode == 1 and done.stdout.splitlines()[0] == again.stdout.splitlines()[0], again.stdout
