"""docs/evidence.md: what was run to show that rlimit is right, the figures, the versions, and how to repeat each.

    python tests/evidence/evidence.py [--only STEP,...] [--again] [--page FILE]

Each step runs a tool and keeps what it printed in build/evidence/STEP.json, with a sum of the files that it depends on: a step is
run again when one of these has changed, or with --again. The page is made of these records alone; a step without one of the
present files says why it has none. Exit code 1 if a step that was run found something wrong.
"""
import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent
WORK = ROOT / "build" / "evidence"
DATA = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))
HEADERS = ["rlimit.h", "ext/*.h"]
SIM_OPS, SIM_SEED = 10 ** 8, 1
FUZZ_S = 60                     # for a target and tool
MUTANTS, MUTANTS_SEED = 150, 20


class Absent(Exception):
    """A step cannot be run here, and why."""


def need(*names):
    for name in names:
        if shutil.which(name) is None:
            raise Absent("%s is not installed" % name)


def first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return "?"
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "?")


def run(command, **how):
    """Lines that a command prints; what it says goes on to where this prints, too, if it fails."""
    command = list(map(str, command))
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **how.pop("env", {})}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT,
                          env=environment, **how)
    return done.returncode, done.stdout.splitlines()


def pytest(*arguments, env=None):
    """(passed, failed, skipped), and what was printed."""
    code, lines = run([sys.executable, "-m", "pytest", "-q", *arguments], env=env or {})
    found = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1] if lines else "")
    if not found:
        raise Absent("the tests did not run: %s" % " ".join(lines[-3:]))
    counted = tuple(map(int, found.groups()))
    if code != 0:
        print("\n".join(lines[-60:]))
    return counted, lines


# -- steps: each returns its figures, "ok" among them

def vectors():
    cases = {}
    for path in sorted((TESTS / "vectors").glob("*.json")):
        cases[path.stem] = len(json.loads(path.read_text()))
    counted = {language: pytest("-n2", *paths)[0] for language, paths in (
        ("C", ["tests/test_vectors.py"]), ("Python", ["tests/python/test_vectors.py", "tests/python/test_oracle.py"]),
        ("Node, files of tests", ["tests/test_node.py", "-k", "vectors or oracle"]))}
    return {"ok": not any(failed for _, failed, _ in counted.values()), "cases": cases, "languages": counted}


def bounds_of(scenarios):
    """How many were run with so many preemptions at most, of those that were not run without a bound."""
    found = {}
    for one in scenarios:
        if one["bound"] is not None:
            found[one["bound"]] = found.get(one["bound"], 0) + 1
    return sorted(found.items())


def explore():
    need("gcc")
    WORK.mkdir(parents=True, exist_ok=True)
    binary = WORK / "explore"
    folder = TESTS / "explore"
    code, lines = run(["gcc", "-std=gnu11", "-O2", "-I.", "-Itests/c", "-I", folder, folder / "scenarios.c", "-o", binary])
    if code != 0:
        raise Absent("the explorer does not compile: %s" % " ".join(lines[:3]))
    code, lines = run([binary, "--json", "--seconds", 120])
    found = [json.loads(line) for line in lines if line.startswith("{")]
    plain, killed = ([one for one in found if one["scenario"].endswith("+kill") == which] for which in (False, True))
    faults, _ = pytest("-n2", "tests/test_explore.py", "-k", "test_fault")
    total = lambda ones: sum(one["executions"] for one in ones)
    return {"ok": code == 0 and faults[1] == 0 and all(one["ok"] and one["exhausted"] for one in found), "scenarios": len(plain),
            "executions": total(plain), "kill_scenarios": len(killed), "kill_executions": total(killed),
            "bounds": bounds_of(plain), "kill_bounds": bounds_of(killed),
            "steps": sum(one["steps"] for one in found), "longest": max(one["longest"] for one in found),
            "faults": faults[0] + faults[1], "faults_found": faults[0], "compiler": first_line("gcc", "--version")}


def proofs():
    need("frama-c", "why3", "z3", "cvc4")
    code, lines = run([sys.executable, TESTS / "proof" / "prove.py", "--long"])
    goals = [json.loads(line) for line in lines if line.startswith("{")]
    if not goals:
        raise Absent("nothing was proved: %s" % " ".join(lines[-3:]))
    faults, _ = pytest("-n2", "tests/test_proof.py", "-k", "faults", env={"RLIMIT_LONG": "1"})
    names = sorted({goal["function"] for goal in goals if goal["group"] != "bits" and not goal["group"].startswith("lemmas")})
    return {"ok": code == 0 and faults[1] == 0, "goals": len(goals), "proved": sum(goal["proved"] for goal in goals), "functions": names,
            "faults": faults[0] + faults[1], "faults_found": faults[0],
            "versions": ["Frama-C " + first_line("frama-c", "-version"), first_line("z3", "--version"), first_line("cvc4", "--version")]}


