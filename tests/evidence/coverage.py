"""Coverage of rlimit.h and ext/ by the C tests, the vectors, the corpora of the fuzz targets and the simulator.

    python tests/evidence/coverage.py [--json FILE] [--rlimit FILE]

Source-based coverage of clang: each side of each branch; with clang 18 or later also MC/DC (each condition of a decision shown
to decide it alone). What is not covered and why stands in coverage.txt, by function and condition, so that it outlives changes
of line numbers. Exit code 1 if a branch is neither covered nor explained.

The headers are measured as copies in which RLM_I_LIKELY and RLM_I_UNLIKELY are taken out: a branch within a macro would be
counted where the macro is defined.
"""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent
WORK = ROOT / "build" / "coverage"
TABLE = HERE / "coverage.txt"
VERSIONS = [22, 21, 20, 19, 18, 17, 16, 15, 14]
MEASURED = ["rlimit.h", "rlimit_http.h", "rlimit_wait.h"]
SIM_OPS = 2000000

DRIVER = """
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int main(int argc, char **argv) {
    int i;
    for (i = 1; i < argc; i++) {
        static uint8_t data[1 << 20];
        FILE *from = fopen(argv[i], "rb");
        if (from == NULL) return 1;
        size_t size = fread(data, 1, sizeof data, from);
        fclose(from);
        LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
}
"""


def tools():
    """(clang, llvm-profdata, llvm-cov, whether it has MC/DC), the newest there is."""
    for version in [*("-%d" % number for number in VERSIONS), ""]:
        names = [name + version for name in ("clang", "llvm-profdata", "llvm-cov")]
        if all(map(shutil.which, names)):
            number = re.search(r"clang version (\d+)", subprocess.check_output([names[0], "--version"], text=True))
            return (*names, number is not None and int(number.group(1)) >= 18)
    sys.exit("coverage: no clang with llvm-profdata and llvm-cov here (apt: clang-19 llvm-19 libclang-rt-19-dev)")


def copy_sources(header):
    """The headers and C programs, in folders as they are, without the hints. header: another rlimit.h, or None."""
    shutil.rmtree(WORK, ignore_errors=True)
    for source in [ROOT / "rlimit.h", *(ROOT / "ext").glob("*.h"), *(TESTS / "c").glob("*.[ch]"), *(TESTS / "sim").glob("*.[ch]"),
                   *(TESTS / "fuzz").glob("*.[ch]")]:
        to = WORK / source.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(re.sub(r"(?<!#define )\bRLM_I_(UN)?LIKELY\(", "(", source.read_text()))
    if header:
        (WORK / "rlimit.h").write_text(re.sub(r"(?<!#define )\bRLM_I_(UN)?LIKELY\(", "(", Path(header).read_text()))
    (WORK / "driver.c").write_text(DRIVER)


def vector_text():
    """The fixed cases and the random ones of a seed, as tests/c/vectors.c reads them."""
    sys.path.insert(0, str(TESTS))
    import test_vectors
    cases = [case for path in test_vectors.FIXED for case in test_vectors.load(path)]
    cases += test_vectors.load(test_vectors.random_file(1))
    path = WORK / "vectors.txt"
    path.write_text("".join(line + "\n" for case in cases for line in test_vectors.flat(case)))
    return path


def programs():
    """name, sources, arguments"""
    for source in sorted((WORK / "tests" / "c").glob("test_*.c")):
        yield source.stem, [source], []
    yield "vectors", [WORK / "tests" / "c" / "vectors.c"], [vector_text()]
    if (WORK / "tests" / "sim" / "sim.c").exists():
        yield "sim", [WORK / "tests" / "sim" / "sim.c"], ["--ops", SIM_OPS]
    for source in sorted((WORK / "tests" / "fuzz").glob("fuzz_*.c")):
        name = source.stem.replace("fuzz_", "")
        for folder in (TESTS / "fuzz" / "corpus" / name, TESTS / "fuzz" / name):
            if folder.is_dir():
                yield source.stem, [source, WORK / "driver.c"], sorted(folder.iterdir())


