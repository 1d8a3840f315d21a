'use strict';

// What all integrations share: one call of an API, from the estimate to the settlement. Internal.
//
// A Gate stands for one line of the user: a limiter and how to use it. Each attempt of a request is a Call:
//
//     call = gate.open('POST', url, body)     the estimate, from the request
//     await call.wait(signal)                 the limiter's queue
//     call.answered(status, headers)          what the headers say goes to the limiter
//     call.feed(chunk)                        bytes of the body, as they pass by
//     call.finish()                           the body has been read: settled with the usage it told
//     call.close()                            nobody will read the rest
//     call.failed(error, sent)                no answer came
//
// The permit is held from wait() to whichever of the last three comes first; each may be called again.
//
// What is settled
//     usage told                      as the provider charges for it (rlm_http_charge). Where it reserves the maximum
//                                     of a request's output and gives nothing back, never below the estimate
//     no usage in a good answer       the estimate; of a stream at least as many output tokens as deltas were counted
//     a stream cut short, or given up likewise; the input as far as it was told
//     refused by a limit (429)        the request counts, its tokens do not
//     redirected                      likewise: the next hop pays for itself
//     any other failure               the estimate: it may have been processed
//     never sent (no connection)      nothing: the permit is cancelled
//
// Of a budget (prices), as told: the input, with what came from a cache, and twice what was written to one; the output,
// of a stream cut short that which is settled; after a 429 nothing.
//
// A request that was aborted before its answer came counts as failed in status(), and so does one that was never sent.
//
// OpenAI tells the usage of a stream only if the request asks for it with stream_options: { include_usage: true }.

const native = require('../load.js');
const { priced, requestCost } = require('./estimate.js');
const { checkCounted, priceFor, pricesOf } = require('./prices.js');
const { Compressed, ERROR_MOST, Events, JSON_MOST, Whole, decoder, findUsage, isEncoded, isObject, isPlain, parsed,
  readUsage } = require('./usage.js');
const { AMOUNT_MAX, PRIORITIES, booleanOf, functionOf, kindOf, nameOf, numberOf, optionsOf, rangeError, shown,
  typeError } = require('./arguments.js');

const ROUTES_MOST = 256; // models whose real costs are learned
const OPTIONS = ['provider', 'priority', 'queueTimeout', 'cost', 'tokenizer', 'reservesOutput', 'prices'];

/** A body that cannot be looked at without using it up. */
const UNREADABLE = Symbol('unreadable');

// -- Headers, in the forms that they come in --

/** The value of a header, '' if it is not there. headers: Headers, an object, or undici's raw array. */
function headerOf(headers, name) {
  if (Array.isArray(headers)) {
    for (let i = 0; i + 1 < headers.length; i += 2) {
      if (headers[i].toString('latin1').toLowerCase() === name) return text(headers[i + 1]);
    }
    return '';
  }
  if (typeof headers?.get === 'function') return headers.get(name) ?? '';
  for (const key of Object.keys(headers ?? {})) {
    if (key.toLowerCase() === name) return text(headers[key]);
  }
  return '';
}

/** Whether an SDK says that it sends this again. headers: as in headerOf, or pairs. */
function isRetry(headers) {
  const given = Array.isArray(headers) && Array.isArray(headers[0]) ? headers.flat() : headers;
  return Number(headerOf(given, RETRY_HEADER)) > 0;
}

function text(value) {
  return Array.isArray(value) ? value.map(text).join(', ') : String(value ?? '');
}

// -- Providers --

const HOSTS = [
  ['api.openai.com', 'openai'], ['openai.azure.com', 'azure'], ['cognitiveservices.azure.com', 'azure'],
  ['api.anthropic.com', 'anthropic'], ['amazonaws.com', 'bedrock'],
  ['generativelanguage.googleapis.com', 'gemini'], ['api.groq.com', 'groq'], ['api.cerebras.ai', 'cerebras'],
  ['openrouter.ai', 'openrouter'],
];
const FREE = ['/count_tokens', '/batches', '/files', '/models']; // no tokens are charged there
const CACHE_WRITE_PRICES = 2; // of the input: the most that is asked for writing to a cache
const RETRY_HEADER = 'x-stainless-retry-count'; // of the SDKs
const NOTHING = Object.freeze({ inputTokens: 0, outputTokens: 0, microdollars: 0 });

function urlOf(url) {
  try {
    return new URL(url, 'http://-');
  } catch {
    return new URL('http://-');
  }
}

/** The provider whose host this is; undefined if it is not known. */
function providerOf(url) {
  const host = urlOf(url).hostname;
  for (const [end, provider] of HOSTS) {
    if (host === end || host.endsWith('.' + end)) return provider;
  }
  return undefined;
}