def sim():
    need("gcc")
    binary, record = WORK / "sim", WORK / "sim_run.json"
    code, lines = run(["gcc", "-std=gnu11", "-O2", "-I.", "-Itests/sim", TESTS / "sim" / "sim.c", "-o", binary])
    if code != 0:
        raise Absent("the simulator does not compile: %s" % " ".join(lines[:3]))
    code, lines = run([binary, "--seed", SIM_SEED, "--ops", SIM_OPS, "--json", record])
    if code != 0:
        print("\n".join(lines))
    told = json.loads(record.read_text())
    return {**told, "ok": code == 0, "seed": SIM_SEED, "compiler": first_line("gcc", "--version")}


def corpus_of(target):
    return TESTS / "fuzz" / target


def libfuzzer(target, seconds):
    need("clang")
    binary = WORK / ("fuzz_" + target)
    options = ["-g", "-O1", "-w", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-I.", "-Iext", "-Itests/sim"]
    code, lines = run(["clang", *options, TESTS / "fuzz" / ("fuzz_%s.c" % target), "-o", binary])
    if code != 0:
        raise Absent("the target does not compile: %s" % " ".join(lines[:3]))
    dictionary = TESTS / "fuzz" / (target + ".dict")
    with tempfile.TemporaryDirectory() as found:
        code, lines = run([binary, "-max_total_time=%d" % seconds, "-print_final_stats=1", "-artifact_prefix=%s/" % WORK,
                           *(["-dict=%s" % dictionary] if dictionary.exists() else []), found, corpus_of(target)])
    text = "\n".join(lines)
    if code != 0:
        print("\n".join(lines[-30:]))
    executions = re.search(r"stat::number_of_executed_units: (\d+)", text)
    edges = re.findall(r"cov: (\d+)", text)
    return {"ok": code == 0, "executions": int(executions.group(1)) if executions else 0, "edges": int(edges[-1]) if edges else 0}


def afl(target, seconds):
    need("afl-fuzz", "afl-clang-fast")
    binary, out = WORK / ("afl_" + target), WORK / ("afl_out_" + target)
    options = ["-g", "-O2", "-w", "-fsanitize=fuzzer", "-I.", "-Iext", "-Itests/sim"]
    quiet = {"AFL_QUIET": "1", "AFL_USE_ASAN": "1", "AFL_USE_UBSAN": "1"}
    code, lines = run(["afl-clang-fast", *options, TESTS / "fuzz" / ("fuzz_%s.c" % target), "-o", binary], env=quiet)
    if code != 0:
        raise Absent("the target does not compile: %s" % " ".join(lines[:3]))
    shutil.rmtree(out, ignore_errors=True)
    how = {"AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_NO_AFFINITY": "1"}
    code, lines = run(["afl-fuzz", "-V", seconds, "-i", corpus_of(target), "-o", out, "-m", "none", "-t", "5000", "--", binary], env=how)
    stats = out / "default" / "fuzzer_stats"
    if not stats.exists():
        raise Absent("afl-fuzz did not run: %s" % " ".join(line.strip() for line in lines[-4:]))
    told = dict(map(str.strip, line.split(":", 1)) for line in stats.read_text().splitlines() if ":" in line)
    crashes = int(told.get("saved_crashes", told.get("unique_crashes", 0))) + int(told.get("saved_hangs", told.get("unique_hangs", 0)))
    return {"ok": crashes == 0, "executions": int(told["execs_done"]), "edges": int(told.get("edges_found", 0)), "crashes": crashes}


def fuzz():
    result = {"ok": True, "seconds_each": FUZZ_S, "targets": {}}
    for target in ("http", "ops"):
        files = [path for path in corpus_of(target).iterdir() if path.is_file()]
        told = {"corpus": len(files), "corpus_bytes": sum(path.stat().st_size for path in files)}
        for name, tool in (("libFuzzer", libfuzzer), ("AFL++", afl)):
            try:
                told[name] = tool(target, FUZZ_S)
                result["ok"] = result["ok"] and told[name]["ok"]
            except Absent as why:
                told[name] = {"absent": str(why)}
        result["targets"][target] = told
    result["versions"] = [first_line("clang", "--version"), first_line("afl-fuzz", "-h") if shutil.which("afl-fuzz") else "no AFL++"]
    return result


def coverage():
    record = WORK / "coverage_run.json"
    code, lines = run([sys.executable, HERE / "coverage.py", "--json", record])
    if not record.exists():
        raise Absent(" ".join(lines[-2:]))
    if code != 0:
        print("\n".join(lines[-40:]))
    return {**json.loads(record.read_text()), "ok": code == 0}


def mutation():
    need("gcc")
    record = WORK / "mutation_run.json"
    code, lines = run([sys.executable, HERE / "mutate.py", "--count", MUTANTS, "--seed", MUTANTS_SEED, "--json", record,
                       "--out", WORK / "mutants.jsonl"])
    if code != 0 or not record.exists():
        raise Absent(" ".join(lines[-2:]))
    return {**json.loads(record.read_text()), "ok": True, "compiler": first_line("gcc", "--version")}


def bindings():
    python, _ = pytest("tests/python", "-k", "fault")
    node, _ = pytest("tests/test_node.py", "-k", "faults")
    return {"ok": python[1] == 0 and node[1] == 0, "python": python[0], "python_skipped": python[2], "node": node[0], "node_skipped": node[2]}


def bench():
    code, lines = run(["make", "-s", "bench", "DATA=%s" % DATA])
    figures, skipped = {}, []
    for line in lines:
        words = line.split()
        if words[:1] != ["bench"]:
            continue
        values = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        if "value" in values:
            figures[words[1]] = {key: float(value) if re.fullmatch(r"-?[\d.]+", value) else value for key, value in values.items()}
        else:
            skipped.append(" ".join(words[1:]))
    if not figures:
        raise Absent("make bench printed nothing: %s" % " ".join(lines[-3:]))
    if code != 0:
        print("\n".join(lines[-30:]))
    return {"ok": code == 0, "figures": figures, "skipped": skipped, "machine": machine()}


SOURCES_C = [*HEADERS, "tests/c/*", "tests/vectors/*", "tests/sim/*", "tests/fuzz/*", "tests/fuzz/*/*", "tests/explore/*"]
BINDINGS = ["bindings/python/*.c", "bindings/python/rlimit/*", "bindings/node/*", "bindings/node/lib/*"]
STEPS = {
    "explore": (explore, [*HEADERS, "tests/explore/*", "tests/test_explore.py"]),
    "sim": (sim, [*HEADERS, "tests/sim/*"]),
    "proofs": (proofs, ["rlimit.h", "tests/proof/*", "tests/test_proof.py"]),
    "vectors": (vectors, [*HEADERS, *BINDINGS, "tests/vectors/*", "tests/test_vectors.py", "tests/python/test_oracle.py",
                          "tests/python/test_vectors.py", "tests/node/*oracle*", "tests/node/*vectors*"]),
    "bindings": (bindings, [*HEADERS, *BINDINGS, "tests/python/*fault*", "tests/node/*fault*"]),
    "fuzz": (fuzz, [*HEADERS, "tests/fuzz/*", "tests/fuzz/*/*", "tests/sim/judge.h"]),
    "coverage": (coverage, [*SOURCES_C, "tests/evidence/coverage.*"]),
    "mutation": (mutation, [*SOURCES_C, "tests/evidence/mut*"]),
    "bench": (bench, [*HEADERS, *BINDINGS, "bench/*", "bench/node/*.mjs"]),
}


# -- records

def sum_of(patterns):
    whole = hashlib.sha256()
    skipped = {"node_modules", "__pycache__"}
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        if path.is_file() and not skipped & set(path.parts) and path.suffix not in (".so", ".pyc"):
            whole.update(("%s\n" % path.relative_to(ROOT)).encode() + path.read_bytes())
    return whole.hexdigest()


def machine():
    model = "?"
    if os.path.exists("/proc/cpuinfo"):
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "cores": os.cpu_count(), "system": "%s %s" % (platform.system(), platform.machine()),
            "kernel": platform.release().split("-")[0]}


