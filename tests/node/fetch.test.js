'use strict';

// limiter.fetch and limitFetch: against the referee, and against answers in every dress.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { AcquireTimeoutError, Limiter, NeverAdmittedError, limitFetch } = require('rlimit');
const { ACTUAL, BODY, ESTIMATE, agreed, answers, collected, counting, limiterOf, nobody, nothingHeld, optional, referee,
  settled, until } = require('./referee.js');

// 40 requests, 2000 tokens in 2 s
const TIGHT = { rpm: 1200, tpm: 60000, period: 2, concurrency: 4, latencyMs: '5:20' };
const IS_18 = process.versions.node.startsWith('18.');
const READ = ['plain', 'gzip', 'deflate', 'raw-deflate', 'br', 'stream', 'stream-crlf', 'stream-gzip', 'stream-br',
  'stream-long'].filter((path) => !(IS_18 && path === 'raw-deflate')); // which its fetch cannot read

function post(body, more) {
  return { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer k' },
    body: JSON.stringify(body), ...more };
}

function question(n, more) {
  return { ...BODY, max_tokens: 16, messages: [{ role: 'user', content: `question ${n}` }], ...more };
}

const undici = optional('undici'); // its fetch has classes of its own
const KINDS = { 'the global fetch': undefined, ...undici && { "undici's fetch": undici.fetch } };

for (const [name, fetch] of Object.entries(KINDS)) {
  test(`${name}: usage is read, and the body reaches the user as it was`, async () => {
    const { url } = await answers();
    for (const path of READ) {
      const limiter = counting();
      const limited = limitFetch(limiter, { fetch, provider: 'litellm' });
      const response = await limited(`${url}/${path}`, post(BODY));
      assert.equal(limiter.status().active, 1, 'until it is read');
      assert.equal(response.url, `${url}/${path}`);
      const plain = await (fetch ?? globalThis.fetch)(`${url}/${path}`, post(BODY));
      assert.ok(response instanceof plain.constructor);
      assert.deepEqual([...response.headers.keys()], [...plain.headers.keys()]);
      assert.equal(await response.text(), await plain.text());
      assert.deepEqual(settled(limiter), ACTUAL, path);
      nothingHeld(limiter);
    }
  });
}

test('every way of reading a body', async () => {
  const { url } = await answers();
  const limiter = counting();
  const limited = limitFetch(limiter, { provider: 'litellm' });
  const open = () => limited(`${url}/plain`, post(BODY));
  const ways = [
    async () => (await (await open()).json()).usage,
    async () => (await open()).arrayBuffer(),
    async () => (await open()).blob(),
    async () => { for await (const chunk of (await open()).body) assert.ok(chunk instanceof Uint8Array); },
    async () => { // a reader with memory of its own
      const reader = (await open()).body.getReader({ mode: 'byob' });
      while (!(await reader.read(new Uint8Array(100))).done);
    },
    async () => {
      const copy = (await open()).clone();
      assert.equal(copy.url, `${url}/plain`);
      await copy.text();
    },
    async () => (await open()).body.pipeTo(new WritableStream()),
  ];
  for (const [n, way] of ways.entries()) {
    assert.ok(await way() ?? true);
    assert.equal(settled(limiter).requests, n + 1);
    assert.equal(settled(limiter).outputTokens, 22 * (n + 1), String(way));
    nothingHeld(limiter);
  }
});

test('answers that tell no usage', async () => {
  const { url } = await answers();
  for (const path of ['text', 'broken', 'strange', 'empty']) {
    const limiter = counting();
    const response = await limitFetch(limiter, { provider: 'litellm' })(`${url}/${path}`, post(BODY));
    await response.text();
    assert.deepEqual(settled(limiter), ESTIMATE, path);
    nothingHeld(limiter);
  }
});

test('redirects are one request', async () => {
  const { url } = await answers();
  const limiter = counting();
  const response = await limitFetch(limiter, { provider: 'litellm' })(`${url}/redirect`, post(BODY));
  assert.deepEqual([response.redirected, response.url], [true, `${url}/plain`]);
  await response.json();
  assert.deepEqual(settled(limiter), ACTUAL);
  await limiter.fetch(`${url}/plain`, { method: 'HEAD' });
  assert.equal(settled(limiter).requests, 2);
  nothingHeld(limiter);
});

