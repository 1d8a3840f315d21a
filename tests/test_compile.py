"""The headers alone: every language standard, compiler and option, no warnings; and what an object file contains."""
import re

import pytest

import toolchain as t

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror"]
C_WARNINGS = [*WARNINGS, "-Wstrict-prototypes", "-Wmissing-prototypes"]

C_COMPILERS, CXX_COMPILERS = ["gcc", "clang"], ["g++", "clang++"]
C_STANDARDS = ["c99", "c11", "c17", "c2x", "gnu99", "gnu17"]
CXX_STANDARDS = ["c++11", "c++14", "c++17", "c++20"]
EXTENSIONS = sorted(path.name for path in (t.ROOT / "ext").glob("*.h"))

IMPLEMENTATION = "#define RLM_IMPLEMENTATION\n"
POSIX = "#define _POSIX_C_SOURCE 200809L\n"
HEADER = '#include "rlimit.h"\n'

# Something to refer to the header, so that it is seen to be usable and not only to parse.
USE = """
uint64_t unit_take(rlm_bucket *bucket);
uint64_t unit_take(rlm_bucket *bucket) { return rlm_bucket_take(bucket, 1, 0); }
uint64_t unit_acquire(rlm_limiter *limiter, const rlm_cost *cost, rlm_permit *permit);
uint64_t unit_acquire(rlm_limiter *limiter, const rlm_cost *cost, rlm_permit *permit) {
    return rlm_acquire(limiter, cost, 0, permit);
}
"""

# Read with compilers that have an operating system's headers.
HOSTED = {
    "declarations": HEADER + USE,
    "implementation": IMPLEMENTATION + HEADER + USE,
    "static": "#define RLM_STATIC\n" + HEADER + USE,
    "static_unused": "#define RLM_STATIC\n" + HEADER,
    "twice": POSIX + HEADER + IMPLEMENTATION + HEADER + HEADER + USE,
    "after_system": "#include <time.h>\n#include <stdio.h>\n#include <string.h>\n#include <sys/resource.h>\n" + HEADER + USE,
    "before_system": HEADER + "#include <time.h>\n#include <stdio.h>\n#include <string.h>\n#include <sys/resource.h>\n" + USE,
    "implementation_after_system":
        IMPLEMENTATION + POSIX + "#include <time.h>\n#include <stdio.h>\n#include <sys/resource.h>\n" + HEADER + USE,
    "implementation_before_system":
        IMPLEMENTATION + HEADER + "#include <time.h>\n#include <stdio.h>\n#include <sys/resource.h>\n" + USE,
    "no_clock": IMPLEMENTATION + "#define RLM_NO_CLOCK\n" + HEADER + USE,
    "no_atomics": IMPLEMENTATION + "#define RLM_NO_ATOMICS\n" + HEADER + USE,
    "no_cells": IMPLEMENTATION + "#define RLM_WINDOW_CELLS 0\n" + HEADER + USE,
    "one_limit": IMPLEMENTATION + "#define RLM_LIMITS_MAX 1\n" + HEADER + USE,
    "many_limits": IMPLEMENTATION + "#define RLM_LIMITS_MAX 64\n" + HEADER + USE,
    "api": IMPLEMENTATION + '#define RLM_API extern __attribute__((visibility("default")))\n' + HEADER + USE,
}

# Read with -ffreestanding.
BARE = {
    "freestanding": IMPLEMENTATION + "#define RLM_NO_CLOCK\n" + HEADER + USE,
    "freestanding_static": "#define RLM_STATIC\n#define RLM_NO_CLOCK\n" + HEADER + USE,
}

MICROCONTROLLER = IMPLEMENTATION + "#define RLM_NO_CLOCK\n#define RLM_NO_ATOMICS\n" + HEADER + USE


def compile_units(configuration, compiler, flags, units, suffix=".c"):
    """Compiles each unit; the failure names those that do not compile, with the first complaints of each."""
    wrong = []
    for name, text in units.items():
        source = t.write_unit("units", name + suffix, text)
        try:
            t.compile_c(configuration, source, compiler, flags, name=name + ".o")
        except t.CompileError as error:
            wrong.append("%s: %s" % (name, "\n".join(str(error).splitlines()[:12])))
    if wrong:
        pytest.fail("%d of %d units: \n%s" % (len(wrong), len(units), "\n".join(wrong)), pytrace=False)


@pytest.mark.parametrize("standard", C_STANDARDS)
@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_c_standard(compiler, standard):
    t.need_compiler(compiler)
    flags = ["-std=" + standard, *C_WARNINGS]
    compile_units("%s-%s" % (compiler, standard), compiler, [*flags, "-fsyntax-only"], HOSTED)
    compile_units("%s-%s-bare" % (compiler, standard), compiler, [*flags, "-fsyntax-only", "-ffreestanding"], BARE)


