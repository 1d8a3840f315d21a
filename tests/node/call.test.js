'use strict';

// What all integrations share: usage in every form, streams cut anywhere, and calls that are ended twice.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const zlib = require('node:zlib');
const { Call, Gate, UNREADABLE, headerOf, isRetry, keeps, providerOf, reserves, wasSent } =
  require('../../bindings/node/lib/call.js');
const { Events, LINE_MOST, decoder, findUsage, readUsage, usageOf } = require('../../bindings/node/lib/usage.js');
const { AcquireTimeoutError } = require('rlimit');
const { BODY, ESTIMATE, EVENTS, LONG, USAGE, counting, nothingHeld, settled } = require('./referee.js');

const told = (input, cacheRead, cacheWrite, output) => ({ input, cacheRead, cacheWrite, output });
const none = told(undefined, 0, 0, undefined);

test('readUsage', () => {
  const cases = [
    [USAGE, told(11, 0, 0, 22)],
    [{ prompt_tokens: 11, completion_tokens: 22, prompt_tokens_details: { cached_tokens: 4 } }, told(7, 4, 0, 22)],
    [{ prompt_tokens: 11, completion_tokens: 22, prompt_tokens_details: { cached_tokens: 400 } }, told(0, 11, 0, 22)],
    [{ prompt_tokens: 11, total_tokens: 11 }, told(11, 0, 0, 0)], // embeddings
    [{ input_tokens: 11, input_tokens_details: { cached_tokens: 4 }, output_tokens: 22 }, told(7, 4, 0, 22)],
    [{ input_tokens: 11, cache_read_input_tokens: 4, cache_creation_input_tokens: 5, output_tokens: 22 },
      told(11, 4, 5, 22)],
    [{ promptTokenCount: 11, cachedContentTokenCount: 4, candidatesTokenCount: 20, thoughtsTokenCount: 2 },
      told(7, 4, 0, 22)],
    [{ inputTokens: 11, outputTokens: 22, cacheReadInputTokens: 4 }, told(11, 4, 0, 22)],
    [{}, none],
    [{ prompt_tokens: -1, completion_tokens: 2 ** 41, input_tokens: true, output_tokens: 1.5 }, none],
    [{ input_tokens: null, output_tokens: '22', input_tokens_details: 5 }, none],
  ];
  for (const [usage, expected] of cases) assert.deepEqual(readUsage(usage), expected, JSON.stringify(usage));
});

test('findUsage and usageOf', () => {
  const found = [
    { usage: USAGE }, { response: { usage: USAGE } }, { message: { usage: USAGE } }, [{}, { usageMetadata: USAGE }],
  ];
  for (const value of found) {
    assert.equal(findUsage(value), USAGE);
    assert.deepEqual(usageOf(JSON.stringify(value)), told(11, 0, 0, 22));
    assert.deepEqual(usageOf(Buffer.from(JSON.stringify(value))), told(11, 0, 0, 22));
  }
  for (const value of [null, 5, [], [5], {}, { usage: null }, { usage: 5 }, { response: [] }]) {
    assert.equal(findUsage(value), null, JSON.stringify(value));
  }
  for (const body of [undefined, null, '', '{', '5', Buffer.from('{}'), {}]) assert.equal(usageOf(body), undefined);
});

function scan(data, size) {
  const errors = [];
  const events = new Events((error) => errors.push(error.toString()));
  for (let at = 0; at < data.length; at += size) events.feed(data.subarray(at, at + size));
  events.finish();
  return { events, errors };
}

for (const [name, end] of [['LF', '\n'], ['CRLF', '\r\n'], ['CR', '\r']]) {
  test(`streams cut anywhere, lines end in ${name}`, () => {
    const data = Buffer.from(EVENTS.toString().replaceAll('\n', end));
    for (const size of [1, 2, 3, 7, 64, 1000, 1e9]) {
      const { events, errors } = scan(data, size);
      assert.deepEqual(events.usage, USAGE, `pieces of ${size}`);
      assert.deepEqual([events.told, events.ended, events.deltas, errors.length], [true, true, 30, 0]);
    }
  });
}

