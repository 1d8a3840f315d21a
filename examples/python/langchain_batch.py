"""A model of LangChain: its requests, streams and retries wait for the limiter.

    OPENAI_API_KEY=... python langchain_batch.py
"""

import os

import rlimit
from langchain_openai import ChatOpenAI

limiter = rlimit.Limiter(provider="openai")
model = rlimit.langchain.limit(ChatOpenAI(model=os.environ.get("MODEL", "gpt-5-mini"), max_tokens=100), limiter)

questions = ["What is %d times %d?" % (n, n + 1) for n in range(40)]
for question, reply in zip(questions, model.batch(questions)):
    print(question, reply.content)
