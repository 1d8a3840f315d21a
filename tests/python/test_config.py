"""Tiers and models from TOML: what is right works, what is wrong is said by file, key and value."""

import io
import os
import pathlib
import pickle

import pytest

import rlimit
from rlimit import ConfigError, ManualClock, load

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = """
[tiers.standard]
requests_per_minute = 50
tokens_per_minute = 80_000
concurrency = 10

[models."claude-sonnet"]
tier = "standard"
provider = "anthropic"
base_url = "https://relay.example.com/v1"
api_key_env = "RELAY_KEY"
input_price = 3.0
output_price = 15
fallback = ["small"]

[models.small]
tier = "standard"
requests_per_minute = 200
"""


def read(text, environ=None, **options):
    file = io.BytesIO(text.encode())
    file.name = "limits.toml"
    return load(file, environ={"RELAY_KEY": "k"} if environ is None else environ, **options)


def problems(text, **options):
    with pytest.raises(ConfigError) as caught:
        read(text, **options)
    assert str(caught.value) == "\n".join("limits.toml%s: %s" % (":%d" % problem.line if problem.line else "", problem)
                                          for problem in caught.value.problems)
    return [(problem.key, problem.value, problem.message) for problem in caught.value.problems]


def only(text, **options):
    found = problems(text, **options)
    assert len(found) == 1, found
    return found[0]


# -- What is right --

def test_tiers_and_models_side_by_side():
    config = read(GOOD)
    assert list(config.tiers) == ["standard"] and list(config.models) == ["claude-sonnet", "small"]
    model = config.models["claude-sonnet"]
    assert (model.id, model.tier, model.provider, model.base_url, model.api_key, model.fallback) == (
        "claude-sonnet", "standard", "anthropic", "https://relay.example.com/v1", "k", ("small",))
    assert model.options["requests"] == rlimit.per_minute(50) and model.options["concurrency"] == 10
    assert config.models["small"].options["requests"] == rlimit.per_minute(200)
    assert config.models["small"].options["tokens"] == rlimit.per_minute(80000)
    assert config.models["small"].api_key is None


def test_the_example_has_the_tiers_of_the_mission():
    config = load(ROOT / "examples" / "python" / "limits.toml", secrets=False)
    tiers = {name: (tier.options["requests"].amount, tier.options["tokens"].amount, tier.options["concurrency"])
             for name, tier in config.tiers.items()}
    assert tiers == {"free": (5, 10_000, 1), "standard": (50, 80_000, 10), "pro": (200, 200_000, 25),
                     "enterprise": (1000, 1_000_000, 100)}
    assert len(config.models) >= 2


def test_a_limiter_is_made_once_for_each_name():
    config = read(GOOD)
    clock = ManualClock()
    first = config.limiter("claude-sonnet", clock=clock)
    assert config.limiter("claude-sonnet") is first is not config.limiter("small")
    assert config.limiter("standard") is config.limiter("standard")
    with pytest.raises(ValueError, match="^options: clock: the limiter of 'small' is there already"):
        config.limiter("small", clock=clock)
    assert config.tiers["standard"].limiter() is not config.tiers["standard"].limiter()


def test_a_limiter_limits_as_the_file_says():
    limiter = read(GOOD).limiter("small", clock=ManualClock())
    held = [limiter.try_acquire(input_tokens=1) for _ in range(10)]
    assert all(held) and limiter.try_acquire(input_tokens=1) is None  # concurrency
    for permit in held:
        permit.cancel()
    with pytest.raises(rlimit.NeverAdmitted):
        limiter.try_acquire(input_tokens=80_001)


def test_an_unknown_name_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match="limits.toml: no model or tier 'claude-sonet'; did you mean 'claude-sonnet'\\?"):
        read(GOOD).limiter("claude-sonet")


def test_pools_share_a_limiter():
    text = '[models.a]\nrequests_per_minute = 5\npool = "p"\n[models.b]\nrequests_per_minute = 5\npool = "p"\n'
    config = read(text)
    assert config.limiter("a") is config.limiter("b")
    key, value, message = only(text.replace("5", "6", 1))
    assert (key, value) == ("models.b.pool", '"p"') and "models.a" in message


