"""requests, limited: against the referee, and against answers in every dress."""

import gc
import io
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

requests = pytest.importorskip("requests")

import rlimit  # noqa: E402
import rlimit.requests  # noqa: E402
from sdk_referee import (ACTUAL, BODY, ESTIMATE, agreed, answers, counting, limiter_of, nothing_held, referee,  # noqa: E402, F401
                         settled)

HEADERS = {"authorization": "Bearer k"}


def session_of(limiter, **options):
    return rlimit.requests.limit(requests.Session(), limiter, **options)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["plain", "gzip", "deflate", "br", "stream", "stream-crlf", "stream-gzip", "stream-br", "stream-long"])
def test_usage_is_read(answers, path, stream):
    limiter = counting()
    with session_of(limiter, provider="litellm") as session:
        with session.post(answers.url + "/" + path, json=BODY, stream=stream) as response:
            assert limiter.status().active == (1 if stream else 0)
            data = b"\n".join(response.iter_lines()) if stream else response.content
            assert len(data) > 300 and b"usage" in data
    assert settled(limiter) == ACTUAL and nothing_held(limiter)


@pytest.mark.parametrize("path", ["text", "broken", "strange"])
def test_answers_that_tell_no_usage(answers, path):
    limiter = counting()
    with session_of(limiter, provider="litellm") as session:
        session.post(answers.url + "/" + path, json=BODY)
        with session.post(answers.url + "/gzip", json=BODY, stream=True) as response:
            assert response.raw.read(), "read around requests, still compressed: no usage is seen"
    assert settled(limiter) == {name: 2 * amount for name, amount in ESTIMATE.items()} and nothing_held(limiter)


def test_redirects_and_head(answers):
    limiter = counting()
    with session_of(limiter, provider="litellm") as session:
        assert session.post(answers.url + "/redirect", json=BODY).json()["usage"]
        assert settled(limiter) == dict(ACTUAL, requests=2)
        assert session.head(answers.url + "/plain").content == b""
    assert settled(limiter) == dict(ACTUAL, requests=3) and nothing_held(limiter)


def test_uploads_are_never_read_twice(answers, caplog, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    limiter = counting()
    answers.seen.clear()
    with session_of(limiter) as session, caplog.at_level(logging.WARNING, "rlimit"):
        with open(file, "rb") as source:
            session.post(answers.url + "/text", data=source)
        with open(file, "rb") as source:
            session.post(answers.url + "/text", files={"file": source})
        session.post(answers.url + "/text", data=iter([b'{"messages": [], ', b'"max_tokens": 5}']))
        session.get(answers.url + "/text")
    assert [size > 5000 for _, _, size in answers.seen] == [False, True, False, False]
    assert (answers.seen[0][2], answers.seen[2][2]) == (5000, 33)
    assert settled(limiter) == {"requests": 4, "input_tokens": 0, "output_tokens": 0} and nothing_held(limiter)
    assert sum("cannot be estimated" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("charge, provider, stream", [
    ("estimate", None, False), ("actual", "litellm", False), ("actual", "litellm", True)])
def test_against_the_referee(referee, charge, provider, stream):
    relay = referee(rpm=1200, tpm=60000, period=2, concurrency=4, latency_ms=(5, 20), charge=charge)
    limiter = limiter_of(relay)
    session = session_of(limiter, provider=provider)

    def one(n):
        body = dict(BODY, max_tokens=16, messages=[{"role": "user", "content": "question %d" % n}])
        if stream:
            body.update(stream=True, stream_options={"include_usage": True})
        with session.post(relay.url + "/v1/chat/completions", json=body, headers=HEADERS, stream=stream) as response:
            return b"".join(response.iter_content(100))
    with ThreadPoolExecutor(10) as pool:
        assert all(b"choices" in data for data in pool.map(one, range(70)))
    assert agreed(relay, limiter)["completed"] == 70


def test_given_up_and_forgotten(referee):
    relay = referee(concurrency=1, latency_ms=(2000, 2000))
    limiter = limiter_of(relay)
    url, body = relay.url + "/v1/chat/completions", dict(BODY, stream=True)
    with session_of(limiter) as session:
        with session.post(url, json=body, headers=HEADERS, stream=True) as response:
            next(response.iter_content(1))
            assert limiter.status().active == 1
        assert nothing_held(limiter)
        relay.settled_in(None)
        response = session.post(url, json=body, headers=HEADERS, stream=True)
        assert limiter.status().active == 1
        del response
        gc.collect()
        assert nothing_held(limiter)
        relay.settled_in(None)
        with pytest.raises(requests.RequestException):
            session.post(url, json=body, headers=HEADERS, timeout=0.05)
    assert nothing_held(limiter) and settled(limiter)["requests"] == 3


def test_faults(referee):
    relay = referee()
    limiter = limiter_of(relay)
    url = relay.url + "/v1/chat/completions"
    with session_of(limiter) as session:
        relay.fault("drop", count=1)
        with pytest.raises(requests.ConnectionError):
            session.post(url, json=BODY, headers=HEADERS)
        assert nothing_held(limiter) and settled(limiter)["requests"] == 1
        relay.fault("drop_mid", count=1)
        with pytest.raises(requests.RequestException):
            session.post(url, json=BODY, headers=HEADERS)
        assert nothing_held(limiter) and settled(limiter)["requests"] == 2
        with pytest.raises(requests.ConnectionError):
            session.post("http://127.0.0.1:9/", json=BODY)
        assert nothing_held(limiter) and settled(limiter)["requests"] == 2, "what was not sent is given back"
        before = settled(limiter)
        response = session.post(url, json=BODY, headers=dict(HEADERS, **{"x-relay-fault": "429=0.3"}))
        assert response.status_code == 429 and response.json()["error"]
        assert settled(limiter) == dict(before, requests=3)
        assert 0 < limiter.check().wait <= 0.3
    assert nothing_held(limiter)


def test_repeats_inside_urllib3_are_charged(referee, caplog):
    from urllib3.util.retry import Retry
    relay = referee()
    limiter = limiter_of(relay)
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=Retry(total=3, status_forcelist=[500], allowed_methods=None)))
    rlimit.requests.limit(session, limiter)
    relay.fault("500", count=1)
    with caplog.at_level(logging.WARNING, "rlimit"):
        assert session.post(relay.url + "/v1/chat/completions", json=BODY, headers=HEADERS).status_code == 200
    assert relay.total["received"] == 2 == settled(limiter)["requests"] and nothing_held(limiter)
    assert "max_retries=0" in caplog.text


