"""Answers the operations of cases (tests/vectors/README.md) by the oracle: a case without answers a line in, the same with them out.

An operation on which two readings of the oracle differ is left out, as is one that reuses the name of a permit that is out.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))
import oracle  # noqa: E402


def answered(case):
    models = [oracle.model_of(case, reading) for reading in oracle.readings_of(case["kind"])]
    ops = []
    for op in case["ops"]:
        if op["op"] == "acquire" and op["permit"] in models[0].permits:
            continue
        if len(models) > 1:
            answers = [model.ask(op) for model in models]
            if any(answer != answers[0] for answer in answers):
                continue
        answers = [model.do(op) for model in models]
        ops.append(dict(op, **answers[0]))
    return dict(case, ops=ops)


for line in sys.stdin:
    print(json.dumps(answered(json.loads(line))), flush=True)
