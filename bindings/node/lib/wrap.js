'use strict';

// The clients of openai and @anthropic-ai/sdk (and what is made of them: Azure, Bedrock, Vertex): every attempt of
// every request waits for a limiter, and tells it what the server said.
//
// A client sends by makeRequest(options), once for each attempt. It prepares the request, starts the time-out and calls
// this.fetch. What makeRequest throws before that reaches the caller as it is, and is not retried: so the wait is
// there, and the fetch tells the call of its answer. prepareRequest is where the two meet: it is given the options of
// the one and the init of the other. A middleware that sends twice has no call left there: it waits for another one,
// outside the time-out too. Without a call a fetch is no request of the API (a token is renewed): it passes.

const { Gate, OPTIONS, UNREADABLE } = require('./call.js');
const { LIMITED, readable, send } = require('./fetch.js');
const { isPlain } = require('./usage.js');
const { countOf, kindOf, optionsOf, typeError } = require('./arguments.js');

const STATE = Symbol('rlimit.wrapped');
const INNER = Symbol('rlimit.inner'); // of our fetch: the one that it calls
const CALL = Symbol('rlimit.call'); // in the init of a fetch
const METHODS = ['makeRequest', 'prepareRequest', 'fetch', 'withOptions', 'buildURL'];
const RETRIES_MOST = 1000;

function wrap(client, limiter, options) {
  if (client === null || typeof client !== 'object' || METHODS.some((name) => typeof client[name] !== 'function')) {
    throw typeError(`client: must be a client of openai (5 or later) or @anthropic-ai/sdk, not ${kindOf(client)}`);
  }
  const { retries, ...ours } = optionsOf(options, ['retries', ...OPTIONS]);
  if (retries !== undefined) countOf('retries', retries, 0, RETRIES_MOST);
  const gate = new Gate(limiter, ours, defaultOf(client));
  if (client[STATE] === undefined && isLimited(client)) {
    throw typeError('client: has a limiter already, in its fetch or middleware: each request would be charged twice');
  }
  if (retries !== undefined) client.maxRetries = retries;
  return install(client, gate);
}

/** The provider of a client. By what it has where it can be: bundlers change names. */
function defaultOf(client) {
  const name = String(client.constructor?.name).toLowerCase();
  if (name.includes('bedrock')) return 'bedrock';
  if (name.includes('azure')) return 'azure';
  return client.messages !== undefined && client.chat === undefined ? 'anthropic' : 'openai';
}

function isLimited(client) {
  return Boolean(client.fetch[LIMITED]) || (client.middleware ?? []).some((one) => one[LIMITED]);
}

/** Gives a client methods of its own; one that has them changes its gate. */
function install(client, gate) {
  if (client[STATE] !== undefined) {
    client[STATE].gate = gate;
    return client;
  }
  const state = {
    gate,
    attempts: new WeakMap(), // by the options of a request; the latest last
    inner: Object.fromEntries(METHODS.map((name) => [name, client[name]])),
  };
  const given = state.inner.fetch;
  state.inner.fetch = given[INNER] ?? given; // of a client that this one is a copy of
  const fetch = (url, init) => fetchOf(state, url, init);
  fetch[INNER] = state.inner.fetch;
  hide(client, STATE, state);
  hide(client, 'makeRequest', (given, ...more) => makeRequest(client, state, given, more));
  hide(client, 'prepareRequest', (init, context) => prepareRequest(client, state, init, context));
  hide(client, 'withOptions', (changes) => install(state.inner.withOptions.call(client, changes), state.gate));
  client.fetch = fetch;
  return client;
}

function hide(target, name, value) {
  Object.defineProperty(target, name, { value, configurable: true, writable: true });
}

/** One attempt: nested in it are those that the client makes again. */
async function makeRequest(client, state, given, more) {
  const options = await given;
  const url = urlOf(client, state, options);
  const attempts = state.attempts.get(options) ?? [];
  state.attempts.set(options, attempts);
  const outer = attempts[attempts.length - 1];
  const attempt = { gate: state.gate, options, url, first: null, calls: [], free: false, error: null,
    isRetry: outer !== undefined };
  if (outer?.error) throw outer.error; // not for the client to try again
  await begin(attempt);
  attempts.push(attempt);
  let result;
  try {
    result = await state.inner.makeRequest.call(client, options, ...more);
    return result;
  } catch (error) {
    throw attempt.error ?? error;
  } finally {
    attempts.splice(attempts.indexOf(attempt), 1);
    for (const call of attempt.calls) endUnsent(call, result);
  }
}

async function begin(attempt) {
  const { signal } = attempt.options;
  try {
    attempt.first = await admitted(attempt, attempt.options.method, attempt.url, bodyOf(attempt.options), signal);
    attempt.free = attempt.first === null;
  } catch (error) {
    if (!signal?.aborted) throw error;
    attempt.free = true; // the client finds it aborted, and says so in its own way; nothing is sent
  }
}

/** A call that was admitted; null if it is to pass without. */
async function admitted(attempt, method, url, body, signal) {
  const call = attempt.gate.open(String(method ?? 'get'), url, body);
  if (call === null) return null;
  call.isRetry = attempt.isRetry;
  await call.wait(signal);
  attempt.calls.push(call);
  return call;
}

/** What was prepared and then not sent is given back; what was sent by a way that is not known stays charged. */
function endUnsent(call, result) {
  if (call.sent) return;
  if (result?.response === undefined) {
    call.cancel();
    return;
  }
  call.answered(result.response.status, result.response.headers);
  call.close();
}

function urlOf(client, state, options) {
  try {
    return String(state.inner.buildURL.call(client, options.path, options.query, options.defaultBaseURL));
  } catch {
    return String(options.path);
  }
}

function bodyOf(options) {
  const { body } = options;
  if (body === undefined || body === null) return undefined;
  if (options.__metadata?.finalizeMultipart) return UNREADABLE; // will be a form
  return isPlain(body) || Array.isArray(body) ? body : readable(body);
}

/** Gives the call of an attempt to the request that is about to be sent. */
async function prepareRequest(client, state, init, context) {
  const attempts = state.attempts.get(context?.options);
  const attempt = attempts?.[attempts.length - 1];
  if (attempt !== undefined && !attempt.free) {
    init[CALL] = attempt.first ?? await again(attempt, init, context.url);
    attempt.first = null;
  }
  return state.inner.prepareRequest.call(client, init, context);
}

/** A call for what a middleware sends again. */
async function again(attempt, init, url) {
  const { method, body, signal } = init;
  try {
    const readableBody = body === undefined || body === null ? undefined : readable(body);
    return await admitted(attempt, method, url, readableBody, signal);
  } catch (error) {
    if (!signal?.aborted) attempt.error = error; // which the client takes for one of its connection
    throw error;
  }
}

async function fetchOf(state, url, init) {
  const call = init?.[CALL];
  const { fetch } = state.inner;
  if (!call) return fetch(url, init);
  delete init[CALL];
  return send(call, init.signal, (signal) => fetch(url, { ...init, signal }));
}

module.exports = { wrap };
