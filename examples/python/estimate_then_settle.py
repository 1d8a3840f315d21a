"""Admit on an estimate, then settle with what the response says was used.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=demo python estimate_then_settle.py

About four characters are a token; your own tokenizer goes in by tokenizer=. What was not used is given back at once, what
was used beyond the estimate delays those who come after.
"""

import os

import httpx

from rlimit import Limiter, RequestCost, estimate_tokens, per

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "demo")
QUESTION = "My invoice of last month shows a charge that I do not recognise. What is it for?"

limiter = Limiter(requests=per(20, 1, guard=0.1), tokens=per(1000, 1, guard=0.1))

print("%d tokens by characters, %d by words" % (estimate_tokens(QUESTION), estimate_tokens(QUESTION, method="words")))
with httpx.Client(headers={"Authorization": "Bearer " + KEY}) as client:
    for number in range(12):
        body = {"model": "demo", "messages": [{"role": "user", "content": "%d. %s" % (number, QUESTION)}], "max_tokens": 200}
        estimate = RequestCost.of(body)
        with limiter.acquire(**estimate) as permit:
            usage = client.post(URL, json=body).raise_for_status().json()["usage"]
            permit.settle(input_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"])
        print("estimated %d + %d tokens, used %d + %d" % (estimate.input_tokens, estimate.output_tokens,
                                                          usage["prompt_tokens"], usage["completion_tokens"]))
