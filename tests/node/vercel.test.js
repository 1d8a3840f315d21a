'use strict';

// The Vercel AI SDK through the fetch of its provider: createOpenAI({ fetch: limiter.fetch }).

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { agreed, limiterOf, nothingHeld, optional, referee, settled, until } = require('./referee.js');

const ai = optional('ai');
const vendor = optional('@ai-sdk/openai');
const skip = (ai === null || vendor === null) && 'is not installed, or does not run here';
const TIGHT = { rpm: 1200, tpm: 60000, period: 2, concurrency: 4, latencyMs: '5:20' };

function modelOf(relay, limiter) {
  return vendor.createOpenAI({ baseURL: `${relay.url}/v1`, apiKey: 'k', fetch: limiter.fetch }).chat('m');
}

function question(n, more) {
  return { prompt: `question ${n}`, maxOutputTokens: 16, ...more };
}

test('generateText, many at once', { skip }, async () => {
  const relay = await referee(TIGHT);
  const limiter = limiterOf(relay);
  const model = modelOf(relay, limiter);
  const ask = async (n) => (await ai.generateText({ model, maxRetries: 0, ...question(n) })).text;
  const texts = await Promise.all(Array.from({ length: 60 }, (_, n) => ask(n)));
  assert.equal(new Set(texts).size, 60);
  const total = await agreed(relay, limiter);
  assert.deepEqual([total.received, total.completed], [60, 60]);
  assert.ok(total.max_in_flight <= 4);
});

test('streamText, many at once: settled from the last usage event', { skip }, async () => {
  const relay = await referee({ ...TIGHT, charge: 'actual' });
  const limiter = limiterOf(relay, { provider: 'litellm' });
  const model = modelOf(relay, limiter);
  const ask = async (n) => {
    const result = ai.streamText({ model, maxRetries: 0, ...question(n) });
    let text = '';
    for await (const part of result.textStream) text += part;
    assert.ok(text);
    return (await result.usage).outputTokens;
  };
  const used = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(n)));
  assert.equal(settled(limiter).outputTokens, used.reduce((a, b) => a + b));
  const total = await agreed(relay, limiter);
  assert.deepEqual([total.received, total.completed], [50, 50]);
  assert.ok(total.max_in_flight <= 4);
});

test('its retries: each waits, and pays', { skip }, async () => {
  const relay = await referee({ concurrency: 1 });
  const limiter = limiterOf(relay);
  await relay.fault('429', { count: 1, value: 0.05 });
  assert.ok((await ai.generateText({ model: modelOf(relay, limiter), ...question(1) })).text);
  assert.equal((await relay.quiet()).received, 2);
  assert.equal(settled(limiter).requests, 2);
  assert.equal(limiter.status().refused, 1);
  nothingHeld(limiter);
});

test('a stream that is aborted, and a request that is aborted while queued', { skip }, async () => {
  const relay = await referee({ concurrency: 1, latencyMs: '2000:2000' });
  const limiter = limiterOf(relay);
  const model = modelOf(relay, limiter);
  const controller = new AbortController();
  const result = ai.streamText({ model, ...question(1), abortSignal: controller.signal, onError() {} });
  for await (const part of result.textStream) if (part) controller.abort();
  nothingHeld(limiter);
  assert.equal((await relay.quiet()).client_gone, 1);
  const permit = await limiter.acquire();
  const later = new AbortController();
  const generated = ai.generateText({ model, ...question(2), abortSignal: later.signal });
  const asked = assert.rejects(generated, { name: 'AbortError' });
  await until(() => limiter.status().queued === 1);
  later.abort();
  await asked;
  permit.settle();
  nothingHeld(limiter);
  assert.equal((await relay.total()).received, 1);
});
