"""Cases of the kind http, fixed and random. The answers come from http_oracle.py; those of the fixed cases stand here too,
written down by hand from the documents of the providers, and have to agree."""
import datetime
import json

import http_oracle
from http_oracle import AMOUNT_MAX, DAY, HOUR, METERS, MINUTE, SECOND, SPAN_MAX, UNSAID

MS = 10**6

# Neither numbers of our kind nor anything else that is known
MALFORMED = ("", "-5", "+5", "nan", "NaN", "inf", "Infinity", "1e3", "0x10", "5s5", "5 s", "five", "1,5", "1.2.3", "5;",
             "--5", "-", ".", "5\0", "\0005", "5 5", "\u0665")


class Disagreement(Exception):
    pass


def utc(year, month, day, hour=0, minute=0, second=0):
    """ns since 1970"""
    moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
    return int(moment.timestamp()) * SECOND


NOW = utc(2026, 1, 15, 12)                          # a Thursday; 04:00 in California
NOW_TEXT = "Thu, 15 Jan 2026 12:00:00 GMT"


def http(name, why, profile, headers, status, body="", now=NOW, readings=(), pad=0, **by_hand):
    if not isinstance(body, str):
        body = json.dumps(body)
    answer = http_oracle.answer(profile, now, headers, status, pad * " " + body)
    for key, value in dict(by_hand, readings=list(readings)).items():
        if answer[key] != value:
            raise Disagreement("%s: %s: by hand %r, the oracle says %r" % (name, key, value, answer[key]))
    made = {"name": name, "why": why, "kind": "http", "profile": profile, "wall_ns": now,
            "headers": [list(pair) for pair in headers], "status": status, "body": body}
    if pad:
        made["pad"] = pad
    made["readings"] = answer.pop("readings")
    made["expected"] = answer
    return made


# ---- answers by hand -------------------------------------------------------------------------------------------------

def result(verdict, reason, error_class, outcome, wait_ns=0, capped=False, named=(), requested=UNSAID):
    return {"verdict": verdict, "reason": reason, "error_class": error_class, "outcome": outcome, "wait_ns": wait_ns,
            "capped": capped, "retry_after_ns": wait_ns or UNSAID, "named": list(named), "requested": requested}


GOOD = result("ok", "none", "server", "answered")
FAILED = result("retry", "server", "server", "failed")
NETWORK = result("retry", "network", "network", "failed")
OVERLOAD = result("retry", "overload", "server", "overloaded")


def never(reason):
    return result("never", reason, "fatal", "failed")


def refused(wait_ns=0, named=(), requested=UNSAID, capped=False, reason="rate_limit"):
    kind = "server" if list(named) == ["concurrency"] else "rate_limit"     # soon there is a place
    return result("wait" if wait_ns else "retry", reason, kind, "refused", wait_ns, capped, named, requested)


def reading(meter, limit, remaining, reset=UNSAID, period=MINUTE, least=0, most=UNSAID, rounding=0):
    return {"meter": meter, "limit": limit, "remaining": remaining, "rounding": rounding, "reset_ns": reset,
            "period_ns": period, "period_least_ns": least, "period_most_ns": most}


def exact(meter, limit, remaining, reset, period):
    return reading(meter, limit, remaining, reset, period, period, period)


def three(prefix, which, limit, remaining, reset):
    """The three headers of a limit."""
    return [("%s-limit%s" % (prefix, which), str(limit)), ("%s-remaining%s" % (prefix, which), str(remaining)),
            ("%s-reset%s" % (prefix, which), str(reset))]


def x(which, limit, remaining, reset):
    return three("x-ratelimit", which, limit, remaining, reset)


def anthropic(which, limit, remaining, reset):
    return [("anthropic-ratelimit-%s-%s" % (which, what), str(value))
            for what, value in (("limit", limit), ("remaining", remaining), ("reset", reset))]


# ---- bodies ----------------------------------------------------------------------------------------------------------

