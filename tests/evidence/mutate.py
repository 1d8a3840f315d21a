"""Mutants of rlimit.h and ext/rlimit_http.h, each run against the tests in C that finish fast: tests/c, the shared cases fixed and
random, the simulator, tests/c/test_http*.c under the sanitizers, and the explorer of tests/explore.

    python tests/evidence/mutate.py [--count N] [--seed N] [--jobs N] [--out FILE] [--json FILE] [--from FOLDER] [--only TEXT]

A mutant is a header with one small change: another comparison, another operator, a constant off by one, a condition turned
round, a statement left out. N of them are drawn by seed (0: all). FILE has a line of JSON for each: what was changed, and what
killed it. Survivors that cannot be told from the original by any test, or only by hours of racing threads, stand with the reason in
mutants.txt, by the text of the change, so that it outlives changes of line numbers. A mutant that does not compile is not counted.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent
WORK = ROOT / "build" / "mutate"
TABLE = HERE / "mutants.txt"
FLAGS = ["-std=gnu11", "-O0", "-w", "-pthread"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TIMEOUT_S = 20
SIM_OPS = 200000
RANDOM = (1, 700)   # seed and number of random cases
EXPLORE_S = 0.1     # for a scenario; most take hundredths

# Which tests can notice, the likely ones first, by the first words of a function's name.
WHOLE = ["random", "test_limiter", "test_pitfalls", "test_threads", "test_feedback", "sim", "explore"]
TESTS_OF = [
    (r"rlm_i_window|rlm_window|rlm_i_look|rlm_i_restamp|rlm_i_install|rlm_i_leaves|rlm_i_since|rlm_i_cred|rlm_i_given_back|rlm_i_split",
     ["test_window", "vectors", *WHOLE]),
    (r"rlm_calendar|rlm_i_calendar|rlm_i_period|rlm_i_month|rlm_i_day|rlm_i_wall", ["test_calendar", "vectors", *WHOLE]),
    (r"rlm_queue|rlm_i_queue|rlm_i_heap|rlm_i_waiter", ["test_queue", "vectors", "random", "test_pitfalls", "sim"]),
    (r"rlm_backoff|rlm_i_uniform|rlm_retry", ["test_backoff", "vectors", "random", "test_pitfalls"]),
    (r"rlm_route|rlm_i_learn_|rlm_i_bin|rlm_i_output", ["test_route", "explore"]),
    (r"rlm_bucket|rlm_i_bucket|rlm_i_rate|rlm_i_token|rlm_i_ticks|rlm_i_lag|rlm_i_reach|rlm_i_debt", ["test_bucket", "vectors", *WHOLE]),
    (r"rlm_concurrency|rlm_i_concurrency", ["test_concurrency", "vectors", *WHOLE]),
    (r"rlm_tsc|rlm_now|rlm_i_counter", ["test_clock"]),
    (r"", ["test_limiter", "vectors", "random", "test_bucket", "test_window", "test_calendar", "test_concurrency", "test_pitfalls",
           "test_feedback", "test_threads", "test_feedback_threads", "sim", "explore"]),
]
OF_HTTP = ["test_http", "test_http_edges", "vectors", "random", "test_http sanitized", "test_http_edges sanitized"]
OF_FEEDBACK = ["test_feedback", "test_pitfalls", "test_feedback_threads", "sim", "explore"]
FEEDBACK_FROM = "/* -- feedback -- */"

SWAPS = [
    (r"(?<![<>=!-])<(?![<=])", ["<=", ">"]), (r"<=(?!=)", ["<"]), (r"(?<![->])>(?![>=])", [">=", "<"]), (r"(?<!>)>=", [">"]),
    (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
    (r"(?<=[\w)\]] )\+(?= )", ["-"]), (r"(?<=[\w)\]] )-(?= )", ["+"]), (r"(?<=[\w)\]] )\*(?= )", ["/"]), (r"(?<=[\w)\]] )/(?= )", ["*"]),
    (r"(?<=[\w)\]] )%(?= )", ["/"]), (r"<<(?!=)", [">>"]), (r">>(?!=)", ["<<"]), (r"(?<=[\w)\]] )&(?= )", ["|"]), (r"(?<=[\w)\]] )\|(?= )", ["&"]),
    (r"(?<=[\w)\]] )\^(?= )", ["&"]), (r"\+=", ["-="]), (r"-=", ["+="]), (r"\|=", ["&="]), (r"\+\+", ["--"]), (r"(?<!-)--(?!-)", ["++"]),
    (r"\btrue\b", ["false"]), (r"\bfalse\b", ["true"]), (r"(?<![!\w])!(?=[\w(])", [""]), (r"\bbreak;", [";"]), (r"\bcontinue;", [";"]),
    (r"(?<![\w.])0(?![\w.x])", ["1"]), (r"(?<![\w.])1(?![\w.])", ["0", "2"]), (r"(?<![\w.])([2-9]|[1-9]\d+)(?![\w.])", ["+1"]),
]


def code_of(text):
    """The text with comments, strings and directives blanked out, every character in its place."""
    blank = lambda found: re.sub(r"[^\n]", " ", found.group(0))
    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.S)
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])+\'', blank, text)
    return re.sub(r"^[ \t]*#([^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def not_compiled(text):
    """Lines of branches of #if that the compiler here does not see."""
    skipped, stack = set(), []
    dead = re.compile(r"#\s*(ifdef (RLM_NO_ATOMICS|_WIN32)|elif defined\((_MSC_VER|__aarch64__)|if .*__aarch64__)")
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if re.match(r"#\s*if", bare):
            stack.append([bool(dead.match(bare)), "__SIZEOF_INT128__" in bare or "defined(__GNUC__)" in bare or "defined(__x86_64__)" in bare])
        elif re.match(r"#\s*elif", bare) and stack:
            live = not stack[-1][1] and not dead.match(bare)
            stack[-1][1] = stack[-1][1] or live
            stack[-1][0] = not live
        elif re.match(r"#\s*else", bare) and stack:
            stack[-1][0] = stack[-1][1]
        elif re.match(r"#\s*endif", bare) and stack:
            stack.pop()
        if any(part[0] for part in stack):
            skipped.add(number)
    return skipped


