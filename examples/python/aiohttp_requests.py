"""Any API by aiohttp: a middleware of the session.

    OPENAI_API_KEY=... python aiohttp_requests.py
"""

import asyncio
import os

import aiohttp
import rlimit

limiter = rlimit.Limiter(provider="openai")
url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=600)  # total would include the wait


@rlimit.retry  # aiohttp does not; how many requests at a time the server allows is found by trying
async def answer(session, question):
    body = {"model": os.environ.get("MODEL", "gpt-5-mini"), "messages": [{"role": "user", "content": question}],
            "max_completion_tokens": 100}
    async with session.post(url, json=body) as response:
        response.raise_for_status()
        return (await response.json())["choices"][0]["message"]["content"]


async def main():
    questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
    middlewares = [rlimit.aiohttp.Middleware(limiter)]
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, middlewares=middlewares) as session:
        for question, text in zip(questions, await asyncio.gather(*[answer(session, question) for question in questions])):
            print(question, text)


asyncio.run(main())
