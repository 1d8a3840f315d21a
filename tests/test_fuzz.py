"""The fuzz targets, tests/fuzz/fuzz_*.c: on their corpus, and then for a fixed number of inputs."""
import pytest

import toolchain as t

FUZZ = t.ROOT / "tests" / "fuzz"
TARGETS = sorted(path.stem.replace("fuzz_", "") for path in FUZZ.glob("fuzz_*.c"))
FLAGS = ["-std=gnu11", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
RUNS = 100000


def build(target):
    t.need("clang")
    probe = t.write_unit("fuzz", "probe.c", "#include <stddef.h>\n#include <stdint.h>\n"
                         "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);\n"
                         "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data == NULL && size > 0; }\n")
    try:
        t.compile_c("fuzz", probe, "clang", FLAGS, name="probe")
    except t.CompileError as error:
        t.absent("clang has no -fsanitize=fuzzer here: " + str(error).strip().splitlines()[-1])
    return t.compile_or_fail("fuzz", FUZZ / ("fuzz_%s.c" % target), "clang", [*FLAGS, "-Wall", "-Wextra", "-Werror"])


def corpus(target):
    paths = sorted((FUZZ / target).iterdir())
    assert paths, "no inputs in tests/fuzz/" + target
    return paths


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target):
    binary = build(target)
    said = t.run_ok([binary, *corpus(target)], timeout=120)
    assert said.count("Executed ") == len(corpus(target)), said


@pytest.mark.parametrize("target", TARGETS)
def test_mutations(target, tmp_path):
    """The same inputs in every run; what fails is written to a file that the output names."""
    binary = build(target)
    options = ["-runs=%d" % RUNS, "-seed=1", "-max_len=4096", "-timeout=10", "-artifact_prefix=%s/" % (t.BUILD / "fuzz")]
    dictionary = FUZZ / (target + ".dict")
    if dictionary.exists():
        options.append("-dict=%s" % dictionary)
    said = t.run_ok([binary, *options, tmp_path, FUZZ / target], timeout=300)
    assert "Done %d runs" % RUNS in said, said
