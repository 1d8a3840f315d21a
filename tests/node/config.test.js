'use strict';

// Tiers and models from files: what is right works, what is wrong is said by file, key and value, as Python says it.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { after, test } = require('node:test');
const { inspect } = require('node:util');
const { ManualClock, adaptive, calendarDay, calendarMonth, configure, fixed, load, per, perDay, perHour, perMinute,
  perSecond,
  ramp, sliding } = require('rlimit');
const { MISSING, ROOT, python } = require('./python.js');

const FOLDER = fs.mkdtempSync(path.join(os.tmpdir(), 'rlimit-config-'));
after(() => fs.rmSync(FOLDER, { recursive: true }));

const GOOD = `
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
`;

let files = 0;

/** A file with this text; its name. */
function write(text, ending = '.toml') {
  const file = path.join(FOLDER, `limits${files += 1}${ending}`);
  fs.writeFileSync(file, text);
  return file;
}

const read = (text, options) => load(write(text), { environ: { RELAY_KEY: 'k' }, ...options });

function problems(text, options) {
  const file = write(text);
  try {
    load(file, { environ: { RELAY_KEY: 'k' }, ...options });
  } catch (error) {
    assert.equal(error.code, 'RLIMIT_CONFIG', String(error));
    assert.equal(error.file, file);
    assert.equal(error.message, error.problems.map((problem) =>
      `${file}${problem.line > 0 ? `:${problem.line}` : ''}: ${problem}`).join('\n'));
    return error.problems.map(({ key, value, message, line }) => [key, value, message, line]);
  }
  return assert.fail(`nothing is said of ${text}`);
}

function only(text, options) {
  const found = problems(text, options);
  assert.equal(found.length, 1, inspect(found));
  return found[0].slice(0, 3);
}

const same = (found, expected, message) => assert.equal(String(found), String(expected), message);

// -- What is right --

test('tiers and models side by side', () => {
  const config = read(GOOD);
  assert.deepEqual([Object.keys(config.tiers), Object.keys(config.models)], [['standard'], ['claude-sonnet', 'small']]);
  const { 'claude-sonnet': model, small } = config.models;
  assert.deepEqual([model.id, model.tier, model.provider, model.baseUrl, model.apiKey, model.fallback],
    ['claude-sonnet',
    'standard', 'anthropic', 'https://relay.example.com/v1', 'k', ['small']]);
  same(model.options.requests, perMinute(50));
  assert.equal(model.options.concurrency, 10);
  same(small.options.requests, perMinute(200));
  same(small.options.tokens, perMinute(80000));
  assert.deepEqual([small.apiKey, small.pool, small.inputPrice], [null, null, null]);
});

test('JSON says the same, and needs nothing installed', () => {
  const document = { tiers: { t: { requests_per_minute: 50, guard: 0.5 } },
    models: { m: { tier: 't', provider: 'openai', id: 'gpt', ageing: 2.5, concurrency: { least: 2, most: 9 } } } };
  const made = [load(write(JSON.stringify(document), '.json')), load(write(JSON.stringify(document), '.JSON')),
    configure(document),
    load(write('anything', '.yaml'), { parse: () => document })];
  for (const config of made) {
    const { m } = config.models;
    assert.deepEqual([m.id, m.options.provider, m.options.ageing], ['gpt', 'openai', 2500]);
    same(m.options.requests, per(50, 60000, { guard: 500 }));
    same(m.options.concurrency, adaptive({ least: 2, most: 9 }));
    m.limiter({ clock: new ManualClock() });
  }
  assert.throws(() => configure({ tiers: { t: { concurrency: 1.5 } } }),
    { message: 'configuration: tiers.t.concurrency = 1.5: must be a whole number, 1 to 2^31, ' +
      'or { least = 1, most = 64 }' });
  assert.throws(() => load(write('{', '.json')), { code: 'RLIMIT_CONFIG', message: /not JSON: / });
  for (const bad of [null, [], 5, 'text', undefined]) assert.throws(() => configure(bad, { name: 'x' }), {
    code: 'RLIMIT_CONFIG' });
});

