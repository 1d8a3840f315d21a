'use strict';

// What to do when a call fails: how long to wait (Backoff), whether to try again (classify), and both together (retry).
//
// The delays, the retry budget and the meaning of a status are computed by rlimit.h and rlimit_http.h.

const native = require('../load.js');
const { PRIORITIES, allowListeners, booleanOf, countOf, functionOf, kindOf, nameOf, optionsOf, rangeError, shown, signalOf,
  typeError } = require('./arguments.js');
const { ManualClock } = require('./clock.js');
const { costBy, payment, settleLost } = require('./payment.js');

const ERROR_CLASSES = ['rate_limit', 'server', 'network', 'fatal'];
const JITTERS = ['none', 'fraction', 'full', 'equal', 'decorrelated'];
const CAP_MOST = 2 ** 50 / 1e6; // ms
const RETRY_AFTER_MOST = 2 ** 55 / 1e6;

// -- Delays --

/** Milliseconds as nanoseconds, rounded up: waiting is never shortened. */
function nanoseconds(name, ms, most = CAP_MOST) {
  if (typeof ms !== 'number') throw typeError(`${name}: must be a number of milliseconds, not ${kindOf(ms)}`);
  if (!(ms >= 0 && ms <= most)) throw rangeError(`${name}: must be 0 to ${most.toFixed(0)} ms, not ${ms}`);
  const whole = Math.floor(ms);
  return BigInt(whole) * 1000000n + BigInt(Math.ceil((ms - whole) * 1e6));
}

