"""Proves the arithmetic of rlimit.h with Frama-C's WP, z3 and cvc4.

    prove.py [--header FILE] [--out FOLDER] [--group NAME]... [--timeout S] [--long]

The *.acsl files here hold contracts, lemmas and assertions. They are put into a copy of the header at the functions and lines
that they name; one that is not found, or found twice, is an error. The code itself is the header's, in its portable form
(no __int128, plain loads and stores). One line of JSON for each goal: group, function, property, proved, prover, seconds.
The exit code is 1 if a goal is not proved.

The facts about bit operations (`axiomatic bits` in basic.acsl) are not taken on trust: z3 proves each on vectors of 64 bits.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEFINES = "".join("#define RLM_%s\n" % name for name in ("NO_ATOMICS", "NO_CLOCK", "STATIC", "IMPLEMENTATION"))

GROUPS = json.loads((HERE / "groups.json").read_text())


class Mismatch(Exception):
    pass


def sections(path):
    """(head, body) of each part of an .acsl file."""
    found, head, body = [], None, []
    for line in path.read_text().splitlines():
        if line.startswith("== "):
            if head is not None:
                found.append((head, "\n".join(body).strip()))
            head, body = line[3:].strip(), []
        elif head is not None:
            body.append(line)
    if head is not None:
        found.append((head, "\n".join(body).strip()))
    return found


def definition(text, name):
    """Where a function's definition begins, and its body; name#1 is the first of several."""
    name, _, first = name.partition("#")
    found = list(re.finditer(r"^[A-Za-z][^\n]*\b%s\([^;{]*\{" % re.escape(name), text, re.M))
    if not found or (len(found) > 1 and not first):
        raise Mismatch("%s: %d definitions" % (name, len(found)))
    return found[0].start(), found[0].end()


def annotate(text, parts):
    """The header with the annotations in it."""
    for head, body in parts:
        name, what = head.split(": ", 1)
        start, opened = definition(text, name)
        if what == "contract":
            text = text[:start] + "/*@ " + body + "\n*/\n" + text[start:]
            continue
        where, anchor = what.split(" ", 1)
        inside = text[opened:text.index("\n}\n", opened) + 1]
        if inside.count(anchor) != 1 or where not in ("before", "after"):
            raise Mismatch("%s: %r is there %d times" % (name, anchor, inside.count(anchor)))
        at = opened + inside.index(anchor)
        at = text.rindex("\n", 0, at) + 1 if where == "before" else text.index("\n", at) + 1
        notes = [body] if body.startswith("loop") else re.split(r"(?<=;)\n(?=assert|ghost)", body)
        text = text[:at] + "".join("/*@ " + note + " */\n" for note in notes) + text[at:]
    return text


def unit(header, files, define):
    """What Frama-C is given."""
    parts = [part for name in files for part in sections(HERE / (name + ".acsl"))]
    prelude = "".join(body + "\n" for head, body in parts if head == "prelude")
    text = annotate(header.read_text(), [part for part in parts if part[0] != "prelude"])
    return DEFINES + "".join("#define %s\n" % name for name in define) + "#include <stdint.h>\n" + prelude + text


GOAL = re.compile(r"^(Goal|Lemma) (.*?)(?=^-{40,}$|\Z)", re.M | re.S)
PROVED = re.compile(r"Prover (\S+(?: [\d.]+)?) returns Valid(.*)")


def seconds_of(said):
    return sum(float(number) / (1000 if unit == "ms" else 1) for number, unit in re.findall(r"([\d.]+)(ms|s)\b", said))


def function_at(text, line):
    """The function that a line of the unit belongs to."""
    before = "\n".join(text.splitlines()[:line])
    found = re.findall(r"^(?:static|extern|RLM_\w+|uint64_t|  void)\b[^\n=]*?\b(\w+)\([^;\n]*(?:\{|,)$", before, re.M)
    return found[-1] if found else ""


def goals(output, group, text):
    for piece in re.split(r"^-{40,}$", output, flags=re.M):
        for match in GOAL.finditer(piece):
            kind, said = match.groups()
            title = " ".join(re.split(r"\n(?:Assume|Let|Prove:|Effect)", said)[0].split()).rstrip(":")
            line, inside = re.search(r"line (\d+)\)", title), re.search(r"in '(\w+)'(?: at| \(|:|$)", title)
            function = inside.group(1) if inside else function_at(text, int(line.group(1))) if line and kind == "Goal" else ""
            proved = PROVED.search(said)
            prover, seconds = (proved.group(1), seconds_of(proved.group(2))) if proved else (None, None)
            if proved is None and re.search(r"^Prove: true\.$", said, re.M):
                prover, seconds = "Qed", 0.0
            yield {"group": group, "function": function,
                   "property": ("lemma " if kind == "Lemma" else "") + re.sub(r" ?\(file [^)]*\)", "", title),
                   "proved": prover is not None, "prover": prover, "seconds": None if seconds is None else round(seconds, 3)}


