"""Streams of the OpenAI API, many at once, in tasks.

    OPENAI_API_KEY=... python openai_streaming.py

A stream counts as in flight until it ends. Its usage settles the account, if it is asked for.
"""

import asyncio
import os

import rlimit
from openai import AsyncOpenAI
from rlimit import per_minute

limiter = rlimit.Limiter(requests=per_minute(500), tokens=per_minute(30_000), concurrency=20)
client = rlimit.openai.limit(AsyncOpenAI(), limiter)
model = os.environ.get("MODEL", "gpt-5-mini")


async def answer(question):
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], max_completion_tokens=100,
        stream=True, stream_options={"include_usage": True})
    text = ""
    async for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
    return text


async def main():
    questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
    async with client:
        for question, text in zip(questions, await asyncio.gather(*map(answer, questions))):
            print(question, text)


asyncio.run(main())
