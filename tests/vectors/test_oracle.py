"""Checks of the oracle itself, by other means than its own formulas, and of the committed vectors."""
import datetime
import json
import os
import random
import subprocess
import sys
from fractions import Fraction

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import generate  # noqa: E402
import http_cases  # noqa: E402
import http_oracle  # noqa: E402
import oracle  # noqa: E402
from oracle import DAY, MINUTE, NEVER, OK, RELEASE, SECOND, Bucket, Calendar, Concurrency, Limiter, Queue, Window, ceil  # noqa: E402

SEEDS = range(40)


def committed():
    for name, _ in generate.FILES:
        with open(os.path.join(HERE, name + ".json")) as text:
            for case in json.load(text):
                yield case


def take(model, n, now):
    return model.do({"op": "take", "n": n, "now": now})["wait"]


def times(rng, model, n, now):
    """The next time: often the wait, or one nanosecond before it."""
    wait = model.wait(n, now)
    if wait in (NEVER, 0) or rng.randrange(3) == 0:
        return now + rng.randrange(1 + rng.choice((1, 3, 20)))
    return now + max(0, wait - rng.randrange(2))


# ---- the vectors -----------------------------------------------------------------------------------------------------

def test_committed_files_are_what_the_generator_writes():
    for name, text in generate.fixed_files():
        with open(os.path.join(HERE, name), newline="") as file:
            assert file.read() == text, name


def test_the_generator_repeats_itself():
    cases = list(generate.random_cases(3, 60))
    assert cases == list(generate.random_cases(3, 60))
    assert cases[:10] == list(generate.random_cases(3, 10))
    assert cases != list(generate.random_cases(4, 60))
    assert {case["kind"] for case in generate.random_cases(3, 150)} == {"bucket", "bucket_bound", "window", "concurrency", "calendar", "limiter", "queue",
    "backoff", "http"}


def test_every_case_is_answered_the_same_under_every_reading():
    for case in list(committed()) + list(generate.random_cases(5, 150)):
        if case["kind"] != "http":
            assert oracle.answers_wrong(case) is None, case["name"]


def test_names_are_unique():
    names = [(case["kind"], case["name"]) for case in committed()]
    assert len(names) == len(set(names))


def test_exact_rates_are_exact_and_times_stay_in_range():
    for case in list(committed()) + list(generate.random_cases(6, 150)):
        if case["kind"] == "errors":
            continue
        limits = case.get("limits", [case.get("limit")])
        limits = limits + [op["limit"] for op in case.get("ops", []) if op["op"] == "reconfigure"]
        for limit in limits:
            if limit:
                assert oracle.init_error(limit) == OK, case["name"]
                if limit["kind"] == "bucket":
                    rate = Fraction(limit["amount"], limit["period_ns"])
                    assert (rate.numerator <= 19) == (case["kind"] != "bucket_bound"), case["name"]
                    assert limit["burst"] / rate < 365 * DAY
        moments = [op["now"] for op in case.get("ops", []) if "now" in op] + [call[0] for call in case.get("calls", [])]
        assert all(0 <= now <= 2**62 for now in moments), case["name"]


# ---- bucket ----------------------------------------------------------------------------------------------------------

RATES = ((1, 1), (3, 10), (7, 10), (10, 1), (1, 13), (19, 2), (5, 7), (23, 3), (997, 1000))


class Tokens:
    """A bucket by its level: another way to say the same."""

    def __init__(self, limit, start):
        self.rate, self.burst = Fraction(limit["amount"], limit["period_ns"]), limit["burst"]
        self.level, self.time = Fraction(self.burst), start

    def at(self, now):
        self.level = min(Fraction(self.burst), self.level + (now - self.time) * self.rate)
        self.time = now
        return self.level

    def wait(self, n, now):
        if n > self.burst:
            return NEVER
        return max(0, ceil((n - self.at(now)) / self.rate))


