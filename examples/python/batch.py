"""A batch: any number of tickets in bounded memory, with progress, errors by item, and resumable after a crash.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo python batch.py [RESULTS.jsonl]

Run again, it goes on with what is not yet in RESULTS.
"""

import asyncio
import json
import os
import sys
from typing import Any, Dict, Iterator, Set

import httpx

from rlimit import Limiter, RequestCost, amap, per, retry

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "demo")
RESULTS = sys.argv[1] if len(sys.argv) > 1 else "results.jsonl"

limiter = Limiter(requests=per(100, 1, guard=0.1), tokens=per(10_000, 1, guard=0.1), concurrency=20)


def request(ticket: Dict[str, Any]) -> Dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": ticket["text"]}], "max_tokens": 50}


def finished() -> Set[int]:
    """Numbers of tickets that are done. A line cut short by a crash does not count."""
    done = set()
    if os.path.exists(RESULTS):
        with open(RESULTS, encoding="utf-8") as file:
            for line in file:
                try:
                    done.add(json.loads(line)["number"])
                except ValueError:
                    pass
    return done


def tickets() -> Iterator[Dict[str, Any]]:
    done = finished()
    for number in range(300):
        if number not in done:
            yield {"number": number, "text": "Ticket %d: I cannot log in since yesterday." % number}


async def main() -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer " + KEY}, timeout=60) as client:

        @retry(limiter, cost=lambda ticket: RequestCost.of(request(ticket)))  # every attempt pays
        async def classify(ticket: Dict[str, Any]) -> Any:
            response = await client.post(URL, json=request(ticket), headers={"x-client-id": str(ticket["number"])})
            return response.raise_for_status().json()["choices"][0]["message"]["content"]

        failed = 0
        with open(RESULTS, "a", encoding="utf-8") as file:
            if file.tell():
                file.write("\n")  # after a line cut short
            async for outcome in amap(classify, tickets(), workers=20, ordered=False, progress=True):
                if outcome.ok:
                    file.write(json.dumps({"number": outcome.item["number"], "answer": outcome.value}) + "\n")
                    file.flush()
                else:
                    failed += 1
                    print("ticket %d: %s" % (outcome.item["number"], outcome.error), file=sys.stderr)
    print("%d done, %d failed" % (len(finished()), failed))


asyncio.run(main())
