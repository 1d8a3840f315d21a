"""Backoff, RetryBudget, classify and retry: who is tried again, when, how often, and at whose cost."""

import asyncio
import errno
import functools
import inspect
import io
import json
import socket
import ssl
import sys
import threading
import urllib.error

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rlimit
from rlimit import (AcquireTimeout, Backoff, Limiter, ManualClock, NeverAdmitted, QueueFull, RetryBudget, calendar_day,
                    classify, per_minute, retry)

QUICK = Backoff(jitter="none")


class Refused(Exception):
    """As the SDKs raise it."""

    def __init__(self, status_code, headers=None, body=None):
        super().__init__("status %s" % status_code)
        self.status_code, self.body = status_code, body
        self.response = Reply(status_code, headers)


class Reply:
    def __init__(self, status_code, headers=None, content=b""):
        self.status_code, self.headers, self.content, self.closed = status_code, headers or {}, content, 0

    def close(self):
        self.closed += 1


class Fails:
    """A function that fails with each of errors in turn, then returns "done"; and the sleep that goes with it."""

    def __init__(self, *errors):
        self.errors, self.calls, self.slept = list(errors), 0, []

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, BaseException):
                raise error
            return error
        return "done"

    def sleep(self, seconds):
        self.slept.append(seconds)


def run(function, **options):
    return retry(sleep=function.sleep, **dict({"backoff": QUICK}, **options))(lambda *args: function(*args))()


# -- Backoff --

def test_the_usual_delays_of_each_class():
    delays = {name: [QUICK.start().next(name)] for name in ("rate_limit", "server", "network", "fatal")}
    assert delays == {"rate_limit": [6.0], "server": [0.5], "network": [1.0], "fatal": [None]}
    assert list(Backoff(jitter="none")) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_rate_limit_waits_at_least_five_seconds():
    assert Backoff(jitter="none", bases={"rate_limit": 0.2}).next("rate_limit") == 5.0
    assert Backoff(jitter="none", bases={}, least={}).next("rate_limit") == 1.0


def test_usual_delays_above_a_cap_are_lowered_to_it():
    assert Backoff(cap=2.0, jitter="none").next("rate_limit") == 2.0


def test_what_the_server_asks_for_wins():
    delays = QUICK.start()
    assert delays.next("rate_limit", retry_after=17) == 17
    assert delays.next("server", retry_after=0.001) == 0.001
    assert delays.next("server", retry_after=4000) == 2.0  # above an hour the schedule's own counts
    assert Backoff(jitter="none", retry_after_max=10).next("server", retry_after=11) == 0.5


@pytest.mark.parametrize("priority, delay", [("critical", 4.0), ("high", 4.0), ("normal", 8.0), ("low", 8.0)])
def test_the_urgent_wait_half_as_long(priority, delay):
    assert Backoff(base=8, jitter="none").next(priority=priority) == delay


def test_the_floor_holds_for_the_urgent_too():
    assert Backoff(base=0.15, floor=0.1, jitter="none").next(priority="high") == 0.1


def test_attempts_end():
    delays = Backoff(attempts=2).start()
    assert [delays.next() is None for _ in range(4)] == [False, False, True, True]
    assert list(Backoff(attempts=0)) == []


def test_a_seed_repeats_and_none_does_not():
    assert list(Backoff(seed=7)) == list(Backoff(seed=7)) != list(Backoff(seed=8))
    backoff = Backoff(jitter="full")
    assert list(backoff) != list(backoff)
    assert list(backoff.start(3)) == list(backoff.start(3))


def test_a_series_of_its_own_can_begin_again():
    backoff = Backoff(jitter="none")
    assert [backoff.next(), backoff.next(), backoff.reset(), backoff.next()] == [1, 2, None, 1]


@given(st.sampled_from(["fraction", "full", "equal", "decorrelated"]), st.integers(0, 2**64 - 1))
def test_jitter_stays_within_its_bounds(jitter, seed):
    previous = None
    for k, delay in enumerate(Backoff(base=1, cap=20, floor=0, jitter=jitter, fraction=0.3, attempts=10, seed=seed)):
        plain = min(2.0**k, 20)
        least, most = {"fraction": (0.7 * plain, 1.3 * plain), "full": (0, plain), "equal": (plain / 2, plain),
                       "decorrelated": (1, min(20, 3 * (previous or 1)))}[jitter]
        assert least - 1e-9 <= delay <= min(most, 20) + 1e-9
        previous = delay


