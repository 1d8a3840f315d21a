'use strict';

// Tiers and models from a file; every error is said at once, by file, key and value, before any call is made.
//
// A file is the same in every language: keys with underscores, and seconds. What is made of it has this language's.

const fs = require('fs');
const path = require('path');
const { fileURLToPath } = require('url');
const native = require('../load.js');
const { functionOf, kindOf, optional, optionsOf, rangeError, typeError } = require('./arguments.js');
const { ConfigError } = require('./errors.js');
const { priced, priceOf, requestCost } = require('./estimate.js');
const { adaptive, calendarDay, calendarMonth, fixed, per, ramp, sliding } = require('./limit.js');
const { Limiter } = require('./limiter.js');

const METERS = { requests: 'requests', input_tokens: 'inputTokens', output_tokens: 'outputTokens', tokens: 'tokens',
  microdollars: 'microdollars', dollars: 'microdollars', custom: 'custom' };
const SECONDS = { second: 1, minute: 60, hour: 3600, day: 86400 };
const CALENDARS = { calendar_day: calendarDay, calendar_month: calendarMonth };
const LIMITS = new Map(Object.keys(METERS).flatMap((meter) => [...Object.keys(SECONDS), ...Object.keys(CALENDARS)].map(
  (unit) => [`${meter}_per_${unit}`, { meter, unit }])));
const POLICIES = { bucket: per, sliding, fixed };
const FOLLOWS = ['shrink', 'fixed', 'follow', 'learn'];
const TIER_KEYS = [...LIMITS.keys(), 'concurrency', 'ramp', 'policy', 'guard', 'provider', 'queue', 'ageing'];
const MODEL_OWN = ['tier', 'id', 'base_url', 'api_key_env', 'input_price', 'output_price', 'context_tokens',
  'max_output_tokens', 'fallback', 'pool'];
const MODEL_KEYS = [...MODEL_OWN, ...TIER_KEYS];
const SECRET = /(^|_)(api_?key|key|secret|token|password|authorization|auth)$/i;
const LOOKS_SECRET = /^(sk|pk|gsk|xai|AIza|ghp|Bearer)[-_ A-Z0-9]/i;
const AMOUNT_MOST = 2 ** 40;
const AMOUNTS = 'a whole number, 1 to 2^40';

// -- What a file becomes --

class Tier {
  constructor(name, options) {
    this.name = name;
    this.options = Object.freeze(options);
  }

  limiter(options) {
    return new Limiter({ name: this.name, ...this.options, ...options });
  }
}

class Model extends Tier {
  #environ;
  #file;

  constructor(name, options, own, { file, environ }) {
    super(name, options);
    const { tier = null, id = name, base_url = null, api_key_env = null, input_price = null, output_price = null,
      context_tokens = null, max_output_tokens = null, fallback = [], pool = null } = own;
    Object.assign(this, { id, tier, pool, baseUrl: base_url, apiKeyEnv: api_key_env, inputPrice: input_price,
      outputPrice: output_price, contextTokens: context_tokens, maxOutputTokens: max_output_tokens,
      fallback: Object.freeze(fallback) });
    this.prices = input_price === null && output_price === null ? null :
      Object.freeze({ inputPrice: input_price ?? 0, outputPrice: output_price ?? 0 });
    this.#environ = environ;
    this.#file = file;
  }

  get provider() {
    return this.options.provider ?? null;
  }

  get apiKey() {
    if (this.apiKeyEnv === null) return null;
    const key = this.#environ[this.apiKeyEnv];
    if (key !== undefined) return key;
    const message = `environment variable ${this.apiKeyEnv} is not set`;
    throw new ConfigError(this.#file, [new Problem(`models.${quoted(this.name)}.api_key_env`,
      `"${this.apiKeyEnv}"`, message)]);
  }

  cost(body, options) {
    const cost = requestCost(body, { provider: this.provider, ...options });
    return this.prices === null ? cost : priced(cost, this.prices);
  }
}

class Config {
  #limiters = new Map();

  constructor(file, tiers, models) {
    this.path = file;
    this.tiers = byName(tiers);
    this.models = byName(models);
  }