def prove_group(name, header, out, timeout, cores):
    spec = GROUPS[name]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "unit.c"
    source.write_text(unit(header, spec["files"], spec.get("define", [])))
    command = ["frama-c", "-machdep", "gcc_x86_64", "-cpp-extra-args=-U__SIZEOF_INT128__", str(source), "-wp", "-wp-rte", "-wp-prover",
               "z3,cvc4", "-wp-timeout", str(timeout), "-wp-par", str(cores), "-wp-print"]
    if spec.get("functions"):
        command += ["-wp-fct", ",".join(spec["functions"])]
    if not spec.get("wraps"):
        command.append("-warn-unsigned-overflow")
    if spec.get("lemmas"):
        command += ["-wp-prop", "@lemma"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (folder / "output.txt").write_text(done.stdout)
    total = re.search(r"Proved goals: +(\d+) / (\d+)", done.stdout)
    if done.returncode != 0 or total is None:
        raise Mismatch("frama-c, %s: %s" % (name, done.stdout[-2000:]))
    found = list(goals(done.stdout, name, source.read_text()))
    if (sum(goal["proved"] for goal in found), len(found)) != tuple(map(int, total.groups())):
        raise Mismatch("%s: %s, but %d goals were read" % (name, total.group(), len(found)))
    return found


def bit_facts():
    """z3's verdict on the axioms about bit operations, on vectors of 64 bits."""
    text = "".join(body for path in sorted(HERE.glob("*.acsl")) for head, body in sections(path))
    text = "".join(re.findall(r"axiomatic bits\w* \{(.*?)\}", text, re.S))
    for name, statement in re.findall(r"axiom (\w+): (.*?);(?= *\n)", text, re.S):
        began = time.time()
        said = subprocess.run(["z3", "-in", "-T:60"], input=smt(statement), stdout=subprocess.PIPE, text=True).stdout.strip()
        yield {"group": "bits", "function": "", "property": "axiom " + name, "proved": said == "unsat", "prover": "z3 (bit vectors)",
               "seconds": round(time.time() - began, 3)}


TOKEN = re.compile(r"\s*(0x[0-9a-f]+|\d+|\w+|==>|<==>|&&|\|\||<<|>>|<=|>=|==|[-+*/%()|&<>])")
LEVELS = [["<==>"], ["==>"], ["&&"], ["|"], ["&"], ["==", "<", "<="], ["<<", ">>"], ["+", "-"], ["*", "/", "%"]]
WORDS = {"W64": 1 << 64, "W32": 1 << 32, "HALF64": 1 << 63}
# On 128 bits nothing below overflows, so numbers there are numbers; the bit operations of words are the same on them.
SMT = {"<==>": "=", "==>": "=>", "&&": "and", "|": "bvor", "&": "bvand", "==": "=", "<": "bvult", "<=": "bvule", "<<": "bvshl",
       ">>": "bvlshr", "+": "bvadd", "-": "bvsub", "*": "bvmul", "/": "bvudiv", "%": "bvurem"}


def smt(statement):
    """The negation of an axiom in SMT-LIB, by a parser of the few operators in use."""
    variables, formula = re.match(r"\\forall integer ([\w, ]+);(.*)", statement, re.S).groups()
    tokens = TOKEN.findall(formula)
    assert "".join(tokens) == re.sub(r"\s", "", formula), formula

    def atom():
        token = tokens.pop(0)
        if token == "(":
            inner = level(0)
            assert tokens.pop(0) == ")"
            return inner
        if token == "-":        # a mask: the low 64 bits of it
            return "(_ bv%d 128)" % ((1 << 64) - number(tokens.pop(0)))
        if re.match(r"\d", token) or token in WORDS:
            return "(_ bv%d 128)" % number(token)
        return token

    def number(token):
        return WORDS[token] if token in WORDS else int(token, 0)

    def level(depth):
        if depth == len(LEVELS):
            return atom()
        left = level(depth + 1)
        chain = []
        while tokens and tokens[0] in LEVELS[depth]:
            operator = tokens.pop(0)
            right = level(depth if operator == "==>" else depth + 1)
            if LEVELS[depth][0] == "==":
                chain.append("(%s %s %s)" % (SMT[operator], left, right))
                left = right
            else:
                left = "(%s %s %s)" % (SMT[operator], left, right)
        return "(and %s)" % " ".join(chain) if len(chain) > 1 else chain[0] if chain else left

    body = level(0)
    assert not tokens, tokens
    declared = "".join("(declare-const %s (_ BitVec 128))" % name.strip() for name in variables.split(","))
    return "(set-logic QF_BV)%s(assert (not %s))(check-sat)" % (declared, body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--header", type=Path, default=ROOT / "rlimit.h")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "tests" / "proof")
    parser.add_argument("--group", action="append", choices=["bits", *GROUPS])
    parser.add_argument("--timeout", type=int, default=10, help="seconds for a goal and prover")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="the groups that take minutes too")
    given = parser.parse_args()
    chosen = given.group or ["bits"] + [name for name in GROUPS if given.long or not GROUPS[name].get("long")]
    failed = False
    for name in chosen:
        results = bit_facts() if name == "bits" else prove_group(name, given.header, given.out, given.timeout, given.cores)
        for result in results:
            failed |= not result["proved"]
            print(json.dumps(result), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Mismatch as error:
        sys.exit(str(error))