function rules(known, ask) {
  return (provider) => {
    if (!known.has(provider)) known.set(provider, ask(provider));
    return known.get(provider);
  };
}

/** Whether the maximum of a request's output is charged when it is admitted. */
const reserves = rules(new Map(), (provider) =>
  native.httpEstimate(provider, { outputMax: 2, outputExpected: 1 }).outputTokens >= 2);

/** Whether what was reserved of it is kept, though less was used. */
const keeps = rules(new Map(), (provider) =>
  reserves(provider) && native.httpCharge(provider, { outputTokens: 0, outputMax: 2 }).outputTokens >= 2);

// -- The gate and its calls --

/** A URL for a warning: keys may stand in its query, passwords before its host. */
function withoutSecrets(url) {
  const { origin, host, pathname } = urlOf(url);
  return host === '-' ? pathname : origin + pathname;
}

/** One line of the user: a limiter, and how its calls are estimated and settled. */
class Gate {
  #routes = new Map();
  #said = new Set();
  #given;
  #default;
  #prices;

  /** other: the provider, if neither it nor the limiter's is given and the host tells none. */
  constructor(limiter, options, other = 'generic') {
    if (limiter === null || typeof limiter !== 'object' || typeof limiter.acquire !== 'function') {
      throw typeError(`limiter: must be a Limiter, not ${kindOf(limiter)}`);
    }
    const given = optionsOf(options, OPTIONS);
    const { priority = 'normal', queueTimeout = Infinity, reservesOutput } = given;
    nameOf('priority', priority, PRIORITIES);
    numberOf('queueTimeout', queueTimeout, 0, Infinity);
    booleanOf('reservesOutput', reservesOutput);
    if (given.provider !== undefined) nameOf('provider', given.provider, native.PROVIDERS);
    if (given.tokenizer !== undefined && typeof given.tokenizer?.encode !== 'function') {
      functionOf('tokenizer', given.tokenizer);
    }
    functionOf('cost', given.cost);
    const prices = pricesOf(given.prices);
    checkCounted(limiter, given.cost, prices);
    this.#prices = limiter.meters?.includes('microdollars') ? prices : null;
    this.limiter = limiter;
    this.how = queueTimeout === Infinity ? { priority } : { priority, timeout: queueTimeout };
    this.#given = given;
    this.#default = other;
  }

  /**
   * A call, not admitted yet; null if the cost function lets this request pass.
   * body: an object or array that will be JSON, a string or bytes, undefined or null for none, UNREADABLE.
   */
  open(method, url, body) {
    const provider = this.#given.provider ?? this.limiter.provider ?? providerOf(url) ?? this.#default;
    const value = parsed(body) ?? body;
    const path = urlOf(url).pathname;
    if (this.#given.cost !== undefined) {
      const cost = this.#costs({ method, url, body: value === UNREADABLE ? undefined : value ?? null });
      return cost === null ? null : this.#counted(provider, cost, value, path);
    }
    const counts = ['POST', 'PUT', 'PATCH'].includes(method.toUpperCase());
    const none = value === undefined || value === null;
    if (!counts || none || FREE.some((end) => path.endsWith(end))) {
      return new Call(this, provider, { requests: 1 });
    }
    if (!isPlain(value)) return this.#unknown(provider, url, 'its body is not a JSON object');
    let raw;
    try {
      raw = requestCost(value, { provider, tokenizer: this.#given.tokenizer });
    } catch (error) {
      return this.#unknown(provider, url, error.message);
    }
    return this.#estimated(provider, raw, value, priceFor(this.#prices, value, path));
  }

  /** Warns, once for this gate. */
  say(what, message) {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    process.emitWarning(message, 'RlimitWarning');
  }

  /** One request without tokens, and a warning; where a budget is kept it is refused, for it would pass unseen. */
  #unknown(provider, url, why) {
    if (this.#prices !== null) {
      throw rangeError(`prices: what a request to ${withoutSecrets(url)} costs is not known (${why}): cost: takes a ` +
        'function that knows better');
    }
    this.say('estimate', `a request to ${withoutSecrets(url)} cannot be estimated (${why}): it counts as one request ` +
      'without tokens; cost: takes a function that knows better');
    return new Call(this, provider, { requests: 1 });
  }

  /** What the user's function says, looked at before anything is waited for. */
  #costs(request) {
    const given = this.#given.cost(request);
    if (given === null || given === undefined) return null;
    try {
      if (!isObject(given)) throw typeError(`cost: must be an object of meters or null, not ${kindOf(given)}`);
      const cost = { requests: 1, ...given };
      this.limiter.check(cost);
      return cost;
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) {
        error.message = `cost: the function returned ${shown(given)}: ${error.message}`;
      }
      throw error;
    }
  }

  /** A call of what the user's function said: with the price of its tokens, unless it told that too. */
  #counted(provider, cost, value, path) {
    const known = cost.microdollars !== undefined || !(cost.inputTokens > 0 || cost.outputTokens > 0);
    const price = known ? null : priceFor(this.#prices, value, path);
    return new Call(this, provider, price === null ? cost : priced(cost, price), { price });
  }

  /** With what was learned of this model, unless the server keeps its own estimate whatever the answer costs. */
  #estimated(provider, raw, value, price) {
    const route = keeps(provider) ? null : this.#route(String(value.model));
    const cost = route === null ? raw : this.#corrected(provider, raw, route);
    return new Call(this, provider, price === null ? cost : priced(cost, price), { raw, route, price });
  }

  #corrected(provider, raw, route) {
    const corrected = route.estimate(raw);
    const cost = { ...raw, inputTokens: corrected.inputTokens ?? 0 };
    if (!(this.#given.reservesOutput ?? reserves(provider))) cost.outputTokens = corrected.outputTokens ?? 0;
    return cost;
  }

  #route(model) {
    const route = this.#routes.get(model);
    if (route !== undefined) return route;
    if (this.#routes.size >= ROUTES_MOST) return null;
    const made = new native.Route();
    this.#routes.set(model, made);
    return made;
  }
}

