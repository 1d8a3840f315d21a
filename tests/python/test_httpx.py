"""httpx and httpx2, limited: against the referee, and against answers in every dress."""

import asyncio
import gc
import importlib
import logging
import socket
import threading

import pytest

import rlimit
from sdk_referee import (ACTUAL, BODY, ESTIMATE, agreed, answers, counting, limiter_of, nothing_held, referee, run,  # noqa: F401
                         settled)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    return pytest.importorskip(request.param)


def ours(library):
    return importlib.import_module("rlimit." + library.__name__)


def new_client(library, way, limiter, **options):
    more = {"follow_redirects": True}
    if way == "limit":
        return ours(library).limit(library.Client(**more), limiter, **options)
    if way == "client":
        return ours(library).Client(limiter, **more, **options)
    return library.Client(transport=ours(library).Transport(limiter, **options), **more)


def new_async_client(library, way, limiter, **options):
    more = {"follow_redirects": True}
    if way == "limit":
        return ours(library).limit(library.AsyncClient(**more), limiter, **options)
    if way == "client":
        return ours(library).AsyncClient(limiter, **more, **options)
    return library.AsyncClient(transport=ours(library).AsyncTransport(limiter, **options), **more)


WAYS = pytest.mark.parametrize("way", ["limit", "client", "transport"])
READ = ["plain", "gzip", "deflate", "raw-deflate", "br", "stream", "stream-crlf", "stream-gzip", "stream-br", "stream-long"]


def meters(limiter):
    return {name: settled(limiter)[name] for name in ESTIMATE}


@WAYS
@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_read(library, answers, way, path, stream):
    limiter = counting()
    with new_client(library, way, limiter, provider="litellm") as client:
        if stream:
            with client.stream("POST", answers.url + "/" + path, json=BODY) as response:
                assert limiter.status().active == 1
                data = b"".join(response.iter_bytes())
        else:
            data = client.post(answers.url + "/" + path, json=BODY).content
    assert len(data) > 300 and b"usage" in data
    assert meters(limiter) == ACTUAL and nothing_held(limiter)


@WAYS
@pytest.mark.parametrize("path", READ)
def test_usage_is_read_in_tasks(library, answers, way, path):
    limiter = counting()

    async def main():
        async with new_async_client(library, way, limiter, provider="litellm") as client:
            async with client.stream("POST", answers.url + "/" + path, json=BODY) as response:
                assert limiter.status().active == 1
                data = [chunk async for chunk in response.aiter_raw()] if path == "plain" else [await response.aread()]
            assert len(b"".join(data)) > 300
    run(main())
    assert meters(limiter) == ACTUAL and nothing_held(limiter)


@pytest.mark.parametrize("path", ["text", "broken", "strange"])
def test_answers_that_tell_no_usage(library, answers, path, caplog):
    limiter = counting()
    with new_client(library, "limit", limiter, provider="litellm") as client:
        assert client.post(answers.url + "/" + path, json=BODY).status_code == 200
    assert meters(limiter) == ESTIMATE and nothing_held(limiter)


def test_an_encoding_that_is_not_known(library):
    limiter = counting()
    content = iter([b"??"])

    class Stream(library.SyncByteStream):
        def __iter__(self):
            return content

    def handler(request):
        return library.Response(200, headers={"content-type": "application/json", "content-encoding": "rot13"}, stream=Stream())
    transport = ours(library).Transport(limiter, library.MockTransport(handler))
    with library.Client(transport=transport) as client:
        assert client.post("https://relay.example.com/v1/chat/completions", json=BODY).content == b"??"
    assert meters(limiter) == ESTIMATE and nothing_held(limiter)


@WAYS
def test_redirects_and_head(library, answers, way):
    limiter = counting()
    with new_client(library, way, limiter, provider="litellm") as client:
        assert client.post(answers.url + "/redirect", json=BODY).json()["usage"]
        hops = 2 if way == "transport" else 1
        assert meters(limiter) == dict(ACTUAL, requests=hops)
        assert client.head(answers.url + "/plain").content == b""
    assert meters(limiter)["requests"] == hops + 1 and nothing_held(limiter)