test('a line that is too long to keep', () => {
  for (const size of [1000, LINE_MOST, 1e9]) {
    const { events } = scan(LONG, size);
    assert.deepEqual(readUsage(events.usage), told(11, 0, 0, 22));
    assert.ok(events.told);
  }
});

test('usage in the text of an answer is not believed', () => {
  const content = '"usage": {"prompt_tokens": 1}, "error": {}, "type": "message_stop"';
  const data = JSON.stringify({ choices: [{ delta: { content } }] });
  const { events, errors } = scan(Buffer.from(`data: ${data}\n\n`), 50);
  assert.deepEqual([events.usage, events.ended, errors.length], [{}, false, 0]);
});

test("Anthropic's events", () => {
  const begin = `event: message_start
data: {"type":"message_start","message":{"usage":{"input_tokens":11,"cache_read_input_tokens":4,"output_tokens":1}}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}

`;
  const { events: cut } = scan(Buffer.from(begin), 9);
  assert.deepEqual(readUsage(cut.usage), told(11, 4, 0, 1));
  assert.equal(cut.told, false);
  const { events } = scan(Buffer.from(begin + `
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":22}}

data: {"type":"message_stop"}

`), 9);
  assert.deepEqual(readUsage(events.usage), told(11, 4, 0, 22));
  assert.deepEqual([events.told, events.ended], [true, true]);
});

test('errors inside streams', () => {
  for (const data of [
    '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded: \u00e9"}}',
    '{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}',
    '{"error": {"message": "Overloaded", "code": 529}}']) {
    assert.deepEqual(scan(Buffer.from(`: comment\n\ndata: ${data}\n\n`), 5).errors, [data]);
  }
});

test('decoders', () => {
  const ways = [['gzip', zlib.gzipSync], ['deflate', zlib.deflateSync], [' GZip ', zlib.gzipSync],
    ['deflate', zlib.deflateRawSync], ['br', zlib.brotliCompressSync]];
  for (const [name, squeeze] of ways) {
    const squeezed = squeeze(EVENTS);
    assert.deepEqual(decoder(name)(squeezed), EVENTS, name);
    const part = decoder(name)(squeezed.subarray(0, squeezed.length - 4)); // as much as there is of one cut short
    assert.deepEqual(part, EVENTS.subarray(0, part.length), name);
  }
  assert.equal(decoder('rot13'), undefined);
  assert.equal(decoder('gzip, br'), undefined);
  assert.throws(() => decoder('gzip')(zlib.gzipSync(Buffer.alloc(17 << 20))), { code: 'ERR_BUFFER_TOO_LARGE' });
});

test('headers in every form', () => {
  const forms = [new Headers({ 'Content-Type': 'a/b' }), { 'Content-Type': 'a/b' }, { 'content-type': ['a/b'] },
    [Buffer.from('Content-Type'), Buffer.from('a/b')], new Map([['content-type', 'a/b']])];
  for (const headers of forms) {
    assert.equal(headerOf(headers, 'content-type'), 'a/b');
    assert.equal(headerOf(headers, 'etag'), '');
  }
});

test('the SDKs say which attempt is a retry', () => {
  const name = 'X-Stainless-Retry-Count';
  for (const count of ['0', '1', '2']) {
    const forms = [{ [name]: count }, new Headers({ [name]: count }), [name, count], [[name, count]],
      [Buffer.from(name), Buffer.from(count)], { [name]: [count] }];
    for (const headers of forms) assert.equal(isRetry(headers), count !== '0');
  }
  for (const headers of [undefined, null, {}, [], { [name]: 'x' }]) assert.equal(isRetry(headers), false);
});