function permille(name, value, least, most) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a number, not ${kindOf(value)}`);
  if (!(value >= least && value <= most)) throw rangeError(`${name}: must be ${least} to ${most}, not ${value}`);
  return Math.round(value * 1000);
}

function seedOf(seed) {
  if (typeof seed !== 'number' && typeof seed !== 'bigint') {
    throw typeError(`seed: must be a whole number or a bigint, not ${kindOf(seed)}`);
  }
  if (!(typeof seed === 'bigint' || Number.isSafeInteger(seed)) || seed < 0 || seed >= 2n ** 64n) {
    throw rangeError(`seed: must be a whole number, 0 to 2^53 - 1, or a bigint, 0 to 2^64 - 1, not ${seed}`);
  }
  return BigInt(seed);
}

/** Times by class of error, as given or as usual; the usual ones are at most the cap. */
function byClass(name, given, usual, cap) {
  const times = given === undefined ?
    Object.fromEntries(Object.entries(usual).map(([key, ms]) => [key, Math.min(ms, cap)])) : given;
  if (times === null || typeof times !== 'object') {
    throw typeError(`${name}: must be an object of error classes and milliseconds, not ${kindOf(times)}`);
  }
  for (const key of Object.keys(times)) nameOf(name, key, ERROR_CLASSES);
  return ERROR_CLASSES.map((key) => {
    if (times[key] === undefined) return 0n;
    const ns = nanoseconds(`${name}.${key}`, times[key]);
    if (times[key] > cap) throw rangeError(`${name}.${key}: must be at most cap (${cap}), not ${times[key]}`);
    return ns;
  });
}

const BACKOFF_OPTIONS = ['base', 'factor', 'cap', 'floor', 'jitter', 'fraction', 'attempts', 'bases', 'least',
  'retryAfterMax', 'seed'];

class Backoff {
  #plan;
  #seed;
  #own = null;
  #text;

  constructor(options) {
    const { base = 1000, factor = 2, cap = 60000, floor = 100, jitter = 'fraction', fraction = 0.1, attempts = 8, bases,
      least, retryAfterMax = 3600000, seed } = optionsOf(options, BACKOFF_OPTIONS);
    const capNs = nanoseconds('cap', cap);
    const [baseNs, floorNs] = [nanoseconds('base', base), nanoseconds('floor', floor)];
    if (baseNs === 0n) throw rangeError('base: must be more than 0');
    for (const [name, ms] of [['base', base], ['floor', floor]]) {
      if (ms > cap) throw rangeError(`${name}: must be at most cap (${cap}), not ${ms}`);
    }
    this.#plan = new native.BackoffPlan({
      baseNs, capNs, floorNs,
      factorPermille: permille('factor', factor, 1, 100),
      fractionPermille: permille('fraction', fraction, 0, 1),
      jitter: JITTERS.indexOf(nameOf('jitter', jitter, JITTERS)),
      attemptsMax: countOf('attempts', attempts, 0, 2 ** 32 - 1),
      baseClassNs: byClass('bases', bases, { rate_limit: 6000, server: 500 }, cap),
      leastClassNs: byClass('least', least, { rate_limit: 5000 }, cap),
      retryAfterMaxNs: nanoseconds('retryAfterMax', retryAfterMax, RETRY_AFTER_MOST),
    });
    this.#seed = seed === undefined ? null : seedOf(seed);
    this.#text = `new Backoff({ base: ${base}, factor: ${factor}, cap: ${cap}, floor: ${floor}, jitter: '${jitter}', ` +
      `fraction: ${fraction}, attempts: ${attempts} })`;
    this.attempts = attempts;
  }

  start(seed) {
    const first = seed !== undefined ? seedOf(seed) : this.#seed ?? randomSeed();
    return new Delays(this.#plan.start(first), this);
  }

  delay(errorClass, options) {
    if (this.#own === null) this.#own = this.start();
    return this.#own.delay(errorClass, options);
  }

  reset() {
    this.#own = null;
  }

  [Symbol.iterator]() {
    return this.start();
  }

  toString() {
    return this.#text;
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return this.#text;
  }
}

function randomSeed() {
  return BigInt(Math.floor(Math.random() * 2 ** 32)) << 32n | BigInt(Math.floor(Math.random() * 2 ** 32));
}

class Delays {
  #state;

  constructor(state, schedule) {
    if (!(schedule instanceof Backoff)) throw typeError('Delays: made by backoff() and Backoff.start()');
    this.#state = state;
    this.schedule = schedule;
  }

  delay(errorClass = 'network', options) {
    const { priority = 'normal', retryAfter } = optionsOf(options, ['priority', 'retryAfter']);
    const asked = retryAfter === undefined || retryAfter === null ? 0n :
      nanoseconds('retryAfter', retryAfter, 2 ** 60 / 1e6);
    const ns = this.#state.next(ERROR_CLASSES.indexOf(nameOf('errorClass', errorClass, ERROR_CLASSES)),
      PRIORITIES.indexOf(nameOf('priority', priority, PRIORITIES)), asked);
    return ns === native.NEVER ? null : Number(ns) / 1e6;
  }

  next() {
    const delay = this.delay();
    return delay === null ? { done: true, value: undefined } : { done: false, value: delay };
  }

  [Symbol.iterator]() {
    return this;
  }
}

function backoff(options) {
  return new Backoff(options).start();
}

class RetryBudget {
  #core;
  #text;

  constructor(options) {
    const { share = 0.2, perSecond = 10, burst = 100, clock } = optionsOf(options, ['share', 'perSecond', 'burst',
      'clock']);
    this.#core = new native.RetryBudget(permille('share', share, 0, 1), countOf('perSecond', perSecond, 1, 1e6),
      countOf('burst', burst, 1, 1e6), clock);
    this.#text = `new RetryBudget({ share: ${share}, perSecond: ${perSecond}, burst: ${burst} })`;
  }

  request() {
    this.#core.request();
  }

  retry() {
    return Number(this.#core.retry()) === 0;
  }

  toString() {
    return this.#text;
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return this.#text;
  }
}

// -- Classification --

const OURS = new Set(['RLIMIT_TIMEOUT', 'RLIMIT_QUEUE_FULL', 'RLIMIT_NEVER', 'RLIMIT_CLOSED']);

// Codes of errors that mean "no answer came": of Node, of undici, and of clients built on them.
const NETWORK_CODES = new Set([
  'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'ESOCKETTIMEDOUT', 'ENETDOWN', 'ENETUNREACH',
  'ENETRESET', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_NONAME', 'ERR_NETWORK',
  'ERR_STREAM_PREMATURE_CLOSE', 'ERR_SOCKET_CONNECTION_TIMEOUT', 'ERR_HTTP_REQUEST_TIMEOUT', 'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_STREAM_CANCEL', 'ERR_HTTP2_GOAWAY_SESSION', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT', 'UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'ConnectionRefused', 'ConnectionClosed']);
// Errors of clients that mean the same, by the names of their classes: nothing is loaded for it.
const NETWORK_NAMES = new Set([
  'APIConnectionError', 'APIConnectionTimeoutError', 'TimeoutError', 'ConnectTimeoutError', 'HeadersTimeoutError',
  'BodyTimeoutError', 'SocketError', 'NetworkingError', 'RequestTimeout']);
// What no retry helps: somebody gave up, or the address or the certificate is bad.
const HOPELESS_CODES = new Set([
  'ABORT_ERR', 'UND_ERR_ABORTED', 'ERR_CANCELED', 'ERR_INVALID_URL', 'ERR_INVALID_PROTOCOL', 'ERR_INVALID_ARG_TYPE',
  'UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'HOSTNAME_MISMATCH', 'INVALID_CA', 'ERR_TLS_CERT_ALTNAME_INVALID']);
const HOPELESS_NAMES = new Set(['AbortError', 'APIUserAbortError', 'CanceledError', 'CancelError']);
const ABORTED = 20; // the old code of a DOMException that is an AbortError

function classified(retry, errorClass, retryAfter, status, reason) {
  return Object.freeze({ retry, errorClass, retryAfter, status, reason });
}

/** Names of an error: its own, and those of its classes. */
function namesOf(error) {
  const names = typeof error.name === 'string' ? [error.name] : [];
  for (let kind = Object.getPrototypeOf(error); kind !== null; kind = Object.getPrototypeOf(kind)) {
    if (Object.hasOwn(kind, 'constructor') && typeof kind.constructor === 'function') names.push(kind.constructor.name);
  }
  return names;
}

function isObject(value) {
  return value !== null && typeof value === 'object';
}

/** The error and what it came from: its cause, the last of several, the reasons of an attempt at several addresses. */
function causesOf(error) {
  const found = [];
  const left = [error];
  while (left.length > 0 && found.length < 10) {
    const at = left.shift();
    if (!isObject(at) || found.includes(at)) continue;
    found.push(at);
    left.push(at.cause, at.lastError, ...(Array.isArray(at.errors) ? at.errors : []));
  }
  return found;
}

function isHopeless(error) {
  const { code } = error;
  return HOPELESS_CODES.has(code) || code === ABORTED || (typeof code === 'string' && code.startsWith('CERT_')) ||
    namesOf(error).some((name) => HOPELESS_NAMES.has(name));
}

/** An error that carries no response. */
function withoutAnswer(error) {
  const reason = kindOfError(error);
  const causes = causesOf(error);
  const hopeless = OURS.has(error.code) || causes.some((cause) => isHopeless(cause) || OURS.has(cause.code));
  const network = !hopeless && causes.some((cause) => NETWORK_CODES.has(cause.code) ||
    namesOf(cause).some((name) => NETWORK_NAMES.has(name)));
  return network ? classified(true, 'network', null, null, reason) : classified(false, 'fatal', null, null, reason);
}

/** What an error is called: its code where it or its cause has one, else its name or class. */
function kindOfError(error) {
  const coded = causesOf(error).find(({ code }) => typeof code === 'string' && code !== '');
  if (coded !== undefined) return coded.code;
  const kind = error.constructor && error.constructor.name;
  return typeof error.name === 'string' && error.name !== 'Error' ? error.name : kind || 'Error';
}

function statusOf(value) {
  if (!isObject(value)) return undefined;
  for (const name of ['status', 'statusCode', 'status_code']) {
    const status = value[name];
    if (Number.isInteger(status) && status >= 100 && status <= 599) return status;
  }
  return undefined;
}

/** Headers of any library as pairs of strings; lists of values one by one. */
function pairsOf(headers) {
  if (!isObject(headers)) return [];
  const pairs = [];
  const add = (name, values) => {
    for (const value of Array.isArray(values) ? values : [values]) {
      if (typeof name === 'string' && typeof value === 'string') pairs.push([name, value]);
    }
  };
  if (Array.isArray(headers) && !Array.isArray(headers[0])) { // names and values in turn
    for (let i = 0; i + 1 < headers.length; i += 2) add(String(headers[i]), String(headers[i + 1]));
  } else if (typeof headers[Symbol.iterator] === 'function') {
    for (const pair of headers) if (Array.isArray(pair)) add(pair[0], pair[1]);
  } else {
    const plain = typeof headers.toJSON === 'function' ? headers.toJSON() : headers;
    for (const [name, values] of Object.entries(plain)) add(name, values);
  }
  return pairs;
}

/** The body as far as it has been read: nothing is read here. */
function bodyOf(failure, response) {
  const places = [failure.responseBody, failure.error, failure.body, response.data, response.body, failure.message];
  for (const body of places) {
    if (typeof body === 'string' && (body !== failure.message || body.startsWith('{'))) return body;
    if (body instanceof Uint8Array) return body;
    if (isPlain(body)) return jsonOf(body);
  }
  return '';
}

function isPlain(value) {
  if (!isObject(value)) return false;
  const kind = Object.getPrototypeOf(value);
  return kind === Object.prototype || kind === null;
}

function jsonOf(body) {
  try { // the SDK of openai keeps what is inside "error"
    return JSON.stringify('error' in body || body.type === 'error' ? body : { error: body });
  } catch {
    return '';
  }
}

/** Of the SDK of AWS: the status and the name of the error, but not the body. */
function responseOfAws(failure, provider) {
  const status = statusOf({ status: failure.$metadata.httpStatusCode });
  if (status === undefined) return null;
  const headers = isObject(failure.$response) ? failure.$response.headers : undefined;
  const body = JSON.stringify({ __type: failure.name, message: failure.message });
  return { status, response: native.parse(status, pairsOf(headers), body, { provider }) };
}

/** What C makes of the response in an error, or of a response itself; null if there is none. */
function responseOf(failure, provider) {
  if (isObject(failure.$metadata)) return responseOfAws(failure, provider);
  const response = isObject(failure.response) ? failure.response : null;
  const status = statusOf(failure) ?? statusOf(response);
  if (status === undefined) return null;
  const headers = (response && response.headers) ?? failure.responseHeaders ?? failure.headers;
  const body = bodyOf(failure, response ?? failure);
  return { status, response: native.parse(status, pairsOf(headers), body, { provider }) };
}

function classify(failure, options) {
  const { provider = 'generic' } = optionsOf(options, ['provider']);
  native.httpLimits(provider); // a name that is not known is said whatever the failure
  return classifyBy(failure, provider).found;
}

function classifyBy(failure, provider) {
  if (!isObject(failure)) return { found: classified(false, 'fatal', null, null, ''), response: null };
  if (OURS.has(failure.code)) return { found: withoutAnswer(failure), response: null };
  for (const cause of causesOf(failure)) {
    const answer = responseOf(cause, provider);
    if (answer === null) continue;
    const { status, response } = answer;
    const again = response.verdict === 'retry' || response.verdict === 'wait';
    const found = classified(again, again ? response.errorClass : 'fatal', response.wait || null, status,
      response.reason || `status ${status}`);
    return { found, response };
  }
  return { found: withoutAnswer(failure), response: null };
}

// -- Retrying --

// A 429 counts as a request, no more.
const REFUSED = Object.freeze({ inputTokens: 0, outputTokens: 0, microdollars: 0 });
const RETRY_OPTIONS = ['limiter', 'backoff', 'attempts', 'retryOn', 'cost', 'actual', 'priority', 'timeout', 'budget',
  'provider', 'signal', 'sleep', 'clock', 'unref', 'onRetry'];

/** What retry() was told. */
class Plan {
  constructor(options) {
    const given = optionsOf(options, RETRY_OPTIONS);
    Object.assign(this, payment(given));
    this.attempts = given.attempts === undefined ? Infinity : countOf('attempts', given.attempts, 1, 2 ** 32);
    this.backoff = scheduleOf(given.backoff, given.attempts);
    this.budget = budgetOf(given.budget);
    this.retryOn = classifierOf(given.retryOn);
    this.signal = signalOf(given.signal);
    this.onRetry = functionOf('onRetry', given.onRetry);
    this.provider = given.provider ?? this.limiter?.provider ?? 'generic';
    native.httpLimits(this.provider); // a name that is not known is said now, not later
    this.sleep = functionOf('sleep', given.sleep) ?? sleepBy(clockOf(given.clock) ?? this.limiter?.clock,
      booleanOf('unref', given.unref) ?? false);
    if (this.signal !== undefined) this.how = { ...this.how, signal: this.signal };
  }

  classify(failure, isError) {
    const { found, response } = classifyBy(failure, this.provider);
    const wanted = this.retryOn === null || !isError ? undefined : this.retryOn(failure);
    if (wanted === undefined || wanted === null) return { found, response };
    if (typeof wanted === 'boolean') {
      const usual = found.errorClass === 'fatal' ? 'network' : found.errorClass;
      return { found: { ...found, retry: wanted, errorClass: wanted ? usual : 'fatal' }, response };
    }
    nameOf('retryOn', wanted, ERROR_CLASSES);
    return { found: { ...found, retry: wanted !== 'fatal', errorClass: wanted }, response };
  }
}

function scheduleOf(given, attempts) {
  if (given === undefined || given === null) return new Backoff({ attempts: attempts === undefined ?
    8 : attempts - 1 });
  if (given instanceof Delays) return given.schedule;
  if (given instanceof Backoff) return given;
  if (typeof given !== 'object') throw typeError(`backoff: must be a Backoff or its options, not ${kindOf(given)}`);
  return new Backoff(attempts === undefined ? given : { attempts: attempts - 1, ...given });
}

function clockOf(clock) {
  if (clock === undefined || clock === null || clock instanceof ManualClock) return clock;
  throw typeError(`clock: must be a ManualClock, not ${kindOf(clock)}`);
}

function budgetOf(budget) {
  if (budget === undefined || budget === null || budget instanceof RetryBudget) return budget ?? null;
  throw typeError(`budget: must be a RetryBudget, not ${kindOf(budget)}`);
}

function isErrorClass(value) {
  return typeof value === 'function' && (value === Error || value.prototype instanceof Error);
}

function classifierOf(retryOn) {
  if (retryOn === undefined || retryOn === null) return null;
  const kinds = Array.isArray(retryOn) ? retryOn : [retryOn];
  if (kinds.length > 0 && kinds.every(isErrorClass)) return (error) => kinds.some((kind) => error instanceof kind);
  const isClass = typeof retryOn === 'function' && /^class\b/.test(Function.prototype.toString.call(retryOn));
  if (isClass || typeof retryOn !== 'function') {
    throw typeError('retryOn: must be a function of an error, a class of errors or an array of them, ' +
      `not ${shown(retryOn)}`);
  }
  return retryOn;
}

function callable(fn) {
  if (typeof fn !== 'function') throw typeError(`fn: must be a function, not ${kindOf(fn)}`);
  if (/GeneratorFunction$/.test(fn.constructor?.name ?? '')) {
    throw typeError('fn: cannot repeat a generator, whose results are in use already');
  }
  return fn;
}

async function retry(fn, options) {
  callable(fn);
  const plan = new Plan(options);
  return new Run(plan).call((attempt) => fn(attempt), (attempt) => [attempt]);
}

function retryable(fn, options) {
  callable(fn);
  const plan = new Plan(options);
  const repeated = async function (...args) {
    return new Run(plan).call(() => fn.apply(this, args), () => args);
  };
  Object.defineProperty(repeated, 'name', { value: fn.name, configurable: true });
  Object.defineProperty(repeated, 'length', { value: fn.length, configurable: true });
  return repeated;
}

const histories = new WeakMap();

function retriesOf(failure) {
  return isObject(failure) ? histories.get(failure) : undefined;
}

/** One call and its retries. */
class Run {
  constructor(plan) {
    this.plan = plan;
    this.delays = plan.backoff.start();
    this.tries = 0;
    this.waited = 0;
    this.stopped = '';
  }

  async call(fn, argsOf) {
    const { plan } = this;
    for (;;) {
      plan.signal?.throwIfAborted();
      const attempt = Object.freeze({ attempt: this.tries + 1, signal: plan.signal });
      const ended = await this.attempt(fn, argsOf, attempt);
      if (ended.delay === null) return this.end(ended);
      this.tell(ended);
      if (!ended.isError) discard(ended.failure);
      await abortable(plan.signal, (signal) => plan.sleep(ended.delay, signal));
      this.waited += ended.delay;
    }
  }

  /** One attempt: it pays, and what it holds is given back however it ends. */
  async attempt(fn, argsOf, attempt) {
    const { plan } = this;
    this.begin();
    const permit = plan.limiter === undefined ? null :
      await plan.limiter.acquire(costBy(plan.cost, argsOf(attempt)), plan.how);
    try {
      let result;
      try {
        result = await fn(attempt);
      } catch (error) {
        return { failure: error, isError: true, delay: this.failed(permit, error, true) };
      }
      if (isFailedResponse(result)) {
        return { failure: result, isError: false, delay: this.failed(permit, result, false) };
      }
      permit?.settle(plan.actual?.(result));
      return { failure: result, isError: false, delay: null };
    } finally {
      settleLost(plan.limiter, permit);
    }
  }

  begin() {
    this.tries += 1;
    if (this.tries === 1) this.plan.budget?.request();
    else this.plan.limiter?._countRetry();
  }

  /** Milliseconds until the next try; null: this was the last. What failed has paid; of a refusal no tokens. */
  failed(permit, failure, isError) {
    const { plan } = this;
    const { found, response } = plan.classify(failure, isError);
    if (permit !== null && response !== null) {
      plan.limiter.observe(response.feedback, permit);
      permit.settle(found.status === 429 ? REFUSED : undefined);
    }
    if (!found.retry) return this.stop(`not retried: ${found.reason}`);
    if (this.tries >= plan.attempts) return this.stop('no attempts left');
    const delay = this.delays.delay(found.errorClass, { priority: plan.how.priority, retryAfter: found.retryAfter });
    if (delay === null) return this.stop('no attempts left');
    if (plan.budget !== null && !plan.budget.retry()) return this.stop('the retry budget is spent');
    this.found = found;
    return delay;
  }

  stop(reason) {
    this.stopped = reason;
    return null;
  }

  tell({ failure, isError, delay }) {
    this.plan.onRetry?.({ attempt: this.tries, delay, ...(isError ? { error: failure } : { response: failure }),
      classified: this.found });
  }

  /** Throws the last error, or returns the last result. */
  end({ failure, isError }) {
    if (isObject(failure) && this.stopped !== '' && (this.tries > 1 || !this.stopped.startsWith('not retried'))) {
      histories.set(failure, Object.freeze({ attempts: this.tries, waited: this.waited, reason: this.stopped }));
    }
    if (isError) throw failure;
    return failure;
  }
}

function isFailedResponse(result) {
  return isObject(result) && isObject(result.headers) && statusOf(result) >= 400;
}

/** Lets go of a response that is not wanted: its connection would stay in use. Not waited for; it cannot fail. */
function discard(response) {
  const { body } = response;
  const letGo = async () => {
    if (typeof body?.dump === 'function') await body.dump(); // of undici
    else if (typeof body?.cancel === 'function') await body.cancel(); // of fetch
    else if (typeof response.resume === 'function') response.resume(); // of http
    else if (typeof response.close === 'function') await response.close();
  };
  letGo().catch(() => {}); // it is locked, or has failed: gone either way
}

// -- Sleeping --

/** A promise as it is, but rejected with the signal's reason once that is aborted; nothing is left on the signal. */
async function abortable(signal, begin) {
  if (signal === undefined) return begin(undefined);
  signal.throwIfAborted();
  let abort;
  const aborted = new Promise((resolve, reject) => {
    abort = () => reject(signal.reason);
    allowListeners(signal);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([begin(signal), aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** A function that sleeps: by a clock set by hand, else by timers. */
function sleepBy(clock, unref) {
  if (clock instanceof ManualClock) return (ms, signal) => clock.sleep(ms, { signal });
  return (ms, signal) => sleepByTimer(ms, signal, unref);
}

/** By a timer: no delay is longer than one can be. It rounds down, so it is told the next whole millisecond. */
function sleepByTimer(ms, signal, unref) {
  return new Promise((resolve) => {
    const stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve();
    };
    const timer = setTimeout(stop, Math.ceil(ms));
    if (unref) timer.unref();
    allowListeners(signal);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

module.exports = { Backoff, Delays, RetryBudget, backoff, classify, retriesOf, retry, retryable };
