'use strict';

// A budget: dollars are taken before a request is sent and settled with what it cost; what has no price is not sent.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { NeverAdmittedError, Limiter, anthropicMiddleware, calendarMonth, configure, limitFetch, perMinute,
  undiciInterceptor, wrap } = require('rlimit');
const { Gate, UNREADABLE } = require('../../bindings/node/lib/call.js');
const { BODY, USAGE, answers, optional } = require('./referee.js');

const PRICES = { inputPrice: 3, outputPrice: 15 };
const ESTIMATED = 10 * 3 + 50 * 15; // of BODY
const CHAT = 'http://relay/v1/chat/completions';
const JSON_HEAD = { 'content-type': 'application/json' };
const STREAM_HEAD = { 'content-type': 'text/event-stream' };

function budget(more) {
  return new Limiter({ microdollars: calendarMonth(1_000_000), ...more });
}

function spent(limiter) {
  return limiter.status().limits[0].used;
}

/** What is settled once a call has ended as `end` does it. */
async function settledBy(end, options, body = BODY) {
  const limiter = budget();
  const call = new Gate(limiter, { prices: PRICES, ...options }).open('POST', CHAT, body);
  await call.wait();
  const estimated = spent(limiter);
  end(call);
  return [estimated, spent(limiter)];
}

function answer(usage, status = 200) {
  return (call) => {
    call.answered(status, JSON_HEAD);
    call.feed(Buffer.from(JSON.stringify({ usage })));
    call.finish();
  };
}

test('taken with the estimate, settled with the usage', async () => {
  for (const provider of ['openai', 'anthropic', 'litellm', 'generic']) { // also where tokens are never given back
    assert.deepEqual(await settledBy(answer(USAGE), { provider }), [ESTIMATED, 11 * 3 + 22 * 15], provider);
  }
  const cached = { input_tokens: 10, cache_read_input_tokens: 4, cache_creation_input_tokens: 5, output_tokens: 2 };
  assert.deepEqual(await settledBy(answer(cached), { provider: 'anthropic' }), [ESTIMATED, 24 * 3 + 2 * 15]);
  assert.deepEqual(await settledBy(answer({ output_tokens: 2 })), [ESTIMATED, 10 * 3 + 2 * 15]);
});

test('settled without usage', async () => {
  assert.deepEqual(await settledBy(answer(undefined)), [ESTIMATED, ESTIMATED]);
  assert.deepEqual(await settledBy(answer(undefined, 500)), [ESTIMATED, ESTIMATED]);
  assert.deepEqual(await settledBy(answer(undefined, 429)), [ESTIMATED, 0]);
  assert.deepEqual(await settledBy((call) => call.failed(new Error('x'))), [ESTIMATED, ESTIMATED]);
  assert.deepEqual(await settledBy((call) => call.failed(new Error('x'), false)), [ESTIMATED, 0]);
});

test('a stream cut short costs what is settled of it', async () => {
  const begin = 'data: {"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n';
  const delta = 'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n';
  for (const [deltas, output] of [[5, 50], [60, 60]]) {
    const cut = (call) => {
      call.answered(200, STREAM_HEAD);
      call.feed(Buffer.from(begin + delta.repeat(deltas)));
      call.close();
    };
    assert.deepEqual(await settledBy(cut, { provider: 'anthropic' }), [ESTIMATED, 12 * 3 + output * 15]);
  }
});

