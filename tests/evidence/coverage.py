"""Coverage of rlimit.h and ext/ by the C tests, the vectors, the fuzz targets' corpora, the simulator and the explorer.

    python tests/evidence/coverage.py [--json FILE] [--rlimit FILE]

Source-based coverage of clang: each side of each branch; with clang 18 or later also MC/DC (each condition of a decision
shown to decide it alone). What is not covered and why stands in coverage.txt, by function and condition, so that it
outlives changes of line numbers. Exit code 1 if a side of a branch is neither covered nor explained.

What only another thread can bring about (an exchange that fails) is taken by tests/explore: it runs interleavings of a few
threads through the header, so that these sides do not depend on luck. Only such as run to their end: of a function that is
left halfway the counters would tell sides that were never taken. So no thread is killed, and there is a bound of
preemptions, with which no execution is cut short.

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
EXPLORE_BOUND = 2
EXPLORE_SECONDS = 5     # for a scenario; most end in hundredths
HERE_ONLY = "depends on the machine: "

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

# flags: besides those of all; optional: may be left out where it cannot be built
Program = collections.namedtuple("Program", "name source others arguments flags optional", defaults=((), (), (), False))
EXPLORE = "explore"


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
    folders = [TESTS / name for name in ("c", "sim", "fuzz", "explore")]
    headers = [ROOT / "rlimit.h", *(ROOT / "ext").glob("*.h")]
    for source in [*headers, *(path for folder in folders for path in folder.glob("*.[ch]"))]:
        to = WORK / source.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        text = Path(header).read_text() if header and source == ROOT / "rlimit.h" else source.read_text()
        to.write_text(re.sub(r"(?<!#define )\bRLM_I_(UN)?LIKELY\(", "(", text))
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
    c, fuzz = WORK / "tests" / "c", WORK / "tests" / "fuzz"
    for source in sorted(c.glob("test_*.c")):
        yield Program(source.stem, source)
    yield Program("test_queue-m32", c / "test_queue.c", flags=["-m32"], optional=True)
    yield Program("vectors", c / "vectors.c", arguments=[vector_text()])
    yield Program("sim", WORK / "tests" / "sim" / "sim.c", arguments=["--ops", SIM_OPS])
    yield Program(EXPLORE, WORK / "tests" / "explore" / "scenarios.c",
                  arguments=["--bound", EXPLORE_BOUND, "--seconds", EXPLORE_SECONDS])
    for source in sorted(fuzz.glob("fuzz_*.c")):
        name = source.stem.replace("fuzz_", "")
        for folder in (TESTS / "fuzz" / "corpus" / name, TESTS / "fuzz" / name):
            if folder.is_dir():
                yield Program(source.stem, source, [WORK / "driver.c"], sorted(folder.iterdir()))


def build(clang, program, mcdc):
    """The binary and what the compiler said. The source is included from standard input: then a static function has the
    same name in all programs, and what they show of it is added up."""
    flags = ["-std=gnu11", "-O1", "-Wno-everything", "-pthread", "-fprofile-instr-generate", "-fcoverage-mapping"]
    flags += ["-fprofile-update=atomic", *(["-fcoverage-mcdc"] if mcdc else [])]
    flags += ["-I", WORK, "-I", WORK / "ext", "-I", WORK / "tests" / "c", "-I", WORK / "tests" / "sim"]
    binary = WORK / program.name
    command = [clang, *flags, *program.flags, "-x", "c", "-", *program.others, "-o", binary, "-lm"]
    done = subprocess.run(command, cwd=WORK, text=True, input='#include "%s"\n' % program.source, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0 and not program.optional:
        sys.exit("coverage: %s does not compile\n%s" % (program.name, done.stdout))
    return binary if done.returncode == 0 else None, done.stdout


def run(binary, arguments, profile):
    done = subprocess.run([binary, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env={**os.environ, "LLVM_PROFILE_FILE": str(profile)})
    return done.returncode, done.stdout


def explore(binary, arguments, profile):
    """Runs the scenarios in which nobody is killed; whether all passed, and none of their executions was cut short."""
    _, names = run(binary, ["--list"], os.devnull)
    names = [name for name in names.split() if not name.endswith("+kill")]
    code, output = run(binary, ["--json", *arguments, *names], profile)
    results = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return code == 0 and len(results) == len(names) > 0 and all(result["redundant"] == 0 for result in results)


def run_all(clang, profdata, mcdc):
    """Builds and runs all programs. Returns the binaries, the merged profile, the programs that failed and those left out,
    and the decisions of which MC/DC cannot be told."""
    binaries, profiles, failures, left_out, unmeasured = [], [], [], [], set()
    for program in programs():
        binary, said = build(clang, program, mcdc)
        if binary is None:
            left_out.append(program.name)
            continue
        places = re.findall(r"^(.*?):(\d+):.*unsupported MC/DC", said, re.M)
        unmeasured.update((Path(file).name, int(line)) for file, line in places)
        profile = WORK / (program.name + ".profraw")
        if program.name == EXPLORE:
            passed = explore(binary, program.arguments, profile)
        else:
            passed = run(binary, program.arguments, profile)[0] == 0
        if not passed:
            failures.append(program.name)
        binaries.append(binary)
        profiles.append(profile)
    merged = WORK / "all.profdata"
    subprocess.run([profdata, "merge", "-sparse", *profiles, "-o", merged], check=True)
    return binaries, merged, failures, left_out, sorted(place for place in unmeasured if place[0] in MEASURED)


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
    """{(file, region): [taken, not taken, function]}, {(file, region): (function, conditions)} of decisions,
    {file: {line: covered}}."""
    branches, decisions, lines = {}, {}, collections.defaultdict(dict)
    for binary in binaries: # one after the other: functions of a header stand in each
        # it warns of functions that a unit has and does not use
        done = subprocess.run([cov, "export", binary, "-instr-profile", merged], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True)
        data = json.loads(done.stdout)["data"][0]
        for function in data["functions"]:
            names = [Path(name).name for name in function["filenames"]]
            called = function_name(function["name"])
            for branch in function["branches"]:
                name = names[branch[6]]
                if name not in MEASURED:
                    continue
                seen = branches.setdefault((name, *branch[:4]), [0, 0, called])
                seen[0] += branch[4]
                seen[1] += branch[5]
            for record in function.get("mcdc_records", ()):
                name = names[record[-4]] if len(record) >= 10 else names[0] # before clang 20 the file is not told
                if name not in MEASURED:
                    continue
                _, before = decisions.setdefault((name, *record[:4]), (called, [False] * len(record[-1])))
                decisions[(name, *record[:4])] = (called, [a or b for a, b in zip(before, record[-1])])
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


def conditions_within(name, decision, branches, text):
    """The texts of a decision's conditions, in order."""
    inside = [key for key in sorted(branches) if key[0] == name and key[1:3] >= decision[1:3] and key[3:5] <= decision[3:5]]
    return [text_of(text, *key[1:]) for key in inside]