@pytest.mark.parametrize("field, value, error", [
    ("base", 0, ValueError), ("base", -1, ValueError), ("base", 61, ValueError), ("base", float("nan"), ValueError),
    ("base", "1", TypeError), ("base", True, TypeError), ("factor", 0.5, ValueError), ("factor", 101, ValueError),
    ("cap", 1e9, ValueError), ("cap", 0.5, ValueError), ("floor", 61, ValueError), ("floor", -1, ValueError),
    ("fraction", 1.5, ValueError), ("fraction", None, TypeError), ("attempts", -1, ValueError),
    ("attempts", 1.5, TypeError), ("jitter", "some", ValueError), ("jitter", 3, TypeError),
    ("bases", {"rate": 1}, ValueError), ("bases", {"server": 61}, ValueError), ("bases", 3, TypeError),
    ("least", {"server": -1}, ValueError), ("retry_after_max", -1, ValueError), ("seed", -1, ValueError),
    ("seed", 2**64, ValueError), ("seed", "x", TypeError)])
def test_a_bad_field_is_named(field, value, error):
    named = "base" if (field, value) == ("cap", 0.5) else field
    with pytest.raises(error, match="^(%s|%s\\[.*\\]|%s: )" % (named, named, named)):
        Backoff(**{field: value})


@pytest.mark.parametrize("arguments", [("other",), ("server", "urgent"), ("server", "high", "soon")])
def test_next_names_what_it_does_not_know(arguments):
    with pytest.raises((ValueError, TypeError), match="^(error_class|priority|retry_after): "):
        Backoff().next(*arguments)


def test_a_backoff_says_what_it_is():
    assert repr(Backoff()) == "Backoff(base=1, factor=2, cap=60, floor=0.1, jitter='fraction', fraction=0.1, attempts=8)"


# -- RetryBudget --