test('the example has the tiers of its own', () => {
  for (const source of [path.join(ROOT, 'examples', 'python', 'limits.toml'),
    pathToFileURL(path.join(ROOT, 'examples', 'python', 'limits.toml'))]) {
    const config = load(source, { secrets: false });
    const tiers = Object.entries(config.tiers).map(([name, { options }]) =>
      [name, options.requests.amount, options.tokens.amount, options.concurrency]);
    assert.deepEqual(tiers, [['free', 5, 10000, 1], ['standard', 50, 80000, 10], ['pro', 200, 200000, 25],
      ['enterprise', 1000, 1000000, 100]]);
    assert.ok(Object.keys(config.models).length >= 2);
  }
});

test('a limiter is made once for each name', () => {
  const config = read(GOOD);
  const clock = new ManualClock();
  const first = config.limiter('claude-sonnet', { clock });
  assert.equal(config.limiter('claude-sonnet'), first);
  assert.notEqual(config.limiter('small'), first);
  assert.equal(first.name, 'claude-sonnet');
  assert.equal(config.limiter('standard'), config.limiter('standard'));
  assert.throws(() => config.limiter('small', { clock }),
    { name: 'RangeError', message: "options: clock: the limiter of 'small' is there already" });
  assert.notEqual(config.tiers.standard.limiter(), config.tiers.standard.limiter());
});

test('a limiter limits as the file says', () => {
  const limiter = read(GOOD).limiter('small', { clock: new ManualClock() });
  const held = Array.from({ length: 10 }, () => limiter.tryAcquire({ inputTokens: 1 }));
  assert.ok(held.every(Boolean));
  assert.equal(limiter.tryAcquire({ inputTokens: 1 }), null); // concurrency
  for (const permit of held) permit.cancel();
  assert.throws(() => limiter.tryAcquire({ inputTokens: 80001 }), { code: 'RLIMIT_NEVER' });
});

test('an unknown name is an error with a suggestion', () => {
  assert.throws(() => read(GOOD).limiter('claude-sonet'),
    { code: 'RLIMIT_CONFIG', message: /\.toml: no model or tier 'claude-sonet'; did you mean 'claude-sonnet'\?$/ });
  for (const name of [5, undefined]) assert.throws(() => read(GOOD).limiter(name), { name: 'TypeError',
    message: /^name: / });
  for (const name of ['toString', '__proto__', '']) {
    assert.throws(() => read(GOOD).limiter(name), { code: 'RLIMIT_CONFIG' });
  }
});

test('pools share a limiter', () => {
  const text = '[models.a]\nrequests_per_minute = 5\npool = "p"\n[models.b]\nrequests_per_minute = 5\npool = "p"\n';
  const config = read(text);
  assert.equal(config.limiter('a'), config.limiter('b'));
  const [key, value, message] = only(text.replace('5', '6'));
  assert.deepEqual([key, value], ['models.b.pool', '"p"']);
  assert.match(message, /models\.a/);
});

test('every form of a limit', () => {
  for (const [line, keyword, limit] of [
    ['requests_per_second = 5', 'requests', perSecond(5)],
    ['input_tokens_per_hour = 5', 'inputTokens', perHour(5)],
    ['output_tokens_per_day = 5', 'outputTokens', perDay(5)],
    ['custom_per_minute = { amount = 5, burst = 2, guard = 0.5 }', 'custom', per(5, 60000, { burst: 2, guard: 500 })],
    ['tokens_per_minute = { amount = 5, policy = "sliding" }', 'tokens', sliding(5, 60000)],
    ['policy = "fixed"\nrequests_per_minute = 5', 'requests', fixed(5, 60000)],
    ['guard = 0.1\nrequests_per_minute = 5', 'requests', per(5, 60000, { guard: 100 })],
    ['guard = 0.9\nrequests_per_second = 5', 'requests', per(5, 1000, { guard: 900 })],
    ['guard = 2.0\nrequests_per_second = { amount = 5, guard = 0.1 }', 'requests', per(5, 1000, { guard: 100 })],
    ['requests_per_calendar_day = { amount = 5, utc_offset = -28800 }', 'requests', calendarDay(5, {
      utcOffset: -28800000 })],
    ['dollars_per_calendar_month = 12.5', 'microdollars', calendarMonth(12500000)],
    ['dollars_per_day = 0.0000025', 'microdollars', perDay(2)],
    ['requests_per_minute = { amount = 5, follow = "follow" }', 'requests', perMinute(5).replace({ follow: 'follow' })],
    ['concurrency = 7', 'concurrency', 7],
    ['concurrency = { least = 2, most = 9 }', 'concurrency', adaptive({ least: 2, most: 9 })],
    ['ramp = true\nconcurrency = 1', 'ramp', ramp()],
    ['ramp = { floor = 5, hold = 60 }\nconcurrency = 1', 'ramp', ramp({ floor: 5, hold: 60000 })],
    ['queue = 0\nconcurrency = 1', 'queue', 0],
    ['ageing = 30\nconcurrency = 1', 'ageing', 30000]]) {
    const tier = read(`[tiers.t]\n${line}`).tiers.t;
    same(tier.options[keyword], limit, line);
    tier.limiter({ clock: new ManualClock() }).close();
  }
  const { requests } = read('[tiers.t]\nrequests_per_minute = 5\nrequests_per_day = 100').tiers.t.options;
  assert.deepEqual(requests.map(String), [perMinute(5), perDay(100)].map(String));
  read('[models.m]\nprovider = "openai"').limiter('m').close(); // it learns
});

