"""python check.py FILE: judges what an implementation did with buckets whose rate it cannot carry exactly.

FILE holds JSON lines {"limit": {...}, "start": ns, "log": [[now, n, wait], ...]}, optionally with "name", "tolerance_ns"
(1 unless told) and "drift_ns" (0 unless told; a number or a text such as "1/16": what each admission may round away).
Prints ok, or every line that breaks the bound; the exit code is 0, or 1.
"""
import json
import sys
from fractions import Fraction

from oracle import check_bound


def main(path):
    wrong = count = 0
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            case = json.loads(line)
            count += 1
            text = check_bound(case["limit"], case["log"], case.get("start", 0), case.get("tolerance_ns", 1),
                               Fraction(case.get("drift_ns", 0)))
            if text:
                wrong += 1
                print("line %d %s: %s" % (number, case.get("name", ""), text))
    if wrong or not count:
        print("%d of %d wrong" % (wrong, count))
        return 1
    print("ok %d" % count)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python check.py FILE")
    sys.exit(main(sys.argv[1]))