def test_a_budget_is_a_share_of_requests_and_some_each_second():
    clock = ManualClock()
    budget = RetryBudget(share=0.5, per_second=1, burst=2, clock=clock)
    assert [budget.retry() for _ in range(3)] == [True, True, False]
    budget.request()
    assert not budget.retry()
    budget.request()
    assert [budget.retry() for _ in range(2)] == [True, False]
    clock.advance(1)
    assert [budget.retry() for _ in range(2)] == [True, False]
    clock.advance(1000)
    assert [budget.retry() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("field, value", [
    ("share", 1.5), ("share", -0.1), ("per_second", 0), ("per_second", 10**7), ("burst", 0), ("burst", 10**7)])
def test_a_bad_field_of_a_budget_is_named(field, value):
    with pytest.raises(ValueError, match="^%s: " % field):
        RetryBudget(**{field: value})


def test_a_spent_budget_ends_retries():
    budget = RetryBudget(share=0, per_second=1, burst=2, clock=ManualClock())
    function = Fails(*[Refused(500) for _ in range(9)])
    with pytest.raises(Refused) as caught:
        run(function, budget=budget)
    assert function.calls == 3
    if sys.version_info >= (3, 11):
        assert "the retry budget is spent" in caught.value.__notes__[0]


# -- classify --

@pytest.mark.parametrize("status, error_class", [
    (408, None), (409, None), (429, "rate_limit"), (500, "server"), (502, "server"), (503, "server"), (504, "server"),
    (529, "server"), (400, "fatal"), (401, "fatal"), (402, "fatal"), (403, "fatal"), (404, "fatal"), (413, "fatal"),
    (422, "fatal")])
def test_a_status_decides(status, error_class):
    found = classify(Refused(status))
    assert found.status == status and found.retry == (error_class != "fatal")
    assert error_class in (None, found.error_class)


def aiohttp_like(status):
    error = Exception()
    error.status, error.headers = status, {"Retry-After": "7"}
    return error


def httpx_like(status):
    error = Exception()
    error.response = Reply(status, {"retry-after": "7"})
    return error


def botocore_like(status):
    error = Exception()
    error.response = {"Error": {"Code": "ThrottlingException"},
                      "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}}}
    return error


def urllib_like(status):
    return urllib.error.HTTPError("http://x", status, "no", {"Retry-After": "7"}, io.BytesIO(b""))


@pytest.mark.parametrize("make", [
    aiohttp_like, httpx_like, botocore_like, urllib_like, lambda status: Refused(status, {"retry-after": "7"}),
    lambda status: Refused(status, [(b"Retry-After", b"7")]), lambda status: Reply(status, {"retry-after": ["7"]})])
def test_libraries_are_known_by_attributes(make):
    found = classify(make(429))
    assert (found.retry, found.error_class, found.retry_after, found.status) == (True, "rate_limit", 7.0, 429)
    assert not classify(make(401)).retry


@pytest.mark.parametrize("error, provider", [
    (Refused(429, body={"code": "insufficient_quota", "type": "insufficient_quota",
                        "message": "You exceeded your current quota"}), "openai"),
    (Refused(429, body=json.dumps({"error": {"code": "insufficient_quota"}}).encode()), "openai"),
    (Refused(429, body={"error": {"code": "insufficient_quota"}}), "openai"),
    (Refused(500, {"x-should-retry": "false"}), "openai")])
def test_a_spent_quota_is_not_tried_again(error, provider):
    assert not classify(error, provider).retry


def test_the_body_is_looked_at_only_where_it_was_read():
    class Stream(Reply):
        @property
        def content(self):
            raise RuntimeError("not read yet")

        @content.setter
        def content(self, value):
            pass
    error = Exception()
    error.response = Stream(503)
    assert classify(error).retry


@pytest.mark.parametrize("error", [
    ConnectionResetError(), ConnectionRefusedError(), BrokenPipeError(), TimeoutError(), asyncio.TimeoutError(),
    socket.timeout(), socket.gaierror(-3, "again"), OSError(errno.ENETUNREACH, "no"), OSError(errno.EHOSTUNREACH, "no"),
    urllib.error.URLError(ConnectionRefusedError())], ids=repr)
def test_no_answer_is_tried_again(error):
    assert classify(error)[:2] == (True, "network")


@pytest.mark.parametrize("error", [
    ValueError(), KeyError("x"), FileNotFoundError(errno.ENOENT, "x"), PermissionError(errno.EACCES, "x"),
    ZeroDivisionError(), ssl.SSLCertVerificationError("x"), urllib.error.URLError(ssl.SSLCertVerificationError("x")),
    urllib.error.URLError("unknown url type"), AcquireTimeout("x"), QueueFull("x"), NeverAdmitted("x"),
    StopIteration()], ids=repr)
def test_what_will_not_get_better_is_not_tried_again(error):
    assert classify(error)[:2] == (False, "fatal")


def test_a_bad_certificate_is_found_below():
    try:
        try:
            raise ssl.SSLCertVerificationError("self-signed")
        except ssl.SSLError as inner:
            raise ConnectionError("connect failed") from inner
    except ConnectionError as error:
        assert not classify(error).retry


def test_a_number_that_is_no_status():
    error = ValueError("x")
    error.code = 429  # of something else: there is no response
    assert not classify(error).retry
    error.status_code = True
    assert not classify(error).retry
    error.status_code = 42
    assert not classify(error).retry


def test_httpx():
    httpx = pytest.importorskip("httpx")
    request = httpx.Request("GET", "http://x")
    response = httpx.Response(429, headers={"retry-after": "3"}, request=request)
    assert classify(httpx.HTTPStatusError("x", request=request, response=response)).retry_after == 3
    assert classify(response).retry
    for kind in (httpx.ConnectError, httpx.ReadTimeout, httpx.PoolTimeout, httpx.RemoteProtocolError, httpx.ReadError):
        assert classify(kind("x"))[:2] == (True, "network"), kind
    for error in (httpx.UnsupportedProtocol("x"), httpx.LocalProtocolError("x"), httpx.InvalidURL("x"),
                  httpx.TooManyRedirects("x")):
        assert not classify(error).retry, error


def test_requests():
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code, response.headers["Retry-After"] = 503, "3"
    assert classify(requests.HTTPError("x", response=response)).retry_after == 3
    assert classify(response).retry
    for kind in (requests.ConnectionError, requests.Timeout, requests.ConnectTimeout, requests.ReadTimeout,
                 requests.exceptions.ChunkedEncodingError):
        assert classify(kind("x"))[:2] == (True, "network"), kind
    for kind in (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.TooManyRedirects):
        assert not classify(kind("x")).retry, kind


def test_aiohttp():
    aiohttp = pytest.importorskip("aiohttp")
    error = aiohttp.ClientResponseError(None, (), status=429, message="x", headers={"Retry-After": "3"})
    assert classify(error).retry_after == 3
    for error in (aiohttp.ServerDisconnectedError(), aiohttp.ClientPayloadError("x"), aiohttp.ServerTimeoutError(),
                  aiohttp.ClientConnectionError("x")):
        assert classify(error)[:2] == (True, "network"), error
    assert not classify(aiohttp.InvalidURL("x")).retry


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_the_official_clients(name):
    sdk, httpx = pytest.importorskip(name), pytest.importorskip("httpx")
    request = httpx.Request("POST", "http://x")
    response = httpx.Response(429, headers={"retry-after": "3"}, request=request)
    assert classify(sdk.RateLimitError("x", response=response, body={"type": "rate_limit_error"}), name).retry_after == 3
    assert not classify(sdk.AuthenticationError("x", response=httpx.Response(401, request=request), body=None), name).retry
    assert classify(sdk.APIConnectionError(request=request))[:2] == (True, "network")
    assert classify(sdk.APITimeoutError(request=request))[:2] == (True, "network")


# -- retry: in a thread --

@pytest.mark.parametrize("error", [Refused(429), Refused(503), ConnectionResetError()], ids=repr)
def test_a_passing_failure_is_tried_again(error):
    function = Fails(error, error)
    assert run(function) == "done" and function.calls == 3 and len(function.slept) == 2


def test_retry_after_wins():
    function = Fails(Refused(429, {"retry-after": "17"}), Refused(503, {"retry-after-ms": "250"}), Refused(500))
    run(function)
    assert function.slept == [17, 0.25, 2.0]


@pytest.mark.parametrize("error", [Refused(401), ValueError("x")], ids=repr)
def test_other_failures_are_raised_at_once_as_they_are(error):
    function = Fails(error)
    with pytest.raises(type(error)) as caught:
        run(function)
    assert caught.value is error and function.calls == 1 and not function.slept and not getattr(error, "__notes__", ())


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_at_most_so_many_attempts(attempts):
    function = Fails(*[Refused(500 + i) for i in (0, 2, 3, 4, 2, 0)])
    errors = list(function.errors)
    with pytest.raises(Refused) as caught:
        run(function, attempts=attempts)
    assert function.calls == attempts and caught.value is errors[attempts - 1]
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["rlimit: %d attempt%s, %.3g s of waiting between them; no attempts left" % (
            attempts, "" if attempts == 1 else "s", sum(function.slept))]


def test_a_backoff_that_ends_first_ends_it():
    function = Fails(*[Refused(500)] * 9)
    with pytest.raises(Refused):
        run(function, backoff=Backoff(attempts=2), attempts=5)
    assert function.calls == 3


def test_attempts_alone_make_the_backoff():
    function = Fails(*[Refused(500)] * 30)
    with pytest.raises(Refused):
        retry(sleep=function.sleep, attempts=20)(lambda: function())()
    assert function.calls == 20


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()], ids=repr)
def test_interruptions_pass_through_at_once(error):
    limiter = Limiter(requests=per_minute(5), concurrency=1, clock=ManualClock())
    function = Fails(error)
    with pytest.raises(type(error)):
        run(function, limiter=limiter)
    assert function.calls == 1 and limiter.status().active == 0


