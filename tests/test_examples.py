"""The examples that need nothing but a C compiler run as they stand."""
import re

import pytest

import toolchain as t

EXAMPLES = t.ROOT / "examples"
FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2", "-pthread"]


def output_of(name, compiler, standard):
    source = EXAMPLES / (name + ".c")
    if not source.exists():
        pytest.skip("examples/%s.c does not exist" % name)
    t.need_compiler(compiler)
    flags = [*(["-std=" + standard] if standard else []), *FLAGS]
    binary = t.compile_or_fail("examples-%s-%s" % (compiler, standard), source, compiler, flags)
    return t.run_ok([binary], timeout=120)


@pytest.mark.parametrize("compiler, standard", [("gcc", None), ("gcc", "c99"), ("clang", "c11")])
def test_basic(compiler, standard):
    """Five requests, the first two at once and the others no earlier than twenty a second allow."""
    output = output_of("basic", compiler, standard)
    times = [(int(number), int(ms)) for number, ms in re.findall(r"^request (\d+) admitted after +(\d+) ms$", output, re.M)]
    assert [number for number, _ in times] == [1, 2, 3, 4, 5], output
    assert all(ms >= 50 * max(0, number - 2) for number, ms in times), output


@pytest.mark.parametrize("compiler, standard", [("gcc", None), ("clang", None)])
def test_threads(compiler, standard):
    """Forty requests of eight threads, in order of time and never above twenty in the first instant; the ninth gives up."""
    output = output_of("threads", compiler, standard)
    lines = re.findall(r"^ *(\d+) ms  thread (\d+)  request (\d+)$", output, re.M)
    assert sorted((int(thread), int(request)) for _, thread, request in lines) == [(i, k) for i in range(8) for k in range(5)], output
    times = sorted(int(ms) for ms, _, _ in lines)
    assert all(times[k] >= 50 * (k - 19) - 1 for k in range(20, 40)), output
    assert re.search(r"^40 requests in \d+ ms, the ninth thread: cancelled\b", output, re.M), output