def chunks():
    yield b'{"messages": [], '
    yield b'"max_tokens": 5}'


@WAYS
def test_uploads_are_never_read_twice(library, answers, way, caplog, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    limiter = counting()
    answers.seen.clear()
    with new_client(library, way, limiter) as client, caplog.at_level(logging.WARNING, "rlimit"):
        with open(file, "rb") as source:
            assert client.post(answers.url + "/text", files={"file": source}, data={"purpose": "batch"}).status_code == 200
        assert client.post(answers.url + "/text", content=chunks()).status_code == 200
        assert client.post(answers.url + "/text", content=b"\x00\x01").status_code == 200
        assert client.post(answers.url + "/text", json={"unknown": 1}).status_code == 200
        assert client.post(answers.url + "/text").status_code == 200
        assert client.get(answers.url + "/text").status_code == 200
    assert [size > 5000 for _, _, size in answers.seen] == [True] + [False] * 5 and answers.seen[1][2] == 33
    assert meters(limiter) == {"requests": 6, "input_tokens": 0, "output_tokens": 0} and nothing_held(limiter)
    said = [record.getMessage() for record in caplog.records if "cannot be estimated" in record.getMessage()]
    assert len(said) == 2, "once for each reason"


def test_hosts_are_known(library):
    seen = []

    def handler(request):
        return library.Response(200, json={})
    limiter = counting()
    transport = ours(library).Transport(limiter, library.MockTransport(handler))
    bodies = {"https://api.openai.com/v1/responses": {"input": "x" * 40, "max_output_tokens": 50},
              "https://unit.openai.azure.com/openai/deployments/d/chat/completions?api-version=1": BODY,
              "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse":
                  {"messages": [{"role": "user", "content": [{"text": "x" * 40}]}], "inferenceConfig": {"maxTokens": 50}},
              "https://api.anthropic.com/v1/messages": BODY}
    with library.Client(transport=transport) as client:
        for url, body in bodies.items():
            before = meters(limiter)
            client.post(url, json=body)
            after = meters(limiter)
            seen.append({name: after[name] - before[name] for name in after})
        client.post("https://api.anthropic.com/v1/messages/count_tokens", json=BODY)
    assert seen == [ESTIMATE] * 4
    assert meters(limiter)["requests"] == 5 and meters(limiter)["input_tokens"] == 40


@WAYS
def test_against_the_referee(library, referee, way):
    relay = referee(rpm=1200, tpm=60000, period=2, concurrency=4, latency_ms=(5, 20))
    limiter = limiter_of(relay)

    async def main():
        async with new_async_client(library, way, limiter) as client:
            async def one(n):
                body = dict(BODY, max_tokens=16, messages=[{"role": "user", "content": "question %d" % n}])
                response = await client.post(relay.url + "/v1/chat/completions", json=body, headers={"authorization": "Bearer k"})
                return response.raise_for_status().json()["choices"]
            assert all(await asyncio.gather(*[one(n) for n in range(70)]))
    run(main())
    assert agreed(relay, limiter)["completed"] == 70


@WAYS
def test_given_up(library, referee, way):
    relay = referee(concurrency=1, latency_ms=(2000, 2000))
    limiter = limiter_of(relay)
    body, headers = dict(BODY, stream=True), {"authorization": "Bearer k"}
    url = relay.url + "/v1/chat/completions"
    with new_client(library, way, limiter) as client:
        with client.stream("POST", url, json=body, headers=headers) as response:
            chunks = response.iter_bytes()
            next(chunks)
            assert limiter.status().active == 1
        assert nothing_held(limiter)
        relay.settled_in(None)
        response = client.send(client.build_request("POST", url, json=body, headers=headers), stream=True)
        assert limiter.status().active == 1
        del response
        gc.collect()
        assert nothing_held(limiter)


@WAYS
def test_an_error_inside_a_stream(library, answers, way):
    limiter = counting()
    with new_client(library, way, limiter, provider="anthropic") as client:
        client.post(answers.url + "/stream-error", json=BODY)
    assert nothing_held(limiter) and limiter.status().failed == 1


@WAYS
def test_connection_refused(library, way):
    limiter = counting()
    with new_client(library, way, limiter) as client:
        with pytest.raises(library.ConnectError):
            client.post("http://127.0.0.1:9/", json=BODY)
    assert meters(limiter) == {"requests": 0, "input_tokens": 0, "output_tokens": 0} and nothing_held(limiter)


@WAYS
def test_trio(library, answers, way):
    trio = pytest.importorskip("trio")
    limiter = counting(concurrency=2)

    async def main():
        async with new_async_client(library, way, limiter, provider="litellm") as client:
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(lambda: client.post(answers.url + "/plain", json=BODY))
    trio.run(main)
    assert meters(limiter) == {name: 6 * amount for name, amount in ACTUAL.items()} and nothing_held(limiter)


def test_a_limited_client_in_an_sdk(library, referee):
    """OpenAI(http_client=...) works too; a second limiter over it is refused."""
    openai = pytest.importorskip("openai")
    import rlimit.openai
    relay = referee()
    limiter = limiter_of(relay)
    try:
        client = openai.OpenAI(base_url=relay.url + "/v1", api_key="k", http_client=ours(library).Client(limiter))
    except TypeError:
        pytest.skip("this openai does not take clients of " + library.__name__)
    client.chat.completions.create(**BODY)
    agreed(relay, limiter)
    with pytest.raises(ValueError, match="already"):
        rlimit.openai.limit(client, limiter)


def test_errors_of_waiting_are_plain(library, answers):
    limiter = counting(concurrency=1)
    with new_client(library, "limit", limiter, queue_timeout=0.01) as client, limiter.acquire():
        with pytest.raises(rlimit.AcquireTimeout) as error:
            client.post(answers.url + "/plain", json=BODY)
        assert type(error.value) is rlimit.AcquireTimeout


def test_the_two_modules_are_the_same():
    """httpx2.py is httpx.py with the other name: change httpx.py, and let this print what httpx2.py is to be."""
    import pathlib
    folder = pathlib.Path(rlimit.__file__).parent
    wanted = (folder / "httpx.py").read_text().replace("httpx", "httpx2").replace("._httpx2 import", "._httpx import")
    assert (folder / "httpx2.py").read_text() == wanted


@WAYS
def test_dropped_in_the_middle(library, way):
    """Without the garbage collector."""
    limiter = counting()
    server, url = slow_stream()

    async def main():
        async with new_async_client(library, way, limiter) as client:
            response = await client.send(client.build_request("POST", url, json=BODY), stream=True)
            lines = response.aiter_lines()
            assert await lines.__anext__() and limiter.status().active == 1
            await lines.aclose()
            del lines, response
            await asyncio.sleep(0.01)
            assert limiter.status().active == 0
    gc.collect()
    gc.disable()
    try:
        with new_client(library, way, limiter) as client:
            response = client.send(client.build_request("POST", url, json=BODY), stream=True)
            for _ in response.iter_lines():
                assert limiter.status().active == 1
                break
            del response
            assert limiter.status().active == 0
        run(main())
    finally:
        gc.enable()
        server.close()


def slow_stream():
    """A server whose answers begin and do not end."""
    server = socket.create_server(("127.0.0.1", 0))
    kept = []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\n")
            kept.append(connection)
    threading.Thread(target=serve, daemon=True).start()
    return server, "http://127.0.0.1:%d/" % server.getsockname()[1]


@WAYS
def test_how_long_it_took(library, answers, way):
    with new_client(library, way, counting()) as client:
        with client.stream("POST", answers.url + "/plain", json=BODY) as response:
            response.read()
        assert response.elapsed.total_seconds() > 0
        assert client.post(answers.url + "/plain", json=BODY).elapsed.total_seconds() > 0
