"""The tests in C on other processors, by qemu-user, and on Windows, by wine. The shared cases there: test_vectors.py."""
import re

import pytest

import toolchain as t
from test_c import SOURCES, explain

FLAGS = ["-std=gnu11", "-O2", "-static", "-pthread"]
POSIX_ONLY = re.compile(r"#\s*include\s*<(pthread|unistd|sys/\w+|sched|semaphore)\.h>")


def check(runner, binary):
    done = t.run_foreign(runner, [binary], timeout=600)
    if done.returncode != 0 or not re.search(r"^ok ", done.stdout, re.M):
        pytest.fail(explain([*runner, binary], done), pytrace=False)


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
@pytest.mark.parametrize("processor", sorted(t.EMULATED))
def test_processor(processor, source):
    compiler = t.need_compiler(t.EMULATED[processor][0], *FLAGS)
    runner = t.emulator(processor)
    check(runner, t.compile_or_fail("cross-" + processor, source, compiler, FLAGS, after=["-lm"]))


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_windows(source):
    compiler = t.need_compiler(t.MINGW, *FLAGS)
    try:
        binary = t.compile_c("cross-windows", source, compiler, FLAGS, name=source.stem + ".exe")
    except t.CompileError as error:
        binary, said = None, str(error)
    if binary is None:
        posix = POSIX_ONLY.search(source.read_text())
        if posix:
            pytest.skip("this test needs <%s.h>" % posix.group(1))
        pytest.fail(said, pytrace=False)
    check(t.wine(), binary)
