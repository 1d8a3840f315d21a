"""make install, and a program that finds what it installed by pkg-config and by CMake."""
import os
import re
import shutil

import pytest

import toolchain as t

VERSION = re.search(r'#define RLM_VERSION "(.*)"', (t.ROOT / "rlimit.h").read_text()).group(1)

CONSUMER = r"""
#define RLM_IMPLEMENTATION
#include <rlimit.h>
#include <stdio.h>

int main(void) {
    rlm_bucket bucket;
    rlm_limit limit = rlm_per_second(RLM_REQUESTS, 2);
    if (rlm_bucket_init(&bucket, &limit, 0) != RLM_OK) return 1;
    printf("%s %d\n", RLM_VERSION, rlm_bucket_take(&bucket, 3, 0) == RLM_NEVER);
    return 0;
}
"""

LISTS = """
cmake_minimum_required(VERSION 3.14)
project(consumer C)
find_package(rlimit %s REQUIRED)
message(STATUS "rlimit ${rlimit_VERSION}")
add_executable(consumer consumer.c)
target_link_libraries(consumer PRIVATE rlimit::rlimit)
"""

SUBDIRECTORY = """
cmake_minimum_required(VERSION 3.14)
project(consumer C)
add_subdirectory("%s" rlimit)
add_executable(consumer consumer.c)
target_link_libraries(consumer PRIVATE rlimit::rlimit)
"""


def make(*arguments):
    # Without the variables by which an outer make would reach this one.
    clean = {name: "" for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES") if name in os.environ}
    return t.run_ok([t.need("make"), *arguments], cwd=t.ROOT, env=clean)


@pytest.fixture
def installed(tmp_path):
    """A prefix under which everything is installed."""
    makefile = t.ROOT / "Makefile"
    if not makefile.exists() or not re.search(r"^install\b.*:", makefile.read_text(), re.M):
        pytest.skip("the Makefile has no target install")
    prefix = tmp_path / "opt"
    make("install", "PREFIX=%s" % prefix)
    return prefix


def test_what_is_installed(installed):
    files = sorted(str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file())
    headers = ["rlimit.h", *(path.name for path in (t.ROOT / "ext").glob("*.h"))]
    assert files == sorted(["include/" + name for name in headers] + [
        "lib/cmake/rlimit/rlimit-config-version.cmake", "lib/cmake/rlimit/rlimit-config.cmake", "lib/pkgconfig/rlimit.pc"])
    for name in headers:
        source = t.ROOT / name if name == "rlimit.h" else t.ROOT / "ext" / name
        assert (installed / "include" / name).read_bytes() == source.read_bytes()


def test_destdir_and_uninstall(tmp_path):
    makefile = t.ROOT / "Makefile"
    if not makefile.exists() or not re.search(r"^uninstall\b.*:", makefile.read_text(), re.M):
        pytest.skip("the Makefile has no target uninstall")
    stage = tmp_path / "stage"
    make("install", "DESTDIR=%s" % stage, "PREFIX=/usr")
    assert (stage / "usr/include/rlimit.h").exists()
    text = (stage / "usr/lib/pkgconfig/rlimit.pc").read_text()
    assert "prefix=/usr\n" in text and str(stage) not in text
    make("uninstall", "DESTDIR=%s" % stage, "PREFIX=/usr")
    assert [path for path in stage.rglob("*") if path.is_file()] == []


def test_pkg_config(installed, tmp_path):
    t.need_compiler("gcc")
    environment = {"PKG_CONFIG_PATH": str(installed / "lib/pkgconfig")}
    tool = t.need("pkg-config")
    assert t.run_ok([tool, "--modversion", "rlimit"], env=environment).strip() == VERSION
    flags = t.run_ok([tool, "--cflags", "--libs", "rlimit"], env=environment).split()
    assert flags == ["-I%s/include" % installed]
    source = tmp_path / "consumer.c"
    source.write_text(CONSUMER)
    t.run_ok(["gcc", source, *flags, "-o", tmp_path / "consumer"])
    assert t.run_ok([tmp_path / "consumer"]) == VERSION + " 1\n"


def build_with_cmake(folder, lists, *options):
    """The output of the configuration and of the program."""
    t.need_compiler("gcc")
    cmake = t.need("cmake")
    (folder / "consumer.c").write_text(CONSUMER)
    (folder / "CMakeLists.txt").write_text(lists)
    said = t.run_ok([cmake, "-S", folder, "-B", folder / "out", "-DCMAKE_C_COMPILER=gcc", *options])
    t.run_ok([cmake, "--build", folder / "out"])
    return said, t.run_ok([folder / "out" / "consumer"])


@pytest.mark.parametrize("wanted", ["", VERSION, VERSION.rpartition(".")[0], VERSION + " EXACT"])
def test_cmake_package(installed, tmp_path, wanted):
    folder = tmp_path / "consumer"
    folder.mkdir()
    said, printed = build_with_cmake(folder, LISTS % wanted, "-DCMAKE_PREFIX_PATH=%s" % installed)
    assert "rlimit " + VERSION in said
    assert printed == VERSION + " 1\n"


@pytest.mark.parametrize("wanted", ["9.0", "0.0.1"])
def test_cmake_refuses_another_version(installed, tmp_path, wanted):
    t.need_compiler("gcc")
    (tmp_path / "CMakeLists.txt").write_text(LISTS % wanted)
    done = t.run([t.need("cmake"), "-S", tmp_path, "-B", tmp_path / "out", "-DCMAKE_PREFIX_PATH=%s" % installed])
    assert done.returncode != 0 and "version" in done.stdout


def test_cmake_subdirectory(tmp_path):
    if not (t.ROOT / "CMakeLists.txt").exists():
        pytest.skip("there is no CMakeLists.txt")
    # A copy: the build folder of this checkout is none of CMake's business.
    copy = tmp_path / "rlimit"
    shutil.copytree(t.ROOT, copy, ignore=shutil.ignore_patterns("build", ".git", "tests", "bench", "node_modules"))
    _, printed = build_with_cmake(tmp_path, SUBDIRECTORY % copy)
    assert printed == VERSION + " 1\n"