/** One attempt of a request: see the top of this file for its life. */
class Call {
  #gate;
  #provider;
  #raw;
  #route;
  #price;
  #permit = null;
  #status = 0;
  #headers = null;
  #reader = null;
  #onEnd = null;

  /** raw: the estimate before route corrected it. price: of the model, where a budget is kept. */
  constructor(gate, provider, cost, { raw = null, route = null, price = null } = {}) {
    this.cost = cost;
    this.sent = false; // for those that prepare a request before they send it
    this.isRetry = false; // whether the SDK sends it again
    this.#gate = gate;
    this.#provider = provider;
    this.#raw = raw;
    this.#route = route;
    this.#price = price;
  }

  /** Waits in the limiter's queue. Rejects as acquire() does. */
  async wait(signal) {
    const { limiter, how } = this.#gate;
    const permit = await limiter.acquire(this.cost, signal ? { ...how, signal } : how);
    if (signal?.aborted) { // between the permit and here
      permit.cancel();
      throw signal.reason;
    }
    this.#permit = permit;
    if (this.isRetry) limiter._countRetry?.();
  }

  /** Whether the permit is out. */
  get held() {
    return this.#permit !== null;
  }

  /** The head of a response is there. encoding: how the chunks are compressed that feed() will be given. */
  answered(status, headers, encoding = '') {
    this.#status = status;
    this.#headers = headers;
    if (status >= 400) {
      this.#reader = new Whole(ERROR_MOST, true);
    } else {
      this.#observe();
      const kind = headerOf(headers, 'content-type').toLowerCase();
      if (kind.includes('event-stream')) this.#reader = new Events((body) => this.#observe(body));
      else if (kind.includes('json')) this.#reader = new Whole(JSON_MOST, false);
    }
    if (this.#reader === null || !isEncoded(encoding)) return;
    const decode = decoder(encoding);
    this.#reader = decode === undefined ? null : new Compressed(this.#reader, decode);
    if (decode !== undefined) return;
    this.#gate.say('encoding', `answers in content-encoding ${encoding} cannot be read here: they are settled with ` +
      'the estimate');
  }

  /** Some of the body, a Uint8Array. Never throws: what cannot be understood is not looked at any more. */
  feed(chunk) {
    try {
      this.#reader?.feed(chunk);
    } catch (error) {
      this.#drop(error);
    }
  }

  /** What to do once the call has ended, whichever way. */
  onEnd(callback) {
    if (this.held) this.#onEnd = callback;
    else callback();
  }

  /** The body has been read whole. */
  finish() {
    this.#end(true);
  }

  /** Nobody will read the rest of the body. */
  close() {
    this.#end(false);
  }

  /** The request is aborted: if it was answered, nobody will read the rest; else failed() will be told. */
  leave() {
    if (this.#status !== 0) this.#end(false);
  }

  /** No answer came, or its body broke off. sent: whether the server may have seen the request. */
  failed(error, sent = true) {
    if (!this.held) return;
    if (this.#status < 400) this.#observe(undefined, false);
    if (sent) this.#end(false);
    else this.cancel();
  }

  /** It was never sent, and nobody is to know of it. */
  cancel() {
    const permit = this.#take();
    if (permit !== null) permit.cancel();
  }

  #take() {
    const permit = this.#permit;
    const after = this.#onEnd;
    this.#permit = this.#reader = this.#onEnd = null;
    after?.();
    return permit;
  }

  #drop(error) {
    this.#reader = null;
    this.#gate.say('read', `an answer cannot be understood (${error.message}): it is settled with the estimate`);
  }

