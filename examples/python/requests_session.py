"""Any API by requests: a session whose requests wait.

    OPENAI_API_KEY=... python requests_session.py
"""

import os

import requests
import rlimit

limiter = rlimit.Limiter(provider="openai")
session = rlimit.requests.limit(requests.Session(), limiter)
session.headers["Authorization"] = "Bearer " + os.environ["OPENAI_API_KEY"]
url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"

for n in range(20):
    question = "What is %d times %d?" % (n, n + 1)
    body = {"model": os.environ.get("MODEL", "gpt-5-mini"), "messages": [{"role": "user", "content": question}],
            "max_completion_tokens": 100}
    response = session.post(url, json=body, timeout=60)
    response.raise_for_status()
    print(question, response.json()["choices"][0]["message"]["content"])