def record_of(name):
    path = WORK / (name + ".json")
    return json.loads(path.read_text()) if path.exists() else None


def take_step(name, again):
    """The record of a step, of the present files."""
    step, sources = STEPS[name]
    total, old = sum_of(sources), record_of(name)
    if old is not None and old["sum"] == total and "absent" not in old and not again:
        return old
    print("evidence: %s ..." % name, flush=True)
    began = time.time()
    record = {"sum": total, "load": os.getloadavg()[0]}
    try:
        record["result"] = step()
    except Absent as why:
        record["absent"] = str(why)
    record["seconds"] = round(time.time() - began, 1)
    record["machine"] = machine()
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / (name + ".json")).write_text(json.dumps(record, indent=1) + "\n")
    print("evidence: %s: %s, %.0f s" % (name, record.get("absent") or ("ok" if record["result"]["ok"] else "FAILED"), record["seconds"]), flush=True)
    return record


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="steps, with commas: " + ", ".join(STEPS))
    parser.add_argument("--again", action="store_true", help="run them though nothing has changed")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence.md")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(STEPS)
    for name in chosen:
        if name not in STEPS:
            sys.exit("evidence: no step %r; there are %s" % (name, ", ".join(STEPS)))
    records = {name: take_step(name, given.again) for name in chosen}
    for name, (_, sources) in STEPS.items():
        if name not in records:
            old = record_of(name)
            records[name] = old if old is not None and old["sum"] == sum_of(sources) else {"absent": "not run on this state of the files"}
    from page import page_of
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(page_of(records))
    print("evidence: %s" % given.page)
    return 0 if all("result" not in record or record["result"]["ok"] for record in records.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