@pytest.mark.parametrize("line, keyword, limit", [
    ("requests_per_second = 5", "requests", lambda: rlimit.per_second(5)),
    ("input_tokens_per_hour = 5", "input_tokens", lambda: rlimit.per_hour(5)),
    ("output_tokens_per_day = 5", "output_tokens", lambda: rlimit.per_day(5)),
    ("custom_per_minute = { amount = 5, burst = 2, guard = 0.5 }", "custom", lambda: rlimit.per(5, 60, burst=2, guard=0.5)),
    ('tokens_per_minute = { amount = 5, policy = "sliding" }', "tokens", lambda: rlimit.sliding(5, 60)),
    ('policy = "fixed"\nrequests_per_minute = 5', "requests", lambda: rlimit.fixed(5, 60)),
    ('guard = 0.1\nrequests_per_minute = 5', "requests", lambda: rlimit.per(5, 60, guard=0.1)),
    ("requests_per_calendar_day = { amount = 5, utc_offset = -28800 }", "requests",
     lambda: rlimit.calendar_day(5, utc_offset=-28800)),
    ("dollars_per_calendar_month = 12.5", "microdollars", lambda: rlimit.calendar_month(12_500_000)),
    ('requests_per_minute = { amount = 5, follow = "follow" }', "requests",
     lambda: rlimit.per_minute(5).replace(follow="follow")),
    ("concurrency = 7", "concurrency", lambda: 7),
    ("concurrency = { least = 2, most = 9 }", "concurrency", lambda: rlimit.adaptive(least=2, most=9)),
    ("ramp = true\nconcurrency = 1", "ramp", lambda: rlimit.ramp()),
    ("ramp = { floor = 5, hold = 60 }\nconcurrency = 1", "ramp", lambda: rlimit.ramp(floor=5, hold=60))])
def test_every_form_of_a_limit(line, keyword, limit):
    tier = read("[tiers.t]\n" + line).tiers["t"]
    assert tier.options[keyword] == limit()
    tier.limiter(clock=ManualClock())


def test_several_limits_of_one_meter():
    options = read("[tiers.t]\nrequests_per_minute = 5\nrequests_per_day = 100").tiers["t"].options
    assert options["requests"] == (rlimit.per_minute(5), rlimit.per_day(100))


def test_a_provider_alone_learns():
    read('[models.m]\nprovider = "openai"').limiter("m")


@pytest.mark.parametrize("make", [
    lambda path: path, str, lambda path: open(path, "rb"), lambda path: open(path, encoding="utf-8")])
def test_a_path_or_an_open_file(tmp_path, make):
    path = tmp_path / "limits.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())  # as some editors save it
    source = make(path)
    assert len(load(source, secrets=False).models) == 2
    if hasattr(source, "close"):
        source.close()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'[tiers."\xe9"]')
    with pytest.raises(ConfigError, match="latin.toml: not UTF-8"):
        load(tmp_path / "latin.toml")
    with pytest.raises(TypeError, match="^source: must be a path or an open file, not dict"):
        load({})


def test_the_cost_of_a_model_has_its_price():
    config = read(GOOD)
    body = {"messages": [{"role": "user", "content": "x" * 4000}], "max_tokens": 100}
    assert config.models["claude-sonnet"].cost(body) == {"requests": 1, "input_tokens": 1000, "output_tokens": 100,
                                                         "microdollars": 4500}
    assert "microdollars" not in config.models["small"].cost(body)


def test_the_prices_of_a_model():
    config = read(GOOD + "[models.embeddings]\nconcurrency = 1\ninput_price = 0.1\n")
    assert [model.prices for model in config.models.values()] == [(3.0, 15), None, (0.1, 0)]


# -- What is wrong --

def test_an_error_names_file_key_and_value():
    assert only("[tiers.free]\nrequests_per_minute = 0\nconcurrency = 1") == (
        "tiers.free.requests_per_minute", "0", "must be a whole number, 1 to 2^40")


def test_all_errors_are_said_at_once():
    found = problems('[tiers.a]\nrequests_per_minute = -1\nconcurency = 3\n[models.b]\ntier = "c"\nbase_url = "relay"\n')
    assert [key for key, _, _ in found] == ["tiers.a.concurency", "tiers.a.requests_per_minute", "models.b.tier",
                                            "models.b.base_url"]