def functions_of(code):
    """[(first offset, last offset, name)] of function bodies."""
    for found in re.finditer(r"^[A-Za-z_][^\n;{}]*?\b(rlm_\w+)\([^;{}]*\)\s*\{", code, re.M):
        depth, at = 1, found.end()
        while depth and at < len(code):
            depth += {"{": 1, "}": -1}.get(code[at], 0)
            at += 1
        yield found.end(), at - 1, found.group(1)


def mutants_of(name, text):
    """All mutants of a header."""
    code, skipped = code_of(text), not_compiled(text)
    line_at = [0]
    for line in text.splitlines(keepends=True):
        line_at.append(line_at[-1] + len(line))
    feedback_from = text.find(FEEDBACK_FROM) if name == "rlimit.h" else len(text)
    feedback_to = text.find("/* -- estimates -- */") if name == "rlimit.h" else len(text)
    number = 1
    for first, last, function in functions_of(code):
        def made(start, end, new):
            nonlocal number
            while line_at[number] <= start:
                number += 1
            while line_at[number - 1] > start:
                number -= 1
            line = text[line_at[number - 1]:line_at[number]]
            after = text[:start] + new + text[end:]
            shown = after[line_at[number - 1]:].split("\n", 1)[0]
            other = after[line_at[number - 1]:].split("\n", 1)[1].lstrip().startswith("else")
            return {"file": name, "function": function, "else": other, "line": number, "was": line.strip(), "is": shown.strip(), "start": start,
                    "end": end, "new": new, "feedback": feedback_from <= start < feedback_to}
        body = code[first:last]
        found = []
        for pattern, news in SWAPS:
            for match in re.finditer(pattern, body):
                for new in news:
                    if new == "+1":
                        new = str(int(match.group(0)) + 1)
                    found.append(made(first + match.start(), first + match.end(), new))
        for match in re.finditer(r"\b(if|while) \(", body):
            depth, at = 1, match.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(body[at], 0)
                at += 1
            found.append(made(first + match.end(), first + at - 1, "!(" + text[first + match.end():first + at - 1] + ")"))
        for match in re.finditer(r"(?<=[;{})] )(\(void\))?[a-z][\w>.\[\]-]*( [+|*-]?= [^;{}]*|\([^;{}]*\));|^\s+((\(void\))?[a-z*][\w>.\[\]-]*( [+|*-]?= [^;{}]*|\([^;{}]*\));)", body, re.M):
            start = match.start(3) if match.group(3) else match.start()
            if re.match(r"(return|uint\d+_t|size_t|bool|int|const)\b", body[start:]):
                continue
            found.append(made(first + start, first + match.end(), ";"))
        yield from (mutant for mutant in found if mutant["line"] not in skipped)