def openai_error(message, code="rate_limit_exceeded", kind="tokens"):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_error(kind, message, **details):
    error = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def violation(identity, value, metric="generate_content_free_tier_requests"):
    made = {"quotaMetric": "generativelanguage.googleapis.com/" + metric, "quotaId": identity,
            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"}}
    return made if value is None else dict(made, quotaValue=value)


def gemini_error(violations, delay=None, message="You exceeded your current quota."):
    google = "type.googleapis.com/google.rpc."
    details = [{"@type": google + "QuotaFailure", "violations": violations},
               {"@type": google + "Help", "links": [{"description": "Learn more about Gemini API quotas",
                   "url": "https://ai.google.dev"}]}]
    if delay is not None:
        details.append({"@type": google + "RetryInfo", "retryDelay": delay})
    return {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}


PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
INPUT_PER_MINUTE = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
TPM = ("Rate limit reached for gpt-4o in organization org-Ab on tokens per min (TPM): "
       "Limit 30000, Used 29500, Requested 1200. Please try again in 1.4s. "
       "Visit https://platform.openai.com/account/rate-limits to learn more.")
SPEND = "This organization has reached its monthly spend limit."
ITPM = ("This request would exceed your organization's rate limit of 80,000 input tokens per minute. "
        "For details, refer to the documentation. Please reduce the prompt length or the maximum tokens requested, "
        "or try again later.")


# ---- fixed cases -----------------------------------------------------------------------------------------------------

def retry_after_cases():
    """Of a 429 without anything else."""
    def one(name, headers, wait_ns, why="Retry-After", capped=False, now=NOW):
        return http(name, why, "generic", headers, 429, "", now=now, **refused(wait_ns, capped=capped))

    def after(value, wait_ns, why="Retry-After", **more):
        return one("retry-after " + (value.strip() or "empty"), [("Retry-After", value)], wait_ns, why, **more)

    yield after("16", 16 * SECOND, "a real 429 of Anthropic")
    for value, wait_ns in (("1", SECOND), ("0.5", SECOND // 2), ("1.5", 1500 * MS), ("0.000000001", 1), ("007", 7 * SECOND),
                           ("3600", HOUR), ("2.000", 2 * SECOND)):
        yield after(value, wait_ns)
    yield after("0.0000000001", 1, "rounded up")
    yield after("1.0000000001", SECOND + 1, "rounded up")
    yield after(" \t30\r\n", 30 * SECOND, "trimmed")
    for value in ("0", "0.0", "0.000"):
        yield after(value, 0, "nothing to wait: as if absent")
    for value in ("3601", "3600.000000001", "86400", "99999999999999999999", "9" * 400):
        yield one("retry-after %s%s" % (value[:30], "..." if len(value) > 30 else ""), [("retry-after", value)], HOUR,
                  "cut to an hour", True)
    for name in ("retry-after", "retry-after-ms"):
        yield one(name + " malformed", [(name, value) for value in MALFORMED], 0, "ignored, each of them")
    yield after("Thu, 15 Jan 2026 12:00:30 GMT", 30 * SECOND, "IMF-fixdate")
    yield after("Thursday, 15-Jan-26 12:00:30 GMT", 30 * SECOND, "RFC 850")
    yield after("Thu Jan 15 12:00:30 2026", 30 * SECOND, "asctime")
    yield one("retry-after in asctime with a space", [("retry-after", "Wed Jul  1 00:00:10 2026")], 10 * SECOND,
              "a day below 10", now=utc(2026, 7, 1))
    yield after("Mon, 15 Jan 2026 12:00:30 GMT", 30 * SECOND, "the day of the week is not checked")
    yield after("Thu, 15 Jan 2026 14:00:00 GMT", HOUR, "cut to an hour", capped=True)
    yield after("Fri, 31 Dec 9999 23:59:59 GMT", HOUR, "cut to an hour", capped=True)
    for value in (NOW_TEXT, "Thu, 15 Jan 2026 11:59:59 GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
                  "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
        yield after(value, 0, "not after now: as if absent")
    yield one("retry-after of dates that are none", [("retry-after", value) for value in (
        "Mon, 30 Feb 2026 12:00:00 GMT", "Thu, 15 Jan 2026 25:00:00 GMT", "Thu, 15 Jan 2026 12:61:00 GMT",
        "Thu, 15 Jun 2026",
        "Thu, 15 Jan 2026 12:00:30 PST", "Thu, 32 Jan 2026 12:00:30 GMT", "2026-01-15T12:00:30Z",
        "Sun, 29 Feb 2026 12:00:30 GMT",
        "Thu, 15 Foo 2026 12:00:30 GMT", "Fri, 31 Apr 2026 12:00:30 GMT", "Thu, 00 Jan 2027 12:00:30 GMT")], 0,
        "ignored, each of them")
    yield one("retry-after on a leap day", [("retry-after", "Tue, 29 Feb 2028 00:00:05 GMT")], 5 * SECOND, "2028 has one",
              now=utc(2028, 2, 29))
    yield one("retry-after across new year", [("retry-after", "Fri, 01 Jan 2027 00:00:10 GMT")], 15 * SECOND, "dates",
              now=utc(2026, 12, 31, 23, 59, 55))
    yield one("two-digit year 70", [("retry-after", "Thursday, 01-Jan-70 00:00:30 GMT")], 0, "RFC 850: 1970")
    yield one("two-digit year 69", [("retry-after", "Tuesday, 01-Jan-69 00:00:30 GMT")], HOUR, "RFC 850: 2069", True)
    yield one("date with a wall clock between seconds", [("retry-after", "Thu, 15 Jan 2026 12:00:30 GMT")],
              30 * SECOND - 123456789, "exact", now=NOW + 123456789)

    yield one("retry-after-ms", [("retry-after-ms", "1500")], 1500 * MS, "Azure")
    yield one("retry-after-ms with a fraction", [("Retry-After-Ms", "0.5")], 500000, "Azure")
    yield one("retry-after-ms before retry-after", [("retry-after", "2"), ("retry-after-ms", "1322")], 1322 * MS,
              "SDKs prefer it")
    yield one("retry-after-ms before retry-after, the other order", [("retry-after-ms", "1322"), ("retry-after", "2")],
              1322 * MS, "order")
    yield one("retry-after-ms 0", [("retry-after-ms", "0"), ("retry-after", "2")], 2 * SECOND, "as if absent")
    yield one("retry-after-ms below zero", [("retry-after-ms", "-20"), ("retry-after", "2")], 2 * SECOND, "as if absent")
    yield one("retry-after-ms of a date", [("retry-after-ms", "Thu, 15 Jan 2026 12:00:30 GMT"), ("retry-after", "2")],
              2 * SECOND, "no date there")
    yield one("retry-after-ms above an hour", [("retry-after-ms", "3600001")], HOUR, "cut to an hour", True)
    yield one("two retry-after", [("retry-after", "5"), ("Retry-After", "9"), ("retry-after", "7")], 9 * SECOND,
              "the larger")
    yield one("two retry-after, one malformed", [("retry-after", "5"), ("retry-after", "nan")], 5 * SECOND, "the valid one")
    yield one("two retry-after, one a date", [("retry-after", "5"), ("retry-after", "Thu, 15 Jan 2026 12:00:30 GMT")],
              30 * SECOND, "the larger")
    yield one("two retry-after-ms", [("retry-after-ms", "20"), ("retry-after-ms", "10"), ("retry-after", "1")], 20 * MS,
              "the larger of its own")
    yield one("retry-after of an upstream", [("llm_provider-retry-after", "12")], 12 * SECOND, "LiteLLM")
    yield one("retry-after in capitals", [("RETRY-AFTER", "12")], 12 * SECOND, "names are compared without case")
    yield one("names that are only like it", [("retry-after-s", "9"), ("xretry-after", "9"), ("retry-afte", "9"), ("", "9")],
              0, "exact names")


def date_cases():
    later = ("retry-after", "Thu, 15 Jan 2026 12:00:30 GMT")

    def one(name, why, date, wait_ns, now=NOW, capped=False, swap=False):
        headers = [("Date", date), later]
        return http(name, why, "anthropic", headers[::-1] if swap else headers, 429, "", now=now,
                    **refused(wait_ns, capped=capped))

    yield one("date ahead of the wall clock", "the server's clock is the reference", "Thu, 15 Jan 2026 12:00:20 GMT",
              10 * SECOND)
    yield one("date after the header that needs it", "headers come in any order", "Thu, 15 Jan 2026 12:00:20 GMT",
              10 * SECOND, swap=True)
    yield one("date behind the wall clock", "skew", "Thu, 15 Jan 2026 11:59:00 GMT", 90 * SECOND)
    yield one("wall clock a day ahead", "skew", NOW_TEXT, 30 * SECOND, now=NOW + DAY)
    yield one("wall clock unknown", "the Date is enough", NOW_TEXT, 30 * SECOND, now=0)
    yield one("date malformed", "the wall clock instead", "yesterday", 30 * SECOND)
    yield one("date before 2020", "no clock that was ever set", "Thu, 01 Jan 1970 00:00:00 GMT", 30 * SECOND)
    yield one("date years from the wall clock", "not believed", "Tue, 15 Jan 2030 12:00:00 GMT", 30 * SECOND)
    yield one("date in RFC 850", "all three forms", "Thursday, 15-Jan-26 12:00:20 GMT", 10 * SECOND)
    yield one("date in asctime", "all three forms", "Thu Jan 15 12:00:20 2026", 10 * SECOND)
    reset = anthropic("requests", 50, 0, "2026-01-15T12:00:40Z")
    for name, headers in (("first", [("date", "Thu, 15 Jan 2026 12:00:10 GMT")] + reset),
                          ("last", reset + [("date", "Thu, 15 Jan 2026 12:00:10 GMT")])):
        yield http("reset with the date %s" % name, "absolute times are resolved at the end", "anthropic", headers, 429, "",
                   readings=[reading("requests", 50, 0, 30 * SECOND)], **refused(0, ["requests"]))


def anthropic_cases():
    def good(name, why, headers, readings, profile="anthropic", **more):
        return http(name, why, profile, headers, 200, "", readings=readings, **dict(GOOD, **more))

    all_of = (anthropic("requests", 50, 49, "2026-01-15T12:00:01Z") + anthropic("tokens", 96000, 94000,
        "2026-01-15T12:00:02Z")
              + anthropic("input-tokens", 80000, 79000, "2026-01-15T12:00:01Z") + anthropic("output-tokens", 16000, 15000,
                  "2026-01-15T12:00:04Z"))
    # requests and input: the reset is no more than its resolution. output: (4 - 2) s * 16000 / (1000 + 500).
    # No most, as the reset is a time.
    full = [reading("requests", 50, 49, SECOND), reading("input_tokens", 80000, 79000, SECOND, rounding=500),
            reading("output_tokens", 16000, 15000, 4 * SECOND, least=21333333333, rounding=500)]
    yield good("anthropic", "tokens is the most restrictive of the others, and dropped", all_of, full)
    yield good("anthropic in reverse order", "readings are ordered by meter", all_of[::-1], full)
    yield good("anthropic by way of LiteLLM", "the prefix llm_provider-", [("llm_provider-" + name, value) for name,
        value in all_of],
               full[:1] + [dict(full[1], rounding=0), dict(full[2], rounding=0, period_least_ns=32 * SECOND)], "litellm")
    yield good("anthropic in capitals", "names are compared without case", [(name.upper(), value) for name, value in all_of],
               full)
    yield good("anthropic headers where none are read", "openai reads x-ratelimit only", all_of, [], "openai")
    yield good("anthropic tokens alone", "of an older model", anthropic("tokens", 100000, 40000, "2026-01-15T12:00:36Z"),
               [reading("tokens", 100000, 40000, 36 * SECOND, least=56198347107, rounding=500)])
    yield good("anthropic tokens beside a lone reset of input tokens", "which says nothing",
               anthropic("tokens", 100000, 100000, "2026-01-15T12:00:00Z") + anthropic("input-tokens", 1, 1,
                   "2026-01-15T12:00:00Z")[2:],
               [reading("tokens", 100000, 100000, 0, rounding=500)])
    yield http("anthropic 429 in debt", "the real one: reset 63 s ahead, retry-after 16, buckets go below zero", "anthropic",
               [("retry-after", "16")] + anthropic("input-tokens", 200000, 0, "2026-01-15T12:01:03Z"), 429,
               anthropic_error("rate_limit_error",
                               ITPM.replace("80,000", "200,000")),
               readings=[reading("input_tokens", 200000, 0, 63 * SECOND, rounding=500)],
               **refused(16 * SECOND, ["input_tokens"]))
    yield good("anthropic remaining below zero", "counts as 0", anthropic("input-tokens", 200000, -9000,
        "2026-01-15T12:01:00Z"),
               [reading("input_tokens", 200000, 0, MINUTE, rounding=500)])
    for text, ns in (("2026-01-15T12:00:30Z", 30 * SECOND), ("2026-01-15T12:00:30.5Z", 30500 * MS), ("2026-01-15t12:00:30z",
        30 * SECOND),
                     ("2026-01-15 12:00:30Z", 30 * SECOND), ("2026-01-15T13:00:30+01:00", 30 * SECOND),
                     ("2026-01-15T04:00:30-08:00", 30 * SECOND), ("2026-01-15T17:30:30+05:30", 30 * SECOND),
                     ("2026-01-16T01:45:30+13:45", 30 * SECOND), ("2026-01-15T12:00:60Z", 59 * SECOND),
                     ("2026-01-15T12:00:30+00:00", 30 * SECOND), ("2026-01-15T12:00:00.000000001Z", 1),
                     ("2026-01-15T11:59:00Z", 0), ("1969-01-01T00:00:00Z", 0), ("2026-01-15T12:00:00Z", 0),
                     ("9999-12-31T23:59:59Z", SPAN_MAX)):
        yield good("reset " + text, "RFC 3339", anthropic("requests", 50, 50, text), [reading("requests", 50, 50, ns)])
    malformed = []
    for text in ("2026-01-15", "2026-01-15T12:00Z", "2026-01-15T12:00:30", "2026-13-15T12:00:30Z", "2026-02-29T12:00:30Z",
                 "2026-01-15T24:00:00Z",
                 "2026-01-15T12:60:30Z", "2026-01-15T12:00:61Z", "2026-01-15T12:00:30.Z", "2026-01-15T12:00:30+0100",
                 "26-01-15T12:00:30Z",
                 "2026-01-15T12:00:30Z.", "", "30", "-30", "30s", "never", "2026-01-15T12:00:30+24:00",
                 "2026-01-15T12:00:30+01:60"):
        malformed.append(("anthropic-ratelimit-requests-reset", text))
    yield good("reset malformed", "ignored, each of them", anthropic("requests", 50, 50, "")[:2] + malformed,
               [reading("requests", 50, 50)])
    yield good("anthropic priority and fast", "other pools, not read", [
        ("anthropic-priority-input-tokens-limit", "1000"), ("anthropic-priority-input-tokens-remaining", "10"),
        ("anthropic-fast-output-tokens-limit", "1000"), ("anthropic-fast-output-tokens-remaining", "1")], [])
    yield good("anthropic unified", "subscriptions: fractions of a limit that is not told", [
        ("anthropic-ratelimit-unified-5h-status", "allowed"), ("anthropic-ratelimit-unified-5h-utilization", "0.25"),
        ("anthropic-ratelimit-unified-5h-reset", str(NOW // SECOND + 7200)), ("anthropic-ratelimit-unified-7d-utilization",
            "0.001"),
        ("anthropic-ratelimit-unified-7d-reset", str(NOW // SECOND + 86400)), ("anthropic-ratelimit-unified-7d-status",
            "allowed")], [
        exact("custom", 10**6, 750000, 2 * HOUR, 5 * HOUR), exact("custom", 10**6, 999000, DAY, 7 * DAY)])
    for text, left in (("0", 10**6), ("0.0", 10**6), ("1", 0), ("1.0", 0), ("1.05", 0), ("37", 0), ("0.999999", 1),
                       ("0.5", 500000)):
        yield good("utilization " + text, "in millionths", [("anthropic-ratelimit-unified-5h-utilization", text)],
                   [exact("custom", 10**6, left, UNSAID, 5 * HOUR)])
    yield good("utilization malformed", "ignored, each of them",
               [("anthropic-ratelimit-unified-5h-utilization", text) for text in ("", "-0.1", "nan", "50%", "1e-1", "+0.5",
                   "0,5")], [])
    unified = [("anthropic-ratelimit-unified-5h-status", "rejected"), ("anthropic-ratelimit-unified-5h-utilization", "1.0"),
               ("anthropic-ratelimit-unified-5h-reset", str(NOW // SECOND + 3 * 3600)), ("retry-after", "10800")]
    yield http("anthropic unified rejected", "until the reset, though it is more than an hour", "anthropic", unified, 429,
               anthropic_error("rate_limit_error", "This account has no more of its quota."),
               readings=[exact("custom", 10**6, 0, 3 * HOUR, 5 * HOUR)], **refused(3 * HOUR, reason="quota_day"))
    yield http("anthropic unified rejected, yet answered", "says nothing but with a 429", "anthropic", unified[:3], 200, "",
               readings=[exact("custom", 10**6, 0, 3 * HOUR, 5 * HOUR)], **GOOD)
    yield http("anthropic 429 of input tokens", "named by the text", "anthropic", [("retry-after", "7")], 429,
               anthropic_error("rate_limit_error", ITPM), **refused(7 * SECOND, ["input_tokens"]))
    yield http("anthropic 429 of output tokens", "named by the text", "anthropic", [("retry-after", "7")], 429,
               anthropic_error("rate_limit_error", ITPM.replace("80,000 input", "16,000 output")),
               **refused(7 * SECOND, ["output_tokens"]))
    yield http("anthropic 429 of requests", "named by the text, though it speaks of tokens too", "anthropic",
               [("retry-after", "2")], 429,
               anthropic_error("rate_limit_error", ITPM.replace("80,000 input tokens", "50 requests")),
               **refused(2 * SECOND, ["requests"]))
    yield http("anthropic 429 of concurrency", "no window to wait for", "anthropic", [], 429,
               anthropic_error("rate_limit_error", "Number of concurrent connections has exceeded your rate limit."),
               **refused(0, ["concurrency"]))
    yield http("anthropic 429 of acceleration", "a ramp, not a limit", "anthropic", [("retry-after", "3")], 429,
               anthropic_error("rate_limit_error", "This request would exceed your organization's acceleration limit."),
               **dict(refused(3 * SECOND), outcome="slow_down"))
    yield http("anthropic 429 without a body", "the readings name what is empty", "anthropic",
               [("retry-after", "2")] + anthropic("requests", 50, 0, "2026-01-15T12:01:00Z"), 429, "",
               readings=[reading("requests", 50, 0, MINUTE)], **refused(2 * SECOND, ["requests"]))
    yield http("anthropic spend limit", "429 without Retry-After: not again", "anthropic", [], 429,
               anthropic_error("rate_limit_error", SPEND, error_code="enforced_spend_limit_reached"), **never("spent"))
    yield http("anthropic spend limit, though told when", "not again", "anthropic", [("retry-after", "5")], 429,
               anthropic_error("rate_limit_error", SPEND, error_code="enforced_spend_limit_reached"),
               **dict(never("spent"), wait_ns=5 * SECOND, retry_after_ns=5 * SECOND))
    yield http("anthropic usage limits", "400 that money or a new month mends", "anthropic", [], 400, anthropic_error(
        "invalid_request_error",
        "You have reached your specified API usage limits. You will regain access on 2026-02-01 at 00:00 UTC."),
        **never("spent"))
    yield http("anthropic credit balance", "400", "anthropic", [], 400, anthropic_error(
        "invalid_request_error", "Your credit balance is too low to access the Anthropic API."), **never("spent"))
    yield http("anthropic prompt too long", "400", "anthropic", [], 400, anthropic_error(
        "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), **never("too_large"))
    yield http("anthropic request too large", "413", "anthropic", [], 413, anthropic_error(
        "request_too_large", "Request exceeds the maximum size"), **never("too_large"))
    yield http("anthropic invalid request", "400", "anthropic", [], 400, anthropic_error(
        "invalid_request_error", "messages: at least one message is required"), **never("bad_request"))
    yield http("anthropic overloaded", "529", "anthropic", [], 529, anthropic_error("overloaded_error", "Overloaded"),
               **OVERLOAD)
    yield http("anthropic overloaded, with a wait", "529", "anthropic", [("retry-after", "8")], 529,
               anthropic_error("overloaded_error", "Overloaded"), **dict(OVERLOAD, verdict="wait", wait_ns=8 * SECOND,
                   retry_after_ns=8 * SECOND))
    yield http("anthropic api error", "500", "anthropic", [], 500, anthropic_error("api_error", "Internal server error"),
               **FAILED)
    yield http("anthropic overloaded as 500", "the type tells", "anthropic", [], 500, anthropic_error("overloaded_error",
        "Overloaded"), **OVERLOAD)
    for kind, code in (("authentication_error", 401), ("permission_error", 403)):
        yield http("anthropic " + kind, str(code), "anthropic", [], code, anthropic_error(kind, "invalid x-api-key"),
                   **never("auth"))


def openai_cases():
    def good(name, why, headers, readings, profile="openai", now=NOW):
        return http(name, why, profile, headers, 200, "", readings=readings, now=now, **GOOD)

    def bucket(meter, limit, remaining, reset, resolution, period=MINUTE, a_time=False):
        """least and most as the documents have it: W = reset * limit / used, either way of what the text can tell"""
        used = limit - remaining
        resolution += SECOND if a_time else 0
        least = 0 if remaining == 0 else max(0, reset - resolution) * limit // used
        most = UNSAID if used <= 1 or a_time else -(-(reset + resolution) * limit // (used - 1))
        return reading(meter, limit, remaining, reset, period, least, most)

    yield good("openai 6ms", "200000/199978 -> 6ms: a minute", x("-tokens", 200000, 199978, "6ms"),
               [reading("tokens", 200000, 199978, 6 * MS, MINUTE, 45454545454, 66666666667)])
    yield good("openai 3.114s", "10000/9481 -> 3.114s: a minute", x("-tokens", 10000, 9481, "3.114s"),
               [reading("tokens", 10000, 9481, 3114 * MS, MINUTE, 59980732177, 60135135136)])
    yield good("openai 8.64s", "10000/9999 -> 8.64s: about a day", x("-requests", 10000, 9999, "8.64s"),
               [reading("requests", 10000, 9999, 8640 * MS, MINUTE, 86300 * SECOND)])
    yield good("openai 17.28s", "10000/9998 -> 17.28s: about a day", x("-requests", 10000, 9998, "17.28s"),
               [reading("requests", 10000, 9998, 17280 * MS, MINUTE, 86350 * SECOND, 172900 * SECOND)])
    yield good("openai both", "the headers of a response", x("-tokens", 200000, 199978, "6ms") + x("-requests", 10000, 9999,
        "8.64s"),
               [reading("requests", 10000, 9999, 8640 * MS, MINUTE, 86300 * SECOND), reading("tokens", 200000, 199978,
                   6 * MS, MINUTE, 45454545454, 66666666667)])
    for text, ns, resolution in (("1s", SECOND, SECOND), ("20ms", 20 * MS, MS), ("2m59.56s", 179560 * MS, 10 * MS),
                                 ("6m0s", 6 * MINUTE, SECOND),
                                 ("1h0m0s", HOUR, SECOND), ("1h", HOUR, SECOND), ("12m", 12 * MINUTE, SECOND),
                                 ("500us", 500000, 1000),
                                 ("500\u00b5s", 500000, 1000), ("250ns", 250, 1), ("1m3s", 63 * SECOND, SECOND),
                                 ("0.5s", SECOND // 2, SECOND // 10),
                                 ("1.25ms", 1250000, 10000), ("23h59m59.999s", DAY - MS, MS), ("1s500ms", 1500 * MS, MS),
                                 ("7m12s", 432 * SECOND, SECOND)):
        yield good("x reset " + text.replace("\u00b5", "mu"), "Go's durations", x("-tokens", 1000, 500, text),
                   [bucket("tokens", 1000, 500, ns, resolution)])
    yield good("x reset 1d2h", "days too", x("-requests", 1000, 1000, "1d2h"), [reading("requests", 1000, 1000, 26 * HOUR)])
    for text in ("0", "0s", "0ms", "0m0s"):
        yield good("x reset " + text, "nothing to infer", x("-tokens", 1000, 900, text), [reading("tokens", 1000, 900, 0)])
    for text, ns, resolution in (("30", 30 * SECOND, SECOND), ("12.5", 12500 * MS, SECOND // 10), ("0.125", 125 * MS, MS),
                                 (str(NOW // SECOND + 20), 20 * SECOND, SECOND), (str(NOW // MS + 20500), 20500 * MS,
                                     SECOND),
                                 ("2026-01-15T12:00:30Z", 30 * SECOND, SECOND), ("2026-01-15T12:00:30.25Z", 30250 * MS,
                                     SECOND)):
        yield good("x reset " + text, "seconds, a time, or a date", x("-tokens", 1000, 500, text),
                   [bucket("tokens", 1000, 500, ns, resolution, a_time=len(text) > 9)])
    yield good("x reset 999999999", "seconds, though 31 years", x("-tokens", 1000, 1000, "999999999"),
               [reading("tokens", 1000, 1000, SPAN_MAX)])
    yield good("x reset 1000000000", "a time of 2001", x("-tokens", 1000, 500, "1000000000"),
               [reading("tokens", 1000, 500, 0)])
    yield good("x reset 99999999999", "seconds of the year 5138", x("-tokens", 1000, 1000, "99999999999"),
               [reading("tokens", 1000, 1000, SPAN_MAX)])
    yield good("x reset 100000000000", "ms of 1973", x("-tokens", 1000, 500, "100000000000"),
               [reading("tokens", 1000, 500, 0)])
    yield good("x reset of a hundred digits", "saturates", x("-tokens", 1000, 1000, "9" * 100),
               [reading("tokens", 1000, 1000, SPAN_MAX)])
    yield good("x reset of a hundred digits and h", "saturates", x("-tokens", 1000, 1000, "9" * 100 + "h"),
               [reading("tokens", 1000, 1000, SPAN_MAX)])
    malformed = [("x-ratelimit-reset-tokens", text) for text in (
        "", "-1", "-1s", "+1s", "s", "1x", "1 s", "1s 2ms", "1.s", ".5s", "nan", "inf", "1e3", "1S", "ms", "5sec",
        "tomorrow", "1s\0")]
    yield good("x reset malformed", "ignored, each of them", x("-tokens", 1000, 500, "")[:2] + malformed,
               [reading("tokens", 1000, 500)])
    malformed = [("x-ratelimit-limit-tokens", text) for text in MALFORMED + ("1,000", "100 000", "unlimited")]
    yield good("x limit malformed", "ignored, each of them", x("-tokens", "", 500, "1s")[1:] + malformed,
               [reading("tokens", UNSAID, 500, SECOND)])
    malformed = [("x-ratelimit-remaining-tokens", text) for text in MALFORMED if text != "-5"]
    yield good("x remaining malformed", "ignored, each of them", x("-tokens", 1000, "", "1s")[::2] + malformed,
               [reading("tokens", 1000, UNSAID, SECOND)])
    yield good("x remaining -7", "below zero counts as 0", x("-tokens", 1000, "-7", "1s"),
               [bucket("tokens", 1000, 0, SECOND, SECOND)])
    yield good("x amounts with a fraction", "which is dropped", x("-tokens", "1000.99", "99.5", "1s"),
               [bucket("tokens", 1000, 99, SECOND, SECOND)])
    yield good("x amounts too large", "saturate", x("-tokens", 2**63, 2**64, "1s"),
               [reading("tokens", AMOUNT_MAX, AMOUNT_MAX, SECOND)])
    yield good("x limit of 2^40 and one", "saturates", x("-tokens", 2**40 + 1, 2**40, "1s"),
               [reading("tokens", AMOUNT_MAX, AMOUNT_MAX, SECOND)])
    yield good("x remaining above the limit", "cut to it", x("-tokens", 1000, 1001, "1s"),
               [reading("tokens", 1000, 1000, SECOND)])
    yield good("x limit of 0", "a model one has no access to", x("-tokens", 0, 0, "1s"), [reading("tokens", 0, 0, SECOND)])
    yield good("x limit alone", "a reading", x("-tokens", 1000, 1, "")[:1], [reading("tokens", 1000, UNSAID)])
    yield good("x remaining alone", "a reading", x("-tokens", 1, 400, "")[1:2], [reading("tokens", UNSAID, 400)])
    yield good("x reset alone", "no reading", x("-tokens", 1, 1, "1s")[2:], [])
    yield good("x limit twice", "the smaller", x("-requests", 50, 20, "30s") + [("x-ratelimit-limit-requests", "40")],
               [bucket("requests", 40, 20, 30 * SECOND, SECOND)])
    yield good("x remaining twice", "the smaller", x("-requests", 50, 20, "30s") + [("X-RateLimit-Remaining-Requests",
        "30")],
               [bucket("requests", 50, 20, 30 * SECOND, SECOND)])
    yield good("x reset twice", "the larger", x("-requests", 50, 20, "30s") + [("x-ratelimit-reset-requests", "31s"),
        ("x-ratelimit-reset-requests", "2s")],
               [bucket("requests", 50, 20, 31 * SECOND, SECOND)])
    yield good("x reset twice, one of them malformed", "the valid one",
               x("-requests", 50, 20, "30s") + [("x-ratelimit-reset-requests", "soon")],
               [bucket("requests", 50, 20, 30 * SECOND, SECOND)])
    yield good("x reset twice, a span and a time", "the larger once both are known",
               [("x-ratelimit-reset-requests", str(NOW // SECOND + 45))]
               + x("-requests", 50, 20, "30s"), [bucket("requests", 50, 20, 45 * SECOND, SECOND, a_time=True)])
    yield good("x project tokens", "a reading of their own", x("-tokens", 1000, 500, "30s") + x("-project-tokens", 600, 100,
        "50s"),
               [bucket("tokens", 1000, 500, 30 * SECOND, SECOND), bucket("tokens", 600, 100, 50 * SECOND, SECOND)])
    yield good("x project first", "as first seen", x("-project-requests", 600, 100, "50s") + x("-requests", 1000, 500,
        "30s"),
               [bucket("requests", 600, 100, 50 * SECOND, SECOND), bucket("requests", 1000, 500, 30 * SECOND, SECOND)])
    yield good("x input and output tokens", "meters of their own", x("-output-tokens", 100, 50, "30s") + x("-input-tokens",
        1000, 500, "30s"),
               [bucket("input_tokens", 1000, 500, 30 * SECOND, SECOND), bucket("output_tokens", 100, 50, 30 * SECOND,
                   SECOND)])
    yield good("x unknown names", "not read", [("x-ratelimit-limit-images", "5"), ("x-ratelimit-used", "3"),
        ("x-ratelimit", "5"), ("x-ratelimit-limit-", "5"), ("x-ratelimit-limit-requests-week", "5")], [])
    yield good("x with spaces", "trimmed", x("-tokens", " 1000\t", "\t500 ", " 30s\r\n"),
               [bucket("tokens", 1000, 500, 30 * SECOND, SECOND)])

    # Others with the same headers
    yield good("groq", "requests are of a day, tokens of a minute", x("-requests", 14400, 14370, "2m59.56s") + x("-tokens",
        18000, 17997, "7.66ms"),
               [reading("requests", 14400, 14370, 179560 * MS, DAY, 179550 * MS * 14400 // 30,
                        -(-179570 * MS * 14400 // 29)),
                reading("tokens", 18000, 17997, 7660000, MINUTE, 7650000 * 6000, 7670000 * 9000)], "groq")
    yield good("cerebras", "float seconds, periods in the names",
               [("x-ratelimit-limit-requests-day", "1000000000"), ("x-ratelimit-limit-tokens-minute", "1000000000"),
                ("x-ratelimit-remaining-requests-day", "999997455"), ("x-ratelimit-remaining-tokens-minute", "999998298"),
                ("x-ratelimit-reset-requests-day", "33011.382867"), ("x-ratelimit-reset-tokens-minute", "11.382867")],
               [exact("requests", 10**9, 999997455, 33011382867000, DAY), exact("tokens", 10**9, 999998298, 11382867000,
                   MINUTE)], "cerebras")
    yield good("one limit with two periods", "two readings", [
        ("x-ratelimit-limit-tokens-minute", "60000"), ("x-ratelimit-limit-tokens-day", "1000000"),
        ("x-ratelimit-remaining-tokens-day", "9"), ("x-ratelimit-remaining-tokens-minute", "50000")],
        [exact("tokens", 60000, 50000, UNSAID, MINUTE), exact("tokens", 1000000, 9, UNSAID, DAY)], "cerebras")
    yield good("periods of a second and an hour", "in the names", [
        ("x-ratelimit-limit-requests-second", "5"), ("x-ratelimit-limit-requests-hour", "500")],
        [exact("requests", 5, UNSAID, UNSAID, SECOND), exact("requests", 500, UNSAID, UNSAID, HOUR)], "generic")
    yield good("openrouter", "epoch milliseconds, no suffix", x("", 20, 19, NOW // MS + 60000),
               [reading("requests", 20, 19, MINUTE)], "openrouter")
    yield http("openrouter 429", "a period that ends: until then", "openrouter", x("", 20, 0, NOW // MS + 25500), 429,
               {"error": {"message": "Rate limit exceeded: free-models-per-min.", "code": 429}},
               readings=[reading("requests", 20, 0, 25500 * MS)], **refused(25500 * MS, ["requests"]))
    yield http("openrouter out of credit", "402", "openrouter", [], 402,
               {"error": {"message": "Insufficient credits", "code": 402}}, **never("spent"))
    yield good("azure", "fixed periods: nothing is inferred from the reset", x("-tokens", 10000, 9481, "3.114s"),
               [reading("tokens", 10000, 9481, 3114 * MS)], "azure")
    yield http("azure 429", "retry-after-ms", "azure", [("retry-after", "1"), ("retry-after-ms", "322")] + x("-requests", 10,
        0, "9s"), 429,
               {"error": {"code": "429", "message": "You have exceeded your call limit."}},
               readings=[reading("requests", 10, 0, 9 * SECOND)], **refused(322 * MS, ["requests"]))
    yield good("litellm", "its own headers and those of the provider", [
        ("llm_provider-x-ratelimit-limit-requests", "10000"), ("llm_provider-x-ratelimit-remaining-requests", "9998"),
        ("LLM_Provider-x-ratelimit-reset-requests", "17.28s")],
        [reading("requests", 10000, 9998, 17280 * MS, MINUTE, 86350 * SECOND, 172900 * SECOND)], "litellm")
    yield good("litellm, the same thing twice", "the smaller remaining", [
        ("llm_provider-x-ratelimit-limit-requests", "10000"), ("llm_provider-x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-requests", "9000")], [reading("requests", 10000, 9000)], "litellm")
    yield good("x headers where none are read", "anthropic", x("-requests", 1, 1, "1s"), [], "anthropic")

    yield http("bedrock 429", "a body of another kind", "bedrock", [("retry-after", "5")], 429,
               {"message": "Too many tokens, please wait before trying again."}, **refused(5 * SECOND))
    yield good("bedrock behind a gateway", "how it counts is not known: nothing is inferred", x("-tokens", 1000, 500, "30s"),
               [reading("tokens", 1000, 500, 30 * SECOND)], "bedrock")

    # 429
    yield http("openai 429", "the text alone", "openai", [], 429, openai_error(TPM), **refused(1400 * MS, ["tokens"], 1200))
    yield http("openai 429 with a header", "which goes before the text", "openai", [("retry-after-ms", "900")], 429,
               openai_error(TPM), **refused(900 * MS, ["tokens"], 1200))
    for text, ns in (("6ms", 6 * MS), ("1.2s", 1200 * MS), ("1m3s", 63 * SECOND), ("20s", 20 * SECOND),
                     ("8m38.4s", 518400 * MS), ("59m0s", 3540 * SECOND)):
        yield http("try again in " + text, "the text", "openai", [], 429, openai_error(TPM.replace("1.4s", text)),
                   **refused(ns, ["tokens"], 1200))
    yield http("try again in 2h", "cut to an hour", "openai", [], 429, openai_error(TPM.replace("1.4s", "2h0m0s")),
               **refused(HOUR, ["tokens"], 1200, capped=True))
    yield http("openai 429 without a time", "(Used + Requested - Limit) / Limit of a minute", "openai", [], 429,
               openai_error("Rate limit reached on tokens per min (TPM): Limit 30000, Used 29500, Requested 1200."),
               **refused(1400 * MS, ["tokens"], 1200))
    yield http("openai 429, rounded up", "2 / 7 of a minute", "openai", [], 429,
               openai_error("Rate limit reached on tokens per min (TPM): Limit 7, Used 5, Requested 4."),
               **refused(17142857143, ["tokens"], 4))
    yield http("openai 429, another order", "Requested first", "openai", [], 429,
               openai_error("Rate limit reached on tokens per min (TPM): Requested 1200, Used 29500, Limit 30000."),
               **refused(1400 * MS, ["tokens"], 1200))
    yield http("openai 429, commas in numbers", "thousands", "openai", [], 429,
               openai_error("Rate limit reached on tokens per min (TPM): Limit 30,000, Used 29,500, Requested 1,200."),
               **refused(1400 * MS, ["tokens"], 1200))
    yield http("openai 429, all of it used", "nothing to wait", "openai", [], 429,
               openai_error("Rate limit reached on tokens per min (TPM): Limit 30000, Used 100, Requested 1200."),
               **refused(0, ["tokens"], 1200))
    yield http("openai 429 of requests", "RPM", "openai", [], 429, openai_error(
        "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
        kind="requests"),
        **refused(20 * SECOND, ["requests"], 1))
    yield http("openai 429 of input tokens", "meters of their own", "openai", [], 429, openai_error(
        "Rate limit reached on input tokens per min: Limit 3000, Used 3000, Requested 100."),
        **refused(2 * SECOND, ["input_tokens"], 100))
    yield http("openai 429 of output tokens", "meters of their own", "openai", [], 429, openai_error(
        "Rate limit reached on output tokens per min: Limit 3000, Used 3000, Requested 100."),
        **refused(2 * SECOND, ["output_tokens"], 100))
    yield http("openai 429 of a day", "RPD: the time of the text", "openai", [], 429, openai_error(
        "Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
        kind="requests"),
        **refused(432 * SECOND, ["requests"], 1, reason="quota_day"))
    yield http("openai 429 of a day without a time", "1 / 200 of a day", "openai", [], 429, openai_error(
        "Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1.", kind="requests"),
        **refused(432 * SECOND, ["requests"], 1, reason="quota_day"))
    yield http("groq 429 of a day", "TPD", "groq", [("retry-after", "431")], 429, openai_error(
        "Rate limit reached for model `llama-3.3-70b` on tokens per day (TPD): Limit 100000, Used 99999, Requested 500. "
        "Please try again in 7m10.3s."), **refused(431 * SECOND, ["tokens"], 500, reason="quota_day"))
    yield http("openai 429 too large", "Requested above Limit: never", "openai", [("retry-after", "60")], 429, openai_error(
        "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 44000. "
        "The input or output tokens must be reduced."),
        **dict(never("too_large"), wait_ns=MINUTE, retry_after_ns=MINUTE))
    yield http("openai 429 as large as the limit", "may go once it is empty", "openai", [], 429, openai_error(
        "Rate limit reached on tokens per min (TPM): Limit 30000, Used 15000, Requested 30000."),
        **refused(30 * SECOND, ["tokens"], 30000))
    yield http("openai insufficient quota", "429 that money mends", "openai", [], 429, openai_error(
        "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota",
        "insufficient_quota"), **never("spent"))
    yield http("openai insufficient quota by type alone", "either field", "openai", [], 429, openai_error("No.", None,
        "insufficient_quota"),
               **never("spent"))
    yield http("openai billing hard limit, 429", "a spent quota", "openai", [], 429,
               openai_error("Billing hard limit has been reached", "billing_hard_limit_reached"), **never("spent"))
    yield http("openai billing hard limit, 400", "a spent quota", "openai", [], 400,
               openai_error("Billing hard limit has been reached", "billing_hard_limit_reached"), **never("spent"))
    for code in ("context_length_exceeded", "string_above_max_length", "request_too_large"):
        yield http("openai " + code, "400", "openai", [], 400, openai_error("Too long.", code, "invalid_request_error"),
                   **never("too_large"))
    yield http("400 that says Request too large", "400", "groq", [], 400, openai_error("Request too large for model", None,
        "x"), **never("too_large"))
    yield http("openai invalid request", "400", "openai", [], 400, openai_error("Bad.", "unknown_parameter",
        "invalid_request_error"), **never("bad_request"))
    yield http("openai slow down", "503: return to the former rate", "openai", [], 503, openai_error("Slow Down", None,
        "server_error"),
               **dict(OVERLOAD, outcome="slow_down"))
    yield http("openai slow down by code", "503", "openai", [], 503, openai_error("Please wait.", "slow_down",
        "server_error"),
               **dict(OVERLOAD, outcome="slow_down"))
    yield http("openai engine overloaded", "503", "openai", [("retry-after", "4")], 503,
               openai_error("The engine is currently overloaded, please try again later", None, "server_error"),
               **dict(OVERLOAD, verdict="wait", wait_ns=4 * SECOND, retry_after_ns=4 * SECOND))
    yield http("500 that says overloaded", "the message tells", "generic", [], 500, openai_error("The model is overloaded.",
        None, "server_error"), **OVERLOAD)
    yield http("502 that says slow down", "only 503 means it", "openai", [], 502, openai_error("slow down", "slow_down"),
               **FAILED)


def gemini_cases():
    def one(name, why, status, body, now=NOW, headers=(), profile="gemini", readings=(), **more):
        return http(name, why, profile, list(headers), status, body, now=now, readings=readings, **more)

    minute = gemini_error([violation(PER_MINUTE, "15")], "57.238747106s")
    yield one("gemini per minute", "the body tells what headers do not", 429, minute,
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(57238747106, ["requests"]))
    yield one("gemini in an array", "a stream", 429, [minute], readings=[exact("requests", 15, 0, UNSAID, MINUTE)],
              **refused(57238747106, ["requests"]))
    yield one("gemini as an event", "data: before the object", 429, "data: " + json.dumps(minute),
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(57238747106, ["requests"]))
    yield one("gemini with indents", "as it is sent", 429, json.dumps(minute, indent=2),
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(57238747106, ["requests"]))
    yield one("gemini input tokens per minute", "another meter", 429, gemini_error(
        [violation(INPUT_PER_MINUTE, "250000", "generate_content_free_tier_input_token_count")], "12s"),
        readings=[exact("input_tokens", 250000, 0, UNSAID, MINUTE)], **refused(12 * SECOND, ["input_tokens"]))
    yield one("gemini input tokens by quotaId alone", "either name tells", 429,
              gemini_error([violation(INPUT_PER_MINUTE, "250000", "generate_content")], "12s"),
              readings=[exact("input_tokens", 250000, 0, UNSAID, MINUTE)], **refused(12 * SECOND, ["input_tokens"]))
    yield one("gemini tokens", "neither input nor output", 429,
              gemini_error([violation("TokensPerMinute", 1000, "token_count")], "0.5s"),
              readings=[exact("tokens", 1000, 0, UNSAID, MINUTE)], **refused(SECOND // 2, ["tokens"]))
    yield one("gemini with a number as the value", "text or number", 429, gemini_error([violation(PER_MINUTE, 15)], "1s"),
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(SECOND, ["requests"]))
    yield one("gemini two meters", "two readings", 429, gemini_error(
        [violation(INPUT_PER_MINUTE, "250000", "input_token_count"), violation(PER_MINUTE, "15")], "30s"),
        readings=[exact("requests", 15, 0, UNSAID, MINUTE), exact("input_tokens", 250000, 0, UNSAID, MINUTE)],
        **refused(30 * SECOND, ["requests", "input_tokens"]))
    yield one("gemini retryDelay of two hours", "cut to an hour", 429, gemini_error([violation(PER_MINUTE, "15")], "7200s"),
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(HOUR, ["requests"], capped=True))
    yield one("gemini header and retryDelay", "the header", 429, minute, headers=[("retry-after", "3")],
              readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(3 * SECOND, ["requests"]))
    for delay in ("-5s", "nan", "5", "soon", ""):
        yield one("gemini retryDelay malformed: " + (delay or "empty"), "ignored", 429,
                  gemini_error([violation(PER_MINUTE, "15")], delay),
                  readings=[exact("requests", 15, 0, UNSAID, MINUTE)], **refused(0, ["requests"]))

    day = gemini_error([violation(PER_DAY, "20")], "38s")
    daily = [exact("requests", 20, 0, UNSAID, DAY)]
    for name, now, wait_ns in (
            ("winter", NOW, 20 * HOUR), ("summer", utc(2026, 7, 15, 12), 19 * HOUR),
            ("a second before midnight in winter", utc(2026, 1, 15, 7, 59, 59), SECOND),
            ("midnight in winter", utc(2026, 1, 15, 8), DAY), ("midnight in summer", utc(2026, 7, 15, 7), DAY),
            ("a second before midnight in summer", utc(2026, 7, 15, 6, 59, 59), SECOND),
            ("the short day of spring", utc(2026, 3, 8, 8), 23 * HOUR), ("after the change of spring", utc(2026, 3, 8, 10),
                21 * HOUR),
            ("just before the change of spring", utc(2026, 3, 8, 9, 59, 59), 21 * HOUR + SECOND),
            ("the evening before the change of spring", utc(2026, 3, 8, 5), 3 * HOUR),
            ("the long day of autumn", utc(2026, 11, 1, 7), 25 * HOUR), ("after the change of autumn", utc(2026, 11, 1, 9),
                23 * HOUR),
            ("the evening before the change of autumn", utc(2026, 11, 1, 6), HOUR), ("new year", utc(2027, 1, 1, 7, 30),
                HOUR // 2),
            ("a leap day", utc(2028, 2, 29, 20), 12 * HOUR), ("between seconds", NOW + 1, 20 * HOUR - 1)):
        yield one("gemini per day, " + name, "until midnight in California, though retryDelay says 38 s", 429, day, now=now,
                  readings=daily, **refused(wait_ns, ["requests"], reason="quota_day"))
    yield one("gemini per day, by the Date", "the server's clock", 429, day, now=NOW,
              headers=[("date", "Thu, 15 Jan 2026 13:00:00 GMT"), ("retry-after", "5")],
              readings=daily, **refused(19 * HOUR, ["requests"], reason="quota_day"))
    yield one("gemini per day and per minute", "the day outranks the minute", 429, gemini_error(
        [violation(PER_MINUTE, "15"), violation(PER_DAY, "200")], "38s"),
        readings=[exact("requests", 15, 0, UNSAID, MINUTE), exact("requests", 200, 0, UNSAID, DAY)],
        **refused(20 * HOUR, ["requests"], reason="quota_day"))
    yield one("a daily quota elsewhere", "midnight UTC", 429, day, profile="generic", readings=daily,
              **refused(12 * HOUR, ["requests"], reason="quota_day"))
    yield one("gemini 503", "overloaded", 503,
              {"error": {"code": 503, "message": "The model is overloaded. Please try again later.",
                         "status": "UNAVAILABLE"}},
              **OVERLOAD)
    yield one("gemini 400", "a bad request", 400, {"error": {"code": 400, "message": "API key not valid.",
        "status": "INVALID_ARGUMENT"}}, **never("bad_request"))
    yield one("gemini 429 without details", "only refused", 429, {"error": {"code": 429, "message": "Resource exhausted.",
        "status": "RESOURCE_EXHAUSTED"}},
              **refused())


def ietf_cases():
    def good(name, why, headers, readings, profile="generic"):
        return http(name, why, profile, headers, 200, "", readings=readings, **GOOD)

    policy = ("RateLimit-Policy", '"burst";q=100;w=60,"daily";q=1000;w=86400')
    yield good("ratelimit of the draft", "draft 11", [policy, ("RateLimit", '"burst";r=50;t=30')],
               [exact("requests", 100, 50, 30 * SECOND, MINUTE), exact("requests", 1000, UNSAID, UNSAID, DAY)])
    yield good("ratelimit of the draft, both", "joined by name",
               [policy, ("RateLimit", '"burst";r=50;t=30, "daily";r=999;t=4000')],
               [exact("requests", 100, 50, 30 * SECOND, MINUTE), exact("requests", 1000, 999, 4000 * SECOND, DAY)])
    yield good("ratelimit before its policy", "any order", [("RateLimit", '"burst";r=50;t=30'), policy],
               [exact("requests", 100, 50, 30 * SECOND, MINUTE), exact("requests", 1000, UNSAID, UNSAID, DAY)])
    yield good("ratelimit with other parameters", "skipped, in any order", [
        ("RateLimit-Policy", '"a";pk=:cHJvamVjdA==:;w=10;q=5;partition'), ("RateLimit", '"a";t=7;pk=:cHJvamVjdA==:;r=3')],
        [exact("requests", 5, 3, 7 * SECOND, 10 * SECOND)])
    yield good("ratelimit with spaces", "around ; and ,", [("RateLimit-Policy", ' "a" ; q=5 ; w=10 , "b" ;q=9; w=20 ')],
               [exact("requests", 5, UNSAID, UNSAID, 10 * SECOND), exact("requests", 9, UNSAID, UNSAID, 20 * SECOND)])
    yield good("ratelimit with bare names", "tokens", [("RateLimit-Policy", "a;q=5;w=10"), ("RateLimit", "a;r=4;t=6")],
               [exact("requests", 5, 4, 6 * SECOND, 10 * SECOND)])
    yield good("ratelimit with a comma in a name", "inside quotes", [("RateLimit-Policy", '"a,b;c";q=5;w=10'),
        ("RateLimit", '"a,b;c";r=4')],
               [exact("requests", 5, 4, UNSAID, 10 * SECOND)])
    yield good("ratelimit with a quote in a name", "escaped", [
        ("RateLimit-Policy", r'"a\",b";q=5;w=10'), ("RateLimit", r'"a\",b";r=4')],
        [exact("requests", 5, 4, UNSAID, 10 * SECOND)])
    yield good("ratelimit without a policy", "a reading all the same", [("RateLimit", '"a";r=4;t=6')],
               [reading("requests", UNSAID, 4, 6 * SECOND)])
    yield good("ratelimit with one policy of another name", "joined", [("RateLimit-Policy", '"a";q=5;w=10'),
        ("RateLimit", '"b";r=4;t=6')],
               [exact("requests", 5, 4, 6 * SECOND, 10 * SECOND)])
    yield good("ratelimit with two policies of other names", "not joined",
               [("RateLimit-Policy", '"a";q=5;w=10,"c";q=9;w=20'), ("RateLimit", '"b";r=4;t=6')],
               [exact("requests", 5, UNSAID, UNSAID, 10 * SECOND), exact("requests", 9, UNSAID, UNSAID, 20 * SECOND),
                reading("requests", UNSAID, 4, 6 * SECOND)])
    yield good("ratelimit policy alone", "no window, a minute", [("RateLimit-Policy", '"a";q=5')],
               [reading("requests", 5, UNSAID)])
    yield good("ratelimit of tokens", "qu", [("RateLimit-Policy", '"t";q=90000;w=60;qu="tokens"'),
        ("RateLimit", '"t";r=100;t=9')],
               [exact("tokens", 90000, 100, 9 * SECOND, MINUTE)])
    yield good("ratelimit of model tokens", "qu contains token",
               [("RateLimit-Policy", '"t";q=90000;w=60;qu="model-tokens"')],
               [exact("tokens", 90000, UNSAID, UNSAID, MINUTE)])
    yield good("ratelimit of requests", "qu", [("RateLimit-Policy", '"t";q=9;w=60;qu="requests"')],
               [exact("requests", 9, UNSAID, UNSAID, MINUTE)])
    yield good("ratelimit of bytes", "no meter: dropped", [("RateLimit-Policy", '"t";q=90000;w=60;qu="content-bytes"')], [])
    yield good("ratelimit of bytes and what remains of it", "is not requests", [
        ("RateLimit-Policy", '"t";q=90000;w=60;qu="content-bytes","r";q=9;w=60'),
        ("RateLimit", '"t";r=100;t=9,"r";r=8;t=9')],
        [exact("requests", 9, 8, 9 * SECOND, MINUTE)])
    yield good("ratelimit with five policies", "four are kept",
               [("RateLimit-Policy", ",".join('"%s";q=%d;w=10' % (name, q + 1) for q, name in enumerate("abcde")))],
               [exact("requests", q, UNSAID, UNSAID, 10 * SECOND) for q in (1, 2, 3, 4)])
    yield good("ratelimit with r above q", "cut", [("RateLimit-Policy", '"a";q=5;w=10'), ("RateLimit", '"a";r=9;t=6')],
               [exact("requests", 5, 5, 6 * SECOND, 10 * SECOND)])
    yield good("ratelimit of drafts before", "limit=, remaining=, reset=",
               [("RateLimit", "limit=100, remaining=50, reset=30")], [reading("requests", 100, 50, 30 * SECOND)])
    yield good("ratelimit of drafts before, another order", "any order", [("RateLimit", "reset=30,remaining=50,limit=100")],
               [reading("requests", 100, 50, 30 * SECOND)])
    yield good("ratelimit of drafts before, with a policy", "a bare number is q",
               [("RateLimit", "limit=100, remaining=50, reset=30"), ("RateLimit-Policy", "100;w=60")],
               [exact("requests", 100, 50, 30 * SECOND, MINUTE)])
    yield good("ratelimit in three headers", "the oldest form", [("RateLimit-Limit", "100"), ("RateLimit-Remaining", "50"),
        ("RateLimit-Reset", "30")],
               [reading("requests", 100, 50, 30 * SECOND)])
    yield good("ratelimit-limit with a window", "of the item that equals it", [("RateLimit-Limit", "100, 100;w=60"),
        ("RateLimit-Remaining", "50")],
               [exact("requests", 100, 50, UNSAID, MINUTE)])
    yield good("ratelimit-limit with two windows", "of the item that equals it",
               [("RateLimit-Limit", "100, 1000;w=3600, 100;w=10"), ("RateLimit-Remaining", "50")],
               [exact("requests", 100, 50, UNSAID, 10 * SECOND)])
    yield good("ratelimit-limit and a policy of one number", "joined", [("RateLimit-Policy", "100;w=60"),
        ("RateLimit-Limit", "100"), ("RateLimit-Remaining", "50"),
                                                                        ("RateLimit-Reset", "7")],
                                                                        [exact("requests", 100, 50, 7 * SECOND, MINUTE)])
    yield good("ratelimit policy of a number alone", "q", [("RateLimit-Policy", "100;w=60")],
               [exact("requests", 100, UNSAID, UNSAID, MINUTE)])
    yield good("ratelimit-remaining twice", "the smaller", [("RateLimit-Limit", "100"), ("RateLimit-Remaining", "50"),
        ("RateLimit-Remaining", "40")],
               [reading("requests", 100, 40)])
    yield good("ratelimit-remaining below zero", "counts as 0", [("RateLimit-Limit", "100"), ("RateLimit-Remaining", "-3")],
               [reading("requests", 100, 0)])
    yield good("ratelimit-reset alone", "no reading", [("RateLimit-Reset", "30")], [])
    yield good("ratelimit malformed", "ignored, each of them",
               [(name, text) for text in ("", "nan", "-", ";;;", ",", '"') for name in ("RateLimit", "RateLimit-Policy")],
               [])
    yield good("ratelimit where it is not read", "openai", [policy, ("RateLimit", '"burst";r=50;t=30')], [], "openai")
    yield http("ratelimit and retry-after", "Retry-After wins over t", "generic", [policy, ("RateLimit", '"burst";r=0;t=30'),
        ("retry-after", "9")], 429, "",
               readings=[exact("requests", 100, 0, 30 * SECOND, MINUTE), exact("requests", 1000, UNSAID, UNSAID, DAY)],
               **refused(9 * SECOND, ["requests"]))
    yield good("three families at once", "all are read", anthropic("output-tokens", 16000, 15000,
        "2026-01-15T12:00:04Z") + x("-tokens", 1000, 500, "30s")
               + [("RateLimit-Policy", '"a";q=5;w=10')],
               [exact("requests", 5, UNSAID, UNSAID, 10 * SECOND), reading("output_tokens", 16000, 15000, 4 * SECOND),
                reading("tokens", 1000, 500, 30 * SECOND)])


def verdict_cases():
    def one(name, why, status, answer, body="", headers=(), profile="generic", **more):
        return http(name, why, profile, list(headers), status, body, **dict(answer, **more))

    yield one("no answer", "the network", 0, NETWORK)
    for status in (200, 201, 204, 299):
        yield one("status %d" % status, "a good answer", status, GOOD)
    for status, reason in ((401, "auth"), (402, "spent"), (403, "auth"), (413, "too_large"), (400, "bad_request"),
                           (404, "bad_request"),
                           (405, "bad_request"), (410, "bad_request"), (422, "bad_request"), (499, "bad_request"),
                           (301, "bad_request"), (304, "bad_request"), (101, "bad_request")):
        yield one("status %d" % status, "not again", status, never(reason))
    for status, answer in ((408, NETWORK), (409, FAILED), (425, FAILED), (500, FAILED), (501, FAILED), (502, FAILED),
                           (503, OVERLOAD), (504, OVERLOAD),
                           (498, OVERLOAD), (520, FAILED), (529, OVERLOAD), (599, FAILED), (429, refused())):
        yield one("status %d" % status, "again", status, answer)
    for status, answer in ((500, FAILED), (503, OVERLOAD), (529, OVERLOAD)):
        yield one("status %d with retry-after" % status, "a header says how long", status, answer,
                  headers=[("retry-after", "2")], verdict="wait", wait_ns=2 * SECOND, retry_after_ns=2 * SECOND)
    yield one("readings of a failure", "stay", 500, FAILED, headers=x("-requests", 50, 20, "3s"),
              readings=[reading("requests", 50, 20, 3 * SECOND)])
    yield one("readings of a bad request", "stay", 400, never("bad_request"), headers=x("-requests", 50, 20, "3s"),
              readings=[reading("requests", 50, 20, 3 * SECOND)])

    yes, no = [("x-should-retry", "true")], [("x-should-retry", "false")]
    yield one("x-should-retry false, 429", "the server knows", 429, refused(), headers=no, verdict="never", reason="told",
              error_class="fatal")
    yield one("x-should-retry false, 500", "the server knows", 500, FAILED, headers=no, verdict="never", reason="told",
              error_class="fatal")
    yield one("x-should-retry false, 529", "the outcome stays", 529, OVERLOAD, headers=no, verdict="never", reason="told",
              error_class="fatal")
    yield one("x-should-retry false, 400", "never anyway", 400, never("bad_request"), headers=no)
    yield one("x-should-retry true, 400", "the server knows", 400, never("bad_request"), headers=yes, verdict="retry",
              error_class="server")
    yield one("x-should-retry true, 404", "the server knows", 404, never("bad_request"), headers=yes, verdict="retry",
              error_class="server")
    yield one("x-should-retry true, 429 spent", "the server knows", 429, never("spent"),
              openai_error("No.", "insufficient_quota"), headers=yes, verdict="retry", error_class="rate_limit")
    yield one("x-should-retry true, 500", "as it was", 500, FAILED, headers=yes)
    yield one("x-should-retry false, 200", "ignored", 200, GOOD, headers=no)
    yield one("x-should-retry TRUE", "any case", 400, never("bad_request"), headers=[("X-Should-Retry", " TRUE ")],
              verdict="retry", error_class="server")
    yield one("x-should-retry False", "any case", 500, FAILED, headers=[("X-Should-Retry", "False")], verdict="never",
              reason="told", error_class="fatal")
    yield one("x-should-retry malformed", "ignored, each of them", 500, FAILED, headers=[("x-should-retry", text)
        for text in ("", "0", "fals", "falsee", "no")])
    yield one("x-should-retry malformed, of a 404", "ignored, each of them", 404, never("bad_request"),
              headers=[("x-should-retry", text) for text in ("", "1", "tru", "truee", "yes")])
    yield one("x-should-retry twice", "false wins", 500, FAILED, headers=no + yes, verdict="never", reason="told",
              error_class="fatal")
    yield one("x-should-retry twice, the other order", "false wins", 500, FAILED, headers=yes + no, verdict="never",
              reason="told", error_class="fatal")

    # Errors inside of a stream that began well
    failed = {"type": "response.failed", "sequence_number": 1, "response": {"id": "resp_1", "object": "response",
        "status": "failed", "error": {"code": "rate_limit_exceeded", "message": TPM}, "output": []}}
    yield one("openai response.failed", "a limit inside of a 200", 200, refused(1400 * MS, ["tokens"], 1200), failed,
              profile="openai")
    yield one("openai response.failed as an event", "data: before it", 200, refused(1400 * MS, ["tokens"], 1200),
              "data: " + json.dumps(failed) + "\n\n", profile="openai")
    failed["response"]["error"] = {"code": "server_error", "message": "The model failed."}
    yield one("openai response.failed, the server's fault", "again", 200, FAILED, failed, profile="openai")
    failed["response"]["error"] = {"code": "server_is_overloaded", "message": "Later."}
    yield one("openai response.failed, overloaded", "as 529", 200, OVERLOAD, failed, profile="openai")
    failed["response"]["error"] = {"code": "insufficient_quota", "message": "No."}
    yield one("openai response.failed, no quota", "not again", 200, never("spent"), failed, profile="openai")
    failed["response"]["error"] = None
    yield one("openai response without an error", "null is none", 200, GOOD, failed, profile="openai")
    yield one("a response whose error is null", "null is none", 200, GOOD, {"id": "resp_1", "error": None, "output": []},
              profile="openai")
    yield one("anthropic overloaded in a stream", "as 529", 200, OVERLOAD, anthropic_error("overloaded_error", "Overloaded"),
              profile="anthropic")
    yield one("anthropic overloaded in a stream, as an event", "as 529", 200, OVERLOAD,
              "data: " + json.dumps(anthropic_error("overloaded_error", "Overloaded")), profile="anthropic")
    yield one("anthropic limit in a stream", "as 429", 200, refused(0, ["input_tokens"]), anthropic_error("rate_limit_error",
        ITPM), profile="anthropic")
    yield one("anthropic api error in a stream", "the server's fault", 200, FAILED, anthropic_error("api_error", "Internal"),
              profile="anthropic")
    yield one("x-should-retry false in a stream", "counts, as there is an error", 200, FAILED, anthropic_error("api_error",
        "Internal"), headers=no,
              verdict="never", reason="told", error_class="fatal")
    yield one("text that mentions an error", "in the content only", 200, GOOD,
              {"content": [{"text": '{"error":{"type":"overloaded_error"}}'}]})

    # Bodies
    spent = json.dumps(openai_error("No.", "insufficient_quota"))
    for name, body in (("empty", ""), ("html", "<html><body>429 Too Many</body></html>"), ("a number", "429"),
                       ("a string", '"insufficient_quota"'),
                       ("null", "null"), ("an empty object", "{}"), ("an empty array", "[]"),
                       ("nested too deep", 40 * "[" + spent + 40 * "]"),
                       ("the error in an array in an array", "[[" + spent + "]]"), ("codes outside of the error",
                           '{"code":"insufficient_quota","error":{}}'),
                       ("the code as a number", '{"error":{"code":429}}'), ("the message as a number",
                           '{"error":{"message":429}}'),
                       ("words in other fields",
                        '{"error":{"param":"insufficient_quota","metadata":{"code":"insufficient_quota"}}}'),
                       ("half of a code", '{"error":{"code":"insufficient_quota'),
                       ("another code", '{"error":{"code":"insufficient_quota2"}}')):
        yield one("body: " + name, "says nothing", 429, refused(), body)
    for name, body in (("the error as text", '{"error":"You have reached your usage limits"}'), ("as it is", spent),
                       ("spaces", " \r\n\t" + spent.replace(":", " : ")),
                       ("in an array", "[%s]" % spent), ("as an event", "data: " + spent),
                       ("escapes", '{"error":{"code":"insufficient\\u005Fquota"}}'),
                       ("fields before it", '{"a":[1,-2.5e+3,true,false,null,"x\\"y\\\\",{"b":[[],{}]}],'
                        '"error":{"code":"insufficient_quota"}}'),
                       ("a brace in a string", '{"a":"}{\\"error\\"","error":{"code":"insufficient_quota"}}'),
                       ("letters beyond ASCII",
                        '{"error":{"message":"d\u00e9pass\u00e9 \u4e0a\u9650","code":"insufficient_quota"}}'),
                       ("details with other fields",
                        '{"error":{"details":{"x":1,"error_code":"enforced_spend_limit_reached"}}}'),
                       ("the status as a word", '{"error":{"status":"insufficient_quota"}}')):
        yield one("body: " + name, "spent", 429, never("spent"), body)
    yield one("body: escapes in the message", "undone", 429, never("spent"),
              '{"error":{"message":"usage\\u0020limits \\/ \\"x\\""}}')
    yield one("body: 64 KiB of spaces before it", "not looked at", 429, refused(), spent, pad=65536)
    yield one("body: 60 KiB of spaces before it", "looked at", 429, never("spent"), spent, pad=60000)


def corner_cases():
    """Spots that could be read in more than one way."""
    def good(name, why, headers, readings, profile="generic", now=NOW):
        return http(name, why, profile, headers, 200, "", readings=readings, now=now, **GOOD)

    def bad(name, why, answer, status=429, body="", headers=(), profile="generic", **more):
        return http(name, why, profile, list(headers), status, body, **dict(answer, **more))

    yield good("go duration, part by part", "each is rounded up", x("-tokens", 9, 9, "0.5ns0.5ns"),
               [reading("tokens", 9, 9, 2)])
    yield good("go duration with the Greek mu", "as the micro sign", x("-tokens", 9, 9, "5\u03bcs"),
               [reading("tokens", 9, 9, 5000)])
    yield good("x without a meter, with a period", "Kong", [("X-RateLimit-Limit-Minute", "5"),
        ("X-RateLimit-Remaining-Minute", "4")],
               [exact("requests", 5, 4, UNSAID, MINUTE)])
    yield good("times without any clock", "unsaid, the reading stays", x("-tokens", 9, 8, "2026-01-15T12:00:30Z"),
               [reading("tokens", 9, 8)], now=0)
    yield good("spans without any clock", "need none", x("-tokens", 9, 8, "3s"), [reading("tokens", 9, 8, 3 * SECOND)],
               now=0)
    yield good("several dates", "the earliest", [("date", "Thu, 15 Jan 2026 12:00:20 GMT"),
        ("date", "Thu, 15 Jan 2026 12:00:10 GMT")]
               + x("-tokens", 9, 8, "2026-01-15T12:00:30Z"), [reading("tokens", 9, 8, 20 * SECOND)])
    yield bad("dates in small letters", "any case", refused(30 * SECOND),
              headers=[("retry-after", "thu, 15 jan 2026 12:00:30 gmt")])
    yield good("a most beyond 2^55", "is none", x("-tokens", 2**40, 2**40 - 2, "9s"),
               [reading("tokens", 2**40, 2**40 - 2, 9 * SECOND, least=SPAN_MAX)], "openai")
    yield good("utilization of a millionth and less", "what remains is rounded down",
               [("anthropic-ratelimit-unified-7d-utilization", "0.0000001")],
               [exact("custom", 10**6, 999999, UNSAID, 7 * DAY)])
    yield good("policy of no window", "w=0 says nothing", [("RateLimit-Policy", "a;q=5;w=0")],
               [reading("requests", 5, UNSAID)])
    yield good("policies with bad ones between", "item by item",
               [("RateLimit-Policy", 'a;q=5;w=10,;;,b;q=x;w=9,c;q=7;w=20')],
               [exact("requests", 5, UNSAID, UNSAID, 10 * SECOND), exact("requests", 7, UNSAID, UNSAID, 20 * SECOND)])
    yield good("a policy twice", "smaller q, larger w", [("RateLimit-Policy", "a;q=5;w=10"),
        ("RateLimit-Policy", "a;q=4;w=20")],
               [exact("requests", 4, UNSAID, UNSAID, 20 * SECOND)])
    yield good("policies after the headers", "whatever comes first", [("RateLimit-Policy", "a;q=5;w=10"),
        ("x-ratelimit-limit", "9")],
               [reading("requests", 9, UNSAID), exact("requests", 5, UNSAID, UNSAID, 10 * SECOND)])
    yield good("the older form with two policies", "the period of the one with its limit", [
        ("RateLimit", "limit=100, remaining=50, reset=30"), ("RateLimit-Policy", "1000;w=3600, 100;w=60")],
        [exact("requests", 100, 50, 30 * SECOND, MINUTE), exact("requests", 1000, UNSAID, UNSAID, HOUR)])

    wait = {"wait_ns": 7 * SECOND, "retry_after_ns": 7 * SECOND}
    later = [("retry-after", "7")]
    yield bad("azure's own body", "no error in it", refused(7 * SECOND), profile="azure",
              body={"statusCode": 429, "message": "Rate limit is exceeded. Try again in 7 seconds."})
    for text, ns in (("Retry after 2 min.", 2 * MINUTE), ("Try again in 5sec", 5 * SECOND), ("retry after 1.5s", 1500 * MS),
                     ("Try again in 20 milliseconds", 20 * MS)):
        yield bad("text: " + text, "seconds in words", refused(ns), body={"error": {"message": text}})
    yield bad("too many requests", "names nothing", refused(), body={"error": {"message": "Too many requests"}})
    yield bad("too many concurrent requests", "names concurrency", refused(0, ["concurrency"]),
              body={"error": {"message": "Too many concurrent requests per user"}})
    yield bad("concurrent requests with figures", "they are not of a rate: no wait follows from them", refused(0, ["concurrency"], 1),
              body={"error": {"message": "Rate limit reached for concurrent requests: Limit 3, Used 3, Requested 1."}})
    yield bad("an hourly limit", "(5 + 2 - 5) / 5 of an hour", refused(24 * MINUTE, ["requests"], 2),
              body={"error": {"message": "5 requests per hour. Limit: 5, used: 5, requested: 2"}})
    yield bad("request tokens", "has exceeded", refused(0, ["tokens"]),
              body={"error": {"message": "Number of request tokens has exceeded your rate limit"}})
    yield bad("openai error event", "the object itself", OVERLOAD, status=200,
              body={"type": "error", "code": "server_is_overloaded", "message": "Later."})
    yield bad("anthropic error event with its name before", "the data line", OVERLOAD, status=200, profile="anthropic",
              body="event: error\ndata: " + json.dumps(anthropic_error("overloaded_error", "Overloaded")) + "\n\n")
    yield bad("an error as text in a 200", "only an object counts", GOOD, status=200, body={"error": "overloaded"})
    yield bad("google's 429 in a 200", "a number counts there", refused(0), status=200,
              body={"error": {"code": 429, "message": "No."}})
    yield bad("a bad request in a stream", "by its number", never("bad_request"), status=200,
              body={"error": {"code": 400, "message": "No."}})
    yield bad("slow down in a stream", "as 503", dict(OVERLOAD, outcome="slow_down"), status=200,
              body={"error": {"code": "slow_down"}})
    yield bad("first of two keys", "the first counts", never("spent"),
              body='{"error":{"code":"insufficient_quota","code":"x"}}')
    yield bad("truncated behind the code", "what was said counts", never("spent"),
              body='{"error":{"code":"insufficient_quota","message":"You exc')
    yield bad("slow down and overloaded", "slow down goes first", dict(OVERLOAD, outcome="slow_down"), status=503,
              body={"error": {"message": "Slow down, we are overloaded"}})
    yield bad("retryDelay of a 503", "says how long", dict(OVERLOAD, verdict="wait", **wait), status=503,
              body=gemini_error([], "7s"), profile="gemini")
    yield bad("retry-after of a 408", "a wait", NETWORK, status=408, headers=later, verdict="wait", **wait)
    yield bad("retry-after of a 409", "a wait", FAILED, status=409, headers=later, verdict="wait", **wait)
    yield bad("retry-after of a 401", "told all the same", never("auth"), status=401, headers=later, **wait)
    yield bad("retry-after of a 200", "not told", GOOD, status=200, headers=later)
    yield bad("x-should-retry true and a wait", "waits", never("bad_request"), status=400,
              headers=later + [("x-should-retry", "true")], verdict="wait", error_class="server", **wait)
    yield bad("x-should-retry false and a wait", "told all the same", FAILED, status=500,
              headers=later + [("x-should-retry", "false")], verdict="never", reason="told", error_class="fatal", **wait)
    yield bad("two windows rejected", "the later", refused(2 * HOUR, reason="quota_day"), profile="anthropic", headers=[
        ("anthropic-ratelimit-unified-%s-%s" % (window, what), value) for window, hours in (("5h", 2), ("7d", 1))
        for what, value in (("status", "rejected"), ("reset", str(NOW // SECOND + 3600 * hours)))])
    yield bad("rejected until a time that is past", "as if not rejected", refused(), profile="anthropic", headers=[
        ("anthropic-ratelimit-unified-5h-status", "rejected"), ("anthropic-ratelimit-unified-5h-reset",
            str(NOW // SECOND - 5))])


def http_cases():
    for make in (retry_after_cases, date_cases, anthropic_cases, openai_cases, gemini_cases, ietf_cases, verdict_cases,
                 corner_cases):
        yield from make()


# ---- random cases ----------------------------------------------------------------------------------------------------

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def moment_of(ns):
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=ns // SECOND)


def date_text(rng, ns):
    """A date in one of the three forms of HTTP."""
    t, form = moment_of(ns), rng.randrange(4)
    day, month, time = DAYS[t.weekday()], http_oracle.MONTHS[t.month - 1], "%02d:%02d:%02d" % (t.hour, t.minute, t.second)
    if form == 0:
        return "%s, %02d-%s-%02d %s GMT" % (day, t.day, month, t.year % 100, time)
    if form == 1:
        return "%s %s %2d %s %d" % (day[:3], month, t.day, time, t.year)
    return "%s, %02d %s %d %s GMT" % (day[:3], t.day, month, t.year, time)


def number_text(rng, most=10**6, digits=9):
    """A number of at most so many digits after the point."""
    whole = str(rng.choice((0, 1, rng.randrange(100), rng.randrange(most + 1),
                            rng.randrange(2**rng.randrange(1, most.bit_length() + 1)))))
    count = rng.choice((0, 0, 1, 2, 3, digits)) if digits else 0
    return whole + ("." + "".join(rng.choice("0123456789") for _ in range(min(count, digits))) if count else "")


def rfc_3339_text(rng, ns):
    west = rng.choice((None, None, None, 0, 480, 420, -60, -330, -825, 90))
    t = moment_of(ns - (west or 0) * MINUTE)
    text = "%04d-%02d-%02d%s%02d:%02d:%02d" % (t.year, t.month, t.day, rng.choice("TTTt "), t.hour, t.minute, t.second)
    if rng.randrange(3) == 0:
        text += "." + "".join(rng.choice("0123456789") for _ in range(rng.choice((1, 2, 3, 6, 9))))
    return text + (rng.choice("ZZz") if west is None else "%s%02d:%02d" % ("-" if west >= 0 else "+", abs(west) // 60,
        abs(west) % 60))


def duration_text(rng):
    digits = {"h": 2, "m": 2, "s": 9, "ms": 6, "us": 3, "\u00b5s": 3, "ns": 0}
    units = rng.choice((["h", "m", "s"], ["m", "s"], ["s"], ["s"], ["ms"], ["ms"], ["m"], ["h"], ["us"], ["\u00b5s"], ["ns"],
                        ["s", "ms"]))
    return "".join(number_text(rng, 100, digits[unit] if unit == units[-1] else 0) + unit for unit in units)


def ahead(rng, now):
    """A time near now, seldom before it."""
    return max(0, now + rng.choice((1, 1, 1, 1, -1)) * rng.randrange(rng.choice((2, 10, 100, 4000, 10**5)) * SECOND))


def reset_text(rng, now):
    form = rng.randrange(6)
    if form == 0:
        return number_text(rng, 10**6)
    if form == 1:
        return str(ahead(rng, now) // SECOND)
    if form == 2:
        return str(ahead(rng, now) // MS)
    return rfc_3339_text(rng, ahead(rng, now)) if form == 3 else duration_text(rng)


def mangled(rng, text):
    """Text with one character changed, left out or put in."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(("", rng.choice("0159-+.,:;eEsmhdTZ x\t\"\0"))) + text[at + rng.randrange(2):]


def amounts(rng):
    limit = rng.choice((1, 3, 50, 1000, 10000, 200000, rng.randrange(2**rng.randrange(1, 42)), 2**40))
    left = rng.choice((0, limit, max(0, limit - rng.randrange(5)), rng.randrange(limit + 1), rng.randrange(limit + 1),
                       limit + rng.randrange(3), -1))
    return str(limit), str(left)


def random_series(rng, names, reset):
    limit, left = amounts(rng)
    made = [(name, value) for name, value in zip(names, (limit, left, reset)) if rng.randrange(8)]
    if rng.randrange(8) == 0 and made:          # the same again
        name = rng.choice(made)[0]
        made.append((name, {0: limit, 1: left, 2: reset}[names.index(name)]
                     if rng.randrange(2) else rng.choice(amounts(rng))))
    return made


def random_limits(rng, now):
    """Headers of limits, at most about five of them."""
    made = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        which = rng.choice(("", "requests", "tokens", "input-tokens", "output-tokens", "project-tokens", "project-requests"))
        suffix = ("-" + which if which else "") + rng.choice(("", "", "-second", "-minute", "-hour", "-day"))
        made += random_series(rng, ["x-ratelimit-%s%s" % (what, suffix) for what in ("limit", "remaining", "reset")],
                              reset_text(rng, now))
    for _ in range(rng.choice((0, 0, 1, 2))):
        which = rng.choice(("requests", "tokens", "input-tokens", "output-tokens"))
        made += random_series(rng, ["anthropic-ratelimit-%s-%s" % (which, what) for what in ("limit", "remaining", "reset")],
                              rfc_3339_text(rng, ahead(rng, now)))
    if rng.randrange(8) == 0:
        name = "anthropic-ratelimit-unified-%s-" % rng.choice(("5h", "7d"))
        made += [(name + "utilization", rng.choice(("0", "1", "1.2", "0.%06d" % rng.randrange(10**6)))),
                 (name + "reset", str(ahead(rng, now) // SECOND)),
                 (name + "status", rng.choice(("allowed", "allowed_warning", "rejected")))]
    return made


def random_ietf(rng):
    """One of the forms, whole; two of them together can be read in more than one way."""
    form = rng.randrange(4)
    limit, left = amounts(rng)
    left = left.lstrip("-")
    if form == 0:
        names = rng.sample("abcd", rng.randrange(1, 4))
        policy = ",".join('"%s";q=%s;w=%d%s' % (name, amounts(rng)[0], rng.randrange(1, 10**5),
            rng.choice(("", "", ';qu="tokens"', ';pk=:YQ==:')))
                          for name in names)
        items = ", ".join('"%s";r=%s;t=%d' % (name, amounts(rng)[1].lstrip("-"), rng.randrange(5000)) for name in names
                          if rng.randrange(4))
        return [("RateLimit-Policy", policy)] + ([("RateLimit", items)] if items else [])
    if form == 1:
        return [("RateLimit", "limit=%s, remaining=%s, reset=%d" % (limit, left, rng.randrange(5000)))]
    made = [("RateLimit-Limit", limit if form == 2 else "%s, %s;w=%d" % (limit, limit, rng.randrange(1, 5000)))]
    return made + [("RateLimit-Remaining", left), ("RateLimit-Reset", str(rng.randrange(5000)))]


def random_openai_text(rng):
    limit = rng.choice((3, 200, 30000, 10**6))
    numbers = [("Limit", limit), ("Used", rng.randrange(limit + 1)), ("Requested", rng.randrange(limit + limit // 20 + 1))]
    if rng.randrange(5) == 0:
        rng.shuffle(numbers)
    if rng.randrange(6) == 0:
        numbers.pop(rng.randrange(3))
    what = rng.choice(("tokens per min (TPM)", "requests per min (RPM)", "requests per day (RPD)", "tokens per day (TPD)",
                       "input tokens per min", "output tokens per min"))
    style = rng.choice(("%s %d", "%s %d", "{} {:,}"))
    text = ", ".join(style.format(*pair) if "{" in style else style % pair for pair in numbers)
    said = " Please try again in %s." % rng.choice(("6ms", "1.2s", "20s", "1m3s", "7m12s", "2h0m0s",
        "0.5s")) if rng.randrange(3) else ""
    return "Rate limit reached for gpt-4o in organization org-Ab on %s: %s.%s" % (what, text, said)


def random_message(rng):
    return rng.choice((
        random_openai_text(rng), random_openai_text(rng), "Overloaded", "No.", "Slow Down",
        "The engine is currently overloaded, please try again later",
        "Your credit balance is too low", "You have reached your specified API usage limits.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "This request would exceed your organization's rate limit of %d,000 %s per minute." % (
            rng.randrange(1, 900), rng.choice(("input tokens", "output tokens", "requests", "tokens"))),
        "Number of concurrent connections has exceeded your rate limit.", "Rate limit is exceeded. Try again in 7 seconds.",
        "Number of request tokens has exceeded your per-minute rate limit", "Too many requests. Retry after 1.5 min.",
        "Too many concurrent requests per user", "Limit: 5 requests per hour, used: 5, requested: 2",
        "This would exceed your acceleration limit.", "d\u00e9pass\u00e9 \"tout\" \\ \u4e0a\u9650\n"))


def random_body(rng):
    """The text of a body, sound JSON or nothing like it."""
    dice = rng.randrange(10)
    if dice == 0:
        return rng.choice(("", "", "<html>429</html>", "null", "[]", "{}", '"error"', "{\"error\":null}", "data:",
                           "upstream connect error"))
    if dice < 4:
        quotas = rng.sample([violation(PER_MINUTE, "15"), violation(PER_DAY, str(rng.randrange(1000))),
                             violation(INPUT_PER_MINUTE, rng.randrange(10**6), "input_token_count")], rng.choice((1, 1, 2)))
        made = gemini_error(quotas, rng.choice((None, "38s", "57.238747106s", "0.1s", "7000s", "5", "-1s")))
    else:
        code = rng.choice(("rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "overloaded_error",
                           "server_is_overloaded", "server_error",
                           "billing_hard_limit_reached", "context_length_exceeded", "string_above_max_length",
                           "request_too_large", None, 429, "invalid_request_error", "slow_down", "api_error"))
        error = {"message": random_message(rng), rng.choice(("type", "code")): code, "param": None}
        if rng.randrange(8) == 0:
            error["details"] = rng.choice((None, [], {}, {"error_code": "enforced_spend_limit_reached"},
                                           {"error_code": None}, "text", [1, None, "x"]))
        error = dict(rng.sample(list(error.items()), len(error)))
        made = rng.choice(({"error": error}, {"type": "error", "error": error, "request_id": "req_1"},
                           {"error": error["message"]}, error,
        dict(error, type="error"), {"error": None, "response": {"error": error}},
                           {"type": "response.failed", "response": {"id": "r", "output": [{"a": [1.5, -2e3, True]}],
                               "error": error}}))
    if rng.randrange(8) == 0:
        made = [made]
    indent = rng.choice((None, None, 1))
    text = json.dumps(made, ensure_ascii=rng.randrange(2) == 0, indent=indent)      # an event is one line
    return rng.choice(("", "", "", " \n" if indent else "data: ", " \n")) + text + rng.choice(("", "", "\n\n"))


def random_http_case(rng):
    now = utc(2024, 1, 1) + rng.randrange(10 * 366 * DAY)
    wall = 0 if rng.randrange(20) == 0 else now
    profile = rng.choice(list(http_oracle.PROFILES))
    status = rng.choice((200, 200, 200, 429, 429, 429, 429, 429, 400, 401, 402, 403, 404, 408, 409, 413, 425, 498, 500, 502,
                         503, 503, 504, 529))
    headers = random_limits(rng, now)
    if rng.randrange(3) == 0:
        headers += rng.choices((("retry-after", number_text(rng, 7200)), ("retry-after", date_text(rng, ahead(rng, now))),
                                ("retry-after-ms", number_text(rng, 10**5)),
                                ("retry-after", number_text(rng, 60, 0)),
                                ("x-should-retry", rng.choice(("true", "false", "True")))), k=rng.randrange(1, 3))
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        headers.append(("date", date_text(rng, now + rng.randrange(-300, 300) * SECOND)))
    if rng.randrange(2):
        rng.shuffle(headers)
    if rng.randrange(4) == 0:
        headers = random_ietf(rng) + headers if rng.randrange(2) else headers + random_ietf(rng)
    sound = [pair for pair in headers if not pair[0].startswith("RateLimit") and pair[0] != "date"]
    for index, (name, value) in enumerate(headers):
        dice = rng.randrange(30)
        if dice == 0 and (name, value) in sound:
            value = mangled(rng, value)
        elif dice == 1:
            value = rng.choice((" ", "\t", "\r\n")) + value + " "
        elif dice == 2:
            name = rng.choice((name.upper(), name.title(), "llm_provider-" + name))
        headers[index] = [name, value]
    body = random_body(rng) if status != 200 or rng.randrange(2) else ""
    answer = http_oracle.answer(profile, wall, headers, status, body)
    made = {"kind": "http", "profile": profile, "wall_ns": wall, "headers": headers, "status": status, "body": body,
            "expected": answer}
    made["readings"] = answer.pop("readings")
    return made