@pytest.mark.parametrize("value", ["0", "-1", "1099511627777", "50.0", "true", '"50"', "[50]", "nan", "2024-01-01"])
def test_amounts_out_of_range(value):
    key, shown, message = only("[tiers.t]\nconcurrency = 1\ntokens_per_minute = " + value)
    assert key == "tiers.t.tokens_per_minute" and message == "must be a whole number, 1 to 2^40"
    assert shown == value


@pytest.mark.parametrize("line, message", [
    ("requests_per_second = 20_000_000_000", "10^10 a second"),
    ("requests_per_minute = { amount = 5, burst = 0 }", "burst: must be a whole number, 1 to 2^40"),
    ("requests_per_minute = { amount = 5, guard = 60 }", "guard: must be a number of seconds, 0 to less than 60"),
    ("requests_per_minute = { amount = 5, brust = 3 }", "brust: unknown key; did you mean 'burst'?"),
    ("requests_per_minute = { burst = 3 }", "amount is missing"),
    ('requests_per_minute = { amount = 5, policy = "slidng" }', 'policy: must be one of "bucket", "sliding", "fixed"'),
    ('requests_per_minute = { amount = 5, policy = "sliding", burst = 3 }', 'burst: only with policy = "bucket"'),
    ('requests_per_minute = { amount = 5, follow = "leader" }', 'follow: must be one of "shrink"'),
    ("requests_per_calendar_day = { amount = 5, utc_offset = 100000 }",
     "utc_offset: must be a whole number of seconds east of UTC, -86400 to 86400"),
    ("requests_per_calendar_day = { amount = 5, burst = 5 }", "burst: unknown key"),
    ("dollars_per_day = 0", "must be 0.000001 to 1,099,511 dollars"),
    ("dollars_per_day = inf", "must be 0.000001 to 1,099,511 dollars"),
    ("concurrency = 0", "must be a whole number, 1 to 2^31"),
    ("concurrency = { least = 5, most = 2 }", "1 <= least <= most <= 2^31, not 5 and 2"),
    ("concurrency = { lest = 5 }", "lest: unknown key; did you mean 'least'?"),
    ("ramp = false", "must be true or { floor = 15, hold = 900 }"),
    ("ramp = { hold = 0 }", "hold: must be a number of seconds, 1 to 10^7"),
    ('policy = "buckt"', '; did you mean \'bucket\'?'),
    ("policy = 3", 'must be one of "bucket"'),
    ("guard = -1", "must be a number of seconds, 0 to 86400"),
    ('provider = "antropic"', "; did you mean 'anthropic'?"),
    ("provider = 3", "must be a text"),
    ("queue = -1", "must be a whole number, 0 to 2^31"),
    ("ageing = -1", "must be a number of seconds"),
    ("requests_per_minut = 5", "unknown key; did you mean 'requests_per_minute'?"),
    ("requests_per_month = 5", "unknown key; did you mean 'requests_per_calendar_month'?"),
    ("xyzzy = 5", "unknown key")])
def test_every_key_of_a_tier_is_checked(line, message):
    text = "[tiers.t]\n" + line
    if "concurrency" not in line:
        text += "\nconcurrency = 1"
    key, _, said = only(text)
    assert key == "tiers.t." + line.split(" ")[0] and message in said


@pytest.mark.parametrize("line, message", [
    ('tier = "standrad"', "no such tier: \"standrad\"; did you mean 'standard'?"),
    ("tier = 3", "no such tier"),
    ('id = ""', "must be a text that is not empty"),
    ('fallback = ["m"]', "names the model itself"),
    ('fallback = ["n"]', 'no such model: "n"'),
    ('fallback = "n"', "must be a list of names of models"),
    ("input_price = -1", "must be 0 to 10^9 dollars for a million tokens"),
    ("output_price = nan", "must be 0 to 10^9 dollars for a million tokens"),
    ("context_tokens = 0", "must be a whole number, 1 to 2^40"),
    ("pool = 5", "must be a text that is not empty"),
    ("max_tokens = 100", "unknown key; did you mean 'max_output_tokens'?"),
    *[('base_url = "%s"' % url, "must be a URL such as https://relay.example.com/v1") for url in (
        "", "relay", "relay.example.com/v1", "ftp://relay", "https://", "https:///v1", "http://a b/", "http://[::1/",
        "http://x:99999/",
        "http://x:y/", "https://x/?key=1", "http://x\\u0007/")]])