  limiter(name, options) {
    if (typeof name !== 'string') throw typeError(`name: must be a string, not ${kindOf(name)}`);
    const found = this.models[name] ?? this.tiers[name];
    if (found === undefined) {
      const known = [...Object.keys(this.models), ...Object.keys(this.tiers)];
      throw new ConfigError(this.path, [new Problem('', '', `no model or tier ${repr(name)}${nearest(name, known)}`)]);
    }
    const pool = found.pool ?? null;
    const key = pool === null ? `name ${name}` : `pool ${pool}`;
    const made = this.#limiters.get(key);
    if (made === undefined) {
      const limiter = found.limiter({ name: pool ?? name, ...options });
      this.#limiters.set(key, limiter);
      return limiter;
    }
    if (options !== undefined && Object.keys(options).length > 0) {
      throw rangeError(`options: ${Object.keys(options).join(', ')}: the limiter of ${repr(name)} is there already`);
    }
    return made;
  }
}

/** An object of nothing but what is put into it, whatever the names. */
function byName(pairs) {
  return Object.freeze(Object.assign(Object.create(null), Object.fromEntries(pairs)));
}

/** One thing wrong with a file. line: where it is, from 1; 0: not known, or the file as a whole. */
class Problem {
  constructor(key, value, message, line = 0) {
    this.key = key;
    this.value = value;
    this.message = message;
    this.line = line;
    Object.freeze(this);
  }

  toString() {
    if (this.key === '') return this.message;
    return this.value === '' ? `${this.key}: ${this.message}` : `${this.key} = ${this.value}: ${this.message}`;
  }
}

// -- Reading --

function load(source, options) {
  const { environ = process.env, secrets = true, parse } = optionsOf(options, ['environ', 'secrets', 'parse']);
  functionOf('parse', parse);
  const file = fileOf(source);
  const text = decode(file, fs.readFileSync(file));
  const isJson = path.extname(file).toLowerCase() === '.json';
  const isToml = parse === undefined && !isJson;
  const read = parse ?? (isJson ? JSON.parse : tomlParser());
  let document;
  try {
    document = read(text);
  } catch (error) {
    throw new ConfigError(file, [new Problem('', '', `not ${isJson ? 'JSON' : 'TOML'}: ${said(error)}`)]);
  }
  try {
    return new Reader(file, environ, secrets).read(document);
  } catch (error) {
    throw isToml && error instanceof ConfigError ? new ConfigError(file, withLines(read, text, error.problems)) : error;
  }
}

function configure(document, options) {
  const { environ = process.env, secrets = true, name = 'configuration' } =
    optionsOf(options, ['environ', 'secrets', 'name']);
  return new Reader(String(name), environ, secrets).read(document);
}

function fileOf(source) {
  if (source instanceof URL) return fileURLToPath(source);
  if (typeof source === 'string') return source;
  throw typeError(`source: must be a path or a file URL, not ${kindOf(source)}`);
}

function decode(file, bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ConfigError(file, [new Problem('', '', `not UTF-8: ${error.message}`)]);
  }
}

/** What a parser said, on one line, with the place. */
function said(error) {
  const message = String(error.message).split('\n')[0].replace(/^Invalid TOML document: /, '');
  return Number.isInteger(error.line) ? `${message} (at line ${error.line}, column ${error.column})` : message;
}

function tomlParser() {
  const library = optional('smol-toml');
  if (library === null) {
    const message = 'load: TOML needs smol-toml: npm install smol-toml; or give { parse }, or a JSON file';
    throw Object.assign(new Error(message), { code: 'RLIMIT_NOT_INSTALLED' });
  }
  // Whole numbers as bigint, so that 50.0 is not taken for 50: a file is right or wrong in every language.
  return (text) => plain(library.parse(text, { integersAsBigInt: true }));
}

/** The same with their lines. A key is where the file, cut off after that line, is TOML and first has it: that is
    exact, as no
    cut within a value is TOML. */
function withLines(parse, text, problems) {
  const lines = text.split('\n');
  const cut = new Map([[0, {}]]);
  const upto = (count) => { // the document of so many lines; null if that is none
    if (!cut.has(count)) cut.set(count, parsed(parse, `${lines.slice(0, count).join('\n')}\n`));
    return cut.get(count);
  };
  return problems.map(({ key, value, message }) =>
    new Problem(key, value, message, lineOf(pathOf(parse, key), upto, lines.length)));
}