def headers(folder):
    return {"rlimit.h": folder / "rlimit.h", "rlimit_http.h": next(p for p in (folder / "ext" / "rlimit_http.h", folder / "rlimit_http.h") if p.exists())}


def key_of(mutant):
    return (mutant["file"], mutant["function"], mutant["was"], mutant["is"])


def explained():
    table, block = {}, []
    for line in [*(TABLE.read_text().splitlines() if TABLE.exists() else ()), ""]:
        if line.startswith("#"):
            continue
        if line.strip():
            block.append(line.strip())
        elif block:
            file, function = block[0].split(" ", 1)
            table[(file, function, block[1].partition("was: ")[2], block[2].partition("is:  ")[2])] = " ".join(block[3:])
            block = []
    return table


def by_form(mutant):
    """Why it is equivalent, where its form tells: a bound that moved by one between two values of which either is taken, or their
    difference, is no other bound. None: it does not tell."""
    was, now = mutant["was"], mutant["is"]
    at = len(os.path.commonprefix([was, now])) - 1
    if was[at:at + 1] not in ("<", ">") or was[:at + 1] + "=" + was[at + 1:] != now and now[:at + 1] + "=" + now[at + 1:] != was:
        return None
    left, right = was[:at].rstrip(), was[at + 1:].lstrip("=").lstrip()
    chosen = re.match(r"(.+?) \? (.+?) : (.+?)[;),]*(?: |$)", right)
    if chosen:
        other, first, second = chosen.groups()
        if any(other == one and re.search(r"(^|[ (])%s$" % re.escape(two), left) for one, two in ((first, second), (second, first))):
            return "Equivalent: where both are equal either may be taken."
        if second in ("0", first.partition(" - ")[2] + " - " + first.partition(" - ")[0]) and first.endswith(" - " + other) and \
                left.endswith(first[:-len(" - " + other)]):
            return "Equivalent: where both are equal the difference is 0."
    set_to = re.match(r"(\S+?)\)+ (\S+) = (\S+);", right)
    if set_to and not mutant["else"] and re.search(r"[\w>.\]-]+$", left):
        if {set_to.group(2), set_to.group(3)} == {set_to.group(1), re.search(r"[\w>.\[\]*-]+$", left).group(0)}:
            return "Equivalent: where both are equal it is set to what it is."
    return None


