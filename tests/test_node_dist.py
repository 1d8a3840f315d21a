"""The Node package as `make dist` packs it: what is in it, and its installation with neither compiler nor network.

Most of it takes an add-on of the compiler here for the ready-made one. Those of every platform are built where
`make dist` has installed what that takes.
"""
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import sys
import tarfile

import pytest

import toolchain as t

DIST = t.ROOT / "bindings" / "node" / "dist.py"
VERSION = re.search(r'^#define RLM_VERSION "(.*)"', (t.ROOT / "rlimit.h").read_text(), re.MULTILINE).group(1)
LIMITED = "const limiter = new Limiter({ requests: perMinute(1) }); const permit = limiter.tryAcquire();" \
    " console.log(permit.state, limiter.tryAcquire());"
REQUIRED = "const { Limiter, perMinute } = require('rlimit'); " + LIMITED
IMPORTED = "import { Limiter, perMinute } from 'rlimit'; " + LIMITED
ADMITTED = "out null\n"

spec = importlib.util.spec_from_file_location("node_dist", DIST)
dist = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dist)


@pytest.fixture(scope="module")
def node():
    """{of Node: platform, other: what the same machine is with the other C library, headers: a folder or None}"""
    if sys.platform != "linux":
        pytest.skip("written for Linux")
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node or npm is not installed")
    said = t.run_ok(["node", "-p", "[process.execPath, process.arch, process.report.getReport().header.glibcVersionRuntime]"
                                   ".join('\\n')"]).split("\n")
    names = ["linux-%s-%s" % (said[1], libc) for libc in ("glibc", "musl")]
    headers = pathlib.Path(said[0]).parents[1] / "include" / "node"
    return {"platform": names[not said[2]], "other": names[bool(said[2])],
            "headers": headers if (headers / "node_api.h").exists() else None}


@pytest.fixture(scope="module")
def addon(node):
    """The path of one for the Node here."""
    if node["headers"] is None:
        pytest.skip("Node's headers are not beside it")
    return t.compile_or_fail("node-dist", DIST.with_name("addon.c"), t.need_compiler("cc"),
                             ("-std=c11", "-O1", "-shared", "-fPIC", "-I", str(node["headers"])), name="rlimit.node")


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.node"
    path.write_bytes(b"\x7fELF, and no more")
    return path


def tarball(folder, binaries):
    dist.stage(folder / "package", binaries)
    return dist.pack(folder / "package", folder / "out")


class Project:
    """An empty one, with a cache and a home of its own, offline; hidden: its PATH has node, npm and sh alone."""

    def __init__(self, folder, hidden):
        self.folder = folder / "project"
        self.package = self.folder / "node_modules" / "rlimit"
        self.folder.mkdir()
        (self.folder / "package.json").write_text("{}")
        self.env = {name: value for name, value in os.environ.items() if not name.lower().startswith("npm_config_")}
        self.env.update(HOME=str(folder), npm_config_cache=str(folder / "cache"), npm_config_offline="true",
                        npm_config_audit="false", npm_config_fund="false", npm_config_update_notifier="false")
        if hidden:
            programs = folder / "programs"
            programs.mkdir()
            for name in ("node", "npm", "sh"):
                (programs / name).symlink_to(shutil.which(name))
            self.env["PATH"] = str(programs)

    def run(self, *command):
        """(exit code, output). Nothing but what is given here is in the environment."""
        words = ["env", "-i", *("%s=%s" % pair for pair in self.env.items()), shutil.which(command[0]), *command[1:]]
        done = t.run(words, cwd=self.folder)
        return done.returncode, done.stdout

    def install(self, path, *options):
        return self.run("npm", "install", "--foreground-scripts", *options, path)

    def admits(self):
        assert self.run("node", "-e", REQUIRED) == (0, ADMITTED)
        assert self.run("node", "--input-type=module", "-e", IMPORTED) == (0, ADMITTED)


# -- what is in it --

def contents(path):
    with tarfile.open(path) as file:
        return {member.name: file.extractfile(member).read() for member in file.getmembers()}


def wanted(platforms):
    names = {"package.json", "README.md", "LICENSE", "binding.gyp", "rlimit.h", "ext/rlimit_http.h", "bindings/node/addon.c"}
    names |= {str(path.relative_to(t.ROOT)) for folder in (DIST.parent, DIST.parent / "lib") for path in folder.iterdir()
              if path.name.endswith((".js", ".d.ts"))}
    return {"package/" + name for name in names} | {"package/prebuilds/%s/rlimit.node" % name for name in platforms}


def test_contents(node, broken, tmp_path):
    """What the package needs, and nothing else that the tree may hold; no path of the tree."""
    path = tarball(tmp_path, {"linux-x64-musl": broken})
    assert path.name == "rlimit-%s.tgz" % VERSION
    found = contents(path)
    assert set(found) == wanted(["linux-x64-musl"])
    assert [name for name, data in found.items() if str(t.ROOT).encode() in data] == []


