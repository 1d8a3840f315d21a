'use strict';

// What a server says of limits (Reading, Feedback), what a response says (parse), and what requests turn out to cost
// (Route).
//
// A reading and a feedback are the bytes that C has of them, with names and milliseconds around.

const native = require('../load.js');
const { countOf, kindOf, nameOf, numberOf, optionsOf, rangeError, shown, typeError } = require('./arguments.js');
const { costOf, fromArray, toArray } = require('./cost.js');

const METERS = ['requests', 'inputTokens', 'outputTokens', 'tokens', 'microdollars', 'custom'];
const OUTCOMES = ['answered', 'refused', 'slow_down', 'overloaded', 'failed'];
const VERDICTS = ['ok', 'retry', 'wait', 'never'];
const REASONS = ['', 'rate_limit', 'quota_day', 'overload', 'server', 'network', 'spent', 'auth', 'too_large',
  'bad_request', 'told'];
const CLASSES = ['rate_limit', 'server', 'network', 'fatal'];
const UNSAID = 2n ** 64n - 1n;
const SPAN_MOST = 36028797018; // ms: 2^55 ns
const CONCURRENCY_NAMED = 2 ** 31;
const HEAD_WORDS = 4; // of rlm_feedback: outcome and named, retry_after_ns, requested, count
const READING_WORDS = 8; // of rlm_reading: meter, and the seven of FIELDS
const FIELDS = ['limit', 'remaining', 'rounding', 'reset', 'period', 'periodLeast', 'periodMost'];
const TIMES = new Set(['reset', 'period', 'periodLeast', 'periodMost']);
const UNSAID_FIELDS = { rounding: 0n, period: 0n, periodLeast: 0n };

function amountOf(name, value) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a whole number, not ${kindOf(value)}`);
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw rangeError(`${name}: must be a whole number, 0 to 2^53 - 1, not ${value}`);
}

/** Milliseconds as nanoseconds, rounded up. */
function spanOf(name, value) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a number of milliseconds, not ${kindOf(value)}`);
  if (!(value >= 0)) throw rangeError(`${name}: must be 0 ms or more, not ${value}`);
  const ms = Math.min(value, SPAN_MOST);
  return BigInt(Math.floor(ms)) * 1000000n + BigInt(Math.ceil((ms % 1) * 1e6));
}

function absent(value) { return value === undefined || value === null; }

function amountFrom(word) { return word === UNSAID ? null : Number(word); }

function spanFrom(word) { return word === UNSAID ? null : Number(word) / 1e6; }

class Reading {
  constructor(meter, values) {
    const given = optionsOf(values, FIELDS);
    const words = new BigUint64Array(READING_WORDS);
    new Uint32Array(words.buffer)[0] = METERS.indexOf(nameOf('meter', meter, METERS));
    FIELDS.forEach((field, index) => {
      const value = given[field];
      if (absent(value)) words[index + 1] = UNSAID_FIELDS[field] ?? UNSAID;
      else words[index + 1] = TIMES.has(field) ? spanOf(field, value) : amountOf(field, value);
    });
    Object.defineProperty(this, '_words', { value: words });
  }

  get meter() { return METERS[new Uint32Array(this._words.buffer, this._words.byteOffset)[0]]; }

  get limit() { return amountFrom(this._words[1]); }

  get remaining() { return amountFrom(this._words[2]); }

  get rounding() { return Number(this._words[3]); }

  get reset() { return spanFrom(this._words[4]); }

  get period() { return this._words[5] === 0n ? null : spanFrom(this._words[5]); }

  get periodLeast() { return spanFrom(this._words[6]); }

  get periodMost() { return spanFrom(this._words[7]); }

  toJSON() {
    return { meter: this.meter, ...Object.fromEntries(FIELDS.map((field) => [field, this[field]])) };
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return `Reading { ${this.meter}: limit ${this.limit}, remaining ${this.remaining}, reset ${this.reset} }`;
  }
}

function readingOf(given) {
  if (given instanceof Reading) return given;
  if (given === null || typeof given !== 'object') {
    throw typeError(`readings: must hold Readings, not ${kindOf(given)}`);
  }
  const { meter, ...values } = given;
  return new Reading(meter, values);
}

/** Which limits a refusal names, as bits. */
function namedOf(given) {
  let named = 0;
  for (const name of absent(given) ? [] : given) {
    if (name === 'concurrency') named += named >= CONCURRENCY_NAMED ? 0 : CONCURRENCY_NAMED;
    else named = (named | 1 << METERS.indexOf(nameOf('named', name, METERS))) >>> 0;
  }
  return named;
}

class Feedback {
  constructor(values) {
    const { outcome = 'answered', named, retryAfter, requested, readings = [] } =
      optionsOf(values, ['outcome', 'named', 'retryAfter', 'requested', 'readings']);
    const words = new BigUint64Array(native.FEEDBACK_BYTES / 8);
    const list = [...readings].map(readingOf);
    if (list.length > native.READINGS_MAX) {
      throw rangeError(`readings: must be at most ${native.READINGS_MAX}, not ${list.length}`);
    }
    new Uint32Array(words.buffer).set([OUTCOMES.indexOf(nameOf('outcome', outcome, OUTCOMES)), namedOf(named)]);
    words[1] = absent(retryAfter) ? UNSAID : spanOf('retryAfter', retryAfter);
    words[2] = absent(requested) ? UNSAID : amountOf('requested', requested);
    new Uint32Array(words.buffer)[6] = list.length;
    list.forEach((reading, index) => words.set(reading._words, HEAD_WORDS + index * READING_WORDS));
    Object.defineProperty(this, '_words', { value: words });
  }

