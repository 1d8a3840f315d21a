"""The package as users get it: sdist, wheel, `pip install .`, and its core tests in every Python of this machine from 3.9 on."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import toolchain as t

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = t.BUILD / "python-package"
VERSION = re.search(r'#define RLM_VERSION "(.*)"', (t.ROOT / "rlimit.h").read_text()).group(1)
OLDEST, NEWEST = 9, 15
SOURCE = (".c", ".h", ".py", ".pyi", ".toml", ".in", ".md", "LICENSE", "py.typed")


def run(command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=600, **options)
    return done.returncode, done.stdout


def run_ok(command, **options):
    code, said = run(command, **options)
    assert code == 0, "%s\n%s" % (command, said[-4000:])
    return said


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what a checkout holds, so that building leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("rlimit.h", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py", "MANIFEST.in"):
        shutil.copy(t.ROOT / name, folder)
    (folder / "ext").mkdir()
    shutil.copy(t.ROOT / "ext" / "rlimit_http.h", folder / "ext")
    shutil.copytree(t.ROOT / "bindings" / "python", folder / "bindings" / "python",
                    ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", ".mypy_cache"))
    return folder


@pytest.fixture(scope="module")
def built(tree):
    """(sdist, wheel made of the sdist)"""
    pytest.importorskip("build")
    pytest.importorskip("setuptools")
    run_ok([sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", tree])
    return next((tree / "dist").glob("*.tar.gz")), next((tree / "dist").glob("*.whl"))


def test_sdist(built):
    with tarfile.open(built[0]) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
    wanted = {
    "rlimit.h",
    "ext/rlimit_http.h",
    "bindings/python/_rlimit.c",
    "setup.py",
    "pyproject.toml",
    "LICENSE",
     "README.md"}
    wanted |= {str(path.relative_to(t.ROOT)) for path in (t.ROOT / "bindings" / \
                   "python" / "rlimit").iterdir() if path.suffix in (".py", ".pyi")}
    assert wanted <= names and "bindings/python/rlimit/py.typed" in names, wanted - names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith(("tests/", "build/"))]
    assert built[0].name == "rlimit-%s.tar.gz" % VERSION


def test_wheel(built):
    with zipfile.ZipFile(built[1]) as file:
        names = file.namelist()
        metadata = file.read("rlimit-%s.dist-info/METADATA" % VERSION).decode()
    assert not [name for name in names if name.endswith((".c", ".h"))]
    assert {"rlimit/__init__.py", "rlimit/_rlimit.pyi", "rlimit/py.typed"} <= set(names)
    assert [name for name in names if re.match(r"rlimit/_rlimit\..*\.(so|pyd)$", name)]
    assert "Requires-Python: >=3.9" in metadata and "Requires-Dist" not in metadata and "License-Expression: MIT" in metadata
    assert not [name for name in names if not name.startswith(("rlimit/", "rlimit-"))]


@pytest.mark.parametrize("what", ["wheel", "sdist", "checkout"])
def test_install(built, tree, tmp_path, what):
    """Into a clean environment, without the network."""
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run_ok([sys.executable, "-m", "venv", tmp_path / "venv"])
    source = {"wheel": built[1], "sdist": built[0], "checkout": tree}[what]
    options = [] if what == "wheel" else ["--no-build-isolation"]
    environment = dict(os.environ, PYTHONPATH="", PATH="" if what == "wheel" else os.environ["PATH"])
    if what != "wheel":
        environment["PYTHONPATH"] = str(tools())
    run_ok([python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
           "--no-index", "--no-deps", *options, source], env=environment, cwd=str(tmp_path))
    said = run_ok([python, "-c", "import rlimit; print(rlimit.__version__, rlimit.Limiter(requests=rlimit.per_minute(1)).try_acquire().state, rlimit.__file__)"],
                  env=dict(os.environ, PYTHONPATH=""), cwd=str(tmp_path))
    assert said.startswith("%s out %s" % (VERSION, tmp_path))


def test_auditwheel(built):
    if not sys.platform.startswith("linux"):
        pytest.skip("manylinux is Linux's")
    pytest.importorskip("auditwheel")
    said = run_ok([sys.executable, "-m", "auditwheel", "show", built[1]])
    assert "manylinux" in said, said


def test_the_extension_compiles_without_warnings(tmp_path):
    t.need("gcc")
    import sysconfig
    code, said = run(["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-c", "-fPIC", "-I", t.ROOT, "-I", t.ROOT / "ext",
                      "-isystem", sysconfig.get_paths()["include"], t.ROOT / "bindings" / "python" / "_rlimit.c", "-o", tmp_path / "rlimit.o"])
    assert code == 0 and not said, said


# -- other Pythons --

def tools():
    """setuptools, alone: for interpreters that have none, and no network."""
    import setuptools
    site = pathlib.Path(setuptools.__file__).resolve().parent.parent
    folder = FOLDER / "tools"
    with t.locked(FOLDER.parent / "python-tools.lock"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in site.iterdir():
            if re.match(r"(setuptools|_distutils_hack)(-.*\.dist-info)?$", path.name) and not (folder / path.name).exists():
                shutil.copytree(path, folder / path.name)
    return folder


def interpreter(minor):
    """The path of Python 3.minor with its headers; else (None, why)."""
    name = "python3.%d" % minor
    candidates = [shutil.which(name)] + \
                               sorted(map(str, pathlib.Path.home().glob(".pyenv/versions/3.%d.*/bin/%s" % (minor, name))))
    why = "no %s here" % name
    for path in filter(None, candidates):
        code, said = run([path, "-c", "import sys, sysconfig, os; print('%d.%d' % sys.version_info[:2], sysconfig.get_paths()['include'],"
                                      " os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')), sys.executable)"])
        if code == 0 and said.startswith("3.%d " % minor):
            if " True " in said:
                return said.split()[-1], ""
            why = "%s has no headers" % name
    return None, why


@pytest.mark.parametrize("minor", range(OLDEST, NEWEST))
def test_other_pythons(minor, tree):
    """Builds for it, and runs the core tests if it has or can get pytest, else a short program.

    Which Pythons a machine has is its owner's business: one that is not here skips, on CI too.
    """
    python, why = interpreter(minor)
    if python is None:
        pytest.skip(why)
    pytest.importorskip("setuptools")
    folder = FOLDER / ("3.%d" % minor)
    with t.locked(FOLDER.parent / ("python-3.%d.lock" % minor)):
        shutil.rmtree(folder / "lib", ignore_errors=True)
        environment = dict(os.environ, PYTHONPATH=str(tools()) if minor >= 10 else "")  # 3.9 has to have its own
        run_ok([python, "setup.py", "-q", "build_ext", "--build-temp", folder / \
               "build", "--build-lib", folder / "lib"], cwd=str(tree), env=environment)
        shutil.copytree(tree / "bindings" / "python" / "rlimit", folder / "lib" / "rlimit", dirs_exist_ok=True)
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
            map(str, [folder / "lib", folder / "pytest", t.ROOT / "tests"])), RLIMIT_PACKAGE="1")
        short = "import rlimit; l = rlimit.Limiter(requests=rlimit.per_minute(9), concurrency=1)\nwith l.acquire() as p: assert l.try_acquire() is None"
        run_ok([python, "-W", "error", "-c", short], env=environment)
        if not (folder / "pytest" / "pytest").exists():
            code, said = run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", folder / "pytest", "pytest==8.4.2",
                              "anyio", "trio"])
            if code != 0:
                pytest.skip("3.%d: builds and runs; no pytest for the rest: %s" % (minor, said.strip().splitlines()[-1:]))
    files = [HERE / name for name in ("test_limiter.py", "test_threads.py", "test_async.py", "test_vectors.py")]
    said = run_ok([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
                  "no:xdist", *files], env=environment, cwd=str(t.ROOT / "tests"))
    assert re.search(r"\d{3,} passed", said), said
