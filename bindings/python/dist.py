"""Builds the sdist, and from it manylinux wheels for x86-64 and aarch64 for every CPython found here: `make dist`.

    python3 bindings/python/dist.py [--out FOLDER] [3.9 3.10 ...]

CPythons are sought on PATH and among pyenv's; versions named narrow the search. What cannot be built is skipped, saying why.
The same tree and compiler give the same bytes: all dates are SOURCE_DATE_EPOCH, which is the last commit's unless it is set.
The tools (requirements-dist.txt) are installed in build/dist-tools once; after that no network is needed.
"""
import argparse
import concurrent.futures
import gzip
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build"
REQUIREMENTS = HERE / "requirements-dist.txt"
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "rlimit.h", "ext", "bindings/python",
           "LICENSE", "README.md", "CHANGELOG.md")
OLDEST, NEWEST = 9, 20
MACHINES = ("x86_64", "aarch64")

C_TYPES = {"SHORT": "short", "INT": "int", "LONG": "long", "LONG_LONG": "long long", "FLOAT": "float", "DOUBLE": "double",
           "LONG_DOUBLE": "long double", "VOID_P": "void *", "SIZE_T": "size_t", "UINTPTR_T": "uintptr_t", "OFF_T": "off_t",
           "WCHAR_T": "wchar_t", "FPOS_T": "fpos_t", "TIME_T": "time_t", "PID_T": "pid_t", "PTHREAD_T": "pthread_t",
           "PTHREAD_KEY_T": "pthread_key_t", "_BOOL": "_Bool"}
C_INCLUDES = ("pyconfig.h", "pthread.h", "stddef.h", "stdint.h", "stdio.h", "sys/types.h", "time.h", "wchar.h")


