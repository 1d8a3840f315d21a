"""Claude: one more line, and no 429.

    ANTHROPIC_API_KEY=... python anthropic_plain.py

ANTHROPIC_BASE_URL is read by the SDK too.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import rlimit
from anthropic import Anthropic
from rlimit import per_minute

limiter = rlimit.Limiter(requests=per_minute(50), input_tokens=per_minute(80_000), output_tokens=per_minute(16_000),
                         concurrency=10)
client = rlimit.anthropic.limit(Anthropic(), limiter)
model = os.environ.get("MODEL", "claude-sonnet-5")


def answer(question):
    reply = client.messages.create(model=model, max_tokens=100, messages=[{"role": "user", "content": question}])
    return reply.content[0].text


questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
with ThreadPoolExecutor(16) as pool:
    for question, text in zip(questions, pool.map(answer, questions)):
        print(question, text)
