"""Retries by class of failure: what may pass is tried again, what will not is raised at once. Every attempt pays.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo python retry_faults.py

The server is asked for faults: 500, 529, 429 with Retry-After, a broken connection, a spent quota, a bad key.
"""

import asyncio
import os

import httpx

from rlimit import Backoff, Limiter, RetryBudget, per_second, retry

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "demo")

limiter = Limiter(requests=per_second(50))
budget = RetryBudget(share=0.2, per_second=10)  # in an outage, retries do not multiply the load
attempts = 0


@retry(limiter, attempts=4, backoff=Backoff(base=0.1, cap=1), budget=budget)
async def ask(client: httpx.AsyncClient, fault: str) -> str:
    global attempts
    attempts += 1
    headers = {"x-relay-fault": fault} if attempts <= 2 or fault in ("quota", "401") else {}
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
    response = await client.post(URL, json=body, headers=headers)
    response.raise_for_status()
    return "answered"


async def main() -> None:
    global attempts
    async with httpx.AsyncClient(headers={"Authorization": "Bearer " + KEY}) as client:
        for fault in ("500", "529", "429=0.2", "drop", "quota", "401"):
            attempts = 0
            try:
                answer = await ask(client, fault)
            except httpx.HTTPError as error:
                answer = "failed: %s" % str(error).splitlines()[0]
            print("%-8s %d attempts, %s" % (fault, attempts, answer))


asyncio.run(main())