@pytest.mark.parametrize("seed", SEEDS)
def test_bucket_is_a_level_that_fills(seed):
    rng = random.Random(seed)
    amount, period = rng.choice(RATES)
    limit = generate.bucket(amount, period, rng.choice((1, 2, 5, 30)))
    model, level, now = Bucket(limit, 5), Tokens(limit, 5), 5
    for _ in range(80):
        n = rng.randrange(model.burst + 2)
        now = times(rng, model, n, now)
        dice = rng.randrange(10)
        if dice < 6:
            wait = level.wait(n, now)
            if wait == 0:
                level.level -= n
            assert take(model, n, now) == wait
        elif dice < 7:
            model.do({"op": "debit", "n": n, "now": now})
            level.level = level.at(now) - n
        elif dice < 8:
            model.do({"op": "credit", "n": n, "now": now})
            level.level = min(Fraction(level.burst), level.at(now) + n)
        elif dice < 9:
            had = level.at(now)
            limit = dict(limit, burst=rng.choice((1, 2, 5, 30)), amount=rng.randrange(1, 10 * limit["period_ns"] + 1))
            model.do({"op": "reconfigure", "limit": limit, "now": now})
            level.rate, level.burst = Fraction(limit["amount"], limit["period_ns"]), limit["burst"]
            level.level = min(had, Fraction(level.burst))
        report, exact = model.status(now), level.at(now)
        assert report["used"] + report["remaining"] == level.burst
        assert report["remaining"] <= exact < report["remaining"] + 1
        assert report["reset_ns"] == ceil((level.burst - exact) / level.rate)


@pytest.mark.parametrize("seed", SEEDS)
def test_bucket_never_admits_more_than_its_bound(seed):
    rng = random.Random(seed)
    amount, period = rng.choice(RATES)
    limit = generate.bucket(amount, period, rng.choice((1, 2, 5, 30)))
    model, now, admitted = Bucket(limit, 0), 0, []
    for _ in range(80):
        n = rng.randrange(model.burst + 2)
        now = times(rng, model, n, now)
        if take(model, n, now) == 0:
            admitted.append((now, n))
    for i in range(len(admitted)):
        for j in range(i, len(admitted)):
            amounts = sum(n for _, n in admitted[i:j + 1])
            assert amounts <= model.burst + Fraction(amount, period) * (admitted[j][0] - admitted[i][0])


@pytest.mark.parametrize("seed", SEEDS)
def test_bucket_guard_holds_wherever_the_arrivals_fall(seed):
    rng = random.Random(seed)
    amount, period = rng.choice(RATES)
    guard = rng.randrange(1, period + 1)
    limit = generate.bucket(amount, period, rng.choice((1, 2, 5, 30)), guard)
    model, now, admitted = Bucket(limit, 0), 0, []
    for _ in range(60):
        n = rng.randrange(1, model.burst + 1)
        now = times(rng, model, n, now)
        if take(model, n, now) == 0:
            admitted.append((now, n))
    for _ in range(5):
        arrivals = sorted((now + rng.choice((0, guard, rng.randrange(guard + 1))), n) for now, n in admitted)
        for i in range(len(arrivals)):
            for j in range(i, len(arrivals)):
                amounts = sum(n for _, n in arrivals[i:j + 1])
                assert amounts <= model.burst + Fraction(amount, period) * (arrivals[j][0] - arrivals[i][0])


def smallest(model, n, now, most=3000):
    """The wait by trying."""
    for wait in range(most):
        if model.wait(n, now + wait) == 0:
            return wait
    raise AssertionError("no wait found")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ("bucket", "exact", "slotted", "calendar"))
def test_waits_are_the_smallest(kind, seed):
    rng = random.Random(seed)
    limit = {"bucket": generate.bucket(3, 40, 6, rng.randrange(5)), "exact": generate.window(6, 40, 0, rng.randrange(5)),
             "slotted": generate.window(6, 40, 5, rng.randrange(5)), "calendar": generate.calendar(6, 40, 7, 0,
             rng.randrange(5))}[kind]
    model, now = oracle.KINDS[limit["kind"]](limit, 0), 0
    for _ in range(40):
        now += rng.randrange(12)
        n = rng.randrange(7)
        wait = model.wait(n, now)
        assert wait == smallest(model, n, now)
        take(model, n, now)
        if rng.randrange(6) == 0:
            model.do({"op": "debit", "n": rng.randrange(1, 9), "now": now})