test('bodies that can be read once are passed untouched, and count as one request', async () => {
  const server = await answers();
  const limiter = counting();
  const form = new FormData();
  form.set('file', new Blob(['x'.repeat(5000)]), 'file');
  const stream = new Blob(['{"messages": [], ', '"max_tokens": 5}']).stream();
  const sent = [
    { body: form }, { body: stream, duplex: 'half' }, { body: new Blob(['abc']) }, { body: new Uint8Array([0, 1]) },
    { body: new URLSearchParams({ a: 'b' }) }, { body: '{"unknown": 1}' }, {},
  ];
  for (const init of sent) await (await limiter.fetch(`${server.url}/text`, { method: 'POST', ...init })).text();
  await (await limiter.fetch(`${server.url}/text`)).text();
  const sizes = server.seen.map(([, , size]) => size);
  assert.ok(sizes[0] > 5000);
  assert.deepEqual(sizes.slice(1), [33, 3, 2, 3, 14, 0, 0]);
  assert.deepEqual(settled(limiter), { requests: 8, inputTokens: 0, outputTokens: 0 });
  nothingHeld(limiter);
});

test('a Request, a URL', async () => {
  const server = await answers();
  const limiter = counting();
  const limited = limitFetch(limiter, { provider: 'litellm' });
  await (await limited(new Request(`${server.url}/plain`, post(BODY)))).text();
  assert.deepEqual(settled(limiter), ACTUAL);
  await (await limited(new URL(`${server.url}/plain`), post(BODY))).text();
  await (await limited(new Request(`${server.url}/plain`, { method: 'POST', body: 'text' }))).text();
  const size = JSON.stringify(BODY).length;
  assert.deepEqual(server.seen.map((one) => one[2]), [size, size, 4]);
  assert.equal(settled(limiter).requests, 3);
  nothingHeld(limiter);
});

test('against the referee', async () => {
  const relay = await referee(TIGHT);
  const limiter = limiterOf(relay);
  assert.equal(limiter.fetch, limiter.fetch, 'always the same');
  const { fetch } = limiter;
  const ask = async (n) => (await (await fetch(`${relay.url}/v1/chat/completions`, post(question(n)))).json()).choices;
  const replies = await Promise.all(Array.from({ length: 70 }, (_, n) => ask(n)));
  assert.ok(replies.every(Boolean));
  const total = await agreed(relay, limiter);
  assert.equal(total.completed, 70);
  assert.ok(total.max_in_flight <= 4);
});

test('streams are settled with their usage, in a small quota', async () => {
  const relay = await referee({ ...TIGHT, charge: 'actual' });
  const limiter = limiterOf(relay, { provider: 'litellm' });
  const ask = async (n) => {
    const body = question(n, { stream: true, stream_options: { include_usage: true } });
    return (await limiter.fetch(`${relay.url}/v1/chat/completions`, post(body))).text();
  };
  await Promise.all(Array.from({ length: 60 }, (_, n) => ask(n)));
  assert.equal((await agreed(relay, limiter)).completed, 60);
});

// Streams that are not read to their end.

const LEAVE = {
  'break': async (response) => { for await (const chunk of response.body) if (chunk) break; },
  'body.cancel()': (response) => response.body.cancel(),
  'reader.cancel()': async (response) => {
    const reader = response.body.getReader();
    await reader.read();
    await reader.cancel();
  },
  'AbortController': async (response, controller) => {
    const reader = response.body.getReader();
    await reader.read();
    controller.abort();
    await assert.rejects(async () => { while (!(await reader.read()).done); }, { name: 'AbortError' });
  },
  'AbortController, nobody reads': async (response, controller) => controller.abort(),
};

for (const [name, leave] of Object.entries(LEAVE)) {
  test(`a stream left by ${name} frees its place at once`, async () => {
    const relay = await referee({ concurrency: 1, latencyMs: '2000:2000' });
    const limiter = limiterOf(relay);
    const controller = new AbortController();
    const init = post(question(1, { stream: true }), { signal: controller.signal });
    const response = await limiter.fetch(`${relay.url}/v1/chat/completions`, init);
    assert.equal(limiter.status().active, 1);
    await leave(response, controller);
    nothingHeld(limiter);
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 3, outputTokens: 16 });
    const total = await relay.quiet();
    assert.equal(total.client_gone, 1);
    assert.equal(limiter.status().failed, 0);
  });
}

