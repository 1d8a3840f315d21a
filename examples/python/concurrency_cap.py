"""At most 4 requests in flight. The place is given back on success, on an error and on cancellation.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo python concurrency_cap.py

The server allows 4 at a time here. Of 40 requests every fifth is given up by a time-out.
"""

import asyncio
import os

import httpx

from rlimit import Limiter

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "demo")

limiter = Limiter(concurrency=4)
body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


async def ask(client: httpx.AsyncClient, number: int) -> str:
    async with limiter.acquire():
        try:
            slow = {"x-relay-fault": "delay=5"} if number % 5 == 0 else {}
            response = await client.post(URL, json=body, headers=slow, timeout=1)
            return "answered" if response.status_code == 200 else "refused: %d" % response.status_code
        except httpx.TimeoutException:
            await asyncio.sleep(0.2)  # the server needs a moment to notice that nobody listens
            return "given up"


async def main() -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer " + KEY}) as client:
        answers = await asyncio.gather(*(ask(client, number) for number in range(40)))
    for answer in sorted(set(answers)):
        print("%s: %d" % (answer, answers.count(answer)))
    print("in flight at the end: %d" % limiter.status().active)


asyncio.run(main())