def test_waiting(referee):
    relay = referee(concurrency=1)
    limiter = limiter_of(relay)
    with session_of(limiter, queue_timeout=0.05) as session, limiter.acquire():
        with pytest.raises(rlimit.AcquireTimeout):
            session.post(relay.url + "/v1/chat/completions", json=BODY, headers=HEADERS)
    assert relay.total["received"] == 0 and nothing_held(limiter)


def test_a_second_line_changes_the_limiter(answers):
    first, second = counting(), counting()
    session = session_of(first)
    session.post(answers.url + "/plain", json=BODY)
    rlimit.requests.limit(session, second)
    session.post(answers.url + "/plain", json=BODY)
    assert (settled(first)["requests"], settled(second)["requests"]) == (1, 1)
    with pytest.raises(TypeError, match="session"):
        rlimit.requests.limit(requests, first)


@pytest.mark.parametrize("path", ["plain", "gzip", "stream", "stream-gzip"])
@pytest.mark.parametrize("how", ["read", "decoded", "parts", "copy", "read1", "lines"])
def test_read_from_raw(answers, path, how):
    """The end of raw is the end of the call."""
    limiter = counting(concurrency=1)
    session = session_of(limiter, provider="litellm")
    response = session.post(answers.url + "/" + path, json=BODY, stream=True)
    raw = response.raw
    decoded = how in ("decoded", "lines") or "gzip" not in path
    if how in ("read", "decoded"):
        data = raw.read(decode_content=True) if how == "decoded" else raw.read()
    elif how == "parts":
        parts = [raw.read(100)]
        assert limiter.status().active == 1
        while parts[-1]:
            parts.append(raw.read(100))
        data = b"".join(parts)
    elif how == "copy":
        file = io.BytesIO()
        shutil.copyfileobj(raw, file)
        data = file.getvalue()
    elif how == "read1":
        data = b"".join(iter(lambda: raw.read1(1000), b""))
    else:
        data = b"\n".join(raw)
    assert limiter.status().active == 0, "while the response is still there"
    assert settled(limiter) == (ACTUAL if decoded else ESTIMATE)
    assert len(data) > 300 if decoded else data[:2] == b"\x1f\x8b"