test('providers by host', () => {
  const hosts = {
    'https://api.openai.com/v1': 'openai', 'https://eu.api.openai.com/v1': 'openai',
    'https://x.openai.azure.com/': 'azure', 'https://api.anthropic.com/v1/messages': 'anthropic',
    'https://bedrock-runtime.us-east-1.amazonaws.com/': 'bedrock', 'https://api.openai.com.example.com/': undefined,
    'https://notapi.openai.com.example/': undefined, 'http://127.0.0.1:80/': undefined, '/v1/messages': undefined,
    '': undefined,
  };
  for (const [url, provider] of Object.entries(hosts)) assert.equal(providerOf(url), provider, url);
});

test('rules of providers', () => {
  const rules = { openai: [true, true], anthropic: [false, false], litellm: [true, false], generic: [true, true] };
  for (const [name, expected] of Object.entries(rules)) assert.deepEqual([reserves(name), keeps(name)], expected, name);
});

test('what was never sent', () => {
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
  const reset = Object.assign(new Error('x'), { code: 'ECONNRESET', syscall: 'read' });
  const failed = (cause) => new TypeError('fetch failed', { cause });
  for (const error of [refused, failed(refused), failed(failed(refused)), new AggregateError([refused, refused])]) {
    assert.equal(wasSent(error), false);
  }
  const loop = new Error('x');
  loop.cause = loop;
  const sent = [reset, failed(reset), failed(), loop, 5, null, undefined, new AggregateError([refused, reset])];
  for (const error of sent) assert.equal(wasSent(error), true);
});

// Calls.

const TEXT = JSON.stringify(BODY);
const JSON_HEAD = { 'content-type': 'application/json' };
const STREAM_HEAD = new Headers({ 'Content-Type': 'text/event-stream' });

async function callOf(limiter, options) {
  const call = new Gate(limiter, options).open('POST', 'http://relay/v1/chat/completions', TEXT);
  await call.wait();
  return call;
}

test('a call ends once', async () => {
  for (const ends of [['finish', 'close', 'finish'], ['close', 'finish'], ['failed', 'close'], ['failed', 'failed']]) {
    const limiter = counting();
    const call = await callOf(limiter);
    let ended = 0;
    call.onEnd(() => ended++);
    for (const end of ends) call[end](new Error('x'));
    nothingHeld(limiter);
    assert.deepEqual(settled(limiter), ESTIMATE);
    assert.equal(ended, 1);
  }
});

test('cut short: the deltas, as they are more', async () => {
  const limiter = counting();
  const call = await callOf(limiter, { provider: 'anthropic' });
  call.answered(200, STREAM_HEAD);
  const begin = 'data: {"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n';
  call.feed(Buffer.from(begin));
  const delta = Buffer.from('data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n');
  for (let i = 0; i < 60; i++) call.feed(delta);
  call.close();
  assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 12, outputTokens: 60 });
});

test('a server that keeps its estimate', async () => {
  const limiter = counting();
  const call = await callOf(limiter, { provider: 'openai' });
  call.answered(200, JSON_HEAD);
  call.feed(Buffer.from('{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'));
  call.finish();
  assert.deepEqual(settled(limiter), ESTIMATE);
});

test('Anthropic: the length of answers is learned, unless it is said that the maximum is reserved', async () => {
  for (const reservesOutput of [undefined, true]) {
    const limiter = counting();
    const gate = new Gate(limiter, { provider: 'anthropic', reservesOutput });
    for (let i = 0; i < 20; i++) {
      const call = gate.open('POST', '/v1/messages', TEXT);
      await call.wait();
      call.answered(200, JSON_HEAD);
      call.feed(Buffer.from('{"usage": {"input_tokens": 20, "output_tokens": 5}}'));
      call.finish();
    }
    const { cost } = gate.open('POST', '/v1/messages', TEXT);
    assert.ok(cost.inputTokens >= 18 && cost.inputTokens <= 30, `${cost.inputTokens}`);
    if (reservesOutput) assert.equal(cost.outputTokens, 50);
    else assert.ok(cost.outputTokens >= 5 && cost.outputTokens < 10, `${cost.outputTokens}`);
    assert.deepEqual(settled(limiter), { requests: 20, inputTokens: 400, outputTokens: 100 });
  }
});