def test_every_key_of_a_model_is_checked(line, message):
    key, _, said = only("[tiers.standard]\nconcurrency = 1\n[models.m]\n%s%s"
                        % (line, "" if line.startswith("tier") else '\ntier = "standard"'))
    assert key == "models.m." + line.split(" ")[0] and message in said


def test_the_shape_of_the_file():
    assert only("tiers = 3")[:2] == ("tiers", "3")
    assert only("[tiers]\nstandard = 3")[0] == "tiers.standard"
    assert only("[tier.standard]\nconcurrency = 1") == ("tier", "", "unknown key; did you mean 'tiers'?")
    assert "neither" in only("")[2]
    assert only("[tiers.t]")[2].startswith("has no limit")
    assert only("[models.m]\nid = 'x'")[0] == "models.m"
    assert only("[tiers.t]\nconcurrency = 1\n[models.t]\ntier = 't'") == ("models.t", "", "there is a tier of this name too")
    key, value, message = only("[tiers.t\n")
    assert (key, value) == ("", "") and message.startswith("not TOML: ") and "line 1" in message


def test_a_limiter_has_room_for_so_many_limits():
    lines = "\n".join("%s_per_%s = 5" % (meter, unit) for meter in ("requests", "tokens", "custom", "dollars")
                      for unit in ("second", "minute", "hour", "day"))
    key, _, message = only("[tiers.t]\n" + lines)
    assert key == "tiers.t" and message


def test_an_error_of_a_tier_is_not_said_of_its_models_too():
    text = "[tiers.t]\nconcurrency = 0\n[models.m]\ntier = 't'\n[models.n]\ntier = 't'\nqueue = -1"
    assert [key for key, _, _ in problems(text)] == ["tiers.t.concurrency", "models.n.queue"]


def test_names_that_need_quotes_are_quoted():
    assert only('[tiers."a.b c"]\nconcurrency = 0')[0] == 'tiers."a.b c".concurrency'


def test_values_are_shown_as_the_file_has_them():
    def shown(line, file="[tiers.t]\nrequests_per_day = 1\n%s"):
        return only(file % line)[1]
    assert shown("concurrency = { least = 5, most = 2 }") == "{ least = 5, most = 2 }"
    assert shown("concurrency = [1, [2, 'x']]") == '[1, [2, "x"]]'
    assert shown('queue = "a\\nb"') == '"a\\nb"'
    assert shown('fallback = ["n", "m"]', "[models.t]\nconcurrency = 1\n%s") == '["n", "m"]'
    assert shown('concurrency = { api_key = "hush" }') == "{ api_key = (not shown) }"
    assert shown('concurrency = ["sk-hush"]') == "[(not shown)]"
    assert shown("queue = [%s]" % ", ".join("1234567890" for _ in range(40))) == ""


def test_problems_have_their_line():
    text = '''# tiers
[tiers.free]
requests_per_minute = 0

note = """
[models.b]
tier = 3
"""
[models."a b"]
tier = "free"
fallback = [
    "x",  # there is none
]
[models.b]
tier = 3
'''
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert [(problem.key, problem.line) for problem in caught.value.problems] == [
        ("tiers.free.note", 5), ("tiers.free.requests_per_minute", 3), ('models."a b".fallback', 11), ("models.b.tier", 15)]
    assert str(caught.value).splitlines()[-1] == 'limits.toml:15: models.b.tier = 3: no such tier: 3'
    for text, line in (("tiers.t.concurrency = 0", 1), ("\r\n[tiers.t]\r\nconcurrency = 0", 3), ("\n\n[tiers.t]", 3), ("", 0),
                       ('[tiers."a\\"b"]\nconcurrency = 0', 2), ("[tiers]\nt = { concurrency = 0 }", 2)):
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert [problem.line for problem in caught.value.problems] == [line], text