@pytest.mark.parametrize("standard", CXX_STANDARDS)
@pytest.mark.parametrize("compiler", CXX_COMPILERS)
def test_cxx_standard(compiler, standard):
    t.need_compiler(compiler)
    flags = ["-std=" + standard, *WARNINGS]
    compile_units("%s-%s" % (compiler, standard), compiler, [*flags, "-fsyntax-only"], HOSTED, ".cc")
    compile_units("%s-%s-bare" % (compiler, standard), compiler, [*flags, "-fsyntax-only", "-ffreestanding"], BARE, ".cc")


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "g++"])
def test_optimised(compiler, level):
    """Some warnings come only from what the optimiser sees."""
    t.need_compiler(compiler)
    cxx = compiler in CXX_COMPILERS
    flags = ["-std=c++11", *WARNINGS] if cxx else ["-std=c99", *C_WARNINGS]
    units = {name: HOSTED[name] for name in (
        "implementation", "static", "no_clock", "no_atomics", "no_cells", "one_limit")}
    compile_units("%s%s" % (compiler, level), compiler, [*flags, level, "-c"], units, ".cc" if cxx else ".c")


@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_32_bit(compiler):
    t.need_compiler(compiler, "-m32")
    units = {**HOSTED, **{name: text for name, text in BARE.items()}}
    compile_units(compiler + "-m32", compiler, ["-m32", "-std=c99", "-O2", "-c", *C_WARNINGS], units)


@pytest.mark.parametrize("processor", sorted(t.EMULATED))
def test_foreign_processor(processor):
    compiler = t.need_compiler(t.EMULATED[processor][0])
    units = {name: HOSTED[name] for name in ("declarations", "implementation", "static", "no_clock", "no_atomics")}
    compile_units(processor, compiler, ["-std=c99", "-O2", "-c", *C_WARNINGS], units)


# clang stands in for a C++ compiler for Windows: the headers are those of mingw, and nothing is linked.
WINDOWS = {"c": (t.MINGW, ["-std=c99", "-O2", "-c", *C_WARNINGS]),
           "c++": ("clang++", ["--target=x86_64-w64-mingw32", "-std=c++11", "-fsyntax-only", *WARNINGS])}


def windows_compiler(language):
    compiler, flags = WINDOWS[language]
    t.need(t.MINGW)
    return t.need_compiler(compiler, link=False), flags


@pytest.mark.parametrize("language", sorted(WINDOWS))
def test_windows(language):
    compiler, flags = windows_compiler(language)
    lean = "#define WIN32_LEAN_AND_MEAN\n#include <windows.h>\n"
    units = {name: HOSTED[name] for name in ("declarations", "implementation", "static", "no_clock", "no_atomics", "twice")}
    units["windows_first"] = IMPLEMENTATION + lean + HEADER + USE
    units["windows_last"] = IMPLEMENTATION + HEADER + lean + USE
    units["windows_whole"] = IMPLEMENTATION + "#include <windows.h>\n#include <stdio.h>\n" + HEADER + USE
    units["windows_static"] = "#define RLM_STATIC\n" + HEADER + lean + USE
    compile_units("windows-" + language, compiler, flags, units, ".cc" if language == "c++" else ".c")


MICROCONTROLLERS = {"cortex-m0": ["-mcpu=cortex-m0", "-mthumb"], "cortex-m3": ["-mcpu=cortex-m3", "-mthumb"],
                    "cortex-m4": ["-mcpu=cortex-m4", "-mthumb"]}


@pytest.mark.parametrize("processor", sorted(MICROCONTROLLERS))
def test_microcontroller(processor):
    compiler = t.need_compiler("arm-none-eabi-gcc", link=False)
    flags = [*MICROCONTROLLERS[processor], "-ffreestanding", "-std=c99", "-Os", "-c", *C_WARNINGS]
    compile_units(processor, compiler, flags, {"microcontroller": MICROCONTROLLER})


@pytest.mark.parametrize("processor", sorted(MICROCONTROLLERS))
def test_microcontroller_has_no_64_bit_atomics(processor):
    """That is said, instead of left to a library that is not there."""
    compiler = t.need_compiler("arm-none-eabi-gcc", link=False)
    source = t.write_unit("units", "microcontroller_atomics.c", IMPLEMENTATION + "#define RLM_NO_CLOCK\n" + HEADER + USE)
    with pytest.raises(t.CompileError, match="#error .*RLM_NO_ATOMICS"):
        t.compile_c(processor, source, compiler, [*MICROCONTROLLERS[processor], "-ffreestanding", "-std=c99", "-c"])