function parsed(parse, text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}

function lineOf(full, upto, lines) {
  let [least, most] = [0, lines]; // the last cut known to lack it, the first known to have it
  let names = full;
  // What a table lacks is said of the table.
  while (names.length > 0 && !reaches(upto(most), names)) names = names.slice(0, -1);
  while (names.length > 0) {
    const between = cutBetween(least, most, upto);
    if (between === null) return least + 1;
    if (reaches(upto(between), names)) most = between;
    else least = between;
  }
  return 0;
}

/** A cut between two that is TOML, near the middle. */
function cutBetween(least, most, upto) {
  const middle = Math.floor((least + most) / 2);
  for (let count = middle; count > least; count--) if (upto(count) !== null) return count;
  for (let count = middle + 1; count < most; count++) if (upto(count) !== null) return count;
  return null;
}

function pathOf(parse, key) {
  const names = [];
  for (let at = key === '' ? null : parsed(parse, `${key} = 0`); isTable(at); at = at[names[names.length - 1]]) {
    names.push(Object.keys(at)[0]);
  }
  return names;
}

function reaches(document, names) {
  let at = document;
  for (const name of names) {
    if (!isTable(at) || !Object.hasOwn(at, name)) return false;
    at = at[name];
  }
  return true;
}

/** A number written with a point, though it is whole. */
class Float {
  constructor(value) {
    this.value = value;
  }
}