def run_all(clang, profdata, mcdc):
    """Builds and runs all programs. Returns the binaries and the merged profile; a test that fails is told."""
    flags = ["-std=gnu11", "-O1", "-w", "-Wno-everything", "-pthread", "-fprofile-instr-generate", "-fcoverage-mapping"]
    flags += ["-fcoverage-mcdc"] if mcdc else []
    flags += ["-I", WORK, "-I", WORK / "ext", "-I", WORK / "tests" / "c", "-I", WORK / "tests" / "sim"]
    binaries, profiles, failures = [], [], []
    for name, sources, arguments in programs():
        binary, profile = WORK / name, WORK / (name + ".profraw")
        subprocess.run([clang, *flags, *sources, "-o", binary, "-lm"], check=True, cwd=WORK)
        done = subprocess.run([binary, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env={**os.environ, "LLVM_PROFILE_FILE": str(profile)})
        if done.returncode != 0:
            failures.append(name)
        binaries.append(binary)
        profiles.append(profile)
    merged = WORK / "all.profdata"
    subprocess.run([profdata, "merge", "-sparse", *profiles, "-o", merged], check=True)
    return binaries, merged, failures


Side = collections.namedtuple("Side", "file line function condition side")


def text_of(lines, start_line, start_col, end_line, end_col):
    if start_line == end_line:
        text = lines[start_line - 1][start_col - 1:end_col - 1]
    else:
        text = " ".join([lines[start_line - 1][start_col - 1:], *lines[start_line:end_line - 1], lines[end_line - 1][:end_col - 1]])
    return " ".join(text.split())


def function_name(name):
    return name.rpartition(":")[2]


def read_export(binaries, cov, merged):
    """{(file, region): [taken, not taken, function]}, the same of conditions in decisions, {file: (lines, covered)}."""
    branches, decisions, lines = {}, {}, collections.defaultdict(dict)
    for binary in binaries: # one after the other: functions of a header stand in each
        done = subprocess.run([cov, "export", binary, "-instr-profile", merged], stdout=subprocess.PIPE, check=True)
        data = json.loads(done.stdout)["data"][0]
        for function in data["functions"]:
            names = [Path(name).name for name in function["filenames"]]
            for branch in function["branches"]:
                name = names[branch[6]]
                if name not in MEASURED:
                    continue
                seen = branches.setdefault((name, *branch[:4]), [0, 0, function_name(function["name"])])
                seen[0] += branch[4]
                seen[1] += branch[5]
            for record in function.get("mcdc_records", ()):
                name = names[record[4]] if len(record) > 4 and isinstance(record[4], int) else names[0]
                if name not in MEASURED:
                    continue
                shown = next(part for part in record if isinstance(part, list))
                before = decisions.setdefault((name, *record[:4]), [False] * len(shown))
                decisions[(name, *record[:4])] = [a or b for a, b in zip(before, shown)]
        for file in data["files"]:
            name = Path(file["filename"]).name
            if name in MEASURED:
                count_lines(file["segments"], lines[name])
    return branches, decisions, lines


def count_lines(segments, into):
    """Whether each line that has code was run: by the region that it begins in or that begins on it."""
    for (line, _, count, has_count, _, is_gap), (following, *_) in zip(segments, [*segments[1:], [segments[-1][0]]]):
        if not has_count or is_gap:
            continue
        for number in range(line, max(line, following - 1) + 1):
            into[number] = into.get(number, False) or count > 0


def explained():
    """{(file, function, condition, side): reason}"""
    table = {}
    for line in TABLE.read_text().splitlines() if TABLE.exists() else ():
        if line.strip() and not line.startswith("#"):
            file, function, side, condition, reason = (part.strip() for part in line.split(" ;; ", 4))
            table[(file, function, condition, side)] = reason
    return table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--rlimit", help="another rlimit.h")
    options = parser.parse_args()
    began = time.time()
    clang, profdata, cov, mcdc = tools()
    copy_sources(options.rlimit)
    binaries, merged, failures = run_all(clang, profdata, mcdc)
    branches, decisions, lines = read_export(binaries, cov, merged)
    table, used = explained(), set()
    texts = {name: (WORK / name if name == "rlimit.h" else WORK / "ext" / name).read_text().splitlines() for name in MEASURED}
    result = {"tool": "coverage", "compiler": subprocess.check_output([clang, "--version"], text=True).splitlines()[0], "files": {},
              "failures": failures}
    for name in MEASURED:
        missing, count = [], 0
        for key, (taken, skipped, function) in sorted(branches.items()):
            if key[0] != name:
                continue
            condition = text_of(texts[name], *key[1:])
            if not condition or condition == "0" or condition == "1":
                continue
            for side, times in (("true", taken), ("false", skipped)):
                count += 1
                if times == 0:
                    missing.append(Side(name, key[1], function, condition, side))
        reasons = [table.get((side.file, side.function, side.condition, side.side)) for side in missing]
        used.update((side.file, side.function, side.condition, side.side) for side in missing)
        conditions = [shown for key, shown in decisions.items() if key[0] == name]
        total, independent = sum(map(len, conditions)), sum(map(sum, conditions))
        result["files"][name] = {
            "branch_sides": count, "covered": count - len(missing), "explained": sum(map(bool, reasons)),
            "unexplained": [side._asdict() for side, reason in zip(missing, reasons) if not reason],
            "uncovered": [{**side._asdict(), "reason": reason} for side, reason in zip(missing, reasons)],
            "lines": len(lines[name]), "lines_covered": sum(lines[name].values()),
            "mcdc_conditions": total if mcdc else None, "mcdc_covered": independent if mcdc else None,
        }
        told = result["files"][name]
        print("%s: %d of %d sides of branches (%.2f %%), %d explained, %d not; %d of %d conditions by MC/DC (%.1f %%)" % (
            name, told["covered"], count, 100 * told["covered"] / max(count, 1), told["explained"], len(told["unexplained"]),
            independent, total, 100 * independent / max(total, 1)))
        for side in told["unexplained"]:
            print("  %s:%d %s: never %s: %s" % (name, side["line"], side["function"], side["side"], side["condition"]))
    result["stale_explanations"] = [" ;; ".join(key) for key in table if key not in used]
    for line in result["stale_explanations"]:
        print("explained, but covered or gone:", line)
    if failures:
        print("failed:", *failures)
    result["mcdc"] = "measured" if mcdc else "not measured: needs clang 18 or later"
    result["seconds"] = round(time.time() - began, 1)
    result["ok"] = not failures and not any(file["unexplained"] for file in result["files"].values())
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