def run(command, **options):
    """What it printed. If it fails, that ends all."""
    command = [str(part) for part in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise SystemExit("%s\n%s" % (" ".join(command), done.stdout))
    return done.stdout


def source_date():
    """Seconds since 1970: SOURCE_DATE_EPOCH, else the last commit's time, else the header's."""
    if os.environ.get("SOURCE_DATE_EPOCH"):
        return int(os.environ["SOURCE_DATE_EPOCH"])
    try:
        said = subprocess.run(["git", "log", "-1", "--format=%ct", "--", "."], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        said = ""
    return int(said or (ROOT / "rlimit.h").stat().st_mtime)


# -- what there is to build with --

def interpreter(minor):
    """(path of CPython 3.minor, folder of its headers); (None, why) if it has none, (None, None) if it is not here."""
    name = "python3.%d" % minor
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    why = None
    for path in filter(None, [shutil.which(name), *sorted(pyenv.glob("versions/3.%d.*/bin/%s" % (minor, name)))]):
        program = ("import os, platform, sys, sysconfig\nprint(platform.python_implementation(), sys.version_info[1],"
                   " os.path.realpath(sys.executable), sysconfig.get_path('include'), sep='\\n')")
        said = subprocess.run([str(path), "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True).stdout.splitlines()
        if said[:2] == ["CPython", str(minor)]:
            if pathlib.Path(said[3], "Python.h").exists():
                return pathlib.Path(said[2]), pathlib.Path(said[3])
            why = "no headers in " + said[3]
    return None, why


def tools(python, minor):
    """The bin folder of a venv of this Python with what requirements-dist.txt says."""
    folder = BUILD / "dist-tools" / ("3.%d" % minor)
    record = folder / "installed"
    wanted = "%s\n%s" % (python, REQUIREMENTS.read_text())
    if not record.exists() or record.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder])
        run([folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS])
        record.write_text(wanted)
    return folder / "bin"


def compiler(machine):
    """Its path, or None."""
    return shutil.which(machine + "-linux-gnu-gcc") or (shutil.which("gcc") if machine == platform.machine() else None)


def is_sound(cc, include):
    """Do these headers, configured for this machine, hold for what cc compiles for?

    Sizes and byte order have to agree. What else differs in pyconfig.h between Linux on x86-64 and on aarch64 (inline
    assembler for the FPU, the sign of wchar_t, the tier of support) is for the interpreter's own sources."""
    sizes = re.findall(r"^#define SIZEOF_(\w+) ", (include / "pyconfig.h").read_text(), re.MULTILINE)
    lines = ["#include <%s>" % name for name in C_INCLUDES]
    lines += ["_Static_assert(sizeof(%s) == SIZEOF_%s, \"size\");" % (C_TYPES[name], name)
              for name in sizes if name in C_TYPES]
    lines += ["#ifndef WORDS_BIGENDIAN", "#define WORDS_BIGENDIAN 0", "#endif",
              "_Static_assert((WORDS_BIGENDIAN != 0) == (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__), \"byte order\");", ""]
    return subprocess.run([cc, "-std=c11", "-fsyntax-only", "-I", str(include), "-xc", "-"], input="\n".join(lines),
                          text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


# -- building --

def copy_sources(folder):
    """setuptools writes beside what it builds: so that it does not write in the tree."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.so", "*.pyd")
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, folder / name)


def make_sdist(programs, work, date):
    """Its path. What setuptools packs is packed again: sorted, dated, of no owner, without what it makes for itself."""
    copy_sources(work / "tree")
    said = run([programs / "python", "-m", "build", "--no-isolation", "--sdist", "--outdir", work / "packed", work / "tree"])
    missing = re.findall(r"^.*no (?:previously-included )?files (?:found )?matching.*$", said, re.MULTILINE)
    if missing:
        raise SystemExit("MANIFEST.in: " + "; ".join(missing))
    packed = next((work / "packed").glob("*.tar.gz"))
    path = work / "out" / packed.name
    path.parent.mkdir()
    with tarfile.open(packed) as source, open(path, "wb") as file, \
            gzip.GzipFile("", "wb", mtime=date, fileobj=file) as stream, \
            tarfile.open(mode="w", fileobj=stream, format=tarfile.PAX_FORMAT) as target:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            if not member.isfile() or ".egg-info/" in member.name or member.name.endswith("/setup.cfg"):
                continue
            plain = tarfile.TarInfo(member.name)
            plain.size, plain.mtime, plain.mode = member.size, date, 0o644
            target.addfile(plain, source.extractfile(member))
    return path


def make_wheel(programs, machine, cc, sdist, work):
    """The path of a wheel made of the sdist, as `linux`. No debugging information, and none of the interpreter's folders."""
    work.mkdir()
    with tarfile.open(sdist) as file:
        file.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    environment = dict(os.environ, CC=cc, LDSHARED=cc + " -shared -s", CFLAGS="-g0")
    if machine != platform.machine():
        suffix = run([programs / "python", "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"]).strip()
        environment.update(_PYTHON_HOST_PLATFORM="linux-" + machine,
                           SETUPTOOLS_EXT_SUFFIX=suffix.replace(platform.machine(), machine))
    run([programs / "python", "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-index", "--no-deps",
         "--no-build-isolation", "--wheel-dir", work / "wheel", next(work.glob("rlimit-*"))], env=environment)
    return next((work / "wheel").glob("*.whl"))


def audited(programs, wheel, out):
    """(path of the wheel, named for the oldest manylinux that auditwheel finds true, and what it then says of it)"""
    environment = dict(os.environ, PATH="%s%s%s" % (programs, os.pathsep, os.environ["PATH"]))
    before = set(out.iterdir())
    run([programs / "auditwheel", "repair", "--plat", "auto", "--wheel-dir", out, wheel], env=environment)
    path = (set(out.iterdir()) - before).pop()
    return path, run([programs / "auditwheel", "show", path], env=environment)


def plan(minors):
    """([(minor, folder of its tools, machine, compiler)], [what is skipped and why])"""
    jobs, skipped = [], []
    for minor in sorted(minors) or range(OLDEST, NEWEST):
        python, include = interpreter(minor)
        if python is None:
            if minors or include:
                skipped.append("CPython 3.%d: %s" % (minor, include or "not found"))
            continue
        for machine in MACHINES:
            cc = compiler(machine)
            if cc is None:
                skipped.append("CPython 3.%d for %s: no %s-linux-gnu-gcc" % (minor, machine, machine))
            elif machine != platform.machine() and not is_sound(cc, include):
                skipped.append("CPython 3.%d for %s: the headers in %s do not hold for it" % (minor, machine, include))
            else:
                jobs.append((minor, tools(python, minor), machine, cc))
    return jobs, skipped


def build(out, minors):
    date = source_date()
    os.environ.update(SOURCE_DATE_EPOCH=str(date), PYTHONPATH="", PYTHONHASHSEED="0")
    os.umask(0o022)
    jobs, skipped = plan(minors)
    if not jobs or jobs[-1][0] < 10:
        raise SystemExit("\n".join(skipped + ["needed: a CPython from 3.10 on (auditwheel), its headers, a compiler"]))
    programs = jobs[-1][1]
    with tempfile.TemporaryDirectory(prefix="dist-", dir=BUILD) as work:
        work = pathlib.Path(work)
        sdist = make_sdist(programs, work, date)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            wheels = list(pool.map(lambda job: make_wheel(*job[1:], sdist, work / ("3.%d-%s" % job[:3:2])), jobs))
        said = {}
        for wheel in wheels:
            path, words = audited(programs, wheel, sdist.parent)
            said[path.name] = re.findall(r'platform tag:\s+"(\S+?)"', words)[0]
        out.mkdir(parents=True, exist_ok=True)
        for path in out.glob("rlimit-*"):
            path.unlink()
        for path in sdist.parent.iterdir():
            shutil.move(str(path), str(out))
    for path in sorted(out.glob("rlimit-*")):
        words = "  auditwheel: " + said[path.name] if path.name in said else ""
        print("%8d  %s%s" % (path.stat().st_size, path.name, words))
    print("".join("skipped: %s\n" % line for line in skipped), end="")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=BUILD / "dist",
                        help="rlimit-* in it is replaced (default: build/dist)")
    parser.add_argument("versions", nargs="*", metavar="3.X", help="from 3.%d on; default: all that are found" % OLDEST)
    arguments = parser.parse_args()
    for version in arguments.versions:
        if not re.match(r"3\.\d+$", version) or int(version[2:]) < OLDEST:
            parser.error("version: must be 3.%d or later, not %s" % (OLDEST, version))
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        parser.error("manylinux wheels are made on Linux, on " + " or ".join(MACHINES))
    BUILD.mkdir(exist_ok=True)
    build(arguments.out.resolve(), [int(version[2:]) for version in arguments.versions])


if __name__ == "__main__":
    main()