@pytest.mark.parametrize("compiler", C_COMPILERS)
def test_hidden_clock_is_said(compiler):
    """With -std=c99 and <time.h> already read, clock_gettime is out of reach."""
    t.need_compiler(compiler)
    source = t.write_unit("units", "hidden_clock.c", IMPLEMENTATION + "#include <time.h>\n" + HEADER)
    with pytest.raises(t.CompileError, match="#error .*_POSIX_C_SOURCE"):
        t.compile_c(compiler + "-c99", source, compiler, ["-std=c99", "-fsyntax-only"])


# ---- Companions -----------------------------------------------------------------------------------

@pytest.mark.parametrize("header", EXTENSIONS)
@pytest.mark.parametrize("compiler, standard", [
    *((compiler, standard) for compiler in C_COMPILERS for standard in ("c99", "c17", "gnu99", "gnu17")),
    *((compiler, standard) for compiler in CXX_COMPILERS for standard in ("c++11", "c++20")),
    ("gcc -m32", "c99")])
def test_companion(header, compiler, standard):
    name, *more = compiler.split()
    t.need_compiler(name, *more)
    cxx = standard.startswith("c++")
    flags = ["-std=" + standard, *(WARNINGS if cxx else C_WARNINGS), *more, "-O1", "-c"]
    configuration = "%s-%s-companion" % (compiler.replace(" ", ""), standard)
    compile_units(configuration, name, flags, companion_units(header), ".cc" if cxx else ".c")


@pytest.mark.parametrize("header", EXTENSIONS)
@pytest.mark.parametrize("language", sorted(WINDOWS))
def test_companion_on_windows(header, language):
    compiler, flags = windows_compiler(language)
    suffix = ".cc" if language == "c++" else ".c"
    compile_units("windows-%s-companion" % language, compiler, flags, companion_units(header), suffix)


def companion_units(header):
    include = '#include "%s"\n' % header
    stem = header.replace(".h", "")
    return {
        stem + "_declarations": include + USE,
        stem + "_implementation": IMPLEMENTATION + include + USE,
        stem + "_static": "#define RLM_STATIC\n" + include + USE,
        stem + "_after": IMPLEMENTATION + HEADER + include + include + USE,
    }


# ---- What an object file contains -----------------------------------------------------------------

C_LIBRARY = {"clock_gettime", "memset", "memcpy"}
# What a compiler itself calls where a processor has no instruction for it, and tables of position independent code.
COMPILER_32 = {"__udivdi3", "__umoddi3", "__divdi3", "__moddi3", "__udivmoddi4", "_GLOBAL_OFFSET_TABLE_"}
COMPILER_ARM = {"__aeabi_uldivmod", "__aeabi_ldivmod", "__aeabi_lmul", "__aeabi_llsl", "__aeabi_llsr",
                "__gnu_thumb1_case_sqi", "__gnu_thumb1_case_uqi", "__gnu_thumb1_case_shi", "__gnu_thumb1_case_uhi"}

OBJECTS = {
    "gcc": ("gcc", ["-O2"], HOSTED["implementation"], "nm", set()),
    "gcc-O0": ("gcc", ["-O0"], HOSTED["implementation"], "nm", set()),
    "clang": ("clang", ["-O2"], HOSTED["implementation"], "nm", set()),
    "g++": ("g++", ["-O2"], HOSTED["implementation"], "nm", set()),
    "no_clock": ("gcc", ["-O2"], HOSTED["no_clock"], "nm", {"clock_gettime"}),
    "m32": ("gcc", ["-O2", "-m32", "-fno-pic"], HOSTED["implementation"], "nm", set()),
    "cortex-m0": ("arm-none-eabi-gcc", ["-Os", "-mcpu=cortex-m0", "-mthumb", "-ffreestanding"], MICROCONTROLLER,
                  "arm-none-eabi-nm", {"clock_gettime"}),
}