class Tests:
    """The programs, built with the headers of a folder."""

    def __init__(self):
        self.texts = {}
        c = [path.stem for path in sorted((TESTS / "c").glob("test_*.c"))]
        self.names = [*c, *(name + " sanitized" for name in c if name.startswith("test_http")), "vectors", "random", "sim", "explore"]
        self.left_out = []

    def prepare(self, folder, sources):
        shutil.rmtree(folder, ignore_errors=True)
        for source in (path for part in ("c", "sim", "explore") for path in (TESTS / part).glob("*.[ch]")):
            to = folder / source.relative_to(ROOT)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)
        (folder / "ext").mkdir()
        for path in (ROOT / "ext").glob("*.h"):
            shutil.copy(path, folder / "ext")
        shutil.copy(sources["rlimit.h"], folder / "rlimit.h")
        shutil.copy(sources["rlimit_http.h"], folder / "ext" / "rlimit_http.h")

    def program(self, name):
        """Its source, flags for the compiler, arguments."""
        if name == "sim":
            return "sim/sim.c", [], ["--ops", SIM_OPS]
        if name == "explore":
            return "explore/scenarios.c", ["-O2"], ["--seconds", EXPLORE_S]
        if name in self.texts:
            return "c/vectors.c", [], [self.texts[name]]
        name, _, sanitized = name.partition(" ")
        return "c/%s.c" % name, SANITIZE if sanitized else [], []

    def run(self, folder, name):
        """'', or how it failed: 'compile', 'timeout', 'exit code'."""
        source, flags, arguments = self.program(name)
        binary = folder / name.replace(" ", "-")
        parts = ["", "ext", "tests/c", "tests/sim", "tests/explore"]
        try:
            built = subprocess.run(["gcc", *FLAGS, *flags, *("-I%s" % (folder / part) for part in parts), folder / "tests" / source,
                                    "-o", binary, "-lm"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
            if built.returncode != 0:
                return "compile"
            done = subprocess.run([str(part) for part in [binary, *arguments]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=6 * TIMEOUT_S if name == "explore" else TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "timeout"
        return "" if done.returncode == 0 else "exit code %d" % done.returncode

    def order(self, mutant):
        if mutant["file"] == "rlimit_http.h":
            return OF_HTTP
        if mutant["feedback"]:
            return OF_FEEDBACK
        return next(names for pattern, names in TESTS_OF if re.match(pattern, mutant["function"]))

    def judge(self, folder, path, mutant, text):
        path.write_text(text[:mutant["start"]] + mutant["new"] + text[mutant["end"]:])
        for name in self.order(mutant):
            if name in self.left_out or name not in self.names:
                continue
            how = self.run(folder, name)
            if how == "compile":
                return "does not compile"
            if how:
                return "%s: %s" % (name, how)
        return None


def vector_texts():
    """Files of the shared cases for tests/c/vectors.c."""
    sys.path.insert(0, str(TESTS))
    import test_vectors
    cases = WORK / "random.jsonl"
    subprocess.run([sys.executable, TESTS / "vectors" / "generate.py", "--random", *map(str, RANDOM), cases], check=True,
                   stdout=subprocess.DEVNULL)
    texts = {}
    for name, paths in (("vectors", test_vectors.FIXED), ("random", [cases])):
        texts[name] = WORK / (name + ".txt")
        texts[name].write_text("".join(line + "\n" for path in paths for case in test_vectors.load(path) for line in test_vectors.flat(case)))
    return texts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", default=str(WORK / "mutants.jsonl"))
    parser.add_argument("--json")
    parser.add_argument("--from", dest="folder", default=str(ROOT), help="where the headers are")
    parser.add_argument("--only", help="only functions with this in their names")
    options = parser.parse_args()
    began = time.time()
    WORK.mkdir(parents=True, exist_ok=True)
    sources = headers(Path(options.folder))
    texts = {name: path.read_text() for name, path in sources.items()}
    mutants = [mutant for name in sorted(texts) for mutant in mutants_of(name, texts[name])]
    if options.only:
        mutants = [mutant for mutant in mutants if options.only in mutant["function"]]
    all_there_are = len(mutants)
    if options.count and options.count < len(mutants):
        mutants = random.Random(options.seed).sample(mutants, options.count)
    tests = Tests()
    tests.texts = vector_texts()
    folders = [WORK / str(job) for job in range(options.jobs)]
    for folder in folders:
        tests.prepare(folder, sources)
    tests.left_out = [name for name in tests.names if tests.run(folders[0], name)]
    if tests.left_out:
        print("fail without a mutant, and are left out:", *tests.left_out)
    free, table = list(folders), explained()

    def one(mutant):
        folder = free.pop()
        path = folder / ("rlimit.h" if mutant["file"] == "rlimit.h" else "ext/rlimit_http.h")
        try:
            killed = tests.judge(folder, path, mutant, texts[mutant["file"]])
        finally:
            path.write_text(texts[mutant["file"]])
            free.append(folder)
        return mutant, killed

    counts = {"killed": 0, "survived": 0, "explained": 0, "not_compiled": 0}
    survivors = []
    with open(options.out, "w") as out, ThreadPoolExecutor(options.jobs) as pool:
        for mutant, killed in pool.map(one, mutants):
            reason = table.get(key_of(mutant)) or by_form(mutant)
            record = {**{key: mutant[key] for key in ("file", "function", "line", "was", "is")}, "killed_by": killed}
            if killed == "does not compile":
                counts["not_compiled"] += 1
            elif killed:
                counts["killed"] += 1
            else:
                counts["explained" if reason else "survived"] += 1
                record["reason"] = reason
                if not reason:
                    survivors.append(record)
            out.write(json.dumps(record) + "\n")
            out.flush()
    judged = counts["killed"] + counts["survived"] + counts["explained"]
    result = {"tool": "mutate", "seed": options.seed, "mutants_in_all": all_there_are, "drawn": len(mutants), **counts,
              "score_percent": round(100 * counts["killed"] / max(judged, 1), 1),
              "score_without_equivalent_percent": round(100 * counts["killed"] / max(counts["killed"] + counts["survived"], 1), 1),
              "left_out": tests.left_out, "survivors": survivors, "seconds": round(time.time() - began, 1)}
    for record in survivors:
        print("%s:%d %s\n  was: %s\n  is:  %s" % (record["file"], record["line"], record["function"], record["was"], record["is"]))
    print("%(drawn)d of %(mutants_in_all)d mutants: %(killed)d killed, %(explained)d explained, %(survived)d not, %(not_compiled)d did "
          "not compile: score %(score_percent).1f %%, %(score_without_equivalent_percent).1f %% of those not explained" % result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