test('files that cannot be read', () => {
  assert.equal(Object.keys(load(write(`\ufeff${GOOD}`), { secrets: false }).models).length, 2);
    // as some editors save it
  assert.throws(() => load(path.join(FOLDER, 'absent.toml')), { code: 'ENOENT' });
  assert.throws(() => load(write(Buffer.from('[tiers."\xe9"]', 'latin1'))), { code: 'RLIMIT_CONFIG',
    message: /\.toml: not UTF-8/ });
  for (const source of [{}, null, undefined, 5]) assert.throws(() => load(source), { name: 'TypeError',
    message: /^source: must be a path/ });
  assert.throws(() => load(write(GOOD), { enviroment: {} }), { name: 'TypeError',
    message: /^enviroment: unknown option/ });
  assert.throws(() => load(write(GOOD), { parse: 3 }), { name: 'TypeError', message: /^parse: / });
});

test('the cost of a model has its price', () => {
  const { models } = read(GOOD);
  const body = { messages: [{ role: 'user', content: 'x'.repeat(4000) }], max_tokens: 100 };
  assert.deepEqual({ ...models['claude-sonnet'].cost(body) },
    { requests: 1, inputTokens: 1000, outputTokens: 100, microdollars: 4500 });
  assert.deepEqual({ ...models.small.cost(body, { rule: 'words' }) }, { requests: 1, inputTokens: 2,
    outputTokens: 100 });
});

// -- What is wrong --

test('an error names file, key and value', () => {
  assert.deepEqual(only('[tiers.free]\nrequests_per_minute = 0\nconcurrency = 1'),
    ['tiers.free.requests_per_minute', '0', 'must be a whole number, 1 to 2^40']);
});

const TIER_LINES = [
  ...['0', '-1', '1099511627777', '50.0', 'true', '"50"', '[50]', 'nan', '2024-01-01', '1e3', '-inf'].map(
    (value) => `tokens_per_minute = ${value}`),
  'requests_per_minute = { amount = 5, burst = 0 }', 'requests_per_minute = { amount = 5, guard = 60 }',
  'requests_per_minute = { amount = 5, brust = 3 }', 'requests_per_minute = { burst = 3 }',
  'requests_per_minute = { amount = 5, policy = "slidng" }',
  'requests_per_minute = { amount = 5, policy = "sliding", burst = 3 }',
    'requests_per_minute = { amount = 5, follow = "leader" }',
  'requests_per_calendar_day = { amount = 5, utc_offset = 100000 }',
    'requests_per_calendar_day = { amount = 5, utc_offset = 1.0 }',
  'requests_per_calendar_day = { amount = 5, burst = 5 }', 'dollars_per_day = 0', 'dollars_per_day = inf',
    'dollars_per_day = "5"',
  'concurrency = 0', 'concurrency = { least = 5, most = 2 }', 'concurrency = { lest = 5 }', 'concurrency = "ten"',
  'concurrency = 2.0', "concurrency = [1, [2, 'x']]", 'queue = "a\\nb"', 'concurrency = { api_key = "hush" }',
  'concurrency = ["sk-hush"]', `queue = [${'1234567890, '.repeat(40)}]`,'ramp = false', 'ramp = { hold = 0 }',
    'ramp = { floor = 1.0 }', 'policy = "buckt"', 'policy = 3',
  'guard = -1', 'guard = "1"', 'provider = "antropic"', 'provider = 3', 'queue = -1', 'queue = 1.0', 'ageing = -1',
    'ageing = inf',
  'requests_per_minut = 5', 'requests_per_month = 5', 'xyzzy = 5', 'burst = 5', 'request_per_minute = 5',
    'Concurrency = 5',
  'tokens_per_minutes = 5', 'input_tokens_per_calendar_dya = 5', 'api_key = "sk-secret"', 'token = "x"',
    'password = "p"'];