def report_file(name, branches, decisions, lines, table, mcdc):
    """What is known of a file, and what of the table was used for it."""
    text = (WORK / name if name == "rlimit.h" else WORK / "ext" / name).read_text().splitlines()
    missing, count = [], 0
    for key, (taken, skipped, function) in sorted(branches.items()):
        if key[0] != name:
            continue
        condition = text_of(text, *key[1:])
        if not condition or condition == "0" or condition == "1":
            continue
        for side, times in (("true", taken), ("false", skipped)):
            count += 1
            if times == 0:
                missing.append(Side(name, key[1], function, condition, side))
    keys = [(side.file, side.function, side.condition, side.side) for side in missing]
    undecided, total = [], 0
    for key, (function, shown) in sorted(decisions.items()):
        if key[0] != name:
            continue
        total += len(shown)
        conditions = conditions_within(name, key, branches, text)
        for number, one in enumerate(shown):
            if not one:
                condition = conditions[number] if len(conditions) == len(shown) else "number %d" % (number + 1)
                undecided.append({"line": key[1], "function": function, "condition": condition,
                                  "decision": text_of(text, *key[1:])})
    return {
        "branch_sides": count, "covered": count - len(missing), "explained": sum(key in table for key in keys),
        "unexplained": [side._asdict() for side, key in zip(missing, keys) if key not in table],
        "uncovered": [{**side._asdict(), "reason": table.get(key)} for side, key in zip(missing, keys)],
        "lines": len(lines[name]), "lines_covered": sum(lines[name].values()),
        "mcdc_conditions": total if mcdc else None, "mcdc_covered": total - len(undecided) if mcdc else None,
        "mcdc_missing": undecided,
    }, set(keys)


def print_file(name, told):
    total, independent = told["mcdc_conditions"], told["mcdc_covered"]
    by_mcdc = ""
    if total is not None:
        by_mcdc = "; %d of %d conditions by MC/DC (%.1f %%)" % (independent, total, 100 * independent / max(total, 1))
    print("%s: %d of %d sides of branches (%.2f %%), %d explained, %d not%s" % (
        name, told["covered"], told["branch_sides"], 100 * told["covered"] / max(told["branch_sides"], 1), told["explained"],
        len(told["unexplained"]), by_mcdc))
    for side in told["unexplained"]:
        print("  %s:%d %s: never %s: %s" % (name, side["line"], side["function"], side["side"], side["condition"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--rlimit", help="another rlimit.h")
    options = parser.parse_args()
    began = time.time()
    clang, profdata, cov, mcdc = tools()
    copy_sources(options.rlimit)
    binaries, merged, failures, left_out, unmeasured = run_all(clang, profdata, mcdc)
    branches, decisions, lines = read_export(binaries, cov, merged)
    table, used = explained(), set()
    result = {"tool": "coverage", "compiler": subprocess.check_output([clang, "--version"], text=True).splitlines()[0],
              "files": {}, "failures": failures, "left_out": left_out, "mcdc_unmeasured": unmeasured}
    for name in MEASURED:
        result["files"][name], keys = report_file(name, branches, decisions, lines, table, mcdc)
        used |= keys
        print_file(name, result["files"][name])
    result["stale_explanations"] = [" ;; ".join(key) for key, reason in table.items()
                                    if key not in used and not reason.startswith(HERE_ONLY)]
    for line in result["stale_explanations"]:
        print("explained, but covered or gone:", line)
    if left_out:
        print("cannot be built here:", *left_out)
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
