"""Reference model of what a response says of limits: headers, status and body to a verdict and readings.

Slow and plain on purpose: Fractions, regular expressions, a date as a count of days. It shares no code with
ext/rlimit_http.h.

    answer(profile, wall_ns, headers, status, body)    a dict, enums as words; the fields are in README.md

headers is a list of (name, value) in the order they came. Times are nanoseconds.
"""
import datetime
import re
from fractions import Fraction

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
AMOUNT_MAX = 2**40
SPAN_MAX = 2**55
UNSAID = "unsaid"

READINGS_MAX = 8
SERIES_MAX = 12
POLICIES_MAX = 4
BODY_MAX = 65536
MESSAGE_MAX = 2048
DEPTH_MAX = 32

METERS = ("requests", "input_tokens", "output_tokens", "tokens", "microdollars", "custom")
READING_ORDER = ("requests", "input_tokens", "output_tokens", "tokens", "custom")


# ---- profiles --------------------------------------------------------------------------------------------------------

def profile(headers, kind, zone="utc", period_ns=None, rounding=None):
    return {"headers": headers.split(), "kind": kind, "zone": zone, "period_ns": period_ns or {}, "rounding": rounding or {},
            "retry_after_max_ns": HOUR}


PROFILES = {
    "anthropic": profile("anthropic", "bucket", rounding={"input_tokens": 1000, "output_tokens": 1000, "tokens": 1000}),
    "openai": profile("x", "bucket"),
    "azure": profile("x", "calendar"),
    "bedrock": profile("x ietf", "window"),
    "gemini": profile("x ietf", "window", zone="pacific"),
    "groq": profile("x", "bucket", period_ns={"requests": DAY}),
    "cerebras": profile("x", "bucket"),
    "openrouter": profile("x", "window"),
    "litellm": profile("anthropic x ietf", "bucket"),
    "generic": profile("anthropic x ietf", "window"),
}


# ---- numbers and spans -----------------------------------------------------------------------------------------------

DECIMAL = re.compile(r"([0-9]+)(?:\.([0-9]+))?")