test('a stream that is dropped frees its place when it is collected', async () => {
  const relay = await referee({ concurrency: 1, latencyMs: '3000:3000' });
  const limiter = limiterOf(relay);
  const begin = async () => {
    const init = post(question(1, { stream: true }));
    const response = await limiter.fetch(`${relay.url}/v1/chat/completions`, init);
    await response.body.getReader().read();
  };
  for (let i = 0; i < 3; i++) {
    await begin();
    assert.equal(limiter.status().active, 1);
    await collected(() => limiter.status().active === 0);
    assert.equal((await relay.quiet()).client_gone, i + 1, 'its connection has ended too');
  }
  nothingHeld(limiter);
});

test('an aborted request leaves no listener on its signal', async () => {
  const { url } = await answers();
  const limiter = counting({ concurrency: 2 });
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...given) => { listeners++; addEventListener.apply(signal, given); };
  signal.removeEventListener = (...given) => { listeners--; removeEventListener.apply(signal, given); };
  const inner = (input, init) => globalThis.fetch(input, { ...init, signal: undefined });
  const limited = limitFetch(limiter, { fetch: inner });
  const ask = async () => (await limited(`${url}/plain`, post(BODY, { signal }))).text();
  await Promise.all(Array.from({ length: 20 }, ask));
  assert.equal(listeners, 0);
  nothingHeld(limiter);
});

// Failures.

test('a cut answer keeps its estimate, and counts as failed', async () => {
  const relay = await referee({ concurrency: 1 });
  const limiter = limiterOf(relay);
  for (const stream of [false, true]) {
    await relay.fault('drop_mid', { count: 1 });
    const answer = limiter.fetch(`${relay.url}/v1/chat/completions`, post(question(1, { stream })));
    await assert.rejects(stream ? (await answer).text() : answer, { message: 'terminated' });
    nothingHeld(limiter);
  }
  assert.deepEqual(settled(limiter), { requests: 2, inputTokens: 6, outputTokens: 32 });
  assert.equal(limiter.status().failed, 2);
  await agreed(relay, limiter);
});

test('an error, or a short answer, that nobody reads holds no place', async () => {
  const relay = await referee({ concurrency: 1 });
  const limiter = limiterOf(relay);
  await relay.fault('500', { count: 1 });
  for (const status of [500, 200, 200]) {
    const response = await limiter.fetch(`${relay.url}/v1/chat/completions`, post(question(1)));
    assert.equal(response.status, status); // and no more
    nothingHeld(limiter);
  }
});

test('a cut answer that nobody reads is noticed', { skip: IS_18 && 'its fetch tells who reads only' }, async () => {
  const relay = await referee({ concurrency: 1 });
  const limiter = limiterOf(relay);
  await relay.fault('drop_mid', { count: 1 });
  const init = post(question(1, { stream: true }));
  const response = await limiter.fetch(`${relay.url}/v1/chat/completions`, init);
  await until(() => limiter.status().active === 0);
  await assert.rejects(response.text());
  assert.equal(limiter.status().failed, 1);
});

test('no answer is no success', async () => {
  const relay = await referee({ latencyMs: '60000:60000' });
  const limiter = limiterOf(relay);
  const controller = new AbortController();
  const init = post(question(1), { signal: controller.signal });
  const waiting = assert.rejects(limiter.fetch(`${relay.url}/v1/chat/completions`, init), { name: 'AbortError' });
  await relay.busy();
  controller.abort();
  await waiting;
  await assert.rejects(limiter.fetch(await nobody(), post(BODY)), { message: 'fetch failed' });
  const { succeeded, failed, refused } = limiter.status();
  assert.deepEqual([succeeded, failed, refused], [0, 2, 0]);
  assert.equal(settled(limiter).requests, 1, 'what was sent stays charged, what was not is given back');
  nothingHeld(limiter);
});

test('a refusal pauses everybody; the request counts, its tokens do not', async () => {
  const relay = await referee({});
  for (const [fault, most] of [['429=30', 30_000], ['429; no-retry-after', 60_000]]) {
    const limiter = limiterOf(relay);
    const init = post(question(1));
    init.headers['x-relay-fault'] = fault;
    const response = await limiter.fetch(`${relay.url}/v1/chat/completions`, init);
    assert.equal(response.status, 429);
    assert.ok((await response.json()).error);
    assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 0, outputTokens: 0 });
    const { available, wait } = limiter.check();
    assert.equal(available, false);
    assert.ok(wait > 0 && wait <= most, `${wait}`);
    assert.equal(limiter.status().refused, 1);
  }
});