@pytest.mark.parametrize("kind", ("bucket", "exact", "slotted", "calendar"))
def test_refusals_and_peeks_change_nothing(kind):
    rng = random.Random(kind)
    limit = {"bucket": generate.bucket(3, 40, 6), "exact": generate.window(6, 40), "slotted": generate.window(6, 40, 5),
             "calendar": generate.calendar(6, 40, 7)}[kind]
    one, two, now = oracle.KINDS[limit["kind"]](limit, 0), oracle.KINDS[limit["kind"]](limit, 0), 0
    for _ in range(200):
        now += rng.randrange(8)
        n = rng.randrange(9)
        if one.wait(n, now) == 0:
            assert take(two, n, now) == 0
        take(one, n, now)
        one.do({"op": "peek", "n": n, "now": now})
        take(one, 0, now)
        assert one.status(now) == two.status(now)


# ---- window ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cells", (0, 3, 4, 7))
def test_window_holds_in_every_period(seed, cells):
    rng = random.Random(seed)
    period, amount, guard = rng.randrange(10, 60), rng.randrange(6, 20), rng.choice((0, 0, 3))
    model, now, admitted = Window(generate.window(amount, period, cells, guard), 0), 0, []
    for _ in range(120):
        n = rng.randrange(amount + 2)
        now = times(rng, model, n, now)
        wait = take(model, n, now)
        if wait == 0 and n:
            admitted.append((now, n))
        elif wait != 0 and n <= amount:
            # not stricter than a slot: enough is still inside a period and a slot
            reach = model.span + (2 * model.width if cells else 0)
            assert sum(m for at, m in admitted if at > now - reach) + n > amount
    for first, _ in admitted:
        for late in (0, guard):         # an operation may arrive as late as the guard
            assert sum(n for at, n in admitted if first + late <= at + late and at < first + late + period) <= amount
        assert sum(n for at, n in admitted if first <= at < first + period + guard) <= amount


def test_window_status_and_credit_by_hand():
    model = Window(generate.window(10, 100), 0)
    assert take(model, 6, 0) == 0
    model.do({"op": "credit", "n": 2, "now": 10, "of": 0})
    assert model.status(10) == {"limit": 10, "used": 4, "remaining": 6, "reset_ns": 90}
    model.do({"op": "credit", "n": 9, "now": 10, "of": 0})
    assert model.used(10) == 0
    model.do({"op": "debit", "n": 3, "now": 50})
    assert (model.used(149), model.used(150)) == (3, 0)


# ---- calendar --------------------------------------------------------------------------------------------------------