def test_a_guard_is_never_cut():
    message = ("the guard, 2 s, must be less than the period of requests_per_second; it can have one of its own: "
               "{ amount = ..., guard = ... }")
    tier = "[tiers.t]\nrequests_per_minute = 50\nguard = 2\n"
    assert only(tier + "requests_per_second = 5") == ("tiers.t.guard", "2", message)
    assert only(tier + "[models.m]\ntier = 't'\nrequests_per_second = 5") == ("models.m.requests_per_second", "5", message)
    assert only("[tiers.t]\nrequests_per_second = 5\n[models.m]\ntier = 't'\nguard = 2") == ("models.m.guard", "2", message)
    assert only(tier + "requests_per_second = 5\n[models.m]\ntier = 't'")[0] == "tiers.t.guard"
    limits = read(tier + "requests_per_second = { amount = 5, guard = 0.1 }\nrequests_per_calendar_day = 9").tiers["t"].options["requests"]
    assert limits == (rlimit.per(50, 60, guard=2), rlimit.per(5, 1, guard=0.1), rlimit.calendar_day(9))
    assert read("[tiers.t]\nrequests_per_second = 5\nguard = 0.9").tiers["t"].options["requests"] == rlimit.per(5, 1, guard=0.9)


# -- Secrets --

@pytest.mark.parametrize("key", ["api_key", "key", "token", "secret", "password", "api_token", "Authorization"])
def test_a_secret_in_the_file_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError) as caught:
        read('[models.m]\nconcurrency = 1\n%s = "hush-hush"' % key)
    said = str(caught.value)
    assert "hush" not in said + repr(caught.value) and "api_key_env" in said and "models.m.%s" % key in said


@pytest.mark.parametrize("value", ["sk-ant-1234567890", "sk_live_12345", "not a name", "", "1KEY"])
def test_a_key_where_a_variable_should_be_named_is_not_shown(value):
    key, shown, message = only('[models.m]\nconcurrency = 1\napi_key_env = "%s"' % value)
    assert key == "models.m.api_key_env" and message == "must be the name of an environment variable, not the key itself"
    assert not value.startswith("sk") or value not in shown + message


def test_a_password_in_a_url_is_not_shown():
    key, shown, message = only('[models.m]\nconcurrency = 1\nbase_url = "https://me:hush@relay.example.com"')
    assert key == "models.m.base_url" and "hush" not in shown + message


def test_a_missing_key_is_said_at_once():
    text = '[models.m]\nconcurrency = 1\napi_key_env = "RELAY_KEY"'
    assert only(text, environ={})[2] == "environment variable RELAY_KEY is not set"
    assert only(text, environ={"RELAY_KEY": "  "})[2] == "environment variable RELAY_KEY is empty"
    model = read(text, environ={}, secrets=False).models["m"]
    with pytest.raises(KeyError, match="RELAY_KEY"):
        model.api_key


def test_the_environment_is_read_each_time(monkeypatch, tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text('[models.m]\nconcurrency = 1\napi_key_env = "RLIMIT_TEST_KEY"')
    monkeypatch.setenv("RLIMIT_TEST_KEY", "old")
    model = load(os.fspath(path)).models["m"]
    monkeypatch.setenv("RLIMIT_TEST_KEY", "new")
    assert model.api_key == "new" and "new" not in repr(model)


def test_the_error_can_be_pickled():
    with pytest.raises(ConfigError) as caught:
        read("[tiers.t]\nconcurrency = 0")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.problems == caught.value.problems and isinstance(again, ValueError)


# -- Budgets --

TIER = "[tiers.t]\ndollars_per_calendar_month = 50\n"


def test_a_budget_needs_prices():
    message = "has a limit of dollars, and no input_price and no output_price to count them by (dollars for a million tokens)"
    assert only("[models.m]\nmicrodollars_per_day = 5\n") == ("models.m", "", message)
    assert only(TIER + '[models.m]\ntier = "t"\n') == ("models.m", "", message)
    assert "no output_price to" in only(TIER + '[models.m]\ntier = "t"\ninput_price = 1\n')[2]


def test_a_budget_with_prices():
    assert list(read(TIER).tiers) == ["t"], "a tier alone has none"
    assert read(TIER + '[models.m]\ntier = "t"\ninput_price = 1\noutput_price = 0\n').models["m"].prices == (1, 0)
    only("[models.m]\ndollars_per_day = 5\ninput_price = -1\noutput_price = 1\n")  # said once