def test_the_same_bytes_again(node, broken, tmp_path):
    """From files of other dates, in another folder."""
    first = tarball(tmp_path, {"linux-x64-glibc": broken})
    copy = tmp_path / "again" / "package"
    shutil.copytree(tmp_path / "package", copy, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
    assert t.digest(first) == t.digest(dist.pack(copy, tmp_path / "again" / "out"))


# -- its installation --

def test_install_without_a_compiler(node, addon, broken, tmp_path):
    """Nothing is built. The file of the other C library is not touched."""
    project = Project(tmp_path, hidden=True)
    code, said = project.install(tarball(tmp_path, {node["platform"]: addon, node["other"]: broken}))
    assert code == 0, said
    project.admits()
    assert not (project.package / "build").exists() and "does not load" not in said


@pytest.mark.parametrize("there", ["nothing", "broken"])
def test_install_builds_what_did_not_come(node, broken, tmp_path, there):
    """Or what came and does not load: that is said then, and not at each start."""
    for tool in ("cc", "g++", "make"):
        if shutil.which(tool) is None:
            pytest.skip(tool + " is not installed")
    if node["headers"] is None:
        pytest.skip("Node's headers are not beside it")
    project = Project(tmp_path, hidden=False)
    project.env.update(CFLAGS="-O0")
    code, said = project.install(tarball(tmp_path, {node["platform"]: broken} if there == "broken" else {}))
    assert code == 0, said
    project.admits()
    assert (project.package / "build" / "Release" / "rlimit.node").exists()
    assert ("rlimit: the add-on does not load: " in said) == (there == "broken"), said


def test_a_broken_one_is_told(node, broken, tmp_path):
    """By the installation, where nothing can be built; and by the package, if that was passed over."""
    project = Project(tmp_path, hidden=True)
    path = tarball(tmp_path, {node["platform"]: broken})
    code, said = project.install(path)
    file = "node_modules/rlimit/prebuilds/%s/rlimit.node: " % node["platform"]
    assert code != 0 and "the add-on does not load: " in said and file in said and "It needs Python and a C compiler" in said
    code, said = project.install(path, "--ignore-scripts")
    assert code == 0, said
    code, said = project.run("node", "-e", REQUIRED)
    assert code != 0 and file in said and "code: 'RLIMIT_ADDON'" in said


def test_none_is_told(node, tmp_path):
    project = Project(tmp_path, hidden=True)
    project.install(tarball(tmp_path, {}), "--ignore-scripts")
    code, said = project.run("node", "-e", REQUIRED)
    assert code != 0 and "none is there; looked for " in said and node["platform"] in said


def test_a_broken_build_is_told(node, addon, tmp_path):
    """And the ready-made one used."""
    project = Project(tmp_path, hidden=True)
    code, said = project.install(tarball(tmp_path, {node["platform"]: addon}))
    assert code == 0, said
    built = project.package / "build" / "Release" / "rlimit.node"
    built.parent.mkdir(parents=True)
    built.write_bytes(b"no add-on")
    code, said = project.run("node", "-e", REQUIRED)
    assert code == 0 and ADMITTED in said and "Warning: rlimit: %s: " % built in said, said


# -- those of every platform --

@pytest.fixture(scope="module")
def built(node):
    """The folder of the whole package; built once for all workers. dist.py has examined each add-on."""
    if not (dist.TOOLS / "installed").exists():
        pytest.skip("`make dist` has not been run here")
    folder = t.BUILD / "node-dist-all"
    sources = [DIST, dist.REQUIREMENTS, *(t.ROOT / name for name in ("rlimit.h", "ext/rlimit_http.h", "package.json")),
               *DIST.parent.glob("**/*.js"), DIST.with_name("addon.c")]
    state = hashlib.sha256("".join("%s %s\n" % (path, t.digest(path)) for path in sorted(sources)).encode()).hexdigest()
    t.BUILD.mkdir(parents=True, exist_ok=True)
    with t.locked(t.BUILD / "node-dist-all.lock"):
        record = t.BUILD / "node-dist-all.record"
        if not folder.exists() or not record.exists() or record.read_text() != state:
            t.run_ok([sys.executable, DIST, "--out", folder], timeout=600)
            record.write_text(state)
    return folder / ("rlimit-%s.tgz" % VERSION)


def test_every_platform(built):
    assert set(contents(built)) == wanted(dist.TARGETS)


def test_the_whole_installs(built, node, tmp_path):
    if node["platform"] not in dist.TARGETS:
        pytest.skip("none is made for " + node["platform"])
    project = Project(tmp_path, hidden=True)
    code, said = project.install(built)
    assert code == 0, said
    project.admits()
    assert not (project.package / "build").exists()


@pytest.mark.parametrize("name, file, fault", [
    ("linux-arm64-glibc", "linux-x64-glibc", "processor: X86_64, not AARCH64"),
    ("linux-x64-glibc", "linux-x64-musl", "needs: ['libc.so'], not ['libc.so.6']"),
    ("linux-x64-musl", "win32-x64", "is no "),
    ("darwin-x64", "darwin-arm64", "processor: ARM64, not X86_64"),
    ("win32-arm64", "win32-x64", "processor: AMD64, not ARM64"),
])
def test_what_is_not_as_it_is_named_is_not_packed(built, tmp_path, name, file, fault):
    path = tmp_path / "rlimit.node"
    path.write_bytes(contents(built)["package/prebuilds/%s/rlimit.node" % file])
    program = "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import dist;" \
        " dist.examine(sys.argv[2], pathlib.Path(sys.argv[3]), dist.node_api())"
    done = t.run([dist.TOOLS / "bin" / "python", "-B", "-c", program, DIST.parent, name, path])
    assert done.returncode == 1 and fault in done.stdout


def test_an_unknown_platform_is_named():
    done = t.run([sys.executable, DIST, "beos-x64"])
    assert done.returncode == 2 and "platform: must be one of linux-x64-glibc, " in done.stdout
