"""Tiers and models from a TOML file; every error is said at once, by file, key and value, before any call is made."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

from . import _rlimit
from ._estimate import RequestCost, price_of
from ._limit import adaptive, calendar_day, calendar_month, fixed, per, ramp, sliding
from ._limiter import Limiter

if TYPE_CHECKING:
    from typing import IO

    from ._estimate import Tokenizer

__all__ = ["Config", "ConfigError", "Model", "Problem", "Tier", "load"]

_METERS = ("requests", "input_tokens", "output_tokens", "tokens", "microdollars", "dollars", "custom")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_CALENDARS: Dict[str, Callable[..., Any]] = {"calendar_day": calendar_day, "calendar_month": calendar_month}
_LIMITS = {"%s_per_%s" % (meter, unit): (meter, unit) for meter in _METERS for unit in (*_SECONDS, *_CALENDARS)}
_POLICIES: Dict[str, Callable[..., Any]] = {"bucket": per, "sliding": sliding, "fixed": fixed}
_FOLLOWS = ("shrink", "fixed", "follow", "learn")
_OPTIONS = ("concurrency", "ramp", "policy", "guard", "provider", "queue", "ageing")
_TIER_KEYS = (*_LIMITS, *_OPTIONS)
_MODEL_OWN = ("tier", "id", "base_url", "api_key_env", "input_price", "output_price", "context_tokens", "max_output_tokens",
              "fallback", "pool")
_MODEL_KEYS = (*_MODEL_OWN, *_TIER_KEYS)
_SECRET = re.compile(r"(^|_)(api_?key|key|secret|token|password|authorization|auth)$", re.I)
_LOOKS_SECRET = re.compile(r"^(sk|pk|gsk|xai|AIza|ghp|Bearer)[-_ A-Z0-9]", re.I)
_AMOUNTS = "a whole number, 1 to 2^40"


class Problem(NamedTuple):
    """One thing wrong with a file. line: where it is, from 1; 0: not known, or the file as a whole."""

    key: str
    value: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        if not self.key:
            return self.message
        return "%s = %s: %s" % self[:3] if self.value else "%s: %s" % (self.key, self.message)


class ConfigError(ValueError):
    """What is wrong with a configuration: all of it, a line each.

    file:       its name
    problems:   of each the key ("tiers.standard.requests_per_minute"), the value as in the file, what it must be, and the
                line. Secrets are not shown.
    """

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join("%s%s: %s" % (file, ":%d" % problem.line if problem.line else "", problem)
                                   for problem in self.problems))

    def __reduce__(self) -> "Tuple[Any, ...]":
        return type(self), (self.file, self.problems)


class Tier:
    """A tier as the file has it.

    name:       as in the file
    options:    the keywords of its Limiter

    >>> config.tiers["standard"].limiter()                                                  # doctest: +SKIP
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options: Mapping[str, Any] = MappingProxyType(dict(options))

    def limiter(self, **options: Any) -> Limiter:
        """A new limiter of this tier, each time another. options override those of the file: `clock=`, `name=` ..."""
        return Limiter(**{"name": self.name, **self.options, **options})

    def __repr__(self) -> str:
        return "<rlimit.%s %s: %s>" % (type(self).__name__, self.name,
                                       ", ".join("%s=%r" % item for item in self.options.items()))