def test_an_interrupted_sleep_passes_through():
    function = Fails(Refused(500), Refused(500))
    function.sleep = Fails(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(function)
    assert function.calls == 1


def test_a_response_that_says_no_is_a_failure():
    replies = [Reply(429, {"retry-after": "3"}), Reply(503), Reply(200)]
    function = Fails(*replies)
    assert run(function) is replies[2] and function.slept == [3, 1.0]
    assert [reply.closed for reply in replies] == [1, 1, 0]


def test_the_last_response_is_returned_open():
    replies = [Reply(503) for _ in range(5)]
    assert run(Fails(*replies), attempts=2) is replies[1] and replies[1].closed == 0
    assert run(Fails(Reply(404))).status_code == 404


@pytest.mark.parametrize("result", [None, 0, {"status_code": 429}, b"", Exception("returned")])
def test_other_results_are_results(result):
    function = Fails()
    function.__class__ = type("Returns", (Fails,), {"__call__": lambda self: result})
    assert run(function) is result


@pytest.mark.parametrize("retry_on, calls", [
    (KeyError, 2), ((KeyError, ValueError), 2), (ValueError, 1), (lambda error: isinstance(error, KeyError), 2),
    (lambda error: "server", 2), (lambda error: "fatal", 1), (lambda error: None, 1), (lambda error: False, 1)])
def test_who_is_tried_again_can_be_said(retry_on, calls):
    function = Fails(KeyError("x"))
    try:
        run(function, retry_on=retry_on)
    except KeyError:
        pass
    assert function.calls == calls


def test_the_class_can_be_said():
    function = Fails(KeyError("x"), Refused(500))
    run(function, retry_on=lambda error: "rate_limit" if isinstance(error, KeyError) else None)
    assert function.slept == [6.0, 1.0]


@pytest.mark.parametrize("options, named", [
    ({"retry_on": 3}, "retry_on"), ({"retry_on": int}, "retry_on"), ({"attempts": 0}, "attempts"),
    ({"attempts": "3"}, "attempts"), ({"backoff": 3}, "backoff"), ({"priority": "urgent"}, "priority"),
    ({"cost": 3}, "cost"), ({"actual": 3}, "actual"), ({"sleep": 3}, "sleep"), ({"budget": 3}, "budget"),
    ({"limiter": 3}, "limiter"), ({"provider": "nobody"}, "")])
def test_a_bad_argument_is_named(options, named):
    with pytest.raises((TypeError, ValueError), match="^" + named):
        retry(**options)(lambda: None)


def test_a_class_that_is_unknown_is_named():
    with pytest.raises(ValueError, match="^retry_on: "):
        run(Fails(KeyError("x")), retry_on=lambda error: "sometimes")


def test_all_ways_to_decorate():
    @retry
    def bare(x):
        """Doc."""
        return x

    @retry()
    def called(x):
        return x

    class Client:
        @retry(attempts=2)
        def method(self, x):
            return self, x
    client = Client()
    assert bare(1) == called(1) == 1 and client.method(2) == (client, 2)
    assert bare.__name__ == "bare" and bare.__doc__ == "Doc." and bare.__wrapped__(1) == 1
    assert retry(functools.partial(lambda x, y: (x, y), 1))(2) == (1, 2)


def test_what_cannot_be_repeated_is_refused():
    def generator():
        yield

    async def async_generator():
        yield
    for function in (generator, async_generator):
        with pytest.raises(TypeError, match="^retry: cannot repeat a generator"):
            retry(function)
    with pytest.raises(TypeError, match="^retry: decorates a function"):
        retry()(3)

    async def coroutine():
        pass
    with pytest.raises(TypeError, match="declare it with async def"):
        retry(lambda: coroutine())()


# -- retry: what it pays --

def used(limiter, meter="requests"):
    return next(usage.used for usage in limiter.status().limits if usage.meter == meter)


def test_every_attempt_pays():
    clock = ManualClock()
    limiter = Limiter(requests=per_minute(10), input_tokens=per_minute(1000), concurrency=1, clock=clock)
    function = Fails(Refused(500), ConnectionResetError())
    assert run(function, limiter=limiter, cost={"input_tokens": 100}) == "done"
    assert used(limiter) == 3 and used(limiter, "input_tokens") == 300 and limiter.status().active == 0


def test_the_tokens_of_a_refusal_do_not_count():
    clock = ManualClock()
    limiter = Limiter(input_tokens=calendar_day(1000), clock=clock)
    function = Fails(Refused(429, {"retry-after": "3"}), Refused(500))
    function.sleep = clock.advance
    run(function, limiter=limiter, cost={"input_tokens": 100})
    assert used(limiter, "input_tokens") == 200  # of the error and of the answer


def test_cost_and_actual_may_be_functions():
    limiter = Limiter(input_tokens=per_minute(1000), clock=ManualClock())
    called = []

    @retry(limiter, cost=lambda text, times=1: {"input_tokens": len(text) * times},
           actual=lambda result: {"input_tokens": result})
    def count(text, times=1):
        called.append(used(limiter, "input_tokens"))
        return 7
    assert count("x" * 50, times=2) == 7 and called == [100] and used(limiter, "input_tokens") == 7


def test_what_the_limiter_raises_is_not_tried_again():
    limiter = Limiter(input_tokens=per_minute(1000), clock=ManualClock())
    function = Fails()
    with pytest.raises(NeverAdmitted):
        run(function, limiter=limiter, cost={"input_tokens": 1001})
    assert function.calls == 0


def test_a_bad_cost_leaves_nothing_behind():
    limiter = Limiter(requests=per_minute(10), concurrency=1, clock=ManualClock())
    for cost in ({"tokens": 5}, {"requests": -1}, {"unknown": 1}):
        with pytest.raises((TypeError, ValueError)):
            run(Fails(), limiter=limiter, cost=cost)
    with pytest.raises((TypeError, ValueError)):
        run(Fails(), limiter=limiter, actual=lambda result: {"unknown": 1})
    assert limiter.status().active == 0


def test_a_refusal_is_told_to_the_limiter():
    clock = ManualClock()
    limiter = Limiter(requests=per_minute(10), clock=clock)
    function = Fails(Refused(429, {"retry-after": "30"}))
    with pytest.raises(Refused):
        run(function, limiter=limiter, attempts=1)
    assert limiter.try_acquire() is None  # paused
    clock.advance(91)
    assert limiter.try_acquire() is not None


# -- Sleeping --

def finish(thread, clock):
    """Moves the clock until the thread has ended."""
    for _ in range(20000):
        if not thread.is_alive():
            return
        clock.advance(10)
        thread.join(0.002)
    raise AssertionError("it does not end")


def in_thread(function):
    found = []

    def call():
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread, found


def test_on_a_manual_clock_no_real_time_passes():
    clock = ManualClock()
    function = Fails(*[Refused(500, {"retry-after": "1000"})] * 3)
    thread, found = in_thread(retry(clock=clock)(lambda: function()))
    finish(thread, clock)
    assert found == ["done"] and function.calls == 4 and clock.now >= 3000


def test_the_clock_is_the_limiters():
    clock = ManualClock()
    limiter = Limiter(requests=per_minute(100), clock=clock)
    function = Fails(ConnectionResetError(), ConnectionResetError())
    thread, found = in_thread(retry(limiter, backoff=Backoff(base=500, cap=1000))(lambda: function()))
    finish(thread, clock)
    assert found == ["done"] and clock.now >= 1000 and limiter.status().active == 0


def test_on_a_manual_clock_in_a_task():
    async def main():
        clock = ManualClock()
        function = Fails(*[Refused(500, {"retry-after": "1000"})] * 3)

        async def call():
            return function()
        task = asyncio.ensure_future(retry(clock=clock)(call)())
        while not task.done():
            clock.advance(1)
            await asyncio.sleep(0)
        assert await task == "done" and clock.now >= 3000
    asyncio.run(main())


def test_a_sleep_in_a_thread_can_be_cancelled():
    cancel, slept = threading.Event(), threading.Event()
    error = Refused(500, {"retry-after": "3000"})

    def function():
        slept.set()
        raise error
    thread, found = in_thread(retry(cancel=cancel)(function))
    slept.wait(30)
    cancel.set()
    thread.join(30)
    assert found == [error]
    if sys.version_info >= (3, 11):
        assert "cancelled" in error.__notes__[0]


# -- retry: coroutines --

class FailsAsync(Fails):
    async def call(self, *args):
        await asyncio.sleep(0)
        return self(*args)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


def test_a_coroutine_function():
    function = FailsAsync(Refused(429, {"retry-after": "3"}), ConnectionResetError())
    clock = ManualClock()
    limiter = Limiter(requests=calendar_day(10), concurrency=1, clock=clock)

    @retry(limiter, sleep=function.sleep, backoff=QUICK)
    async def call(x):
        return await function.call(x)
    assert inspect.iscoroutinefunction(call)

    async def main():
        task = asyncio.ensure_future(call(1))
        while not task.done():
            await asyncio.sleep(0)
            clock.advance(1)  # until the refusal is over
        return await task
    assert asyncio.run(main()) == "done" and function.slept == [3, 2.0]
    assert used(limiter) == 3 and limiter.status().active == 0


def test_objects_and_partials_are_coroutine_functions_too():
    class Caller:
        async def __call__(self, x):
            return x

    async def function(x, y):
        return x, y
    assert asyncio.run(retry(Caller())(1)) == 1
    assert asyncio.run(retry(functools.partial(function, 1))(2)) == (1, 2)


def test_a_response_in_a_task_is_released():
    class Released(Reply):
        async def aclose(self):
            self.closed += 10
    replies = [Released(503), Reply(500), Reply(200)]
    function = FailsAsync(*replies)
    assert asyncio.run(retry(sleep=function.sleep)(function.call)()) is replies[2]
    assert [reply.closed for reply in replies] == [10, 1, 0]


@pytest.mark.parametrize("where", ["call", "sleep", "queue"])
def test_cancellation_passes_through_at_once(where):
    async def main():
        limiter = Limiter(requests=per_minute(10), concurrency=1, clock=ManualClock())
        held = limiter.try_acquire() if where == "queue" else None
        begun, calls = asyncio.Event(), []

        async def call():
            calls.append(1)
            begun.set()
            if where == "sleep":
                raise ConnectionResetError
            await asyncio.Event().wait()
        task = asyncio.ensure_future(retry(limiter)(call)())
        if where == "queue":
            while not limiter.status().queued:
                await asyncio.sleep(0)
        else:
            await begun.wait()
            for _ in range(5):
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if held is not None:
            held.cancel()
        assert limiter.status().active == limiter.status().queued == 0 and len(calls) == (where != "queue")
    asyncio.run(main())


def test_under_trio():
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")
    function = Fails(ConnectionResetError(), ConnectionResetError())

    @retry
    async def call():
        await trio.lowlevel.checkpoint()
        return function()
    assert trio.run(call, clock=testing.MockClock(autojump_threshold=0)) == "done" and function.calls == 3

    async def cancelled():
        with trio.move_on_after(0.5) as scope:
            await retry(backoff=Backoff(base=50))(call.__wrapped__)()
        return scope.cancelled_caught
    function.errors = [ConnectionResetError()] * 5
    assert trio.run(cancelled, clock=testing.MockClock(autojump_threshold=0))


def test_a_manual_clock_under_trio():
    trio = pytest.importorskip("trio")

    async def main():
        clock = ManualClock()
        function = Fails(*[Refused(500, {"retry-after": "1000"})] * 2)

        async def call():
            return function()
        done = []
        async with trio.open_nursery() as nursery:
            async def keep():
                done.append(await retry(clock=clock)(call)())
            nursery.start_soon(keep)
            while not done:
                clock.advance(1)
                await trio.lowlevel.checkpoint()
        assert done == ["done"] and clock.now >= 2000
    trio.run(main)


def test_names_are_exported():
    for name in ("Backoff", "Delays", "RetryBudget", "retry", "classify", "Classified"):
        assert hasattr(rlimit, name)


def test_the_floor_that_is_not_given_is_within_the_cap():
    assert "floor=0.02" in repr(Backoff(base=0.01, cap=0.02)) and "floor=0.1" in repr(Backoff())
    with pytest.raises(ValueError, match="^floor: must be at most cap"):
        Backoff(base=0.01, cap=0.02, floor=0.1)