const MODEL_LINES = [
  'tier = "standrad"', 'tier = 3', 'id = ""', 'fallback = ["m"]', 'fallback = ["n"]', 'fallback = "n"',
  'fallback = [3]', 'fallback = ["n", "m"]', 'fallback = [{ a = 1 }]', 'input_price = -1', 'output_price = nan',
    'output_price = "3"', 'context_tokens = 0', 'pool = 5',
  'max_tokens = 100', 'api_key_env = "sk-ant-1234567890"', 'api_key_env = "sk_live_12345"',
    'api_key_env = "not a name"',
  'api_key_env = ""', 'api_key_env = "1KEY"', 'api_key_env = "ABSENT_KEY"', 'secret = "hush"',
    'Authorization = "Bearer x"',
  'base_url = "https://me:hush@relay.example.com"', `id = 5`, `pool = " "`, `tier = "${'x'.repeat(100)}"`,
  'base_url = 3', ...['', 'relay', 'relay.example.com/v1', 'ftp://relay', 'https://', 'https:///v1', 'http://a b/',
    'https://x/?key=1',
    'http://x\\u0007/', 'http://x/#here', 'http://:80/', 'http://x:0/', 'mailto:a@b'].map((url) =>
      `base_url = "${url}"`)];

const LINES = `# tiers
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
`;
const GUARDED = '[tiers.t]\nrequests_per_minute = 50\nguard = 2\n';
const DOCUMENTS = [
  LINES, 'tiers.t.concurrency = 0', '\r\n[tiers.t]\r\nconcurrency = 0', '\n\n[tiers.t]',
    '[tiers."a\\"b"]\nconcurrency = 0',
  '[tiers]\nt = { concurrency = 0 }', `${GUARDED}requests_per_second = 5`,
  `${GUARDED}[models.m]\ntier = 't'\nrequests_per_second = 5`,
    `${GUARDED}requests_per_second = 5\n[models.m]\ntier = 't'`,
  "[tiers.t]\nrequests_per_second = 5\n[models.m]\ntier = 't'\nguard = 2.5",
  ...TIER_LINES.map((line) => `[tiers.t]\n${line}${line.startsWith('concurrency') ? '' : '\nconcurrency = 1'}`),
  ...MODEL_LINES.map((line) => `[tiers.standard]\nconcurrency = 1\n[models.m]\n${line}${
    line.startsWith('tier') ? '' : '\ntier = "standard"'}`),
  'tiers = 3', '[tiers]\nstandard = 3', '[tier.standard]\nconcurrency = 1', '', '[tiers.t]', "[models.m]\nid = 'x'",
  "[tiers.t]\nconcurrency = 1\n[models.t]\ntier = 't'", '[tiers."a.b c"]\nconcurrency = 0',
    '[tiers."it\'s"]\nconcurrency = 0', 'tiers = 3\ntier = 4',
  "[tiers.t]\nconcurrency = 0\n[models.m]\ntier = 't'\n[models.n]\ntier = 't'\nqueue = -1",
  '[tiers.a]\nrequests_per_minute = -1\nconcurency = 3\n[models.b]\ntier = "c"\nbase_url = "relay"\n',
  '[tiers.__proto__]\nconcurrency = 0\n[models.constructor]\ntier = "toString"',
  '[models.a]\nrequests_per_minute = 5\npool = "p"\n[models.b]\nrequests_per_minute = 6\npool = "p"\n',
  '[models.m]\ndollars_per_day = 5', '[models.m]\nmicrodollars_per_day = 5\noutput_price = 1',
  '[tiers.t]\ndollars_per_day = 5\n[models.m]\ntier = "t"\ninput_price = 1',
  '[models.m]\ndollars_per_day = 5\ninput_price = "x"\noutput_price = 1',
  '[tiers.standard]\nrequests_per_minute = 0\ntokens_per_minut = 80_000\nconcurrency = "ten"\n[models.large]\n' +
    'tier = "standrad"\nbase_url = "relay.example.com"\napi_key = "never in a file"'];