  /** Of the bytes that C made. Internal. */
  static _of(bytes) {
    const feedback = Object.create(Feedback.prototype);
    Object.defineProperty(feedback, '_words', { value: new BigUint64Array(bytes.buffer) });
    return feedback;
  }

  get _head() { return new Uint32Array(this._words.buffer, 0, HEAD_WORDS * 2); }

  get outcome() { return OUTCOMES[this._head[0]]; }

  get named() {
    const bits = this._head[1];
    const names = METERS.filter((_, index) => (bits >>> index & 1) === 1);
    return bits >= CONCURRENCY_NAMED ? [...names, 'concurrency'] : names;
  }

  get retryAfter() { return spanFrom(this._words[1]); }

  get requested() { return amountFrom(this._words[2]); }

  get readings() {
    return Array.from({ length: this._head[6] }, (_, index) => {
      const reading = Object.create(Reading.prototype);
      const at = HEAD_WORDS + index * READING_WORDS;
      return Object.defineProperty(reading, '_words', { value: this._words.slice(at, at + READING_WORDS) });
    });
  }

  toJSON() {
    const { outcome, named, retryAfter, requested, readings } = this;
    return { outcome, named, retryAfter, requested, readings };
  }

  [Symbol.for('nodejs.util.inspect.custom')](depth, options, inspect) {
    return `Feedback ${inspect(this.toJSON(), options)}`;
  }
}

/** A Feedback, or what one can be made of. */
function feedbackOf(given) {
  if (given instanceof Feedback) return given;
  if (given === null || typeof given !== 'object') {
    throw typeError(`feedback: must be a Feedback, such as parse(...).feedback, not ${kindOf(given)}`);
  }
  return new Feedback(given);
}

// -- Responses --

class Response {
  #body;
  #usage;

  constructor([verdict, reason, errorClass, capped, waitNs, feedback], body) {
    this.verdict = VERDICTS[verdict];
    this.reason = REASONS[reason];
    this.errorClass = CLASSES[errorClass];
    this.capped = capped !== 0;
    this.wait = waitNs === 0n ? null : Number(waitNs) / 1e6;
    this.feedback = Feedback._of(feedback);
    Object.defineProperty(this, '_waitNs', { value: waitNs });
    this.#body = body;
  }

  get usage() {
    if (this.#usage === undefined) {
      const { usageOf } = require('./usage.js'); // needs this module
      this.#usage = absent(this.#body) ? null : usageOf(this.#body) ?? null;
    }
    return this.#usage;
  }
}

/** A name or value of a header: bytes are Latin-1. */
function textOf(value) {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  }
  throw typeError(`headers: names and values must be strings, not ${kindOf(value)}`);
}

function pushAll(flat, name, value) {
  if (absent(value)) return;
  for (const one of Array.isArray(value) ? value : [value]) flat.push(textOf(name), textOf(one));
}

function pushPair(flat, pair) {
  if (!Array.isArray(pair) || pair.length !== 2) {
    throw typeError(`headers: must be an object, or pairs of name and value, not ${shown(pair)}`);
  }
  pushAll(flat, pair[0], pair[1]);
}

/**
 * Headers as [name, value, name, value ...]: of a Headers, a Map, an object, pairs, or the raw array of undici and
 * http.
 */
function flatHeaders(headers) {
  const flat = [];
  if (absent(headers)) return flat;
  if (typeof headers !== 'object') {
    throw typeError(`headers: must be an object, or pairs of name and value, not ${kindOf(headers)}`);
  }
  if (Array.isArray(headers) && headers.length > 0 && !Array.isArray(headers[0])) {
    for (let i = 0; i + 1 < headers.length; i += 2) pushAll(flat, headers[i], headers[i + 1]);
  } else if (typeof headers[Symbol.iterator] === 'function') {
    for (const pair of headers) pushPair(flat, pair);
  } else {
    for (const name of Object.keys(headers)) pushAll(flat, name, headers[name]);
  }
  return flat;
}

function bytesOf(body) {
  if (absent(body)) return undefined;
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  throw typeError(`body: must be a string or bytes, not ${kindOf(body)}`);
}

/** The wall clock: a number of ms since 1970, or a bigint of ns; 0 is not known. */
function wallOf(wall) {
  if (wall === undefined || typeof wall === 'bigint') return wall;
  numberOf('wall', wall, 0, 4611686018427);
  return BigInt(Math.floor(wall)) * 1000000n + BigInt(Math.round((wall % 1) * 1e6));
}

function parse(status, headers, body, options) {
  const { provider = 'generic', wall } = optionsOf(options, ['provider', 'wall']);
  countOf('status', status, 0, 999);
  return new Response(native.parseRaw(status, flatHeaders(headers), bytesOf(body), provider, wallOf(wall)), body);
}

// -- Estimates --

class Route {
  #core;

  constructor(quantile = 0.9) {
    numberOf('quantile', quantile, 0.001, 0.999);
    this.#core = new native.RouteCore(Math.round(quantile * 1000));
  }

  estimate(cost = {}) { return fromArray(this.#core.estimate(toArray(costOf(cost, 1, 0)))); }

  learn(estimate, actual) { this.#core.learn(toArray(costOf(estimate, 0, 0)), toArray(costOf(actual, 0, 0))); }
}

module.exports = { Feedback, OUTCOMES, Reading, Response, Route, feedbackOf, parse };