def test_months_are_those_of_the_civil_calendar():
    model = Calendar(generate.calendar(1, "month", 0), 0)
    day, zero = datetime.date(1970, 1, 1), datetime.date(1970, 1, 1)
    while day.year < 2111:
        following = (day.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
        now = (day - zero).days * DAY
        length = (following - day).days * DAY
        assert model.period_at(now) == ((day.year - 1970) * 12 + day.month - 1, length)
        assert model.period_at(now + length - 1) == ((day.year - 1970) * 12 + day.month - 1, 1)
        day = following


def test_days_of_the_generator():
    for date in (datetime.date(1970, 1, 1), datetime.date(2000, 2, 29), datetime.date(2024, 12, 31), datetime.date(2100, 3, 1)):
        assert generate.days(date.year, date.month, date.day) == (date - datetime.date(1970, 1, 1)).days


@pytest.mark.parametrize("seed", SEEDS)
def test_calendar_holds_in_every_period(seed):
    rng = random.Random(seed)
    period, offset, guard = rng.randrange(10, 60), rng.randrange(1000), rng.choice((0, 0, 4))
    model, now, admitted = Calendar(generate.calendar(9, period, offset, 0, guard), 0), 0, {}
    for _ in range(150):
        n = rng.randrange(11)
        now = times(rng, model, n, now)
        if take(model, n, now) == 0 and n:
            assert (now + offset) // period == (now + offset + guard) // period
            number = (now + offset) // period
            admitted[number] = admitted.get(number, 0) + n
    assert max(admitted.values()) == 9


# ---- the others ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", SEEDS)
def test_concurrency_counts(seed):
    rng = random.Random(seed)
    amount = rng.randrange(1, 6)
    model, out = Concurrency(generate.concurrency(amount)), []
    for _ in range(100):
        n = rng.randrange(1, amount + 2)
        if rng.randrange(2):
            wait = take(model, n, 0)
            assert wait == (NEVER if n > amount else 0 if sum(out) + n <= amount else RELEASE)
            if wait == 0:
                out.append(n)
        else:
            n = out.pop(rng.randrange(len(out))) if out else amount + 1
            assert model.do({"op": "release", "n": n})["result"] == (OK if n <= amount else "permit")
        assert model.status(0) == {"limit": amount, "used": sum(out), "remaining": amount - sum(out)}


@pytest.mark.parametrize("seed", SEEDS)
def test_limiter_is_all_or_nothing(seed):
    rng = random.Random(seed)
    limits = [generate.bucket(3, 40, 6), generate.window(9, 70), generate.calendar(20, 100, 7), generate.concurrency(4)]
    model, alone, now, names = Limiter(limits, 0), [oracle.KINDS[limit["kind"]](limit, 0) for limit in limits], 0, []
    for number in range(80):
        now += rng.randrange(12)
        n = rng.randrange(1, 8)
        waits = [one.wait(1 if isinstance(one, Concurrency) else n, now) for one in alone]
        if rng.randrange(3):
            answer = model.do({"op": "acquire", "cost": {"requests": n}, "permit": str(number), "now": now})["wait"]
            assert (answer == 0) == all(wait == 0 for wait in waits)
            assert answer in waits and not (answer not in (NEVER, RELEASE) and any(wait in (NEVER, RELEASE) for wait in waits))
            if answer == 0:
                names.append((str(number), n, number))
                for one in alone:
                    one.take(1 if isinstance(one, Concurrency) else n, now, number)
        elif names:
            name, estimate, ref = names.pop(rng.randrange(len(names)))
            assert model.do({"op": "cancel", "permit": name, "now": now}) == {"result": OK}
            for one in alone:
                if isinstance(one, Concurrency):
                    one.used -= 1
                else:
                    one.credit(estimate, now, ref)
        assert [model.members[i].status(now) for i in range(4)] == [one.status(now) for one in alone]


@pytest.mark.parametrize("seed", SEEDS)
def test_queue_is_fair(seed):
    rng = random.Random(seed)
    ageing = rng.choice((1, 5, 20))
    model, now, line = Queue({"capacity": 30, "ageing_ns": ageing}), 0, []
    for name in range(120):
        now += rng.randrange(4)
        if rng.randrange(2) and len(line) < 30:
            priority = rng.randrange(4)
            assert model.do({"op": "push", "id": name, "priority": priority, "deadline": None, "now": now}) == {"result": OK}
            line.append((now + priority * ageing, priority, name))
        elif line:
            # with a clock that never goes back the head is the smallest (key, priority, arrival) of all
            assert model.do({"op": "head"}) == {"id": min(line)[2]}
            model.do({"op": "remove", "id": min(line)[2]})
            line.remove(min(line))
        assert model.do({"op": "count"}) == {"count": len(line)}


def test_splitmix64_of_the_published_kind():
    model = oracle.Backoff(generate.backoff(), 0)
    values = [model.draw(0, 2**64 - 1) for _ in range(3)]
    assert values == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    model = oracle.Backoff(generate.backoff(), 1234567)
    assert [model.draw(0, 2**64 - 1) for _ in range(2)] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("seed", SEEDS)
def test_backoff_stays_in_its_range(seed):
    plain = oracle.Backoff(generate.backoff(attempts_max=12), seed)
    others = {jitter: oracle.Backoff(generate.backoff(jitter, attempts_max=12), seed) for jitter in ("fraction", "full", "equal",
    "decorrelated")}
    for _ in range(12):
        op = generate.retry(0)
        delay = plain.do(op)["delay"]
        assert delay * 8 // 10 <= others["fraction"].do(op)["delay"] <= min(MINUTE, delay * 12 // 10)
        assert 0 <= others["full"].do(op)["delay"] <= delay
        assert delay // 2 <= others["equal"].do(op)["delay"] <= delay
        assert SECOND <= others["decorrelated"].do(op)["delay"] <= MINUTE
    assert plain.do(op) == {"delay": NEVER}


# ---- the bound for rates that ticks round ----------------------------------------------------------------------------

class Ticks:
    """A bucket that counts in 1/16 ns, or in whole ns, and rounds the cost of an operation."""

    def __init__(self, limit, start, ticks, rounding):
        self.limit, self.ticks, self.rounding, self.tat = limit, ticks, rounding, start * ticks
        self.tau = self.cost(limit["burst"])

    def cost(self, n):
        exact = Fraction(n * self.limit["period_ns"] * self.ticks, self.limit["amount"])
        return self.rounding(exact)

    def take(self, n, now):
        if n > self.limit["burst"]:
            return NEVER
        now *= self.ticks
        over = max(self.tat, now) + self.cost(n) - now - self.tau
        if over > 0:
            return ceil(Fraction(over, self.ticks))
        self.tat = max(self.tat, now + self.limit.get("guard_ns", 0) * self.ticks) + self.cost(n)
        return 0


def bound_cases():
    return [case for case in list(committed()) + list(generate.random_cases(9, 480)) if case["kind"] == "bucket_bound"]


def judged(case, ticks, rounding):
    model = Ticks(case["limit"], case["start"], ticks, rounding)
    log = [[now, n, model.take(n, now)] for now, n in case["calls"]]
    return oracle.check_bound(case["limit"], log, case["start"], case["tolerance_ns"])


def test_the_bound_accepts_what_is_right():
    for case in bound_cases():
        assert judged(case, 1, Fraction) is None, case["name"]
        model, log = Bucket(case["limit"], case["start"]), []
        for now, n in case["calls"]:
            log.append([now, n, take(model, n, now)])
        assert oracle.check_bound(case["limit"], log, case["start"]) is None
        assert judged(case, 16, ceil) is None, case["name"]


def test_the_bound_finds_what_is_wrong():
    cases = bound_cases()
    assert sum(judged(case, 16,
    lambda exact: exact // 1) is not None for case in cases) > len(cases) // 4      # rounded in favour of the caller
    assert sum(judged(case, 1,
    lambda exact: int(exact * 101 / 100) + 1) is not None for case in cases) > len(cases) // 2       # one per cent too slow


def test_the_bound_by_hand():
    limit = generate.bucket(1, 10, 2)
    good = [[0, 2, 0], [0, 1, 10], [9, 1, 1], [10, 1, 0], [10, 3, NEVER]]
    assert oracle.check_bound(limit, good) is None
    assert "above the bound" in oracle.check_bound(limit, [[0, 2, 0], [9, 1, 0]])
    assert "too early" in oracle.check_bound(limit, [[0, 2, 0], [0, 1, 9]])
    assert "exactly" in oracle.check_bound(limit, [[0, 2, 0], [0, 1, 12]])
    assert oracle.check_bound(limit, [[0, 2, 0], [10, 1, 1]]) is None
    assert "exactly" in oracle.check_bound(limit, [[0, 2, 0], [11, 1, 1]])
    assert "never" in oracle.check_bound(limit, [[0, 3, 5]])
    assert "never" in oracle.check_bound(limit, [[0, 2, NEVER]])


# ---- what a response says --------------------------------------------------------------------------------------------

def test_http_cases_have_the_answers_of_the_oracle():
    cases = [case for case in list(committed()) + list(generate.random_cases(7, 300)) if case["kind"] == "http"]
    assert len(cases) > 300
    for case in cases:
        body = case.get("pad", 0) * " " + case["body"]
        answer = http_oracle.answer(case["profile"], case["wall_ns"], case["headers"], case["status"], body)
        assert answer == dict(case["expected"], readings=case["readings"]), case["name"]


@pytest.mark.parametrize("seed", SEEDS)
def test_http_dates_are_those_of_datetime(seed):
    rng = random.Random(seed)
    zero = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    for _ in range(50):
        seconds = rng.randrange(99 * 365 * 86400)
        when = zero + datetime.timedelta(seconds=seconds)
        forms = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b {:2d} %H:%M:%S %Y".format(when.day))
        for form in forms:
            assert http_oracle.http_date(when.strftime(form)) == seconds * SECOND
        zone = datetime.timezone(datetime.timedelta(minutes=rng.randrange(-1439, 1440)))
        assert http_oracle.rfc_3339(when.astimezone(zone).isoformat()) == seconds * SECOND
        assert http_oracle.rfc_3339(when.strftime("%Y-%m-%dt%H:%M:%S.25z")) == seconds * SECOND + SECOND // 4


def test_pacific_midnight_is_that_of_the_zone_database():
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        zone = zoneinfo.ZoneInfo("America/Los_Angeles")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no zone database")
    rng, hours = random.Random(1), []
    for year in (2008, 2026, 2027, 2050):       # every hour about the changes
        for month in (3, 11):
            first = datetime.datetime(year, month, 1, tzinfo=datetime.timezone.utc).timestamp()
            hours += [int(first) + 3600 * hour for hour in range(16 * 24)]
    for seconds in hours + [rng.randrange(1200000000, 4000000000) for _ in range(3000)]:
        local = datetime.datetime.fromtimestamp(seconds, zone)
        assert local.utcoffset() == datetime.timedelta(seconds=-http_oracle.pacific_offset_s(seconds))
        tomorrow = local.date() + datetime.timedelta(days=1)
        midnight = datetime.datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).timestamp()
        assert http_oracle.until_midnight(seconds * SECOND + 5, "pacific") == (int(midnight) - seconds) * SECOND - 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_period_is_within_what_is_inferred(seed):
    """A bucket that says what remains and when it is full, both rounded, has a period between the bounds."""
    rng = random.Random(seed)
    for _ in range(100):
        limit, period = rng.choice((50, 10000, 200000, 10**6)), rng.choice((SECOND, MINUTE, 3600 * SECOND, DAY))
        unit, slack = rng.choice((SECOND, SECOND // 1000)), rng.choice((0, 500))
        used = Fraction(rng.randrange(limit * 100), 100)
        left = limit - used
        remaining = min(limit, round(left / 1000) * 1000) if slack else int(left)
        exact = used * period / limit
        reset = rng.choice((exact // unit, ceil(exact / unit))) * unit
        least, most = http_oracle.period_bounds(limit, remaining, slack, reset, unit)
        assert least <= period and (most == http_oracle.UNSAID or period <= most), (limit, period, used, reset)


@pytest.mark.parametrize("seed", SEEDS)
def test_json_is_read_as_json(seed):
    rng = random.Random(seed)
    for _ in range(40):
        text = http_cases.random_body(rng)
        if not text.startswith("data:"):
            try:
                whole = json.loads(text)
            except ValueError:
                whole = None
            reader = http_oracle.Reader(text)
            read = reader.value()
            if whole is not None and "\\u" not in text:         # beyond ASCII it is not undone
                assert json.dumps(read) == json.dumps(json.loads(text, parse_int=str, parse_float=str)) and not reader.broken
        for at in range(0, len(text), 7):
            http_oracle.Error(text[:at], 429)       # and half of it harms nobody


def run(*arguments):
    return subprocess.run([sys.executable, "-B"] + list(arguments), cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True)


def test_the_commands(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    limit = generate.bucket(1, 10, 2)
    good.write_text(json.dumps({"limit": limit, "start": 0, "log": [[0, 2, 0], [0, 1, 10]]}) + "\n")
    bad.write_text(good.read_text() + json.dumps({"limit": limit, "start": 0, "log": [[0, 2, 0], [0, 1, 0]]}) + "\n")
    assert (run("check.py", str(good)).returncode, run("check.py", str(good)).stdout) == (0, "ok 1\n")
    assert run("check.py", str(bad)).returncode == 1 and "line 2" in run("check.py", str(bad)).stdout
    assert run("generate.py", "--check").stdout == "ok\n"
    assert run("generate.py", "--random", "1", "5", str(tmp_path / "random")).returncode == 0
    assert len((tmp_path / "random").read_text().splitlines()) == 5
    assert run("generate.py", str(tmp_path)).returncode == 0
    assert (tmp_path / "bucket.json").read_text() == open(os.path.join(HERE, "bucket.json")).read()