test('what is wrong is said in the words of Python', { skip: MISSING }, () => {
  const said = python(`
import io
from rlimit import ConfigError, load
def problems(text):
    try:
        load(io.BytesIO(text.encode()), environ={"RELAY_KEY": "k"})
        return []
    except (ConfigError, UnicodeError) as error:
        return [list(problem) for problem in error.problems] if isinstance(error, ConfigError) else str(error)
print(json.dumps([problems(text) for text in given]))`, DOCUMENTS);
  DOCUMENTS.forEach((text, i) => {
    if (typeof said[i] === 'string') return; // not TOML
    assert.deepEqual(problems(text), said[i], text);
  });
});

test('the example with mistakes has those of Python', { skip: MISSING }, () => {
  const file = path.join(ROOT, 'examples', 'python', 'limits_wrong.toml');
  const [said] = python(`
from rlimit import load
try:
    load(given)
except ValueError as error:
    print(json.dumps([str(error)]))`, file);
  assert.throws(() => load(file), { code: 'RLIMIT_CONFIG', message: said });
  assert.doesNotMatch(said, /never in a file/);
});

test('what a limiter refuses is said of its key', () => {
  assert.match(only('[tiers.t]\nrequests_per_second = 20_000_000_000')[2], /10\^10 a second/);
  const lines = ['requests', 'tokens', 'custom', 'dollars'].flatMap((meter) => ['second', 'minute', 'hour', 'day'].map(
    (unit) => `${meter}_per_${unit} = 5`));
  const [key, , message] = only(`[tiers.t]\n${lines.join('\n')}`);
  assert.deepEqual([key, message], ['tiers.t', 'limits: at most 12, not 16']);
  assert.match(only('[tiers.t\n')[2], /^not TOML: .*line 1/);
});

// -- Secrets --

test('a secret in the file is refused, and not shown', () => {
  for (const key of ['api_key', 'key', 'token', 'secret', 'password', 'api_token', 'Authorization']) {
    try {
      read(`[models.m]\nconcurrency = 1\n${key} = "hush-hush"`);
      assert.fail('not refused');
    } catch (error) {
      assert.match(error.message, new RegExp(`models\\.m\\.${key} = .*api_key_env`));
      assert.doesNotMatch(inspect(error, { depth: 9 }), /hush/);
    }
  }
});

test('a missing key is said at once, or when it is wanted', () => {
  const text = '[models.m]\nconcurrency = 1\napi_key_env = "RELAY_KEY"';
  assert.equal(only(text, { environ: {} })[2], 'environment variable RELAY_KEY is not set');
  assert.equal(only(text, { environ: { RELAY_KEY: '  ' } })[2], 'environment variable RELAY_KEY is empty');
  const model = read(text, { environ: {}, secrets: false }).models.m;
  assert.throws(() => model.apiKey, { code: 'RLIMIT_CONFIG', message: /models\.m\.api_key_env.*RELAY_KEY is not set/ });
});

test('the environment is read each time, and not shown', () => {
  process.env.RLIMIT_TEST_KEY = 'first-hush';
  try {
    const model = load(write('[models.m]\nconcurrency = 1\napi_key_env = "RLIMIT_TEST_KEY"')).models.m;
    process.env.RLIMIT_TEST_KEY = 'second-hush';
    assert.equal(model.apiKey, 'second-hush');
    assert.doesNotMatch(inspect(model, { depth: 9, showHidden: true }) + JSON.stringify(model), /hush/);
  } finally {
    delete process.env.RLIMIT_TEST_KEY;
  }
});

test('without a parser of TOML it says what to install', () => {
  const { execFileSync } = require('node:child_process');
  const script = `
    const Module = require('module'), resolve = Module._resolveFilename;
    Module._resolveFilename = function (name, ...more) {
      if (name === 'smol-toml') throw Object.assign(new Error('no'), { code: 'MODULE_NOT_FOUND' });
      return resolve.call(this, name, ...more);
    };
    const { load } = require('rlimit');
    console.log(Object.keys(load(process.argv[2]).tiers)[0]);
    try { load(process.argv[1]); } catch (error) { console.log(error.code, error.message); }`;
  const json = write('{ "tiers": { "only": { "concurrency": 1 } } }', '.json');
  const out = execFileSync(process.execPath, ['-e', script, write(GOOD), json], { cwd: __dirname, encoding: 'utf8' });
  assert.match(out, /^only\nRLIMIT_NOT_INSTALLED load: TOML needs smol-toml: npm install smol-toml/);
});