test('nothing that is odd breaks a request', async () => {
  const limiter = counting();
  const odd = [Buffer.from([0xff, 0xfe]), Buffer.from('{'.repeat(100_000)), Buffer.from('{"usage": [[]]}'),
    Buffer.from('{"usage": {"prompt_tokens": 1e999}}')];
  const heads = [JSON_HEAD, STREAM_HEAD, { ...JSON_HEAD, 'content-encoding': 'gzip' }, { 'retry-after': '\0' },
    { date: '\u00ff'.repeat(5000) }];
  for (const chunk of odd) {
    for (const headers of heads) {
      const call = await callOf(limiter);
      call.answered(200, headers, headerOf(headers, 'content-encoding'));
      call.feed(chunk);
      call.feed(chunk.subarray(1));
      call.finish();
    }
  }
  nothingHeld(limiter);
  assert.equal(settled(limiter).outputTokens, 20 * 50);
});

test('what is estimated, and what counts as one request', async () => {
  const gate = new Gate(counting(), {});
  for (const method of ['GET', 'HEAD', 'DELETE']) {
    assert.deepEqual(gate.open(method, 'http://relay/', undefined).cost, { requests: 1 });
  }
  for (const body of [TEXT, Buffer.from(TEXT), BODY, new TextEncoder().encode(TEXT).buffer]) {
    assert.deepEqual({ ...gate.open('post', 'http://relay/v1/messages', body).cost }, ESTIMATE);
  }
  for (const body of [UNREADABLE, 'text', '[1]', new FormData(), new URLSearchParams(), new ArrayBuffer(3)]) {
    assert.deepEqual(gate.open('POST', 'http://relay/v1/messages', body).cost, { requests: 1 });
  }
  assert.deepEqual(gate.open('POST', 'http://relay/v1/messages/count_tokens?x=1', TEXT).cost, { requests: 1 });
});

test('errors of waiting are those of the limiter, and leave nothing', async () => {
  const limiter = counting({ concurrency: 1 });
  const permit = await limiter.acquire();
  const impatient = new Gate(limiter, { queueTimeout: 1 });
  await assert.rejects(impatient.open('POST', 'http://relay/', TEXT).wait(), AcquireTimeoutError);
  const controller = new AbortController();
  const waiting = new Gate(limiter, {}).open('POST', 'http://relay/', TEXT).wait(controller.signal);
  const reason = new Error('enough');
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  permit.settle();
  nothingHeld(limiter);
});

test('aborted between the permit and its use', async () => {
  const limiter = counting({ concurrency: 1 });
  const permit = await limiter.acquire();
  const controller = new AbortController();
  const call = new Gate(limiter, {}).open('POST', 'http://relay/', TEXT);
  const waiting = call.wait(controller.signal);
  permit.settle(); // its turn comes
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, { message: 'enough' });
  nothingHeld(limiter);
  assert.equal(call instanceof Call && call.held, false);
});

test('wrong arguments', () => {
  const limiter = counting();
  const cases = [
    [5, {}, TypeError, /^limiter: /], [limiter, { cost: 5 }, TypeError, /^cost: /],
    [limiter, { tokenizer: 5 }, TypeError, /^tokenizer: /],
    [limiter, { queueTimeout: -1 }, RangeError, /^queueTimeout: .*-1/],
    [limiter, { queueTimeout: 'x' }, TypeError, /^queueTimeout: /],
    [limiter, { priority: 'urgent' }, RangeError, /^priority: /],
    [limiter, { provider: 'nobody' }, RangeError, /^provider: .*nobody/],
    [limiter, { reservesOutput: 'no' }, TypeError, /^reservesOutput: .*'no'/],
    [limiter, { prioriti: 'high' }, TypeError, /^prioriti: /],
  ];
  for (const [given, options, kind, message] of cases) {
    assert.throws(() => new Gate(given, options), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, message);
      assert.equal(error.code, 'RLIMIT_ARGUMENT');
      return true;
    });
  }
});
