"""The tests in C, tests/c/test_*.c: each function of theirs with gcc -O2, and the whole of them in further configurations."""
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import toolchain as t

SOURCES = sorted(t.C_TESTS.glob("test_*.c"))
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
BASE = ("gcc", ["-std=gnu11", "-O2", "-g", *WARNINGS, "-pthread"])

# name: compiler, flags, which sources
CONFIGURATIONS = {
    "clang": ("clang", ["-std=gnu11", "-O2", *WARNINGS, "-pthread"], SOURCES),
    "m32": ("gcc", ["-m32", "-std=gnu11", "-O2", *WARNINGS, "-pthread"], SOURCES),
    "sanitizers": ("clang", ["-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                             "-fno-omit-frame-pointer", "-pthread"], SOURCES),
    "static": ("gcc", ["-std=gnu11", "-O2", "-DRLM_STATIC", *WARNINGS, "-pthread"],
               [s for s in SOURCES if "#define RLM_STATIC" not in s.read_text()]),
    "lto": ("gcc", ["-std=gnu11", "-O3", "-flto", *WARNINGS, "-pthread"], SOURCES),
    "thread-sanitizer": ("clang", ["-std=gnu11", "-O1", "-g", "-fsanitize=thread", "-pthread"],
                         [s for s in SOURCES if "pthread.h" in s.read_text()]),
    "c++": ("g++", ["-std=gnu++17", "-O1", "-w", "-pthread"], SOURCES),
}


def compile_base(source):
    """(path of the binary, names of its tests) or the error."""
    try:
        binary = t.compile_c("gcc", source, BASE[0], BASE[1], after=["-lm"])
        return binary, t.run([binary, "--list"]).stdout.split()
    except (t.CompileError, OSError) as error:
        return error, []


def collect():
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, (binary, names) in zip(SOURCES, pool.map(compile_base, SOURCES)):
            for name in names or ["all"]:
                yield pytest.param(source, binary, name if names else None, id="%s-%s" % (source.stem, name))


def explain(command, done):
    """What a failed program said: the reasons, or the end of everything if it gave none."""
    lines = done.stdout.splitlines()
    said = [line for line in lines if line.startswith("#") or line.startswith("not ok")]
    sanitizer = re.search(r"(ERROR|WARNING): \w*Sanitizer|runtime error:", done.stdout)
    if not said or sanitizer or done.returncode < 0 or done.returncode > 1:
        said = lines[-80:]
    return "exit code %d: %s\n%s" % (done.returncode, " ".join(str(part) for part in command), "\n".join(said))


def check(command, **options):
    done = t.run(command, **options)
    if done.returncode != 0 or re.search(r"^not ok", done.stdout, re.M) or not re.search(r"^ok ", done.stdout, re.M):
        pytest.fail(explain(command, done), pytrace=False)


@pytest.mark.parametrize("source, binary, name", collect())
def test_c(source, binary, name):
    t.need("gcc")
    if isinstance(binary, Exception):
        pytest.fail(str(binary), pytrace=False)
    if name is None:
        pytest.fail("%s --list names no tests" % binary, pytrace=False)
    check([binary, name])


def runner_of(compiler, flags):
    """Nothing, or what turns off address randomisation where a sanitizer cannot live with it."""
    if "-fsanitize=thread" in flags and t.shutil.which(compiler) and t.works(compiler, tuple(flags), ()):
        if t.shutil.which("setarch"):
            return ["setarch", "-R"]
    return []


@pytest.mark.parametrize("configuration, source", [
    pytest.param(name, source, id="%s-%s" % (name, source.stem))
    for name, (_, _, sources) in CONFIGURATIONS.items() for source in sources])
def test_configuration(configuration, source):
    compiler, flags, _ = CONFIGURATIONS[configuration]
    t.need(compiler)
    runner = runner_of(compiler, flags)
    t.need_compiler(compiler, *flags, runner=runner)
    if configuration == "c++":
        skip_unless_cxx(source, compiler, flags)
    binary = t.compile_or_fail(configuration, source, compiler, flags, after=["-lm"])
    check([*runner, binary], timeout=600)


def skip_unless_cxx(source, compiler, flags):
    """A test may use what only C has; the headers may not."""
    done = t.run([compiler, *flags, *t.INCLUDES, "-fsyntax-only", source])
    error = first_error(done.stdout)
    if done.returncode != 0 and not re.search(r"rlimit\w*\.h:", error):
        pytest.skip("this test is not C++: " + error)


def first_error(text):
    return next((line for line in text.splitlines() if "error" in line), "").replace(str(t.ROOT) + "/", "")


# ---- Programs of several units --------------------------------------------------------------------

CXX_STANDARDS = ["c++11", "c++14", "c++17", "c++20"]


def link(name, linker, objects):
    binary = t.BUILD / "units-linked" / name
    binary.parent.mkdir(parents=True, exist_ok=True)
    t.run_ok([linker, *objects, "-o", binary])
    return binary


@pytest.mark.parametrize("standard", CXX_STANDARDS)
@pytest.mark.parametrize("c, cxx", [("gcc", "g++"), ("clang", "clang++"), ("gcc", "clang++")])
def test_units_of_c_and_cxx(c, cxx, standard):
    """Two units in C and one in C++ share one implementation and one limiter."""
    t.need_compiler(c)
    t.need_compiler(cxx)
    objects = [t.compile_or_fail("units-" + c, t.C_TESTS / name, c, ["-std=c99", "-O2", *WARNINGS, "-c"], name=name + ".o")
               for name in ("two_units_a.c", "two_units_b.c")]
    flags = ["-std=" + standard, "-O2", *WARNINGS, "-Wno-missing-field-initializers", "-c"]
    objects.append(t.compile_or_fail("units-%s-%s" % (cxx, standard), t.C_TESTS / "cxx.cc", cxx, flags, name="cxx.o"))
    check([link("%s-%s-%s" % (c, cxx, standard), cxx, objects)])


@pytest.mark.parametrize("standard", CXX_STANDARDS)
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cxx_alone(compiler, standard):
    """A program in C++ with the implementation in its one unit."""
    t.need_compiler(compiler)
    flags = ["-std=" + standard, "-O2", *WARNINGS, "-Wno-missing-field-initializers", "-DALONE"]
    t.run_ok([t.compile_or_fail("alone-%s-%s" % (compiler, standard), t.C_TESTS / "cxx.cc", compiler, flags)])