test('by model, in the body or in the path; "*" for all others', () => {
  const gate = new Gate(budget(), { prices: { m: PRICES, 'gemini-2.5-pro': { inputPrice: 1, outputPrice: 1 },
    'a.claude-v2:0': { inputPrice: 2, outputPrice: 2 } } });
  const nameless = { contents: [{ parts: [{ text: 'x'.repeat(40) }] }], generationConfig: { maxOutputTokens: 50 } };
  const costOf = (url, body) => gate.open('POST', url, body).cost.microdollars;
  assert.equal(costOf(CHAT, BODY), ESTIMATED);
  assert.equal(costOf('http://relay/v1beta/models/gemini-2.5-pro:generateContent', nameless), 60);
  assert.equal(costOf('http://relay/model/a.claude-v2%3A0/converse', nameless), 120);
  assert.equal(costOf('http://relay/openai/deployments/m/chat/completions', { ...BODY, model: undefined }), ESTIMATED);
  const unknown = (message) => ({ name: 'RangeError', code: 'RLIMIT_ARGUMENT', message });
  assert.throws(() => costOf(CHAT, { ...BODY, model: 'n' }), unknown(/^prices: none for model 'n'; there are \[ 'm'/));
  assert.throws(() => costOf(CHAT, { ...BODY, model: 'toString' }), unknown(/^prices: none for model 'toString'/));
  assert.throws(() => costOf(CHAT, nameless), unknown(/^prices: none for a request that names no model/));
  const all = new Gate(budget(), { prices: { m: { inputPrice: 0, outputPrice: 0 }, '*': PRICES } });
  assert.equal(all.open('POST', CHAT, { ...BODY, model: 'n' }).cost.microdollars, ESTIMATED);
});

test('what cannot be priced is not sent; what costs nothing passes', () => {
  const gate = new Gate(budget(), { prices: PRICES });
  for (const body of [UNREADABLE, 'text', '[1]', new FormData()]) {
    assert.throws(() => gate.open('POST', 'http://relay/v1/audio?key=k', body),
      { name: 'RangeError', message: /^prices: what a request to http:\/\/relay\/v1\/audio costs is not known/ });
  }
  for (const [method, path] of [['GET', '/v1/models'], ['POST', '/v1/messages/count_tokens']]) {
    assert.deepEqual(gate.open(method, `http://relay${path}`, BODY).cost, { requests: 1 });
  }
});

test('with a cost function', async () => {
  const gate = (cost) => new Gate(budget(), { cost, prices: { m: PRICES } });
  assert.equal(gate(() => ({ inputTokens: 2 })).open('POST', CHAT, BODY).cost.microdollars, 6);
  assert.throws(() => gate(() => ({ inputTokens: 2 })).open('POST', CHAT, { model: 'n' }), /^RangeError: prices: none/);
  assert.deepEqual(gate(() => ({ microdollars: 7 })).open('POST', CHAT, {}).cost, { requests: 1, microdollars: 7 });
  assert.deepEqual(gate(() => ({})).open('GET', CHAT).cost, { requests: 1 });
  const cost = () => ({ inputTokens: 1, microdollars: 70 });
  for (const prices of [undefined, PRICES]) { // which does not override what the function told
    assert.deepEqual(await settledBy(answer(USAGE), { cost, prices }), [70, 70]);
    assert.deepEqual(await settledBy(answer(undefined, 429), { cost, prices }), [70, 0]);
  }
  assert.deepEqual(await settledBy(answer(USAGE), { cost: () => ({ inputTokens: 2 }) }), [6, 11 * 3 + 22 * 15]);
});

test('a limiter that counts what nobody tells it is refused when the line is written', () => {
  const openai = optional('openai');
  const lines = [
    (limiter, options) => limitFetch(limiter, options),
    (limiter) => limiter.fetch,
    (limiter, options) => undiciInterceptor(limiter, options),
    (limiter, options) => anthropicMiddleware(limiter, options),
    ...(openai === null ? [] : [(limiter, options) => wrap(new openai.OpenAI({ apiKey: 'k' }), limiter, options)]),
  ];
  const custom = () => new Limiter({ custom: perMinute(5), requests: perMinute(5) });
  for (const line of lines) {
    assert.throws(() => line(budget()), { name: 'TypeError', code: 'RLIMIT_ARGUMENT', message: /^prices: missing/ });
    assert.throws(() => line(custom()), { name: 'TypeError', code: 'RLIMIT_ARGUMENT', message: /^cost: missing/ });
    if (line.length < 2) continue;
    assert.throws(() => line(custom(), { prices: PRICES }), { message: /^cost: missing/ });
    assert.ok(line(budget(), { prices: PRICES }));
    assert.ok(line(budget(), { cost: () => null }));
    assert.ok(line(custom(), { cost: () => ({ custom: 1 }) }));
  }
});

test('wrong prices', () => {
  const cases = [
    [5, TypeError, /^prices: must be .*not number/], [[PRICES], TypeError, /^prices: must be .*not Array/],
    [{}, RangeError, /^prices: must be .*not \{\}/], [{ inputPrice: 3 }, TypeError, /^prices: outputPrice is missing/],
    [{ m: null }, TypeError, /^prices\['m'\]/], [{ m: { inputPrice: 3 } }, TypeError, /^prices\['m'\]: outputPrice/],
    [{ ...PRICES, cachePrice: 1 }, TypeError, /^cachePrice: unknown/],
    [{ m: { ...PRICES, inputPrice: -1 } }, RangeError, /^prices\['m'\]\.inputPrice: .*-1/],
    [{ inputPrice: '3', outputPrice: 15 }, TypeError, /^prices\.inputPrice: .*string/],
  ];
  for (const [prices, kind, message] of cases) {
    assert.throws(() => new Gate(budget(), { prices }), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, message);
      return error.code === 'RLIMIT_ARGUMENT';
    });
  }
});

test('over HTTP: the budget is spent, and then nothing is sent', async () => {
  const { url, seen } = await answers();
  const limiter = budget({ microdollars: calendarMonth(1200) });
  const limited = limitFetch(limiter, { prices: PRICES, provider: 'litellm', queueTimeout: 0 });
  const init = { method: 'POST', headers: JSON_HEAD, body: JSON.stringify(BODY) };
  for (let i = 1; i <= 2; i++) {
    await (await limited(`${url}/plain`, init)).json();
    assert.equal(spent(limiter), i * (11 * 3 + 22 * 15));
  }
  await assert.rejects(limited(`${url}/plain`, init), { code: 'RLIMIT_TIMEOUT', meter: 'microdollars' });
  const large = { ...init, body: JSON.stringify({ ...BODY, max_tokens: 500 }) };
  await assert.rejects(limited(`${url}/plain`, large), NeverAdmittedError);
  assert.equal(seen.length, 2);
});

test('of a configuration', () => {
  const table = { dollars_per_calendar_month: 200, input_price: 3, output_price: 15 };
  const { models } = configure({ models: { a: table, b: { requests_per_minute: 5, input_price: 1 },
    c: { requests_per_minute: 5 } } });
  assert.deepEqual(models.a.prices, PRICES);
  assert.deepEqual(models.b.prices, { inputPrice: 1, outputPrice: 0 });
  assert.equal(models.c.prices, null);
  assert.ok(limitFetch(models.a.limiter(), { prices: models.a.prices }));
});

test('a configuration with a budget and no price is refused', () => {
  const document = { tiers: { paid: { microdollars_per_day: 5 } }, models: { a: { tier: 'paid', input_price: 3 },
    b: { dollars_per_day: 5 }, c: { tier: 'paid', input_price: 0, output_price: 0 } } };
  assert.throws(() => configure(document), ({ code, problems }) => {
    assert.equal(code, 'RLIMIT_CONFIG');
    assert.deepEqual(problems.map(String), [
      'models.a: has a limit of dollars, and no output_price to count them by (dollars for a million tokens)',
      'models.b: has a limit of dollars, and no input_price and no output_price to count them by ' +
        '(dollars for a million tokens)']);
    return true;
  });
});