test('an error inside a stream', async () => {
  const { url } = await answers();
  const limiter = counting();
  await (await limitFetch(limiter, { provider: 'anthropic' })(`${url}/stream-error`, post(BODY))).text();
  assert.equal(limiter.status().failed, 1);
  nothingHeld(limiter);
});

// Waiting.

test('errors of waiting', async () => {
  const { url, seen } = await answers();
  const limiter = counting({ concurrency: 1 });
  const permit = await limiter.acquire();
  await assert.rejects(limitFetch(limiter, { queueTimeout: 1 })(`${url}/plain`, post(BODY)), AcquireTimeoutError);
  const controller = new AbortController();
  const waiting = limiter.fetch(`${url}/plain`, post(BODY, { signal: controller.signal }));
  const reason = new Error('enough');
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  await assert.rejects(limiter.fetch(`${url}/plain`, post(BODY, { signal: AbortSignal.abort(reason) })),
    (error) => error === reason);
  permit.settle();
  assert.equal(seen.length, 0);
  nothingHeld(limiter);
});

test('larger than a limit', async () => {
  const relay = await referee({ tpm: 6000, period: 1 }); // 100
  const limiter = limiterOf(relay);
  const init = post(question(1, { max_tokens: 200 }));
  await assert.rejects(limiter.fetch(`${relay.url}/v1/chat/completions`, init), NeverAdmittedError);
  assert.equal((await relay.total()).received, 0);
  nothingHeld(limiter);
});

test("an SDK's retries are counted as such", async () => {
  const { url } = await answers();
  const limiter = counting();
  const times = (count) => ({ 'X-Stainless-Retry-Count': count });
  const all = [times('0'), times('1'), new Headers(times('2')), Object.entries(times('1')), {}, undefined];
  for (const headers of all) await (await limiter.fetch(`${url}/plain`, post(BODY, { headers }))).text();
  await (await limiter.fetch(new Request(`${url}/plain`, post(BODY, { headers: times('1') })))).text();
  assert.equal(limiter.status().retried, 4);
});

test('a cost function', async () => {
  const { url } = await answers();
  const limiter = counting();
  const seen = [];
  const cost = (request) => {
    seen.push(request);
    return request.body?.model === 'm' ? { inputTokens: 7 } : null;
  };
  const limited = limitFetch(limiter, { cost, provider: 'litellm' });
  await (await limited(`${url}/text`, post(BODY))).text();
  await (await limited(`${url}/plain`)).text();
  await (await limited(`${url}/text`, { method: 'POST', body: new Blob(['x']) })).text();
  assert.deepEqual(settled(limiter), { requests: 1, inputTokens: 7, outputTokens: 0 });
  assert.deepEqual(seen, [
    { method: 'POST', url: `${url}/text`, body: BODY },
    { method: 'GET', url: `${url}/plain`, body: null },
    { method: 'POST', url: `${url}/text`, body: undefined }]);
  for (const [wrong, message] of [[() => 5, /returned 5/], [() => ({ bogus: 1 }), /bogus/],
    [() => ({ requests: -1 }), /requests/], [() => { throw new Error('mine'); }, /mine/]]) {
    await assert.rejects(limitFetch(limiter, { cost: wrong })(url, post(BODY)), message);
  }
  nothingHeld(limiter);
});

test('the fetch that is there at the time, or the one that is given', async (t) => {
  const limiter = new Limiter({ provider: 'openai' });
  const mock = t.mock.method(globalThis, 'fetch', async () => new Response('{"mock": true}'));
  assert.deepEqual(await (await limiter.fetch('https://relay.example.com/', post(BODY))).json(), { mock: true });
  assert.equal(mock.mock.callCount(), 1);
  const odd = { status: 200, headers: {}, body: { pipe() {} } }; // of a library with streams of its own
  assert.equal(await limitFetch(limiter, { fetch: async () => odd })('https://relay.example.com/'), odd);
  nothingHeld(limiter);
  assert.throws(() => limitFetch(limiter, { fetch: 5 }), { message: /^fetch: / });
  assert.throws(() => limitFetch(limiter, { fetsh: 5 }), { message: /^fetsh: / });
});
