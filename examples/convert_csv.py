"""Turns a column of a CSV file into the JSON lines that batch reads.

    python3 examples/convert_csv.py IN.csv.gz --column text > requests.jsonl
"""

import argparse
import csv
import gzip
import json
import os
import sys


def rows(path):
    """The rows of a CSV file as dictionaries; gzip if its name ends in .gz."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def requests(path, column, limit=None):
    """A request for each row with text in the column, named by its row: row-1, row-2 ..."""
    count = 0
    for number, row in enumerate(rows(path), 1):
        if column not in row:
            raise SystemExit("%s: no column %r; choose one of its first line: %s" % (path, column, ", ".join(map(str, row))))
        prompt = (row[column] or "").strip()
        if not prompt:
            continue
        if count == limit:
            return
        count += 1
        yield {"custom_id": "row-%d" % number, "prompt": prompt}


def convert(path, column, limit, file):
    """Writes the requests; what is wrong with the file of that name ends the program with a message."""
    count = 0
    csv.field_size_limit(32 * 2 ** 20)
    try:
        for request in requests(path, column, limit):
            file.write(json.dumps(request, ensure_ascii=False) + "\n")
            count += 1
        file.flush()
    except BrokenPipeError:
        os._exit(1)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise SystemExit("%s: %s" % (path, error)) from None
    if count == 0:
        raise SystemExit("%s: no rows with text" % path)


def main():
    parser = argparse.ArgumentParser(description="CSV column to JSON lines for batch.")
    parser.add_argument("csv", metavar="IN.csv[.gz]")
    parser.add_argument("--column", default="text", help="default text")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N only")
    args = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    convert(args.csv, args.column, args.limit, sys.stdout)


if __name__ == "__main__":
    main()
