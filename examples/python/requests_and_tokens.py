"""Requests and tokens a minute together: a request takes from both limits or from neither.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo python requests_and_tokens.py

The server allows 10 requests and 2,000 tokens a second here. 40 tasks begin at once, and none is refused.
"""

import asyncio
import os

import aiohttp

from rlimit import Limiter, per

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "demo")

# guard: the largest delay of a request on its way. Requests that overtake each other then still find room.
limiter = Limiter(requests=per(10, 1, guard=0.1), tokens=per(2000, 1, guard=0.1))


async def ask(session: aiohttp.ClientSession, number: int) -> None:
    text = "Ticket %d: where is my parcel? " % number * 10
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], "max_tokens": 100}
    async with limiter.acquire(input_tokens=80, output_tokens=100) as permit:
        async with session.post(URL, json=body) as response:
            response.raise_for_status()
            await response.json()
    print("ticket %2d waited %.2f s" % (number, permit.waited))


async def main() -> None:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer " + KEY}) as session:
        await asyncio.gather(*(ask(session, number) for number in range(40)))


asyncio.run(main())