  /** Tells the limiter what the server said, or that it said nothing. */
  #observe(body, answered = true) {
    if (!this.held) return;
    try {
      const provider = this.#provider;
      const answer = native.parse(answered ? this.#status : 0, answered ? this.#headers : {}, body, { provider });
      this.#gate.limiter.observe(answer.feedback, this.#permit);
    } catch (error) {
      this.#gate.say('observe', `an answer's limits cannot be understood: ${error.message}`);
    }
  }

  #end(whole) {
    if (!this.held) return;
    let actual;
    try {
      actual = this.#settlement(whole);
    } catch (error) {
      this.#drop(error);
    }
    const permit = this.#take();
    try {
      permit.settle(actual);
    } catch (error) {
      this.#gate.say('settle', `a request could not be settled: ${error.message}`);
    }
  }

  /** What to settle with; a meter that is not in it stays as estimated. */
  #settlement(whole) {
    const reader = this.#reader instanceof Compressed ? this.#reader.read() : this.#reader;
    if (this.#status >= 400) this.#observe(reader === null ? undefined : reader.body());
    if (this.#status === 429 || (this.#status >= 300 && this.#status < 400)) return NOTHING;
    if (this.#status < 200 || this.#status >= 300) return undefined;
    if (reader instanceof Events) return this.#ofStream(reader, whole);
    if (!(reader instanceof Whole) || !whole) return undefined;
    const body = reader.body();
    const found = body.includes('sage') ? findUsage(JSON.parse(body.toString())) : null;
    return found === null ? undefined : this.#charge(readUsage(found));
  }

  #ofStream(reader, whole) {
    if (whole) reader.finish();
    const told = readUsage(reader.usage);
    if (reader.told && (whole || reader.ended)) return this.#charge(told);
    const output = Math.max(told.output ?? 0, reader.deltas);
    const actual = this.#charge({ ...told, output }, false);
    actual.outputTokens = Math.max(actual.outputTokens, this.cost.outputTokens ?? 0);
    return this.#withPrice(actual, { ...told, output: actual.outputTokens });
  }

  #charge(told, learn = true) {
    if (told.input === undefined && told.output === undefined) return undefined;
    const charge = native.httpCharge(this.#provider, {
      inputTokens: told.input ?? 0, cacheRead: told.cacheRead, cacheWrite: told.cacheWrite,
      outputTokens: told.output ?? 0,
    });
    const actual = {};
    if (told.input !== undefined) actual.inputTokens = charge.inputTokens ?? 0;
    if (told.output !== undefined) actual.outputTokens = charge.outputTokens ?? 0;
    if (learn && this.#route !== null) this.#route.learn(this.#raw, { ...this.#raw, ...actual });
    if (keeps(this.#provider)) {
      for (const meter of Object.keys(actual)) actual[meter] = Math.max(actual[meter], this.cost[meter] ?? 0);
    }
    return this.#withPrice(actual, told);
  }

  /** With what the tokens told cost; where none were told, those of the estimate. */
  #withPrice(actual, { input, cacheRead, cacheWrite, output }) {
    if (this.#price === null) return actual;
    const all = input === undefined ? this.cost.inputTokens ?? 0 : input + cacheRead + CACHE_WRITE_PRICES * cacheWrite;
    const tokens = { inputTokens: Math.min(all, AMOUNT_MAX), outputTokens: output ?? this.cost.outputTokens ?? 0 };
    return { ...actual, microdollars: priced(tokens, this.#price).microdollars ?? 0 };
  }
}

// -- Errors --

// After these the server has seen nothing of the request. Certificates are looked at before anything is sent.
const NOT_SENT = new Set([
  'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN',
  'ERR_INVALID_URL', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_CLOSED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Whether a request that ended in this error may have reached the server. */
function wasSent(error) {
  const seen = new Set();
  for (let at = error; isObject(at) && !seen.has(at); at = at.cause) {
    seen.add(at);
    if (NOT_SENT.has(at.code) || at.syscall === 'connect' || at.syscall === 'getaddrinfo') return false;
    if (Array.isArray(at.errors) && at.errors.length > 0 && !at.errors.some(wasSent)) return false;
  }
  return true;
}

module.exports = { Call, Gate, OPTIONS, UNREADABLE, headerOf, isRetry, keeps, providerOf, reserves, wasSent };
