"""Streams of Claude, many at once, in tasks; the limiter is middleware of the SDK.

    ANTHROPIC_API_KEY=... python anthropic_streaming.py
"""

import asyncio
import os

import rlimit
from anthropic import AsyncAnthropic

limiter = rlimit.Limiter(provider="anthropic")  # its limits are learned from its answers
client = AsyncAnthropic(middleware=[rlimit.anthropic.Middleware(limiter)])
model = os.environ.get("MODEL", "claude-sonnet-5")


async def answer(question):
    messages = [{"role": "user", "content": question}]
    async with client.messages.stream(model=model, max_tokens=100, messages=messages) as stream:
        return "".join([text async for text in stream.text_stream])


async def main():
    questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
    async with client:
        for question, text in zip(questions, await asyncio.gather(*map(answer, questions))):
            print(question, text)


asyncio.run(main())