function plain(value) {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === 'number') return Number.isInteger(value) ? new Float(value) : value;
  if (Array.isArray(value)) return value.map(plain);
  if (!isTable(value)) return value;
  return byName(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

function isTable(value) {
  if (value === null || typeof value !== 'object') return false;
  const kind = Object.getPrototypeOf(value);
  return kind === null || kind === Object.prototype;
}

/** A value that will not do; the message says what it must be. */
class Bad extends Error {}

/** Reads a document and gathers what is wrong with it. */
class Reader {
  constructor(file, environ, secrets) {
    this.file = file;
    this.environ = environ;
    this.secrets = secrets;
    this.problems = [];
  }

  read(document) {
    if (!isTable(document)) {
      throw new ConfigError(this.file, [new Problem('', '', 'must be an object with tiers and models')]);
    }
    this.known('', document, ['tiers', 'models']);
    const tiers = this.tables('tiers', document);
    const models = this.tables('models', document);
    const readTiers = [...tiers].map(([name, table]) => [name, this.tier(name, table)]);
    const readModels = [...models].map(([name, table]) => [name, this.model(name, table, tiers, models)]);
    for (const name of models.keys()) {
      if (tiers.has(name)) this.problem(`models.${quoted(name)}`, undefined, 'there is a tier of this name too');
    }
    this.pools(readModels);
    if (tiers.size + models.size + this.problems.length === 0) {
      this.problem('', undefined, 'has neither [tiers.NAME] nor [models.NAME]');
    }
    if (this.problems.length > 0) throw new ConfigError(this.file, this.problems);
    return new Config(this.file, readTiers, readModels);
  }

  // -- Tables and keys --

  problem(key, value, message) {
    this.problems.push(new Problem(key, value === undefined ? '' : shownAs(key, value), message));
  }

  tables(name, document) {
    const found = new Map();
    if (!Object.hasOwn(document, name)) return found;
    if (!isTable(document[name])) {
      this.problem(name, document[name], `must be tables: [${name}.NAME]`);
      return found;
    }
    for (const [key, table] of Object.entries(document[name])) {
      if (isTable(table)) found.set(key, table);
      else this.problem(`${name}.${quoted(key)}`, table, `must be a table: [${name}.${quoted(key)}]`);
    }
    return found;
  }

  known(where, table, known) {
    for (const [key, value] of Object.entries(table)) {
      if (known.includes(key)) continue;
      const full = where === '' ? quoted(key) : `${where}.${quoted(key)}`;
      if (SECRET.test(key)) {
        this.problems.push(new Problem(full, '(not shown)', 'a secret does not belong in the file: ' +
          'api_key_env = "NAME" names the environment variable that has it'));
      } else if (key.endsWith('_per_month')) {
        this.problem(full, value, `unknown key; did you mean ${repr(key.replace('_per_', '_per_calendar_'))}?`);
      } else this.problem(full, value, `unknown key${nearest(key, known)}`);
    }
  }

  /** read(value), or undefined if it is not there or will not do. */
  try(where, table, key, read) {
    if (!Object.hasOwn(table, key)) return undefined;
    try {
      return read(table[key]);
    } catch (error) {
      const ours = error instanceof Bad || error instanceof RangeError || error instanceof TypeError;
      if (!ours) throw error;
      this.problem(`${where}.${quoted(key)}`, table[key], error.message.replace('amount: amount:', 'amount:'));
      return undefined;
    }
  }

  // -- Limits --

  tier(name, table) {
    const where = `tiers.${quoted(name)}`;
    this.known(where, table, TIER_KEYS);
    return new Tier(name, this.limits(where, table, table));
  }

  /** The options of a Limiter. Each limit is tried alone, so that what the limiter refuses is said of its key. own:
      what the file
      says here, and not in a tier. */
  limits(where, table, own) {
    const before = this.problems.length;
    const policy = this.try(where, table, 'policy', (value) => oneOf(value, Object.keys(POLICIES))) ?? 'bucket';
    const guard = this.try(where, table, 'guard', (value) => secondsOf(value, 0, 86400, '86400')) ?? 0;
    const meters = new Map();
    for (const key of Object.keys(table)) {
      if (!LIMITS.has(key)) continue;
      const { meter, unit } = LIMITS.get(key);
      const fits = guard < (SECONDS[unit] ?? Infinity);
      const limit = this.try(where, table, key, (value) => limitOf(value, meter, unit, policy, fits ? guard : 0));
      if (limit === undefined) continue;
      if (fits || (isTable(table[key]) && table[key].guard !== undefined)) {
        meters.set(METERS[meter], [...(meters.get(METERS[meter]) ?? []), limit]);
      } else this.tooLong(where, own, key, guard, table[key]);
    }
    return this.withOthers(where, table, meters, before);
  }

  /** The guard of all limits is none for this one: said of the guard where that is said, else of the limit. */
  tooLong(where, own, key, guard, value) {
    const [at, of] = Object.hasOwn(own, 'guard') ? ['guard', own.guard] : [key, value];
    this.problem(`${where}.${at}`, of,
      `the guard, ${guard} s, must be less than the period of ${key}; it can have one of its ` +
      'own: { amount = ..., guard = ... }');
  }

  /** The limits, and what else a Limiter is told. */
  withOthers(where, table, meters, before) {
    const options = {};
    for (const [meter, limits] of meters) options[meter] = limits.length === 1 ? limits[0] : Object.freeze(limits);
    for (const [key, read] of [['concurrency', concurrencyOf], ['ramp', rampOf], ['provider', providerOf],
      ['queue', queueOf], ['ageing', (value) => secondsOf(value, 0, 1e9, '1e+09') * 1000]]) {
      const value = this.try(where, table, key, read);
      if (value !== undefined) options[key] = value;
    }
    if (this.problems.length === before) this.whole(where, options);
    return options;
  }

  /** Limits that are right alone may be too many together. */
  whole(where, options) {
    const limits = Object.keys(options).filter((key) => !['provider', 'queue', 'ageing'].includes(key));
    if (limits.length === 0 && options.provider === undefined) {
      this.problem(where, undefined, 'has no limit: requests_per_minute, tokens_per_minute, concurrency ..., ' +
        'or a provider to learn from');
      return;
    }
    try {
      tryOut(options);
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
      this.problem(where, undefined, error.message);
    }
  }

  // -- Models --

  model(name, table, tiers, models) {
    const where = `models.${quoted(name)}`;
    this.known(where, table, MODEL_KEYS);
    const tier = this.try(where, table, 'tier', (value) => nameIn(value, [...tiers.keys()], 'tier'));
    const own = { tier };
    for (const [key, read] of [['id', textOf], ['base_url', urlOf], ['api_key_env', (value) => this.variable(value)],
      ['pool', textOf], ['input_price', priceIn], ['output_price', priceIn], ['context_tokens', amountOf],
      ['max_output_tokens', amountOf], ['fallback', (value) => namesIn(value, name, [...models.keys()])]]) {
      own[key] = this.try(where, table, key, read);
    }
    const options = this.modelLimits(where, table, tier, tiers);
    const missing = ['input_price', 'output_price'].filter((key) => !Object.hasOwn(table, key));
    if (missing.length > 0 && options.microdollars !== undefined) {
      this.problem(where, undefined, `has a limit of dollars, and no ${missing.join(' and no ')} to count them by ` +
        '(dollars for a million tokens)');
    }
    return new Model(name, options, own, this);
  }

  /** What is wrong with a tier is said once, of the tier: of a model only what it says itself. */
  modelLimits(where, table, tier, tiers) {
    const mine = Object.entries(table).filter(([key]) => TIER_KEYS.includes(key));
    if (tier === undefined) return Object.hasOwn(table, 'tier') ? {} : this.limits(where, byName(mine), table);
    const before = this.problems.length;
    const options = this.limits(where, byName([...Object.entries(tiers.get(tier)), ...mine]), table);
    const own = Object.keys(table).map((key) => `${where}.${quoted(key)}`);
    const said = this.problems.splice(before);
    this.problems.push(...said.filter(({ key }) => own.includes(key) || key === where));
    return options;
  }

  variable(value) {
    if (typeof value !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(value) || LOOKS_SECRET.test(value)) {
      throw new Bad('must be the name of an environment variable, not the key itself');
    }
    const key = this.environ[value];
    if (this.secrets && (key === undefined || key.trim() === '')) {
      throw new Bad(`environment variable ${value} is ${key === undefined ? 'not set' : 'empty'}`);
    }
    return value;
  }

  pools(models) {
    const first = new Map();
    for (const [name, model] of models) {
      if (model.pool === null) continue;
      const other = first.get(model.pool);
      if (other === undefined) first.set(model.pool, model);
      else if (!sameOptions(other.options, model.options)) {
        this.problem(`models.${quoted(name)}.pool`, model.pool,
          `limits differ from those of models.${quoted(other.name)}, with which it shares them`);
      }
    }
  }
}

/** Makes a limiter, to see whether it can be made. */
function tryOut(options) {
  new Limiter({ ...options, queue: 0 }).close();
}

function sameOptions(a, b) {
  const text = (options) => Object.keys(options).sort().map((key) => `${key}: ${String(options[key])}`).join('\n');
  return text(a) === text(b);
}

// -- Values --

function quoted(key) {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : inQuotes(key);
}

function repr(text) {
  return text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replace(/'/g, "\\'")}'`;
}

/** A text in quotes, with what cannot be seen escaped. */
function inQuotes(text) {
  return JSON.stringify(text);
}

/** A value as the file has it, or about; never a secret. Nothing of one that holds tables. */
function shownAs(key, value) {
  if (Array.isArray(value)) return short('[', value.map((item) => shownAs(key, item)), ']');
  if (isTable(value)) {
    const items = Object.entries(value).map(([name, item]) => [name, isTable(item) ? '' : shownAs(name, item)]);
    return short('{ ', items.map(([name, text]) => text && `${quoted(name)} = ${text}`), ' }');
  }
  if (SECRET.test(key)) return '(not shown)';
  if (typeof value === 'string') {
    if (LOOKS_SECRET.test(value) || value.includes('@')) return '(not shown)';
    const points = [...value];
    return inQuotes(points.length <= 80 ? value : `${points.slice(0, 77).join('')}...`);
  }
  if (value instanceof Float) return /e/.test(String(value.value)) ? String(value.value) : `${value.value}.0`;
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value).replace('Infinity',
    'inf').toLowerCase();
  return value instanceof Date ? value.toISOString() : String(value);
}

function short(begin, items, end) {
  const text = begin + items.join(', ') + end;
  return items.length > 0 && items.every(Boolean) && [...text].length <= 120 ? text : '';
}

function isWhole(value) {
  return Number.isInteger(value) || typeof value === 'bigint';
}

/** A number, or NaN. */
function numberOf(value) {
  const number = value instanceof Float ? value.value : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : NaN;
}

function isIn(value, least, most) {
  return isWhole(value) && value >= least && value <= most;
}

function oneOf(value, names) {
  if (names.includes(value)) return value;
  throw new Bad(`must be one of ${listed(names)}${typeof value === 'string' ? nearest(value, names) : ''}`);
}

function listed(names) {
  return names.map((name) => `"${name}"`).join(', ');
}

function amountOf(value) {
  if (!isIn(value, 1, AMOUNT_MOST)) throw new Bad(`must be ${AMOUNTS}`);
  return Number(value);
}

function secondsOf(value, least, most, mostShown) {
  const seconds = numberOf(value);
  if (!(seconds >= least && seconds <= most)) throw new Bad(`must be a number of seconds, ${least} to ${mostShown}`);
  return seconds;
}

function queueOf(value) {
  if (!isIn(value, 0, 2 ** 31)) throw new Bad('must be a whole number, 0 to 2^31');
  return Number(value);
}

function textOf(value) {
  if (typeof value !== 'string' || value.trim() === '') throw new Bad('must be a text that is not empty');
  return value;
}

function priceIn(value) {
  const price = numberOf(value);
  try {
    priceOf('price', price);
  } catch {
    throw new Bad('must be 0 to 10^9 dollars for a million tokens');
  }
  return price;
}

const URL_PARTS = /^(https?):\/\/([^/?#]*)[^?#]*(\?[^#]*)?(#.*)?$/i;

function urlOf(value) {
  const message = 'must be a URL such as https://relay.example.com/v1';
  if (typeof value !== 'string' || /[\p{C}\p{Z}]/u.test(value)) throw new Bad(message);
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(value)?.[1] ?? '';
  if (authority.includes('@')) throw new Bad('must not hold a user name or password');
  const [, , host = '', query = '', fragment = ''] = URL_PARTS.exec(value) ?? [];
  if (/^(:|$)/.test(host) || /:0*$/.test(host) || query.length > 1 || fragment.length > 1) throw new Bad(message);
  try {
    return new URL(value) && value;
  } catch {
    throw new Bad(message);
  }
}

function providerOf(value) {
  return oneOf(textOf(value), [...native.PROVIDERS]);
}

function nameIn(value, known, what) {
  if (known.includes(value)) return value;
  const near = typeof value === 'string' ? nearest(value, known) : '';
  throw new Bad(`no such ${what}: ${shownAs('', value) || 'a table'}${near}`);
}

function namesIn(value, own, known) {
  if (!Array.isArray(value)) throw new Bad('must be a list of names of models');
  for (const name of value) {
    if (name === own) throw new Bad('names the model itself');
    nameIn(name, known, 'model');
  }
  if (new Set(value).size !== value.length) throw new Bad('names a model twice');
  return [...value];
}

function membersIn(value, known) {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw new Bad(`${key}: unknown key${nearest(key, known)}`);
  }
}

/** An amount in the meter's unit: dollars as microdollars. */
function countedIn(meter, value, name) {
  if (meter !== 'dollars') {
    if (!isIn(value, 1, AMOUNT_MOST)) throw new Bad(`${name}must be ${AMOUNTS}`);
    return Number(value);
  }
  const dollars = numberOf(value);
  if (!(dollars >= 0.000001 && dollars <= AMOUNT_MOST / 1e6)) {
    throw new Bad(`${name}must be 0.000001 to 1,099,511 dollars`);
  }
  return Math.max(roundEven(dollars * 1e6), 1);
}

/** To the nearest; of two as near, the even one, as others round. */
function roundEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** A Limit, tried in a limiter of its own. */
function limitOf(value, meter, unit, policy, guard) {
  const table = isTable(value) ? value : { amount: value };
  const calendar = CALENDARS[unit];
  membersIn(table, calendar ? ['amount', 'follow', 'utc_offset'] : ['amount', 'burst', 'guard', 'policy', 'follow']);
  if (table.amount === undefined) throw new Bad('amount is missing');
  const amount = countedIn(meter, table.amount, isTable(value) ? 'amount: ' : '');
  let limit = calendar ? calendar(amount, { utcOffset: offsetOf(table.utc_offset ?? 0) * 1000 }) :
    refilling(table, meter, unit, policy, guard, amount);
  if (table.follow !== undefined) {
    if (!FOLLOWS.includes(table.follow)) throw new Bad(`follow: must be one of ${listed(FOLLOWS)}`);
    limit = limit.replace({ follow: table.follow });
  }
  tryOut({ [METERS[meter]]: limit });
  return limit;
}

function offsetOf(value) {
  if (!isIn(value, -86400, 86400)) {
    throw new Bad('utc_offset: must be a whole number of seconds east of UTC, -86400 to 86400');
  }
  return Number(value);
}

function refilling(table, meter, unit, usualPolicy, usualGuard, amount) {
  const { policy = usualPolicy } = table;
  if (!Object.keys(POLICIES).includes(policy)) throw new Bad(`policy: must be one of ${listed(Object.keys(POLICIES))}`);
  const seconds = SECONDS[unit];
  const guard = table.guard === undefined ? usualGuard : numberOf(table.guard);
  if (!(guard >= 0 && guard < seconds)) {
    throw new Bad(`guard: must be a number of seconds, 0 to less than ${seconds}`);
  }
  const options = { guard: guard * 1000 };
  if (table.burst !== undefined) {
    if (policy !== 'bucket') throw new Bad('burst: only with policy = "bucket"');
    options.burst = countedIn(meter, table.burst, 'burst: ');
  }
  return POLICIES[policy](amount, seconds * 1000, options);
}

function concurrencyOf(value) {
  if (isTable(value)) {
    membersIn(value, ['least', 'most']);
    const { least = 1, most = 64 } = value;
    if (!(isIn(least, 1, 2 ** 31) && isIn(most, least, 2 ** 31))) {
      throw new Bad('least and most: must be whole numbers, 1 <= least <= most <= 2^31, ' +
        `not ${shownAs('', least)} and ${shownAs('', most)}`);
    }
    return adaptive({ least: Number(least), most: Number(most) });
  }
  if (!isIn(value, 1, 2 ** 31)) throw new Bad('must be a whole number, 1 to 2^31, or { least = 1, most = 64 }');
  return Number(value);
}

function rampOf(value) {
  if (value === true) return ramp();
  if (!isTable(value)) throw new Bad('must be true or { floor = 15, hold = 900 }');
  membersIn(value, ['floor', 'hold']);
  const { floor = 15, hold = 900 } = value;
  if (!isIn(floor, 1, AMOUNT_MOST)) throw new Bad(`floor: must be ${AMOUNTS}`);
  const seconds = numberOf(hold);
  if (!(seconds >= 1 && seconds <= 1e7)) throw new Bad('hold: must be a number of seconds, 1 to 10^7');
  return ramp({ floor: Number(floor), hold: seconds * 1000 });
}

// -- The name that was meant --

/** The most similar name, if one is similar enough: after Ratcliff and Obershelp, from 0.6 on. */
function nearest(name, known) {
  let best = null;
  for (const candidate of known) {
    const ratio = similarity(candidate, String(name));
    const better = best === null || ratio > best.ratio || (ratio === best.ratio && candidate > best.candidate);
    if (ratio >= 0.6 && better) best = { ratio, candidate };
  }
  return best === null ? '' : `; did you mean ${repr(best.candidate)}?`;
}

/** Twice what two texts have in common, by their length: 0 to 1. */
function similarity(a, b) {
  return a.length + b.length === 0 ? 1 : 2 * inCommon(a, b) / (a.length + b.length);
}

/** The longest part that is in both, and what is in common before and after it. */
function inCommon(a, b) {
  let [size, inA, inB] = [0, 0, 0];
  let before = new Array(b.length + 1).fill(0); // of a common part that ends at b[j - 1], the length
  for (let i = 0; i < a.length; i++) {
    const here = new Array(b.length + 1).fill(0);
    for (let j = 0; j < b.length; j++) {
      if (a[i] !== b[j]) continue;
      here[j + 1] = before[j] + 1;
      if (here[j + 1] > size) [size, inA, inB] = [here[j + 1], i - here[j + 1] + 1, j - here[j + 1] + 1];
    }
    before = here;
  }
  if (size === 0) return 0;
  return size + inCommon(a.slice(0, inA), b.slice(0, inB)) + inCommon(a.slice(inA + size), b.slice(inB + size));
}

module.exports = { Config, Model, Problem, Tier, configure, load };
