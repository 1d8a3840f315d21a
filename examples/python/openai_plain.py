"""OpenAI, or whatever speaks its API: one more line, and no 429.

    OPENAI_API_KEY=... python openai_plain.py

OPENAI_BASE_URL is read by the SDK too.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import rlimit
from openai import OpenAI

limiter = rlimit.Limiter(provider="openai")  # its limits are learned from its answers
client = rlimit.openai.limit(OpenAI(), limiter)
model = os.environ.get("MODEL", "gpt-5-mini")


def answer(question):
    messages = [{"role": "user", "content": question}]
    reply = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=100)
    return reply.choices[0].message.content


questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
with ThreadPoolExecutor(16) as pool:
    for question, text in zip(questions, pool.map(answer, questions)):
        print(question, text)
