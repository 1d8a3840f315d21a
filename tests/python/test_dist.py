"""What `make dist` gives, for the Python that runs this and both processors: names, contents, use, the same again."""
import hashlib
import io
import platform
import re
import shutil
import sys
import tarfile
import zipfile

import pytest

import toolchain as t

DIST = t.ROOT / "bindings" / "python" / "dist.py"
PACKAGE = t.ROOT / "bindings" / "python" / "rlimit"
VERSION = re.search(r'^#define RLM_VERSION "(.*)"', (t.ROOT / "rlimit.h").read_text(), re.MULTILINE).group(1)
MINOR = "3.%d" % sys.version_info[1]
TAG = "cp3%d" % sys.version_info[1]
TOOLS = t.ROOT / "build" / "dist-tools" / MINOR
DATE = 1_700_000_000
MACHINES = ("x86_64", "aarch64")
MODULES = {path.name for path in PACKAGE.iterdir() if path.suffix in (".py", ".pyi")} | {"py.typed"}
USE = """import rlimit
with rlimit.Limiter(requests=rlimit.per_minute(1)).acquire(timeout=1) as permit:
    print(rlimit.__version__, permit.state, rlimit.__file__)"""


def sources():
    paths = [path for path in PACKAGE.iterdir() if path.name in MODULES]
    paths += [PACKAGE.parent / "_rlimit.c", DIST, DIST.with_name("requirements-dist.txt")]
    return sorted(paths) + [t.ROOT / name for name in ("rlimit.h", "ext/rlimit_http.h", "pyproject.toml", "setup.py",
                                                       "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md")]


def build(folder):
    done = t.run([sys.executable, DIST, "--out", folder, MINOR], env={"SOURCE_DATE_EPOCH": str(DATE)})
    if not (TOOLS / "installed").exists():
        t.absent("what requirements-dist.txt names cannot be installed: " + (done.stdout.strip().splitlines() or [""])[-1])
    assert done.returncode == 0, done.stdout
    folder.with_suffix(".said").write_text(done.stdout)
    return done.stdout