class Model(Tier):
    """A model as the file has it: a tier with what it overrides, and what else is known of it.

    id:                 the name that the server knows; that in the file if it does not say
    tier, pool:         names, or None. Models of one pool share a limiter.
    base_url:           or None
    input_price, output_price:      dollars for a million tokens, or None
    prices:             both, as `prices` of rlimit.openai.limit and the like; None if the file has neither
    context_tokens, max_output_tokens:      or None
    fallback:           names of models to turn to, in order
    api_key_env:        which environment variable has the key, or None
    """

    def __init__(self, name: str, options: Mapping[str, Any], own: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        super().__init__(name, options)
        self.id: str = own.get("id", name)
        self.tier: Optional[str] = own.get("tier")
        self.pool: Optional[str] = own.get("pool")
        self.base_url: Optional[str] = own.get("base_url")
        self.api_key_env: Optional[str] = own.get("api_key_env")
        self.input_price: Optional[float] = own.get("input_price")
        self.output_price: Optional[float] = own.get("output_price")
        self.context_tokens: Optional[int] = own.get("context_tokens")
        self.max_output_tokens: Optional[int] = own.get("max_output_tokens")
        self.fallback: Tuple[str, ...] = tuple(own.get("fallback", ()))
        self._environ = environ

    @property
    def provider(self) -> Optional[str]:
        """Whose rules apply, or None."""
        provider: Optional[str] = self.options.get("provider")
        return provider

    @property
    def prices(self) -> Optional[Tuple[float, float]]:
        """Dollars for a million tokens of input and of output, one that is not in the file being 0; None if neither is.

        >>> rlimit.openai.limit(client, config.limiter("gpt"), prices=config.models["gpt"].prices)  # doctest: +SKIP
        """
        if self.input_price is None and self.output_price is None:
            return None
        return self.input_price or 0, self.output_price or 0

    @property
    def api_key(self) -> Optional[str]:
        """The key, read from the environment each time; None if the file names no variable. KeyError if it is not set."""
        return None if self.api_key_env is None else self._environ[self.api_key_env]

    def cost(self, body: Any, *, tokenizer: "Optional[Tokenizer]" = None, **options: Any) -> RequestCost:
        """RequestCost.of(body) by the rules of this model's provider, with microdollars if the file has its prices.
        Raises as RequestCost.of does.

        >>> with limiter.acquire(**config.models["claude-sonnet"].cost(body)): ...          # doctest: +SKIP
        """
        cost = RequestCost.of(body, provider=self.provider, tokenizer=tokenizer, **options)
        return cost if self.prices is None else cost.priced(*self.prices)


class Config:
    """A file, as load() read it.

    path:       its name
    tiers, models:      by name, in the order of the file

    >>> config = load("limits.toml")                                                        # doctest: +SKIP
    >>> claude = config.limiter("claude-sonnet")                                            # doctest: +SKIP
    """

    def __init__(self, path: str, tiers: Mapping[str, Tier], models: Mapping[str, Model]) -> None:
        self.path = path
        self.tiers: Mapping[str, Tier] = MappingProxyType(dict(tiers))
        self.models: Mapping[str, Model] = MappingProxyType(dict(models))
        self._lock = threading.RLock()  # a limiter's clock may ask for another limiter
        self._limiters: Dict[Tuple[str, str], Limiter] = {}

    def limiter(self, name: str, **options: Any) -> Limiter:
        """The limiter of a model, or of a tier: the same each time, and for all models of a pool.

        options are for the first time: `clock=`, `queue=` ... override the file's. ConfigError for a name that the file does
        not have; ValueError for options when the limiter is there already.
        """
        if not isinstance(name, str):
            raise TypeError("name: must be a str, not %s" % type(name).__name__)
        found = self.models.get(name) or self.tiers.get(name)
        if found is None:
            known = [*self.models, *self.tiers]
            raise ConfigError(self.path, [Problem("", "", "no model or tier %r%s" % (name, _nearest(name, known)))])
        pool = found.pool if isinstance(found, Model) else None
        key = ("pool", pool) if pool else ("name", name)
        with self._lock:
            limiter = self._limiters.get(key)
            if limiter is None:
                limiter = self._limiters.setdefault(key, found.limiter(**{"name": pool or name, **options}))
            elif options:
                raise ValueError("options: %s: the limiter of %r is there already" % (", ".join(options), name))
        return limiter

    def __repr__(self) -> str:
        return "<rlimit.Config %s: tiers %s; models %s>" % (self.path, ", ".join(self.tiers) or "none",
                                                            ", ".join(self.models) or "none")


def load(source: "Union[str, os.PathLike[str], IO[bytes], IO[str]]", *, environ: Optional[Mapping[str, str]] = None,
         secrets: bool = True) -> Config:
    """Reads tiers and models from a TOML file.

    source:     a path, or an open file
    environ:    where the variables that `api_key_env` names are looked up; os.environ if None
    secrets:    whether those variables must be set now: the key of a model that is missing is said here, not at the first
                call

    Keys of a tier, and of a model, which overrides its tier's:

        requests_per_minute = 50        also input_tokens, output_tokens, tokens, microdollars, dollars, custom; per second,
                                        minute, hour, day; and _per_calendar_day, _per_calendar_month: from midnight, from
                                        the first. A number, or { amount, burst, guard, policy, follow, utc_offset }: guard
                                        and utc_offset in seconds, burst of a bucket
        concurrency = 10                or { least = 1, most = 64 }: adaptive
        ramp = true                     or { floor = 15, hold = 900 }
        policy = "bucket"               or "sliding", "fixed": of all limits that do not say otherwise
        guard = 0.05                    seconds, less than the period: likewise
        provider = "anthropic"          what is not given is learned by its rules
        queue = 10000, ageing = 30.0    see Limiter

    Of a model besides: tier, id, base_url, api_key_env, input_price and output_price (dollars for a million tokens; with a
    limit of dollars or microdollars, its tier's included, both must be there), context_tokens, max_output_tokens, fallback (names of models), pool (models that share a limiter).

    Raises ConfigError, which is a ValueError and tells all errors at once; OSError if the file cannot be read; ImportError
    before Python 3.11 without tomli.

    >>> load("limits.toml").limiter("claude-sonnet")                                        # doctest: +SKIP
    """
    if environ is not None and not isinstance(environ, Mapping):
        raise TypeError("environ: must be a mapping or None, not %s" % type(environ).__name__)
    path, text = _read(source)
    try:
        document = _toml()(text)
    except ValueError as error:
        raise ConfigError(path, [Problem("", "", "not TOML: %s" % error)]) from None
    try:
        return _Reader(path, os.environ if environ is None else environ, secrets).read(document)
    except ConfigError as error:
        raise ConfigError(path, _with_lines(text, error.problems)) from None


def _with_lines(text: str, problems: Iterable[Problem]) -> List[Problem]:
    """The same with their lines. A key is where the file, cut off after that line, is TOML and first has it: that is exact, as no
    cut within a value is TOML."""
    loads, lines = _toml(), text.split("\n")
    cut: Dict[int, Any] = {0: {}}

    def upto(count: int) -> Any:
        """The document of so many lines; None if that is none."""
        if count not in cut:
            try:
                cut[count] = loads("\n".join(lines[:count]) + "\n")
            except ValueError:
                cut[count] = None
        return cut[count]

    def line_of(key: str) -> int:
        path, least, most = _path(loads, key), 0, len(lines)  # the last cut known to lack it, the first known to have it
        while path and not _reaches(upto(most), path):  # what a table lacks is said of the table
            path = path[:-1]
        while path:
            middle = (least + most) // 2
            between = next((count for count in (*range(middle, least, -1), *range(middle + 1, most)) if upto(count) is not None), None)
            if between is None:
                return least + 1
            least, most = (least, between) if _reaches(upto(between), path) else (between, most)
        return 0

    return [problem._replace(line=line_of(problem.key)) for problem in problems]


def _path(loads: Callable[[str], Dict[str, Any]], key: str) -> List[str]:
    try:
        at: Any = loads(key + " = 0") if key else {}
    except ValueError:
        return []
    path: List[str] = []
    while isinstance(at, dict) and at:
        name, = at
        path.append(name)
        at = at[name]
    return path


def _reaches(document: Any, path: List[str]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _toml() -> Callable[[str], Dict[str, Any]]:
    try:
        from tomllib import loads
    except ImportError:
        try:
            from tomli import loads  # type: ignore[import-not-found,no-redef,unused-ignore]
        except ImportError:
            raise ImportError("rlimit.load needs tomli before Python 3.11: pip install tomli") from None
    return loads


def _read(source: Any) -> Tuple[str, str]:
    if hasattr(source, "read"):
        path, data = str(getattr(source, "name", "<file>")), source.read()
    elif isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        with open(path, "rb") as file:
            data = file.read()
    else:
        raise TypeError("source: must be a path or an open file, not %s" % type(source).__name__)
    if isinstance(data, str):
        return path, data.lstrip("\ufeff")
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError("source: read() must return bytes or str, not %s" % type(data).__name__)
    try:
        return path, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(path, [Problem("", "", "not UTF-8: %s" % error)]) from None


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches
    found = get_close_matches(str(name), list(known), 1, 0.6)
    return "; did you mean %r?" % found[0] if found else ""


def _shown(key: str, value: Any) -> str:
    """A value as the file has it, or about; never a secret. Nothing of one that holds tables."""
    if isinstance(value, list):
        return _short("[%s]", [_shown(key, item) for item in value])
    if isinstance(value, dict):
        shown = {name: "" if isinstance(item, dict) else _shown(name, item) for name, item in value.items()}
        return _short("{ %s }", [item and "%s = %s" % (_quoted(name), item) for name, item in shown.items()])
    if _SECRET.search(key) or (isinstance(value, str) and (_LOOKS_SECRET.match(value) or "@" in value)):
        return "(not shown)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import json
        return json.dumps(value if len(value) <= 80 else value[:77] + "...", ensure_ascii=False)
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


def _short(form: str, items: List[str]) -> str:
    text = form % ", ".join(items)
    return text if all(items) and items and len(text) <= 120 else ""


class _Bad(Exception):
    """A value that will not do; the message says what it must be."""


class _Reader:
    """Reads a document and gathers what is wrong with it."""

    def __init__(self, path: str, environ: Mapping[str, str], secrets: bool) -> None:
        self.path, self.environ, self.secrets = path, environ, secrets
        self.problems: List[Problem] = []

    def read(self, document: Dict[str, Any]) -> Config:
        self._known("", document, ("tiers", "models"))
        tables = {name: self._tables(name, document) for name in ("tiers", "models")}
        raw_tiers = tables["tiers"]
        tiers = {}
        for name, table in raw_tiers.items():
            where = "tiers." + _quoted(name)
            self._known(where, table, _TIER_KEYS)
            tiers[name] = Tier(name, self._limits(where, table, table))
        models = {name: self._model(name, table, raw_tiers, tables["models"]) for name, table in tables["models"].items()}
        for name in models:
            if name in tiers:
                self._problem("models." + _quoted(name), None, "there is a tier of this name too")
        self._pools(models)
        if not (tiers or models or self.problems):
            self.problems.append(Problem("", "", "has neither [tiers.NAME] nor [models.NAME]"))
        if self.problems:
            raise ConfigError(self.path, self.problems)
        return Config(self.path, tiers, models)

    # -- Tables and keys --

    def _problem(self, key: str, value: Any, message: str) -> None:
        shown = "" if value is None else _shown(key, value)
        self.problems.append(Problem(key, shown, message))

    def _tables(self, name: str, document: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
        tables = document.get(name, {})
        if not isinstance(tables, dict):
            self._problem(name, tables, "must be tables: [%s.NAME]" % name)
            return {}
        for key, table in tables.items():
            if not isinstance(table, dict):
                self._problem("%s.%s" % (name, _quoted(key)), table, "must be a table: [%s.%s]" % (name, _quoted(key)))
        return {key: table for key, table in tables.items() if isinstance(table, dict)}

    def _known(self, where: str, table: Mapping[str, Any], known: Tuple[str, ...]) -> None:
        for key, value in table.items():
            if key in known:
                continue
            full = "%s.%s" % (where, _quoted(key)) if where else _quoted(key)
            if _SECRET.search(key):
                self.problems.append(Problem(full, "(not shown)", 'a secret does not belong in the file: '
                                             'api_key_env = "NAME" names the environment variable that has it'))
            elif key.endswith("_per_month"):
                self._problem(full, value, "unknown key; did you mean %r?" % key.replace("_per_", "_per_calendar_"))
            else:
                self._problem(full, value, "unknown key%s" % _nearest(key, known))

    def _try(self, where: str, table: Mapping[str, Any], key: str, read: Callable[[Any], Any]) -> Any:
        """read(value), or None if it is not there or will not do."""
        if key not in table:
            return None
        full = "%s.%s" % (where, _quoted(key)) if where else key
        try:
            return read(table[key])
        except _Bad as error:
            self._problem(full, table[key], str(error))
        except (ValueError, TypeError) as error:
            self._problem(full, table[key], str(error).replace("amount: amount:", "amount:"))
        return None

    # -- Limits --

    def _limits(self, where: str, table: Mapping[str, Any], own: Mapping[str, Any]) -> Dict[str, Any]:
        """The keywords of a Limiter. Each limit is tried alone, so that what the limiter refuses is said of its key. own: what the
        file says here, and not in a tier."""
        before = len(self.problems)
        policy = self._try(where, table, "policy", lambda value: _one_of(value, tuple(_POLICIES))) or "bucket"
        guard = self._try(where, table, "guard", _guard) or 0.0
        options: Dict[str, Any] = {}
        meters: Dict[str, List[Any]] = {}
        for key in table:
            if key in _LIMITS:
                meter, unit = _LIMITS[key]
                fits = guard < _SECONDS.get(unit, math.inf)
                limit = self._try(where, table, key, lambda value: _limit(value, meter, unit, policy, guard if fits else 0.0))
                if limit is not None and not fits and not (isinstance(table[key], dict) and "guard" in table[key]):
                    self._too_long(where, own, key, guard, table[key])
                elif limit is not None:
                    meters.setdefault("microdollars" if meter == "dollars" else meter, []).append(limit)
        for meter, limits in meters.items():
            options[meter] = limits[0] if len(limits) == 1 else tuple(limits)
        for key, read in (("concurrency", _concurrency), ("ramp", _ramp), ("provider", _provider), ("queue", _queue),
                          ("ageing", _ageing)):
            value = self._try(where, table, key, read)
            if value is not None:
                options[key] = value
        if len(self.problems) == before:
            self._whole(where, options)
        return options

    def _too_long(self, where: str, own: Mapping[str, Any], key: str, guard: float, value: Any) -> None:
        """The guard of all limits is none for this one: said of the guard where that is said, else of the limit."""
        at, of = ("guard", own["guard"]) if "guard" in own else (key, value)
        self._problem("%s.%s" % (where, at), of, "the guard, %g s, must be less than the period of %s; it can have one of its own: "
                      "{ amount = ..., guard = ... }" % (guard, key))

    def _whole(self, where: str, options: Dict[str, Any]) -> None:
        """Limits that are right alone may be too many together."""
        limits = [key for key in options if key not in ("provider", "queue", "ageing")]
        if not limits and "provider" not in options:
            self._problem(where, None, "has no limit: requests_per_minute, tokens_per_minute, concurrency ..., "
                                       "or a provider to learn from")
            return
        try:
            Limiter(**{key: value for key, value in options.items() if key != "queue"})
        except (ValueError, TypeError) as error:
            self._problem(where, None, str(error))

    # -- Models --

    def _model(self, name: str, table: Dict[str, Any], tiers: Mapping[str, Dict[str, Any]],
               models: Mapping[str, Any]) -> Model:
        where = "models." + _quoted(name)
        self._known(where, table, _MODEL_KEYS)
        tier = self._try(where, table, "tier", lambda value: _name_of(value, tiers, "tier"))
        own: Dict[str, Any] = {"tier": tier}
        for key, read in (("id", _text), ("base_url", _url), ("api_key_env", self._variable), ("pool", _text),
                          ("input_price", _price), ("output_price", _price), ("context_tokens", _amount),
                          ("max_output_tokens", _amount),
                          ("fallback", lambda value: _names(value, name, models))):
            value = self._try(where, table, key, read)
            if value is not None:
                own[key] = value
        merged = dict(tiers[tier]) if tier is not None else {}
        merged.update((key, value) for key, value in table.items() if key in _TIER_KEYS)
        if tier is None:
            options = {} if "tier" in table else self._limits(where, merged, table)
        else:
            options = self._inherit(where, table, merged)
        missing = [key for key in ("input_price", "output_price") if key not in table]
        if missing and "microdollars" in options:
            self._problem(where, None, "has a limit of dollars, and no %s to count them by (dollars for a million tokens)"
                          % " and no ".join(missing))
        return Model(name, options, own, self.environ)

    def _inherit(self, where: str, table: Mapping[str, Any], merged: Dict[str, Any]) -> Dict[str, Any]:
        """What is wrong with a tier is said once, of the tier: of a model only what it says itself."""
        before = len(self.problems)
        options = self._limits(where, merged, table)
        own = tuple("%s.%s" % (where, _quoted(key)) for key in table)
        said = self.problems[before:]
        self.problems[before:] = [problem for problem in said if problem.key in own or problem.key == where]
        return options

    def _variable(self, value: Any) -> str:
        if not isinstance(value, str) or not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", value) or _LOOKS_SECRET.match(value):
            raise _Bad("must be the name of an environment variable, not the key itself")
        if self.secrets and not self.environ.get(value, "").strip():
            raise _Bad("environment variable %s is %s" % (value, "empty" if value in self.environ else "not set"))
        return value

    def _pools(self, models: Mapping[str, Model]) -> None:
        first: Dict[str, Model] = {}
        for name, model in models.items():
            if model.pool is not None and first.setdefault(model.pool, model).options != model.options:
                self._problem("models.%s.pool" % _quoted(name), model.pool,
                              "limits differ from those of models.%s, with which it shares them"
                              % _quoted(first[model.pool].name))


# -- Values --

def _quoted(key: str) -> str:
    import json
    return key if re.match(r"[A-Za-z0-9_-]+\Z", key) else json.dumps(key, ensure_ascii=False)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _one_of(value: Any, names: Tuple[str, ...]) -> str:
    if value not in names or not isinstance(value, str):
        raise _Bad("must be one of %s%s"
                   % (", ".join('"%s"' % name for name in names), _nearest(value, names) if isinstance(value, str) else ""))
    return value


def _amount(value: Any) -> int:
    if not _is_whole(value) or not 1 <= value <= 1 << 40:
        raise _Bad("must be " + _AMOUNTS)
    return int(value)


def _seconds(value: Any, least: float, most: float) -> float:
    if not _is_number(value) or not least <= value <= most:
        raise _Bad("must be a number of seconds, %g to %g" % (least, most))
    return float(value)


def _guard(value: Any) -> float:
    return _seconds(value, 0, 86400)


def _ageing(value: Any) -> float:
    return _seconds(value, 0, 1e9)


def _queue(value: Any) -> int:
    if not _is_whole(value) or not 0 <= value <= 1 << 31:
        raise _Bad("must be a whole number, 0 to 2^31")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Bad("must be a text that is not empty")
    return value


def _price(value: Any) -> float:
    try:
        price_of("price", value)
    except (ValueError, TypeError):
        raise _Bad("must be 0 to 10^9 dollars for a million tokens") from None
    price: float = value
    return price


def _url(value: Any) -> str:
    from urllib.parse import urlsplit
    message = "must be a URL such as https://relay.example.com/v1"
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise _Bad(message)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _Bad("%s (%s)" % (message, error)) from None
    if "@" in parts.netloc:
        raise _Bad("must not hold a user name or password")
    if not usable or parts.query or parts.fragment:
        raise _Bad(message)
    return value


def _provider(value: Any) -> str:
    _text(value)
    providers: Tuple[str, ...] = tuple(_rlimit.PROVIDERS)
    return _one_of(value, providers)


def _name_of(value: Any, known: Iterable[str], what: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise _Bad("no such %s: %s%s" % (what, _shown("", value) or "a table", _nearest(value, known) if isinstance(value, str) else ""))
    return value


def _names(value: Any, own: str, known: Iterable[str]) -> List[str]:
    if not isinstance(value, list):
        raise _Bad("must be a list of names of models")
    for name in value:
        if name == own:
            raise _Bad("names the model itself")
        _name_of(name, known, "model")
    if len(set(value)) != len(value):
        raise _Bad("names a model twice")
    return value


def _members(value: Dict[str, Any], known: Tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            raise _Bad("%s: unknown key%s" % (key, _nearest(key, known)))


def _counted(meter: str, value: Any, name: str) -> int:
    """An amount in the meter's unit: dollars as microdollars."""
    if meter != "dollars":
        if not _is_whole(value) or not 1 <= value <= 1 << 40:
            raise _Bad("%smust be %s" % (name, _AMOUNTS))
        return int(value)
    if not _is_number(value) or not 0.000001 <= value <= (1 << 40) / 1e6:
        raise _Bad("%smust be 0.000001 to 1,099,511 dollars" % name)
    return max(int(round(value * 1000000)), 1)


def _limit(value: Any, meter: str, unit: str, policy: str, guard: float) -> Any:
    """A Limit, tried in a limiter of its own."""
    table = value if isinstance(value, dict) else {"amount": value}
    calendar = unit in _CALENDARS
    _members(table, ("amount", "follow", "utc_offset") if calendar else ("amount", "burst", "guard", "policy", "follow"))
    if "amount" not in table:
        raise _Bad("amount is missing")
    amount = _counted(meter, table["amount"], "amount: " if isinstance(value, dict) else "")
    if calendar:
        offset = table.get("utc_offset", 0)
        if not _is_whole(offset) or abs(offset) > 86400:
            raise _Bad("utc_offset: must be a whole number of seconds east of UTC, -86400 to 86400")
        limit = _CALENDARS[unit](amount, utc_offset=offset)
    else:
        limit = _refilling(table, meter, unit, policy, guard, amount)
    if "follow" in table:
        if table["follow"] not in _FOLLOWS:
            raise _Bad("follow: must be one of " + ", ".join('"%s"' % name for name in _FOLLOWS))
        limit = limit.replace(follow=table["follow"])
    Limiter(**{"microdollars" if meter == "dollars" else meter: limit})
    return limit


def _refilling(table: Dict[str, Any], meter: str, unit: str, policy: str, guard: float, amount: int) -> Any:
    if "policy" in table and table["policy"] not in _POLICIES:
        raise _Bad("policy: must be one of " + ", ".join('"%s"' % name for name in _POLICIES))
    policy, seconds, options = table.get("policy", policy), _SECONDS[unit], {}
    guard = table.get("guard", guard)
    if not _is_number(guard) or not 0 <= guard < seconds:
        raise _Bad("guard: must be a number of seconds, 0 to less than %d" % seconds)
    if "burst" in table:
        if policy != "bucket":
            raise _Bad('burst: only with policy = "bucket"')
        options["burst"] = _counted(meter, table["burst"], "burst: ")
    return _POLICIES[policy](amount, seconds, guard=guard, **options)


def _concurrency(value: Any) -> Any:
    if isinstance(value, dict):
        _members(value, ("least", "most"))
        least, most = value.get("least", 1), value.get("most", 64)
        if not (_is_whole(least) and _is_whole(most) and 1 <= least <= most <= 1 << 31):
            raise _Bad("least and most: must be whole numbers, 1 <= least <= most <= 2^31, not %s and %s"
                       % (_shown("", least), _shown("", most)))
        return adaptive(least=least, most=most)
    if not _is_whole(value) or not 1 <= value <= 1 << 31:
        raise _Bad("must be a whole number, 1 to 2^31, or { least = 1, most = 64 }")
    return int(value)


def _ramp(value: Any) -> Any:
    if value is True:
        return ramp()
    if not isinstance(value, dict):
        raise _Bad("must be true or { floor = 15, hold = 900 }")
    _members(value, ("floor", "hold"))
    floor, hold = value.get("floor", 15), value.get("hold", 900)
    if not _is_whole(floor) or not 1 <= floor <= 1 << 40:
        raise _Bad("floor: must be " + _AMOUNTS)
    if not _is_number(hold) or not 1 <= hold <= 1e7:
        raise _Bad("hold: must be a number of seconds, 1 to 10^7")
    return ramp(floor=floor, hold=hold)
