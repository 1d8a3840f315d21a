"""Compilers and emulators for the tests.

Results lie in build/tests/<configuration>/. Beside each stands a record of the command, the compiler and the hash of
every file that went into it; while these are the same, nothing is compiled again.

A tool that is absent skips the test. With RLIMIT_REQUIRE=1, the default where CI=true, it fails the test.
"""
import contextlib
import functools
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:         # Windows
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "tests"
C_TESTS = ROOT / "tests" / "c"
INCLUDES = ["-I", str(ROOT), "-I", str(ROOT / "ext"), "-I", str(C_TESTS)]

TRUE = ("1", "true", "yes", "on")

# The processors that qemu-user stands in for: compiler, emulator.
EMULATED = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "s390x": ("s390x-linux-gnu-gcc", "qemu-s390x"),         # big-endian
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
}
MINGW = "x86_64-w64-mingw32-gcc"


def tools_are_required():
    given = os.environ.get("RLIMIT_REQUIRE")
    if given is not None:
        return given.lower() in TRUE
    return os.environ.get("CI", "").lower() in TRUE


def absent(reason):
    """Skips, or fails where tools are required."""
    if tools_are_required():
        pytest.fail(reason + " (required: RLIMIT_REQUIRE or CI is set)", pytrace=False)
    pytest.skip(reason)


def need(tool):
    """The path of a program."""
    path = shutil.which(tool)
    if path is None:
        absent(tool + " is not installed")
    return path


def run(command, timeout=300, env=None, **options):
    """subprocess.run, with the output as text and both streams in one. env is added to the environment."""
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=timeout, env={**os.environ, **(env or {})}, **options)


def run_ok(command, **options):
    """The output; a failure of the test if the exit code is not 0."""
    done = run(command, **options)
    if done.returncode != 0:
        pytest.fail("exit code %d\n$ %s\n%s" % (done.returncode, shlex.join(map(str, command)), done.stdout), pytrace=False)
    return done.stdout


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@functools.lru_cache(maxsize=None)
def version_of(compiler):
    return run([compiler, "--version"]).stdout.splitlines()[0]


@functools.lru_cache(maxsize=None)
def works(compiler, flags, runner):
    """Whether an empty program compiles, and runs where runner is not None. The output if it does not."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.c")
        source.write_text("int main(void) { return 0; }\n")
        if "++" in compiler:
            source = source.rename(Path(folder, "empty.cc"))
        done = run([compiler, *flags, source, "-o", Path(folder, "empty.exe")])
        if done.returncode == 0 and runner is not None:
            done = run([*runner, Path(folder, "empty.exe")])
        return "" if done.returncode == 0 else done.stdout or "exit code %d" % done.returncode


def need_compiler(compiler, *flags, runner=None, link=True):
    """The name of a compiler that takes these flags."""
    need(compiler)
    if link:
        output = works(compiler, tuple(flags), None if runner is None else tuple(runner))
        if output:
            absent("%s does not work here: %s" % (shlex.join([compiler, *flags]), output.strip().splitlines()[-1]))
    return compiler


@contextlib.contextmanager
def locked(path):
    """Keeps two workers from compiling the same thing."""
    if fcntl is None:
        yield
        return
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_current(record, output, command, version):
    try:
        seen = json.loads(record.read_text())
        return (output.exists() and seen["command"] == command and seen["compiler"] == version
                and all(digest(ROOT / name) == known for name, known in seen["files"].items()))
    except (OSError, ValueError, KeyError):
        return False


def dependencies(path, source):
    """The files that a dependency file of the compiler names; system headers are not among them."""
    names = {str(source)}
    if path.exists():
        text = path.read_text().replace("\\\n", " ").partition(": ")[2]
        names.update(text.split())
    return sorted(names)


class CompileError(Exception):
    pass


def compile_c(configuration, source, compiler, flags=(), name=None, after=()):
    """Compiles source and returns the path of the result; raises CompileError with the compiler's words.

    configuration names the folder; flags may contain -c or -fsyntax-only, after are the libraries."""
    source = Path(source)
    folder = BUILD / configuration
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / (name or source.stem)
    record = folder / (output.name + ".json")
    deps = folder / (output.name + ".d")
    command = [compiler, *flags, *INCLUDES, str(source), *after]
    version = version_of(compiler)
    with locked(folder / (output.name + ".lock")):
        if is_current(record, output, command, version):
            return output
        output.unlink(missing_ok=True)
        record.unlink(missing_ok=True)
        began = time.time()
        done = run([*command, "-MMD", "-MF", deps, "-o", output], cwd=ROOT)
        if done.returncode != 0:
            raise CompileError("$ %s\n%s" % (shlex.join(command), done.stdout))
        if "-fsyntax-only" in flags:
            output.write_text("")
        names = dependencies(deps, source)
        if any((ROOT / name).stat().st_mtime > began for name in names):
            return output           # one changed meanwhile: the next run compiles again
        files = {name: digest(ROOT / name) for name in names}
        record.write_text(json.dumps({"command": command, "compiler": version, "files": files}))
    return output


def compile_or_fail(*args, **options):
    try:
        return compile_c(*args, **options)
    except CompileError as error:
        said = str(error)
    pytest.fail(said, pytrace=False)        # not above: pytest would show both exceptions


def write_unit(configuration, name, text):
    """Writes a source file, and leaves it alone if it says that already."""
    folder = BUILD / configuration
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with locked(folder / (name + ".lock")):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return path


def emulator(processor):
    """What runs a program of a foreign processor."""
    name = EMULATED[processor][1]
    return [shutil.which(name + "-static") or need(name)] if shutil.which(name) is None else [name]


def wine():
    """Wine with a prefix of its own. Its absence is a skip, always."""
    path = next(filter(None, map(shutil.which, ("wine64", "/usr/lib/wine/wine64", "wine"))), None)
    if path is None:
        pytest.skip("wine is not installed")
    prefix = BUILD / "wine"
    BUILD.mkdir(parents=True, exist_ok=True)
    with locked(BUILD / "wine.lock"):
        ready = prefix / "ready"
        if not ready.exists():
            done = run_file([path, "wineboot", "--init"], wine_environment())
            if done.returncode != 0:
                pytest.skip("wine does not work here: " + done.stdout.strip()[-200:])
            ready.write_text("")
    return [path]


def wine_environment():
    # Without the programs that it would offer to download.
    return {"WINEDEBUG": "-all", "WINEPREFIX": str(BUILD / "wine"), "WINEDLLOVERRIDES": "mscoree,mshtml=", "DISPLAY": ""}


def run_file(command, env, timeout=300):
    """As run, through a file: programs that wine leaves behind would hold a pipe open."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.STDOUT, timeout=timeout, env={**os.environ, **env})
        output.seek(0)
        done.stdout = output.read().decode(errors="replace").replace("\r\n", "\n")
    return done


def run_foreign(runner, command, timeout=300):
    """Runs a program through an emulator, wine, or nothing."""
    if runner and "wine" in Path(runner[0]).name:
        return run_file([*runner, *command], wine_environment(), timeout)
    return run([*runner, *command], timeout)