def object_of(name):
    compiler, flags, text, nm, forbidden = OBJECTS[name]
    t.need_compiler(compiler, *flags, link=not compiler.startswith("arm"))
    t.need(nm)
    suffix = ".cc" if "++" in compiler else ".c"
    source = t.write_unit("objects-" + name, "unit" + suffix, text.replace(USE, ""))
    path = t.compile_or_fail("objects-" + name, source, compiler, ["-c", *flags], name="unit.o")
    symbols = []
    for line in t.run_ok([nm, path]).splitlines():
        *_, kind, symbol = line.split()
        symbols.append((kind, symbol))
    assert len(symbols) > 20, symbols
    return symbols, forbidden


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_exports_only_its_prefix(name):
    symbols, _ = object_of(name)
    exported = [symbol for kind, symbol in symbols if kind.isupper() and kind != "U"]
    assert any(symbol == "rlm_limiter_init" for symbol in exported)
    assert [symbol for symbol in exported if not symbol.startswith("rlm_")] == []


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_needs_nothing_but_the_clock(name):
    symbols, forbidden = object_of(name)
    allowed = (C_LIBRARY | (COMPILER_32 if name == "m32" else COMPILER_ARM if name.startswith("cortex") else set())) - forbidden
    assert sorted({symbol for kind, symbol in symbols if kind in "Uvw"} - allowed) == []


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_has_no_writable_data(name):
    """Nothing in .data, .bss or common; .data.rel.ro, which the loader writes once, does not count."""
    symbols, _ = object_of(name)
    assert [symbol for kind, symbol in symbols
            if kind in "bBdDCcsSgG" and not re.match(r"(CSWTCH|switch\.table|\.?Lswitch\.table)", symbol)] == []


def test_static_exports_nothing():
    t.need_compiler("gcc")
    t.need("nm")
    source = t.write_unit("objects-static", "unit.c", "#define RLM_STATIC\n" + HEADER + USE)
    path = t.compile_or_fail("objects-static", source, "gcc", ["-c", "-O2"], name="unit.o")
    symbols = [line.split()[-1] for line in t.run_ok(["nm", "-g", "--defined-only", path]).splitlines()]
    assert sorted(symbols) == ["unit_acquire", "unit_take"]


def test_api_decorates_the_functions():
    """RLM_API alone makes them visible in a shared library that hides everything else."""
    t.need_compiler("gcc", "-shared", "-fPIC")
    t.need("nm")
    source = t.write_unit("objects-api", "unit.c", HOSTED["api"])
    path = t.compile_or_fail("objects-api", source, "gcc", ["-shared", "-fPIC", "-O2", "-fvisibility=hidden"], name="unit.so")
    symbols = [line.split()[-1] for line in t.run_ok(["nm", "-D", "--defined-only", path]).splitlines()]
    assert "rlm_limiter_init" in symbols and "unit_take" not in symbols


# ---- The text -------------------------------------------------------------------------------------

HEADERS = ["rlimit.h", *("ext/" + name for name in EXTENSIONS)]


@pytest.mark.parametrize("name", HEADERS)
def test_macros_have_the_prefix(name):
    text = (t.ROOT / name).read_text()
    guard = name.rpartition("/")[2].upper().replace(".", "_")
    macros = set(re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", text, re.M))
    allowed = {guard, "_POSIX_C_SOURCE", "WIN32_LEAN_AND_MEAN"}
    assert sorted(macro for macro in macros - allowed if not macro.startswith("RLM_")) == []


def declarations(text):
    """(line number, name, comment above) of each public function, before the implementation. A group without a blank line
    between shares the comment at its head."""
    lines = text.partition("#endif /* RL")[0].splitlines()
    for index, line in enumerate(lines):
        found = re.match(r"(?:RLM_I_DECL|RLM_I_INLINE)\b[^(;]*?\b(rlm_(?!i_)\w+)\s*\(", line)
        if not found:
            continue
        at = index - 1
        while at >= 0 and lines[at].strip() and not lines[at].rstrip().endswith("*/"):
            at -= 1
        comment = []
        if at >= 0 and lines[at].rstrip().endswith("*/"):
            while at >= 0 and "/*" not in lines[at]:
                comment.insert(0, lines[at])
                at -= 1
            comment.insert(0, lines[at])
        yield index + 1, found.group(1), "\n".join(comment)


@pytest.mark.parametrize("name", HEADERS)
def test_documentation_stands_above_each_declaration(name):
    found, documented = {}, set()
    for line, function, comment in declarations((t.ROOT / name).read_text()):
        found.setdefault(function, line)
        if comment.lstrip().startswith("/*"):
            documented.add(function)
    assert found, "no public declarations in " + name
    assert ["%s:%d: %s" % (name, line, function) for function, line in found.items() if function not in documented] == []


@pytest.mark.parametrize("name", HEADERS)
def test_documentation_begins_with_a_name(name):
    """The comment above a function or a group of functions begins with the name of one of them."""
    groups = {}
    for line, function, comment in declarations((t.ROOT / name).read_text()):
        if comment:
            groups.setdefault(comment, (line, []))[1].append(function)
    wrong = ["%s:%d: %s" % (name, line, functions[0]) for comment, (line, functions) in groups.items()
             if not re.match(r"\s*/\* (%s)\b" % "|".join(functions), comment)]
    assert wrong == []