@pytest.fixture(scope="module")
def dist():
    """The folder; built once for all workers."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        pytest.skip("manylinux wheels are made on Linux")
    if sys.version_info < (3, 10):
        pytest.skip("build and auditwheel need 3.10")
    folder = t.BUILD / "dist" / "first"
    record = t.BUILD / "dist" / "record"
    state = hashlib.sha256("".join("%s %s\n" % (path, t.digest(path)) for path in sources()).encode()).hexdigest()
    record.parent.mkdir(parents=True, exist_ok=True)
    with t.locked(record.with_suffix(".lock")):
        if not folder.exists() or not record.exists() or record.read_text() != state:
            build(folder)
            record.write_text(state)
    return folder


def is_built(dist, machine):
    """Debian's headers are those of one processor: then the other's wheel is left out, and that is said."""
    said = dist.with_suffix(".said").read_text()
    return machine == platform.machine() or re.search(r"^skipped: .* for %s: the headers" % machine, said, re.M) is None


def wheel(dist, machine):
    if machine != platform.machine():
        t.need(machine + "-linux-gnu-gcc")
    if not is_built(dist, machine):
        pytest.skip("this Python's headers do not hold for " + machine)
    return dist / ("rlimit-{0}-{1}-{1}-manylinux2014_{2}.manylinux_2_17_{2}.whl".format(VERSION, TAG, machine))


def test_names(dist):
    wanted = {"rlimit-%s.tar.gz" % VERSION} | {wheel(dist, machine).name for machine in MACHINES if is_built(dist, machine)}
    assert {path.name for path in dist.iterdir()} == wanted


def test_sdist_contents(dist):
    """All that a build needs, and nothing that is left over from one."""
    with tarfile.open(dist / ("rlimit-%s.tar.gz" % VERSION)) as file:
        members = file.getmembers()
    wanted = {"rlimit.h", "ext/rlimit_http.h", "bindings/python/_rlimit.c", "setup.py", "pyproject.toml", "MANIFEST.in",
              "LICENSE", "README.md", "CHANGELOG.md", "PKG-INFO"} | {"bindings/python/rlimit/" + name for name in MODULES}
    assert {member.name for member in members} == {"rlimit-%s/%s" % (VERSION, name) for name in wanted}
    assert {(file.uid, file.gid, file.uname, file.mtime, file.mode) for file in members} == {(0, 0, "", DATE, 0o644)}


@pytest.mark.parametrize("machine", MACHINES)
def test_wheel_contents(dist, machine):
    with zipfile.ZipFile(wheel(dist, machine)) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
        metadata = file.read("rlimit-%s.dist-info/METADATA" % VERSION).decode()
    extension = "_rlimit.cpython-3%d-%s-linux-gnu.so" % (sys.version_info[1], machine)
    assert {name for name in names if name.startswith("rlimit/")} == {"rlimit/" + name for name in MODULES | {extension}}
    assert all(name.startswith("rlimit-%s.dist-info/" % VERSION) for name in names if not name.startswith("rlimit/"))
    assert "\nVersion: %s\n" % VERSION in metadata and "Requires-Dist" not in metadata


@pytest.mark.parametrize("machine", MACHINES)
def test_extension(dist, machine):
    """Of the right processor; needs libc alone, of 2.17 at most; exports its entry alone; names no folder of its build."""
    elffile = pytest.importorskip("elftools.elf.elffile")
    with zipfile.ZipFile(wheel(dist, machine)) as file:
        data = file.read(next(name for name in file.namelist() if name.endswith(".so")))
    elf = elffile.ELFFile(io.BytesIO(data))
    assert elf["e_machine"] == {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}[machine]
    assert elf.little_endian and elf.elfclass == 64
    dynamic = elf.get_section_by_name(".dynamic")
    assert [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")] == ["libc.so.6"]
    assert not list(dynamic.iter_tags("DT_RUNPATH")) + list(dynamic.iter_tags("DT_RPATH"))
    versions = {need.name for _, needs in elf.get_section_by_name(".gnu.version_r").iter_versions() for need in needs}
    assert max(tuple(map(int, name[len("GLIBC_"):].split("."))) for name in versions) <= (2, 17), versions
    exported = {symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"}
    assert exported - {"_init", "_fini"} == {"PyInit__rlimit"}
    assert str(t.ROOT).encode() not in data and elf.get_section_by_name(".debug_info") is None


@pytest.mark.parametrize("machine", MACHINES)
def test_auditwheel(dist, machine):
    said = t.run_ok([TOOLS / "bin" / "auditwheel", "show", wheel(dist, machine)], env={"PYTHONPATH": ""})
    assert '"manylinux_2_17_%s"' % machine in said, said


@pytest.mark.parametrize("what", ["wheel", "sdist"])
def test_install(dist, tmp_path, what):
    """Into a clean environment without the network; the wheel with no program on PATH."""
    python = tmp_path / "venv" / "bin" / "python"
    t.run_ok([sys.executable, "-m", "venv", tmp_path / "venv"])
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index"]
    if what == "wheel":
        t.run_ok([*command, wheel(dist, platform.machine())], env={"PYTHONPATH": "", "PATH": str(tmp_path)})
    else:
        site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
        for folder in (TOOLS / "lib" / ("python" + MINOR) / "site-packages").glob("setuptools*"):
            shutil.copytree(folder, site / folder.name, dirs_exist_ok=True)
        t.run_ok([*command, "--no-build-isolation", dist / ("rlimit-%s.tar.gz" % VERSION)], env={"PYTHONPATH": ""})
    said = t.run_ok([python, "-W", "error", "-c", USE], env={"PYTHONPATH": ""}, cwd=str(tmp_path))
    assert said.startswith("%s out %s" % (VERSION, tmp_path))


def tree():
    """What setuptools would leave beside the sources."""
    return {path for folder in (t.ROOT, PACKAGE.parent, PACKAGE) for path in folder.iterdir()
            if path.suffix in (".egg-info", ".so", ".whl") or path.name in ("build", "dist")}


def test_the_same_bytes_again(dist):
    """In another folder, at another time. Leaves nothing in the tree."""
    before = tree()
    again = t.BUILD / "dist" / "again"
    build(again)
    assert {path.name: t.digest(path) for path in again.iterdir()} == {path.name: t.digest(path) for path in dist.iterdir()}
    assert tree() == before


def test_what_is_not_here_is_named(tmp_path):
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        pytest.skip("manylinux wheels are made on Linux")
    done = t.run([sys.executable, DIST, "--out", tmp_path / "out", "3.98"])
    assert done.returncode == 1 and "CPython 3.98: not found" in done.stdout and not (tmp_path / "out").exists()
