"""What README.md and the head of rlimit.h show works as shown, and names and versions agree."""
import re

import pytest

import toolchain as t

HEADER = (t.ROOT / "rlimit.h").read_text()
BANNER = HEADER.partition("*/")[0]
C_BLOCK = re.compile(r"^```c\n(.*?)^```", re.M | re.S)
FLAGS = ["-Wall", "-Wextra", "-Werror", "-pthread"]

# What the examples take for granted.
SURROUNDINGS = """
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
"""


def text_of(name):
    path = t.ROOT / name
    if not path.exists():
        pytest.skip(name + " does not exist")
    return path.read_text()


def blocks():
    path = t.ROOT / "README.md"
    return C_BLOCK.findall(path.read_text()) if path.exists() else []


@pytest.mark.parametrize("standard", ["c99", "c17"])
@pytest.mark.parametrize("index", range(len(blocks())) or [None])
def test_readme_block(index, standard):
    text_of("README.md")
    assert index is not None, "README.md shows no C"
    t.need_compiler("gcc")
    block = blocks()[index]
    program = re.search(r"\bmain\s*\(", block)
    functions = re.search(r"^\w[\w *]*\([^;]*\) \{", block, re.M)
    if functions and not program:
        block += "int main(void) { return 0; }\n"
    elif not program:
        head = "".join(line + "\n" for line in block.splitlines() if line.startswith("#"))
        rest = "".join(line + "\n" for line in block.splitlines() if not line.startswith("#"))
        if "rlimit" not in head:
            head += '#define RLM_IMPLEMENTATION\n#include "rlimit.h"\n'
        block = head + SURROUNDINGS + "int main(void) {\n" + rest + "    return 0;\n}\n"
    source = t.write_unit("readme", "block%d.c" % index, block)
    flags = ["-std=" + standard, *FLAGS, *([] if program else ["-Wno-unused"])]
    binary = t.compile_or_fail("readme-" + standard, source, "gcc", flags, name="block%d" % index)
    if program:
        t.run_ok([binary], timeout=60)


# ---- The head of rlimit.h -------------------------------------------------------------------------

def section(name):
    """The text of a section of the banner, as C: from its capital letters to the next ones."""
    found = re.search(r"^%s\b.*\n((?:[ ].*\n|\n)*)" % name, BANNER, re.M)
    assert found, "no section %s in the first lines of rlimit.h" % name
    return found.group(1)


def code_of(text):
    """The lines that are indented as code; prose stands closer to the margin."""
    return "".join(line + "\n" for line in text.splitlines() if line.startswith(" " * 14))


BEFORE = {
    "BUCKET": "",
    "LIMITER": "rlm_cost actual = {1, 1180, 212, 0, 0};\n",
    "BACKOFF": "uint64_t retry_after_ns = 0;\n",
}


@pytest.mark.parametrize("name", sorted(BEFORE))
@pytest.mark.parametrize("compiler, standard", [("gcc", "c99"), ("clang", "c17"), ("g++", "c++20")])
def test_banner_example(name, compiler, standard):
    t.need_compiler(compiler)
    code = code_of(section(name))
    code = re.sub(r"^(\s*if \(.*\)) \.\.\.$", r"\1 return 1;", code, flags=re.M)     # what is left to the reader
    code = re.sub(r"^\s*\.\.\. .*$", "", code, flags=re.M)
    assert "..." not in code and "rlm_" in code, code
    install = code_of(section("INSTALL"))
    assert "#define RLM_IMPLEMENTATION" in install and "#include" in install, install
    unit = install.replace("  ", "") + SURROUNDINGS + "int main(void) {\n" + BEFORE[name] + code + "    return 0;\n}\n"
    suffix = ".cc" if "++" in compiler else ".c"
    source = t.write_unit("banner", name.lower() + suffix, unit)
    flags = ["-std=" + standard, *FLAGS, "-Wno-unused", *(["-Wno-missing-field-initializers"] if suffix == ".cc" else [])]
    binary = t.compile_or_fail("banner-" + compiler, source, compiler, flags, name=name.lower())
    t.run_ok([binary], timeout=60)


def names_in(text):
    return set(re.findall(r"\b(?:rlm|RLM)_\w*[a-zA-Z0-9]\b", text))


@pytest.mark.parametrize("name", ["rlimit.h", "README.md"])
def test_names_that_are_mentioned_exist(name):
    text = BANNER if name == "rlimit.h" else text_of(name)
    code = HEADER[len(BANNER):] + "".join(path.read_text() for path in (t.ROOT / "ext").glob("*.h"))
    assert sorted(names_in(text) - names_in(code)) == []


def test_paths_in_the_readme_exist():
    text = text_of("README.md")
    named = {path for path in re.findall(r"`([\w./-]+/[\w./-]+|\w+\.(?:h|c|md))`|\]\((?!http)([^)#]+)\)", text) for path in path if path}
    missing = [path for path in named if not path.startswith(("build/", "/")) and not (t.ROOT / path).exists()]
    assert sorted(missing) == []


def test_make_targets_in_the_readme_exist():
    text, makefile = text_of("README.md"), text_of("Makefile")
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", "".join(re.findall(r"`[^`]+`|^ {4}.*$|^```.*?^```", text, re.M | re.S))))
    targets = {name for line in re.findall(r"^([\w ./-]+):(?!=)", makefile, re.M) for name in line.split()}
    assert named, "README.md names no target of make"
    assert sorted(named - targets) == []


# ---- Versions -------------------------------------------------------------------------------------

def version():
    return re.search(r'^#define RLM_VERSION "(\d+\.\d+\.\d+)"$', HEADER, re.M).group(1)


def test_version_in_the_first_line():
    first = HEADER.splitlines()[0]
    assert re.match(r"/\* rlimit\.h - %s - " % re.escape(version()), first), first


def test_version_in_the_changelog():
    newest = re.search(r"^## \[?v?(\d+\.\d+\.\d+)", text_of("CHANGELOG.md"), re.M)
    assert newest and newest.group(1) == version()