def ceil(x):
    return -(-x // 1)


def decimal(text):
    """A number as it is written, exactly, or None."""
    found = DECIMAL.fullmatch(text)
    if not found:
        return None
    whole, fraction = found.group(1), found.group(2) or ""
    if len(whole.lstrip("0")) > 60:         # as good as any number that is too large
        whole = "1" + 60 * "0"
    return int(whole) + Fraction(int(fraction[:200] or "0"), 10**len(fraction[:200]))


def places(text):
    """Digits after the point."""
    return len(text.partition(".")[2])


def amount(text):
    number = decimal(text)
    return None if number is None else min(int(number), AMOUNT_MAX)


def amount_left(text):
    """What remains; less than nothing is nothing."""
    return 0 if text.startswith("-") and decimal(text[1:]) is not None else amount(text)


def span(text, unit):
    number = decimal(text)
    return None if number is None else min(ceil(number * unit), SPAN_MAX)


def unit_of_last_digit(unit, digits):
    return max(1, unit // 10**digits)


UNITS = {"ns": 1, "us": 1000, "\u00b5s": 1000, "\u03bcs": 1000, "ms": 10**6, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
PART = r"[0-9]+(?:\.[0-9]+)?(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h|d)"


def go_duration(text):
    """(ns, resolution) of "2m59.56s", or None."""
    if not re.fullmatch("(?:%s)+" % PART, text):
        return None
    parts = [re.fullmatch(r"([0-9.]+)(.+)", part).groups() for part in re.findall(PART, text)]
    total = sum(ceil(decimal(number) * UNITS[unit]) for number, unit in parts)
    number, unit = parts[-1]
    if all("." not in number and unit in "smhd" for number, unit in parts):
        resolution = SECOND
    else:
        resolution = unit_of_last_digit(UNITS[unit], places(number))
    return min(total, SPAN_MAX), resolution


# ---- dates -----------------------------------------------------------------------------------------------------------

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
SHORT = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
LONG = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
MONTH = "(?P<month>%s)" % "|".join(MONTHS)
TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
HTTP_DATES = (
    re.compile(SHORT + ", (?P<day>[0-9]{2}) " + MONTH + " (?P<year>[0-9]{4}) " + TIME + " GMT", re.IGNORECASE),
    re.compile(LONG + ", (?P<day>[0-9]{2})-" + MONTH + "-(?P<short_year>[0-9]{2}) " + TIME + " GMT", re.IGNORECASE),
    re.compile(SHORT + " " + MONTH + " (?P<day>[0-9 ][0-9]) " + TIME + " (?P<year>[0-9]{4})", re.IGNORECASE),
)
RFC_3339 = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]" + TIME +
                      r"(?:\.(?P<fraction>[0-9]+))?"
                      r"(?:(?P<zulu>[Zz])|(?P<sign>[+-])(?P<off_hour>[0-9]{2}):(?P<off_minute>[0-9]{2}))")


def moment(year, month, day, hour, minute, second):
    """Seconds since 1970, or None if there is no such time. Any time of the year 0 is as good as another."""
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        if year == 0:
            datetime.date(2000, month, day)
            return -10**10
        days = datetime.date(year, month, day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + min(second, 59)


def http_date(text):
    """ns since 1970, or None."""
    for form in HTTP_DATES:
        found = form.fullmatch(text)
        if found:
            parts = found.groupdict()
            if "short_year" in parts:
                year = int(parts["short_year"])
                year += 1900 if year >= 70 else 2000
            else:
                year = int(parts["year"])
            seconds = moment(year, MONTHS.index(parts["month"].capitalize()) + 1, int(parts["day"]), int(parts["hour"]),
                             int(parts["minute"]), int(parts["second"]))
            return None if seconds is None else max(0, seconds) * SECOND
    return None


def rfc_3339(text):
    """ns since 1970, or None."""
    found = RFC_3339.fullmatch(text)
    if not found:
        return None
    parts = found.groupdict()
    seconds = moment(*(int(parts[name]) for name in ("year", "month", "day", "hour", "minute", "second")))
    if seconds is None:
        return None
    if not parts["zulu"]:
        off_hour, off_minute = int(parts["off_hour"]), int(parts["off_minute"])
        if off_hour > 23 or off_minute > 59:
            return None
        seconds -= (1 if parts["sign"] == "+" else -1) * (off_hour * 3600 + off_minute * 60)
    fraction = parts["fraction"] or ""
    return max(0, seconds * SECOND + ceil(Fraction(int("0" + fraction) * SECOND, 10**len(fraction))))


def pacific_offset_s(utc_s):
    """Seconds west of UTC: eight hours, seven from the second Sunday of March, 2:00, to the first of November, 2:00."""
    year = (datetime.date(1970, 1, 1) + datetime.timedelta(days=utc_s // 86400)).year

    def sunday(month, number):
        first = datetime.date(year, month, 1)
        return first + datetime.timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))

    begin = moment(year, 3, sunday(3, 2).day, 10, 0, 0)     # 2:00 standard time
    end = moment(year, 11, sunday(11, 1).day, 9, 0, 0)      # 2:00 daylight saving time
    return 7 * 3600 if begin <= utc_s < end else 8 * 3600


def until_midnight(now_ns, zone):
    if zone == "utc":
        return DAY - now_ns % DAY
    local = now_ns // SECOND - pacific_offset_s(now_ns // SECOND)
    midnight = (local // 86400 + 1) * 86400                 # by the wall clock there
    utc = midnight + 8 * 3600
    utc = midnight + pacific_offset_s(utc - 3600)           # no change falls between midnight and one
    return utc * SECOND - now_ns


# ---- JSON ------------------------------------------------------------------------------------------------------------

class Number(str):
    """A number as it is written."""


class Broken(Exception):
    pass


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class Reader:
    """Reads as far as the text is sound. What was complete before that stays."""

    def __init__(self, text):
        self.text, self.at, self.broken = text, 0, False

    def skip(self):
        while self.text[self.at:self.at + 1] in (" ", "\t", "\r", "\n") and self.at < len(self.text):
            self.at += 1

    def take(self, sign):
        self.skip()
        if self.text[self.at:self.at + 1] != sign:
            raise Broken
        self.at += 1

    def comes(self, sign):
        self.skip()
        return self.text[self.at:self.at + 1] == sign

    def string(self):
        self.take('"')
        made = []
        while True:
            sign = self.text[self.at:self.at + 1]
            if sign == "":
                raise Broken
            self.at += 1
            if sign == '"':
                return "".join(made)
            if sign != "\\":
                made.append(sign)
                continue
            escape = self.text[self.at:self.at + 1]
            self.at += 1
            if escape == "u":
                code = self.text[self.at:self.at + 4]
                if not re.fullmatch("[0-9a-fA-F]{4}", code):
                    raise Broken
                made.append(chr(int(code, 16)) if int(code, 16) < 128 else "\ufffd")
                self.at += 4
            elif escape and escape in '"\\/nrtbf':
                made.append(ESCAPES.get(escape, escape))
            else:
                raise Broken

    def value(self, depth=1):
        """None for what cannot be read; self.broken tells."""
        try:
            if depth > DEPTH_MAX:
                raise Broken
            if self.comes("{"):
                return self.members(depth)
            if self.comes("["):
                return self.items(depth)
            if self.comes('"'):
                return self.string()
            found = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null").match(self.text, self.at)
            if not found:
                raise Broken
            self.at = found.end()
            return {"true": True, "false": False, "null": None}.get(found.group(), Number(found.group()))
        except Broken:
            self.broken = True
            return None

    def members(self, depth):
        made = {}
        self.take("{")
        try:
            if self.comes("}"):
                self.take("}")
                return made
            while True:
                self.skip()
                key = self.string()
                self.take(":")
                value = self.value(depth + 1)
                if not self.broken or isinstance(value, (dict, list)):
                    made.setdefault(key, value)
                if self.broken:
                    return made
                if self.comes("}"):
                    self.take("}")
                    return made
                self.take(",")
        except Broken:
            self.broken = True
            return made

    def items(self, depth):
        made = []
        self.take("[")
        try:
            if self.comes("]"):
                self.take("]")
                return made
            while True:
                value = self.value(depth + 1)
                if not self.broken or isinstance(value, (dict, list)):
                    made.append(value)
                if self.broken:
                    return made
                if self.comes("]"):
                    self.take("]")
                    return made
                self.take(",")
        except Broken:
            self.broken = True
            return made


def read_json(text):
    return Reader(text).value()


def string(value):
    return value if isinstance(value, str) and not isinstance(value, Number) else ""


def error_in(top, good):
    """The error of a JSON value: an object or a text; None if there is none."""
    if isinstance(top, list) and top:
        top = top[0]
    if not isinstance(top, dict):
        return None
    response = top.get("response")
    for error in (top.get("error"), response.get("error") if isinstance(response, dict) else None):
        if isinstance(error, dict) or not good and isinstance(error, str) and not isinstance(error, Number):
            return error
    if not good or top.get("type") == "error":
        return top
    return None


class Error:
    """The error that a body tells of."""

    def __init__(self, body, status):
        good = 200 <= status <= 299
        text = body.encode("utf-8", "surrogateescape")[:BODY_MAX].decode("utf-8", "replace").lstrip(" \t\r\n")
        parts = [text]
        if text[:1] not in ("{", "["):          # events
            parts = [line[len("data:"):] for line in re.split("[\r\n]+", text) if line.startswith("data:")]
        error = None
        for part in parts:
            error = error_in(read_json(part), good)
            if error is not None:
                break
        self.is_there = error is not None
        fields = error if isinstance(error, dict) else {"message": error}
        self.message = string(fields.get("message")).encode("utf-8", "replace")[:MESSAGE_MAX].decode("utf-8",
            "ignore").lower()
        details = fields.get("details")
        codes = [fields.get("code"), fields.get("type"), fields.get("status")]
        if isinstance(details, dict):
            codes.append(details.get("error_code"))
        self.codes = {string(code) for code in codes} - {""}
        code = fields.get("code")
        self.number = int(code) if isinstance(code, Number) and re.fullmatch("[0-9]{3}", code) else 0
        self.details = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []

    def is_spent(self):
        return self.has("insufficient_quota", "enforced_spend_limit_reached", "billing_hard_limit_reached")

    def has(self, *codes):
        return bool(self.codes & set(codes))

    def says(self, *texts):
        return any(text in self.message for text in texts)

    def detail(self, kind):
        for item in self.details:
            if string(item.get("@type")).lower().endswith(kind.lower()):
                yield item


# ---- what the text of a 429 says -------------------------------------------------------------------------------------

def text_number(message, word):
    """12345 of "limit 12,345", or None."""
    found = re.search(r"(?<![a-z])" + word + r"[ :]+([0-9]+(?:,[0-9]{3}(?![0-9]))*)", message)
    return min(int(found.group(1).replace(",", "")), AMOUNT_MAX) if found else None


def text_meters(message):
    """What a refusal names."""
    meters = set()
    for found in re.finditer("(input |output |concurrent )?(tokens|requests)(?= per[ -]| has exceeded| have exceeded)",
                             message):
        before, what = found.groups()
        if what == "tokens":
            meters.add({"input ": "input_tokens", "output ": "output_tokens"}.get(before, "tokens"))
        elif before != "concurrent ":
            meters.add("requests")
    if not meters:
        if "(rpm)" in message or "(rpd)" in message:
            meters.add("requests")
        elif "(tpm)" in message or "(tpd)" in message:
            meters.add("tokens")
    if "concurrent" in message:
        meters.add("concurrency")
    return meters


def text_period(message):
    if any(text in message for text in ("per day", "per-day", "(rpd)", "(tpd)")):
        return DAY
    return HOUR if "per hour" in message else MINUTE


WORDS = (("milliseconds?", 10**6), ("seconds?|secs?", SECOND), ("minutes?|mins?", MINUTE), ("hours?", HOUR), ("days?", DAY))


def text_wait(message):
    for start in ("try again in ", "retry after "):
        for words, unit in WORDS:
            found = re.search(start + r"([0-9]+(?:\.[0-9]+)?) ?(?:%s)(?![a-z])" % words, message)
            if found:
                return span(found.group(1), unit)
        found = re.search(start + "((?:%s)+)" % PART, message)
        if found:
            return go_duration(found.group(1))[0]
    return 0


# ---- headers ---------------------------------------------------------------------------------------------------------

class Series:
    """What is said of one limit. A reset is ("in", ns, resolution) or ("at", ns since 1970, resolution)."""

    def __init__(self, family, meter, period_ns=None):
        self.family, self.meter, self.period_ns = family, meter, period_ns
        self.limit = self.remaining = None
        self.resets = []

    def lower_limit(self, value):
        self.limit = value if self.limit is None else min(self.limit, value)

    def lower_remaining(self, value):
        self.remaining = value if self.remaining is None else min(self.remaining, value)


def split_list(text, sign):
    """Parts between signs that are not inside quotes."""
    parts, quoted, at = [""], False, 0
    while at < len(text):
        here = text[at]
        if quoted and here == "\\":
            parts[-1] += text[at:at + 2]
            at += 2
            continue
        if here == '"':
            quoted = not quoted
        if here == sign and not quoted:
            parts.append("")
        else:
            parts[-1] += here
        at += 1
    return [part.strip(" \t") for part in parts]


PARAMETERS = {"q": amount, "w": lambda text: span(text, SECOND), "r": amount_left, "t": lambda text: span(text, SECOND)}


def parse_items(text):
    """[(name, {parameter: value})] of a list such as "burst";q=100;w=60. What is malformed is left out."""
    items = []
    for part in split_list(text, ","):
        name, *parameters = split_list(part, ";")
        if not re.fullmatch(r'"(?:[^"\\]|\\.)*"|[A-Za-z0-9*][A-Za-z0-9_.*:/%-]*', name):
            continue
        made = {}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            key = key.lower()
            if key == "qu":
                unit = value.strip('"').lower()
                rank = 0 if unit == "requests" else 1 if "token" in unit else 2
                merge(made, {"qu": rank}, ("qu",))
            elif key in PARAMETERS and PARAMETERS[key](value) is not None:
                merge(made, {key: PARAMETERS[key](value)}, (key,))
        items.append((name[1:-1] if name.startswith('"') else name, made))
    return items


def merge(into, new, keys):
    """What is given twice: the smaller q and r, the larger w and t, the last qu of its order."""
    for key in keys:
        if key in new:
            choose = min if key in ("q", "r") else max
            into[key] = choose(into[key], new[key]) if key in into else new[key]


def quota_meter(parameters):
    return ("requests", "tokens", None)[parameters.get("qu", 0)]


class Headers:
    """Collects what the headers say; absolute times are resolved when all are known."""

    X_METERS = {"": "requests", "-requests": "requests", "-tokens": "tokens", "-input-tokens": "input_tokens",
                "-output-tokens": "output_tokens", "-project-requests": "requests", "-project-tokens": "tokens"}
    PERIODS = {None: None, "-second": SECOND, "-minute": MINUTE, "-hour": HOUR, "-day": DAY}
    X_NAME = re.compile("x-ratelimit-(limit|remaining|reset)"
                        "(-requests|-tokens|-input-tokens|-output-tokens|-project-tokens|-project-requests|)"
                        "(-second|-minute|-hour|-day)?")
    ANTHROPIC_NAME = re.compile("anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining|reset)")
    UNIFIED_NAME = re.compile("anthropic-ratelimit-unified-(5h|7d)-(utilization|reset|status)")

    def __init__(self, profile, wall_ns):
        self.profile, self.wall_ns = profile, wall_ns
        self.dates = []
        self.should_retry = None
        self.after_ms = []
        self.after = []                 # resets, as of a Series
        self.series = {}                # in the order they were seen
        self.rejected = set()
        self.old_periods = {}           # limit -> period of RateLimit-Limit
        self.policies = {}              # name, or (q, w) of a bare number -> Policy
        self.items = {}                 # name -> Policy without a limit

    def the(self, *key):
        if key not in self.series and len(self.series) >= SERIES_MAX:
            return Series(None, None)
        return self.series.setdefault(key, Series(*key[:1], *key[-2:]))

    def read(self, name, value):
        name = name.lower()
        if name.startswith("llm_provider-"):
            name = name[len("llm_provider-"):]
        value = value.strip(" \t\r\n")
        families = self.profile["headers"]
        if name == "date":
            self.dates += [http_date(value)] if http_date(value) is not None else []
        elif name == "x-should-retry":
            if value.lower() == "false" or value.lower() == "true" and self.should_retry is None:
                self.should_retry = value.lower() == "true"
        elif name == "retry-after-ms":
            self.after_ms.append(span(value, 10**6) or 0)
        elif name == "retry-after":
            when = http_date(value)
            self.after.append(("in", span(value, SECOND) or 0, 0) if when is None else ("at", when, 0))
        elif name.startswith("anthropic-") and "anthropic" in families:
            self.read_anthropic(name, value)
        elif name.startswith("x-") and "x" in families:
            self.read_x(name, value)
        elif name.startswith("ratelimit") and "ietf" in families:
            self.read_ietf(name, value)

    def put(self, series, what, value):
        """series makes or finds the one meant; only what is well formed does."""
        if what == "limit" and amount(value) is not None:
            series().lower_limit(amount(value))
        elif what == "remaining" and amount_left(value) is not None:
            series().lower_remaining(amount_left(value))

    def read_anthropic(self, name, value):
        unified, plain = self.UNIFIED_NAME.fullmatch(name), self.ANTHROPIC_NAME.fullmatch(name)
        if unified:
            window, what = unified.groups()

            def series():
                return self.the("anthropic", window, "custom", 5 * HOUR if window == "5h" else 7 * DAY)

            if what == "utilization" and decimal(value) is not None:
                series().lower_limit(10**6)
                series().lower_remaining(max(0, 10**6 - ceil(decimal(value) * 10**6)))
            elif what == "reset" and decimal(value) is not None:
                series().resets.append(("at", ceil(decimal(value) * SECOND), SECOND))
            elif what == "status" and value == "rejected":
                self.rejected.add(series())
        elif plain:
            meter, what = plain.group(1).replace("-", "_"), plain.group(2)

            def series():
                return self.the("anthropic", meter, None)

            self.put(series, what, value)
            if what == "reset" and rfc_3339(value) is not None:
                series().resets.append(("at", rfc_3339(value), SECOND))

    def read_x(self, name, value):
        found = self.X_NAME.fullmatch(name)
        if not found:
            return
        what, which, suffix = found.groups()

        def series():
            return self.the("x", which, self.X_METERS[which], self.PERIODS[suffix])

        self.put(series, what, value)
        if what == "reset" and self.x_reset(value):
            series().resets.append(self.x_reset(value))

    @staticmethod
    def x_reset(value):
        if rfc_3339(value) is not None:
            return ("at", rfc_3339(value), SECOND)
        if go_duration(value):
            return ("in", *go_duration(value))
        number = decimal(value)
        if number is None:
            return None
        if number < 10**9:
            return ("in", min(ceil(number * SECOND), SPAN_MAX), unit_of_last_digit(SECOND, places(value)))
        if number < 10**11:
            return ("at", ceil(number * SECOND), SECOND)
        return ("at", ceil(number * 10**6), SECOND)

    def read_ietf(self, name, value):
        if name == "ratelimit-policy":
            self.read_policies(value)
        elif name == "ratelimit":
            self.read_items(value)
        elif name == "ratelimit-limit":
            self.read_old_limit(value)
        elif name in ("ratelimit-remaining", "ratelimit-reset"):
            self.read_old(name[len("ratelimit-"):], value)

    def read_old(self, what, value):
        """One figure of the older forms, which are one reading together."""
        def series():
            return self.the("ietf", "", "requests", None)

        self.put(series, what, value)
        if what == "reset" and decimal(value) is not None:
            series().resets.append(("in", span(value, SECOND), SECOND))

    def read_old_limit(self, value):
        items = parse_items(value)
        numbers = [amount(name) for name, _ in items if amount(name) is not None]
        if not numbers:
            return
        self.read_old("limit", str(numbers[0]))
        for name, parameters in items:
            if amount(name) == numbers[0] and parameters.get("w"):
                self.old_periods.setdefault(numbers[0], parameters["w"])

    def read_items(self, value):
        for part in split_list(value, ","):
            key, equals, number = part.partition("=")
            if equals and key.lower() in ("limit", "remaining", "reset"):
                self.read_old(key.lower(), number)
                continue
            for name, parameters in parse_items(part):
                if name not in self.items and len(self.items) >= POLICIES_MAX:
                    continue
                item = self.items.setdefault(name, {})
                merge(item, parameters, ("r", "t"))

    def read_policies(self, value):
        for name, parameters in parse_items(value):
            if amount(name) is not None:
                parameters.setdefault("q", amount(name))
                name = (name, parameters.get("w"), parameters["q"])
            if name not in self.policies and len(self.policies) >= POLICIES_MAX:
                continue
            merge(self.policies.setdefault(name, {}), parameters, ("q", "w", "qu"))

    # -- at the end --

    def knows_time(self):
        return self.wall_ns != 0 or self.date() is not None

    def date(self):
        """The Date, if it is to be believed."""
        dates = [date for date in self.dates if date >= moment(2020, 1, 1, 0, 0, 0) * SECOND
                 and (self.wall_ns == 0 or abs(date - self.wall_ns) <= 365 * DAY)]
        return min(dates, default=None)

    def now(self):
        return self.wall_ns if self.date() is None else self.date()

    def span_of(self, reset):
        how, value, _ = reset
        return min(SPAN_MAX, value if how == "in" else max(0, value - self.now()))

    def latest(self, resets):
        """(ns from now, resolution, "in" or "at") of the latest. The resolution is the coarsest, and one that is a time
        among them makes it all no better than a time."""
        spans = [self.span_of(reset) for reset in resets if reset[0] == "in" or self.knows_time()]
        if not spans:
            return None, None, None
        how = "at" if any(reset[0] == "at" for reset in resets) else "in"
        return max(spans), max(reset[2] for reset in resets), how

    def wait(self):
        """0: not said."""
        return max(self.after_ms, default=0) or max(map(self.span_of, self.after), default=0)

    def join(self):
        """The series of RateLimit-Policy, then those of RateLimit without a policy; the older form takes its period
        from a policy."""
        policies = {}
        for name, parameters in self.policies.items():
            made = Series("ietf", quota_meter(parameters), parameters.get("w") or None)
            made.limit = parameters.get("q")
            policies[name] = made
        old = self.series.get(("ietf", "", "requests", None))
        if old:
            old.period_ns = self.old_periods.get(old.limit)
        if old and not self.items and (old.limit is not None or old.remaining is not None):
            given = None
            if old.limit is not None and old.period_ns is None:
                given = next((name for name, policy in policies.items() if policy.meter == "requests"
                              and policy.limit == old.limit), None)
            elif old.limit is None and len(policies) == 1:
                given = next(iter(policies))
                if policies[given].meter != "requests":
                    given = None
            if given is not None:
                policy = policies.pop(given)
                old.limit, old.period_ns = policy.limit, policy.period_ns
        rest = []
        for name, parameters in self.items.items():
            series = policies.get(name)
            if series is None and len(policies) == 1 and len(self.items) == 1:
                series = next(iter(policies.values()))
            if series is None:
                series = Series("ietf", "requests")
                rest.append(series)
            if "r" in parameters:
                series.lower_remaining(parameters["r"])
            if "t" in parameters:
                series.resets.append(("in", parameters["t"], SECOND))
        return list(policies.values()) + rest

    def all(self):
        joined = self.join()
        said = [series for series in list(self.series.values()) + joined
                if series.meter is not None and (series.limit is not None or series.remaining is not None)]
        if any(series.family == "anthropic" and series.meter in ("input_tokens", "output_tokens") for series in said):
            said = [series for series in said if not (series.family == "anthropic" and series.meter == "tokens")]
        return said


# ---- readings --------------------------------------------------------------------------------------------------------

def period_bounds(limit, remaining, rounding, reset_ns, resolution, how="in"):
    """(least, most) of the period of a bucket that is full again after reset_ns.

    A reset told as a time of day may be too short by as long as the answer took, and bounds on one side only; the Date
    that it is taken from is cut to a second."""
    if how == "at":
        resolution += SECOND
    used = limit - remaining
    if used == 0 or reset_ns == 0:
        return 0, UNSAID
    least, most = 0, UNSAID
    if reset_ns > resolution and remaining > 0:         # at 0 the debt may be any
        least = min((reset_ns - resolution) * limit // (used + rounding), SPAN_MAX)
    if used > 1 + rounding and how == "in":
        most = ceil(Fraction((reset_ns + resolution) * limit, used - 1 - rounding))
        most = UNSAID if most > SPAN_MAX else most
    return least, most


def reading_of(profile, headers, series):
    limit, remaining = series.limit, series.remaining
    if limit is not None and remaining is not None:
        remaining = min(limit, remaining)
    reset_ns, resolution, how = headers.latest(series.resets)
    rounding = (profile["rounding"].get(series.meter, 0) + 1) // 2
    least, most = 0, UNSAID
    if series.period_ns:
        least = most = series.period_ns
    elif profile["kind"] == "bucket" and series.family in ("anthropic", "x") and None not in (limit, remaining, reset_ns):
        least, most = period_bounds(limit, remaining, rounding, reset_ns, resolution, how)
    return {
        "meter": series.meter,
        "limit": UNSAID if limit is None else limit,
        "remaining": UNSAID if remaining is None else remaining,
        "rounding": rounding,
        "reset_ns": UNSAID if reset_ns is None else reset_ns,
        "period_ns": series.period_ns or profile["period_ns"].get(series.meter) or MINUTE,
        "period_least_ns": least,
        "period_most_ns": most,
    }


def quota_failures(error):
    """A Series of each violation that names a quota in the way of Google, with whether it is daily."""
    for failure in error.detail("QuotaFailure"):
        violations = failure.get("violations")
        for violation in violations if isinstance(violations, list) else []:
            if not isinstance(violation, dict):
                continue
            metric, identity = (string(violation.get(key)).lower() for key in ("quotaMetric", "quotaId"))
            meter = "tokens" if "token" in metric + identity else "requests"
            if any(text in name for text in ("input_token", "inputtoken") for name in (metric, identity)):
                meter = "input_tokens"
            daily = "perday" in identity
            series = Series("body", meter, DAY if daily else MINUTE if "perminute" in identity else None)
            value = violation.get("quotaValue")
            if isinstance(value, str) and amount(value) is not None:
                series.limit, series.remaining = amount(value), 0
            yield series, daily


def distinct(failures):
    """Of the same meter and period the smallest limit."""
    made = {}
    for series, _ in failures:
        if series.limit is not None:
            made.setdefault((series.meter, series.period_ns), series).lower_limit(series.limit)
    return list(made.values())


# ---- verdict ---------------------------------------------------------------------------------------------------------

class Judge:
    """What to do about a response."""

    def __init__(self, profile, headers, status, error):
        self.profile, self.headers, self.status, self.error = profile, headers, status, error
        self.verdict, self.reason, self.outcome = "ok", "none", "answered"
        self.named, self.requested, self.wait_ns, self.capped = [], UNSAID, 0, False
        self.failures = list(quota_failures(error))
        if 200 <= status <= 299 and error.is_there:
            self.status = self.status_in_stream()
        series = headers.all() + distinct(self.failures)
        series.sort(key=lambda one: READING_ORDER.index(one.meter))
        self.readings = [reading_of(profile, headers, one) for one in series][:READINGS_MAX]

    def status_in_stream(self):
        """What the status would have been, had the error come in time."""
        error = self.error
        if error.is_spent() or error.has("rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"):
            return 429
        if error.has("overloaded_error", "server_is_overloaded"):
            return 529
        if error.has("slow_down", "UNAVAILABLE"):
            return 503
        return error.number if 400 <= error.number <= 599 else 500

    def wait(self, wait_ns):
        most = self.profile["retry_after_max_ns"]
        self.capped, self.wait_ns = wait_ns > most, min(wait_ns, most)

    def never(self, reason):
        self.verdict, self.reason, self.outcome = "never", reason, "failed"
        self.wait(self.headers.wait())

    def retry(self, reason, outcome="failed", wait_ns=None):
        """Again, after the wait that the headers ask for."""
        self.wait(self.headers.wait() if wait_ns is None else wait_ns)
        self.verdict, self.reason, self.outcome = "wait" if self.wait_ns else "retry", reason, outcome

    def judge(self):
        status = self.status
        if status == 0:
            self.retry("network")
        elif 200 <= status <= 299:
            pass
        elif status in (401, 403):
            self.never("auth")
        elif status == 402:
            self.never("spent")
        elif status == 413:
            self.never("too_large")
        elif status == 400:
            self.judge_400()
        elif status == 408:
            self.retry("network")
        elif status in (409, 425):
            self.retry("server")
        elif status == 429:
            self.judge_429()
        elif status == 498 or status >= 500:
            self.judge_5xx()
        else:
            self.never("bad_request")

    def judge_400(self):
        error = self.error
        if error.is_spent() or error.says("usage limits", "credit balance"):
            self.never("spent")
        elif (error.has("context_length_exceeded", "request_too_large", "string_above_max_length")
              or error.says("prompt is too long", "request too large")):
            self.never("too_large")
        else:
            self.never("bad_request")

    def judge_429(self):
        error, message = self.error, self.error.message
        limit, used, requested = (text_number(message, word) for word in ("limit", "used", "requested"))
        if error.is_spent() or error.says("usage limits"):
            self.never("spent")
            return
        if limit is not None and requested is not None and requested > limit:
            self.never("too_large")
            return
        rejected = max((self.headers.latest(series.resets)[0] or 0 for series in self.headers.rejected), default=0)
        daily = any(daily for _, daily in self.failures)
        rejected = 0 if daily or text_period(message) == DAY else rejected
        self.outcome = "slow_down" if error.says("acceleration") else "refused"
        self.requested = UNSAID if requested is None else requested
        if rejected:
            self.wait_uncut(rejected)
            return
        self.name(message)
        if daily:
            self.wait_uncut(until_midnight(self.headers.now(), self.profile["zone"]) if self.headers.knows_time() else DAY)
        else:
            wait_ns = self.headers.wait() or self.body_wait() or text_wait(message)
            at_a_rate = "concurrency" not in self.named and None not in (limit, used, requested)
            if wait_ns == 0 and at_a_rate and limit and used + requested > limit:
                wait_ns = ceil(Fraction((used + requested - limit) * text_period(message), limit))
            reason = "quota_day" if text_period(message) == DAY else "rate_limit"
            self.retry(reason, self.outcome, wait_ns or self.empty_wait())

    def wait_uncut(self, wait_ns):
        self.verdict, self.reason, self.wait_ns = "wait", "quota_day", wait_ns

    def name(self, message):
        meters = text_meters(message) | {series.meter for series, _ in self.failures}
        if not meters:
            meters = {one["meter"] for one in self.readings if one["remaining"] == 0}
        self.named = [meter for meter in METERS + ("concurrency",) if meter in meters]

    def body_wait(self):
        delays = [string(item.get("retryDelay")) for item in self.error.detail("RetryInfo")]
        return max((span(delay[:-1], SECOND) or 0 for delay in delays if delay.endswith("s")), default=0)

    def empty_wait(self):
        """Where a period ends, that is where all of it comes back: the latest of those of which nothing remains."""
        if self.profile["kind"] == "bucket":
            return 0
        return max((one["reset_ns"] for one in self.readings if one["remaining"] == 0 and one["reset_ns"] != UNSAID),
                   default=0)

    def judge_5xx(self):
        error, status = self.error, self.status
        wait_ns = self.headers.wait() or self.body_wait()
        if status == 503 and (error.has("slow_down") or error.says("slow down")):
            self.retry("overload", "slow_down", wait_ns)
        elif status in (498, 503, 504, 529) or error.has("overloaded_error",
            "server_is_overloaded") or error.says("overloaded"):
            self.retry("overload", "overloaded", wait_ns)
        else:
            self.retry("server", "failed", wait_ns)

    def override(self):
        """x-should-retry has the last word."""
        if self.verdict == "ok" or self.headers.should_retry is None:
            return
        if self.headers.should_retry and self.verdict == "never":
            self.verdict = "wait" if self.wait_ns else "retry"
        elif not self.headers.should_retry and self.verdict != "never":
            self.verdict, self.reason = "never", "told"

    def error_class(self):
        if self.verdict == "never":
            return "fatal"
        if self.status == 429:
            return "server" if self.named == ["concurrency"] else "rate_limit"
        return "network" if self.reason == "network" else "server"


def answer(profile_name, wall_ns, headers, status, body):
    chosen = PROFILES[profile_name]
    said = Headers(chosen, wall_ns)
    for name, value in headers:
        said.read(name, value)
    judge = Judge(chosen, said, status, Error("" if status == 0 else body, status))
    judge.judge()
    judge.override()
    return {
        "verdict": judge.verdict,
        "reason": judge.reason,
        "error_class": judge.error_class(),
        "capped": judge.capped,
        "wait_ns": judge.wait_ns,
        "outcome": judge.outcome,
        "named": judge.named,
        "retry_after_ns": judge.wait_ns or UNSAID,
        "requested": judge.requested,
        "readings": judge.readings,
    }
