'use strict';

// The limiter that users make, and its permits. Decisions, and who is next, are C's (addon.c); here are promises,
// timers and signals.
//
// Numbers cross in `io`, a Float64Array that both sides see; addon.c names its places. Whatever may run a user's code
// (getters of arguments, a clock that is a function) runs before io is written, or io is written again after it.

const { clearTimeout, setTimeout } = require('timers'); // kept, so that tests that replace timers do not replace these
const native = require('../load.js');
const { allowListeners, booleanOf, countOf, kindOf, nameOf, numberOf, optionsOf, rangeError, shown, signalOf,
  typeError } = require('./arguments.js');
const { ManualClock } = require('./clock.js');
const { ONE_REQUEST, costOf, write, writeEstimate } = require('./cost.js');
const { AcquireTimeoutError, ClosedError, LimitError, NeverAdmittedError, QueueFullError } = require('./errors.js');
const { OUTCOMES, feedbackOf } = require('./feedback.js');
const { Limit, adaptive, concurrent, errorOf, limitOf, ramp } = require('./limit.js');

const METERS = ['requests', 'inputTokens', 'outputTokens', 'tokens', 'microdollars', 'custom'];
const PRIORITIES = ['critical', 'high', 'normal', 'low'];
const NORMAL = PRIORITIES.indexOf('normal');
const OPTIONS = [...METERS, 'concurrency', 'ramp', 'provider', 'queue', 'ageing', 'clock', 'name', 'unref'];
const ACQUIRE_OPTIONS = ['signal', 'priority', 'timeout'];
const AGEING_MOST = 2n ** 60n;
const TIMER_MOST = 2 ** 31 - 1; // a longer time-out would end at once
const NO_TIME = native.ON_RELEASE; // waits of this and above are no times

// Of addon.c.
const [TAKE_NEVER, TAKE_PAGE, TAKE_NOTHING] = [-2, -3, -4];
const [JOIN_FULL, JOIN_MEMORY] = [-1, -2];
const [EVENT_NONE, EVENT_ADMITTED, EVENT_TIMEOUT, EVENT_PAGE] = [0, 1, 2, 4];
const [END_SETTLE, END_CANCEL, END_AS_ESTIMATED] = [0, 1, 2];
const [IO_EVENT, IO_WAITER, IO_INDEX, IO_MODE, IO_PRIORITY, IO_TIMEOUT] = [0, 1, 5, 6, 5, 6];
const OK = 0;
const SOON = Promise.resolve();

// -- Permits --

const [OUT, SETTLED, CANCELLED] = [0, 1, 2];
const STATES = ['out', 'settled', 'cancelled'];
const UNSEEN = -1;
const [ANSWERED, REFUSED] = [OUTCOMES.indexOf('answered'), OUTCOMES.indexOf('refused')];
const INTERNAL = Symbol('internal');

class Permit {
  constructor(internal, limiter, page, index, cost, waited) {
    if (internal !== INTERNAL) throw typeError('Permit: made by acquire() and tryAcquire()');
    this._limiter = limiter;
    this._page = page; // null: it took nothing
    this._index = index;
    this._cost = cost;
    this._waited = waited;
    this._state = OUT;
    this._outcome = UNSEEN;
  }

  settle(actual) {
    const amounts = actual === undefined ? undefined : costOf(actual, NaN, NaN); // first: its getters may end it
    if (this._state !== OUT) throw endedError('settle', this);
    if (amounts === undefined) return this._limiter._end(this, END_AS_ESTIMATED, SETTLED);
    write(this._limiter._io, amounts);
    return this._limiter._end(this, END_SETTLE, SETTLED);
  }

  cancel() {
    if (this._state !== OUT) throw endedError('cancel', this);
    this._limiter._end(this, END_CANCEL, CANCELLED);
  }

  get cost() { return Object.freeze(this._cost); }

  get state() { return STATES[this._state]; }

  get waited() { return this._waited; }

  get limiter() { return this._limiter; }

  toJSON() { return { state: this.state, cost: this._cost, waited: this._waited }; }

  [Symbol.for('nodejs.util.inspect.custom')](depth, options, inspect) {
    return `Permit { ${this.state}, cost: ${inspect(this._cost, options)} }`;
  }
}

function endedError(what, permit) {
  return Object.assign(new Error(`${what}: this permit is ${permit.state} already`), { code: 'RLIMIT_SETTLED' });
}

// Permits that nobody kept. A page of permits is collected when the limiter does not fill it any more and nobody has a
// permit of it: to watch pages costs nothing, to watch each permit more than all the rest. Of a limiter under a cap
// those still out are settled as estimated; of others there is nothing to settle, they are only counted.
const droppedPages = new FinalizationRegistry((meta) => {
  if (meta.out > 0) meta.limiter.deref()?._dropped(meta);
});

// Tells limiters that keep somebody out that the collector has run.
const collections = new FinalizationRegistry((limiter) => limiter.deref()?._collected());

// -- Options --

function limitsOf(name, given) {
  if (given === undefined || given === null) return [];
  const list = Array.isArray(given) ? given : [given];
  if (!list.every((limit) => limit instanceof Limit)) {
    throw typeError(`${name}: must be a Limit such as perMinute(50), or an array of them, not ${shown(given)}`);
  }
  for (const limit of list) {
    if (limit.kind === 'concurrency') throw rangeError(`${name}: ${limit} counts connections: give it as concurrency`);
    if (limit.follow === 'ramp') throw rangeError(`${name}: ${limit} is a pace of requests: give it as ramp`);
  }
  return list;
}

function capOf(given) {
  if (given === undefined || given === null) return [];
  if (!(given instanceof Limit)) return [concurrent(countOf('concurrency', given, 1, 2 ** 31))];
  if (given.kind !== 'concurrency') throw rangeError(`concurrency: must be a number or adaptive(), not ${given}`);
  return [given];
}

function rampOf(given) {
  if (given === undefined || given === null || given === false) return [];
  if (given === true) return [ramp()];
  if (!(given instanceof Limit)) throw typeError(`ramp: must be ramp(), true or false, not ${kindOf(given)}`);
  if (given.follow !== 'ramp') throw rangeError(`ramp: must be ramp(), not ${given}`);
  return [given];
}

/** Adds what this provider limits and was not given, to be learned; without any limits given, a cap and a pace too. */
function learn(provider, given, lead) {
  const both = given.inputTokens.length > 0 && given.outputTokens.length > 0;
  const only = METERS.every((meter) => given[meter].length === 0);
  for (const [number, spec] of native.httpLimits(provider)) {
    const meter = METERS[number];
    const known = given[meter].length > 0 || (meter === 'tokens' && both) ||
      (meter.endsWith('putTokens') && given.tokens.length > 0);
    if (!known) given[meter] = [limitOf(spec)];
  }
  if (!only || !lead) return;
  if (given.concurrency.length === 0) given.concurrency = [adaptive()];
  if (given.ramp.length === 0) given.ramp = [ramp()];
}

/** Each limit with the name of what it counts. */
function named(options) {
  const given = Object.fromEntries(METERS.map((meter) => [meter, limitsOf(meter, options[meter])]));
  given.concurrency = capOf(options.concurrency);
  given.ramp = rampOf(options.ramp);
  if (options.provider !== undefined) {
    learn(nameOf('provider', options.provider, native.PROVIDERS), given, options.ramp !== false);
  }
  const list = Object.keys(given).flatMap((meter) => given[meter].map((limit) => ({ meter, limit })));
  if (list.length === 0) {
    throw rangeError('limits: none given; requests: perMinute(50), say, or provider: \'openai\' to learn them');
  }
  if (list.length > native.LIMITS_MAX) throw rangeError(`limits: at most ${native.LIMITS_MAX}, not ${list.length}`);
  return list;
}

/** The number of what a limit of this name counts: connections and the pace of a ramp count requests. */
function meterOf(name) { return Math.max(METERS.indexOf(name), 0); }

function ageingOf(ms) {
  numberOf('ageing', ms, 0, Infinity);
  return ms > Number(AGEING_MOST) / 1e6 ? AGEING_MOST : BigInt(Math.round(ms * 1e6));
}

function clockOf(clock) {
  if (['undefined', 'string', 'function'].includes(typeof clock) || clock instanceof ManualClock) return clock;
  throw typeError('clock: must be a ManualClock, a function that returns milliseconds, or the name of one, ' +
    `not ${kindOf(clock)}`);
}

/** Whether this is of what save() returned. */
function isSaved(item) {
  const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
  return item !== null && typeof item === 'object' && isCount(item.period) && isCount(item.used);
}

function textOf(name, value) {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw typeError(`${name}: must be a string, not ${kindOf(value)}`);
  return value;
}

const PLAIN = Object.freeze({ signal: undefined, priority: NORMAL, timeout: Infinity });

function howOf(options) {
  const { signal, priority, timeout = Infinity } = optionsOf(options, ACQUIRE_OPTIONS);
  numberOf('timeout', timeout, 0, Infinity);
  return { signal: signalOf(signal), priority: priority === undefined ? NORMAL : priorityOf(priority), timeout };
}

function priorityOf(name) { return PRIORITIES.indexOf(nameOf('priority', name, PRIORITIES)); }

function msOf(ns) { return ns >= NO_TIME ? Infinity : Number(ns) / 1e6; }

// -- Limiters --

class Limiter {
  constructor(options) {
    const given = options?.[INTERNAL] === undefined ? optionsOf(options, OPTIONS) : options;
    const list = given[INTERNAL] ?? named(given);
    this.#begin(list, given);
    this.name = textOf('name', given.name);
    this.provider = textOf('provider', given.provider);
    this._setUp(list, booleanOf('unref', given.unref) ?? false);
    if (this.clock instanceof ManualClock) this.clock._watch(this);
  }

  #begin(list, { queue = 10000, ageing = 30000, clock, wallOffset }) {
    this.clock = clockOf(clock);
    this._core = new native.Limiter();
    this._io = this._core.io;
    this._take = this._core.take;
    this._finish = this._core.end;
    const status = this._core.begin(list.map(({ limit }) => limit), list.map(({ meter }) => meterOf(meter)),
      countOf('queue', queue, 0, 2 ** 31), ageingOf(ageing), this.clock, wallOffset);
    if (status === OK) return;
    const { meter, limit } = list[Math.max(native.strerror(status)[1], 0)];
    throw errorOf(status, meter, limit);
  }

  _setUp(list, unref) {
    this.limits = Object.freeze(list.map(({ limit }) => limit));
    this.meters = Object.freeze(list.map(({ meter }) => meter));
    this.closed = false;
    this._capped = this.limits.some((limit) => limit.kind === 'concurrency');
    this._guarded = this._capped || this._core.probing(); // whether a permit that is dropped keeps others out
    this._self = new WeakRef(this);
    this._page = null;
    this._watching = false; // whether it is in `collections`
    this._active = this._succeeded = this._failed = this._retried = this._refused = 0;
    this._unref = unref;
    this._waiters = []; // by the number that C gave them
    this._waiting = 0;
    this._signals = new Map(); // AbortSignal: { listener, waiters }
    this._timer = undefined;
    this._pumping = this._again = this._warned = false;
    this._fetch = undefined;
  }

  tryAcquire(cost) {
    const amounts = cost === undefined ? ONE_REQUEST : costOf(cost, 1, 0);
    if (this.closed) throw new ClosedError();
    const index = this._ask(amounts);
    if (index >= 0 || index === TAKE_NOTHING) return this._permit(index, amounts, 0);
    if (index === TAKE_NEVER) throw this._neverError(amounts);
    if (this._guarded) this._watch();
    return null;
  }

  acquire(cost, options) {
    try {
      const how = options === undefined ? PLAIN : howOf(options);
      const amounts = cost === undefined ? ONE_REQUEST : costOf(cost, 1, 0);
      if (how.signal !== undefined && how.signal.aborted) return Promise.reject(how.signal.reason);
      if (this.closed) return Promise.reject(new ClosedError());
      const index = this._ask(amounts);
      if (index >= 0 || index === TAKE_NOTHING) return Promise.resolve(this._permit(index, amounts, 0));
      if (index === TAKE_NEVER) return Promise.reject(this._neverError(amounts));
      if (how.timeout === 0) return Promise.reject(this._timeoutError(amounts, 0, 0));
      if (this.closed) return Promise.reject(new ClosedError()); // now, by the clock; or aborted
      if (how.signal !== undefined && how.signal.aborted) return Promise.reject(how.signal.reason);
      return this._join(amounts, how);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  check(cost) {
    const [waitNs, index] = this._check(cost === undefined ? ONE_REQUEST : costOf(cost, 1, 0));
    return { available: waitNs === 0n && this._waiting === 0, wait: msOf(waitNs), limit: this.limits[index] ?? null,
      meter: this.meters[index] ?? null };
  }

  status() {
    const limits = this.limits.map((limit, index) => {
      const [capacity, used, remaining, resetNs, spec] = this._core.status(index);
      if (spec !== null) spec[7] = limit._spec[7];
      const inForce = spec === null ? null : limitOf(spec);
      return { meter: this.meters[index], limit, inForce, capacity, used, remaining, reset: msOf(resetNs) };
    });
    return { limits, active: this._active, queued: this._waiting, requestsLastMinute: this._core.recent(),
      succeeded: this._succeeded, failed: this._failed, retried: this._retried, refused: this._refused };
  }

  observe(feedback, permit) {
    const { _words } = feedbackOf(feedback);
    const given = permit !== undefined && permit !== null;
    if (given && !(permit instanceof Permit && permit._limiter === this)) {
      throw typeError(`permit: must be a Permit of this limiter, not ${shown(permit)}`);
    }
    if (given && permit._state !== OUT) throw endedError('observe', permit);
    const page = given ? permit._page : null;
    if (!given || page !== null) {
      if (given) writeEstimate(this._io, permit._cost);
      const status = this._core.observe(asBytes(_words), page === null ? -1 : permit._index, page?.words);
      if (status !== OK) throw statusError(status);
    }
    const outcome = new Uint32Array(_words.buffer)[0];
    if (given) permit._outcome = outcome;
    else this._count(outcome);
    this._wake();
  }

  reconfigure(which, limit) {
    const wanted = typeof limit === 'number' ? concurrent(countOf('limit', limit, 1, 2 ** 31)) : limit;
    if (!(wanted instanceof Limit)) throw typeError(`limit: must be a Limit, not ${kindOf(limit)}`);
    const index = this.#indexOf('which', which, wanted);
    const status = this._core.reconfigure(index, meterOf(this.meters[index]), wanted);
    if (status !== OK) throw this.#unlike(index, wanted) ?? errorOf(status, this.meters[index], wanted);
    this.limits = Object.freeze(this.limits.map((old, at) => (at === index ? wanted : old)));
    this._wake();
  }

  pause(ms, meter) {
    if (numberOf('ms', ms, 0, Infinity) > 36028797018) ms = 36028797018;
    for (const index of meter === undefined ? [-1] : this.#indices('meter', meter)) this._core.pause(index, ms);
    this._wake();
  }

  debit(cost) {
    const amounts = costOf(cost, 0, 0);
    write(this._io, amounts);
    this._core.debit();
  }

  save() {
    return this.limits.flatMap((limit, index) => {
      const saved = this._core.save(index);
      if (saved === null) return [];
      return [{ meter: this.meters[index], length: limit.period, utcOffset: limit.utcOffset, period: Number(saved[0]),
        used: Number(saved[1]) }];
    });
  }

  restore(saved) {
    if (!Array.isArray(saved)) throw typeError(`saved: must be what save() returned, not ${kindOf(saved)}`);
    const free = new Set(this.limits.keys());
    for (const item of saved) {
      if (!isSaved(item)) throw typeError(`saved: must be what save() returned, not ${shown(item)}`);
      const index = [...free].find((at) => this.limits[at].kind === 'calendar' && this.meters[at] === item.meter &&
        this.limits[at].period === item.length && this.limits[at].utcOffset === item.utcOffset);
      if (index === undefined) continue;
      this._core.restore(index, [item.period, item.used]);
      free.delete(index);
    }
  }

  syncWallClock(wall) {
    if (wall !== undefined) numberOf('wall', wall, 0, 4611686018427);
    this._core.sync(wall === undefined ? undefined : BigInt(Math.round(wall * 1e6)));
    this._wake();
  }

  close() {
    this.closed = true;
    for (let waiter = this._drop(); waiter !== null; waiter = this._drop()) waiter.reject(new ClosedError());
    this._arm(Infinity);
  }

  get fetch() {
    this._fetch ??= require('./fetch.js').limitFetch(this); // not needed before
    return this._fetch;
  }

  toString() {
    const parts = new Map();
    this.limits.forEach((limit, index) => {
      const meter = this.meters[index];
      const text = limit.kind === 'concurrency' && limit.follow === 'shrink' ? `${limit.amount}` : `${limit}`;
      parts.set(meter, [...(parts.get(meter) ?? []), text]);
    });
    const listed = (texts) => (texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`);
    const items = [...parts].map(([meter, texts]) => `${meter}: ${listed(texts)}`);
    if (this.provider !== null) items.push(`provider: ${shown(this.provider)}`);
    if (this.name !== null) items.push(`name: ${shown(this.name)}`);
    return `new Limiter({ ${items.join(', ')} })`;
  }

  toJSON() { return this.toString(); }

  [Symbol.for('nodejs.util.inspect.custom')]() { return this.toString(); }

  // -- Taking and ending --

  /** The index of a permit in the page, or what take() of addon.c answers instead. */
  _ask(amounts) {
    write(this._io, amounts);
    this._take();
    const index = this._io[IO_INDEX] | 0;
    return index === TAKE_PAGE ? this._askAgain(amounts) : index;
  }

  _askAgain(amounts) {
    this._turnPage();
    return this._ask(amounts);
  }

  /** A new page for permits. The one before lives as long as permits in it; meta may outlive it. */
  _turnPage() {
    const words = new BigUint64Array(this._core.pageWords());
    const costs = this._guarded ? [] : null; // of those out, by index
    const page = { words, costs, meta: { limiter: this._self, out: 0, words: costs && words, costs } };
    const before = this._page;
    const out = this._core.page(words);
    this._page = page;
    if (before === null || out === 0) return;
    before.meta.out = out;
    droppedPages.register(before, before.meta);
  }

  /**
   * Somebody is kept out, perhaps by permits that nobody kept: lets go of their page, so that the collector finds them.
   * Once between two of its runs: it finds nothing sooner.
   */
  _watch() {
    if (this._watching) return;
    this._watching = true;
    collections.register({}, this._self);
    if (this._page === null || this._page.costs.every((cost) => cost === undefined)) return;
    try {
      this._turnPage();
    } catch {} // no memory for it now: after the next run
  }

  _collected() {
    this._watching = false;
    if (this._waiting !== 0) this._watch();
  }

  _permit(index, amounts, waited) {
    if (index < 0) return new Permit(INTERNAL, this, null, 0, amounts, waited);
    const permit = new Permit(INTERNAL, this, this._page, index, amounts, waited);
    this._active++;
    if (this._guarded) this._page.costs[index] = amounts;
    return permit;
  }

  /** Ends a permit that is out. If that fails, it is out still. */
  _end(permit, mode, state) {
    const page = permit._page;
    permit._state = state;
    if (page === null) return;
    let status = -1;
    try {
      this._io[IO_INDEX] = permit._index;
      this._io[IO_MODE] = mode;
      writeEstimate(this._io, permit._cost);
      status = page === this._page ? this._finish() : this._finish(page.words);
    } finally {
      if (status !== OK) permit._state = OUT;
    }
    if (status !== OK) throw statusError(status);
    this._active--;
    if (page !== this._page) page.meta.out--;
    if (this._guarded) page.costs[permit._index] = undefined;
    try {
      if (state === SETTLED || permit._outcome !== UNSEEN) this._count(permit._outcome);
      if (this._waiting !== 0) this._pump();
    } catch { // no room on the stack
      SOON.then(() => this._wake());
    }
  }

  /** Those of a page that nobody kept: as estimated. */
  _dropped(meta) {
    if (meta.costs === null) {
      this._active -= meta.out;
      this._succeeded += meta.out;
      return;
    }
    try {
      meta.costs.forEach((amounts, index) => this.#endDropped(meta, amounts, index));
    } catch { // of the clock: again after the collector's next run
      droppedPages.register({}, meta);
    }
    if (this._capped && !this._warned) {
      this._warned = true;
      process.emitWarning('a permit was dropped without settle() or cancel(): ' +
        'its connection counts as closed only now', 'RlimitWarning');
    }
    this._wake();
  }

  #endDropped(meta, amounts, index) {
    if (amounts === undefined) return;
    this._io[IO_INDEX] = index;
    this._io[IO_MODE] = END_AS_ESTIMATED;
    writeEstimate(this._io, amounts);
    this._finish(meta.words);
    meta.costs[index] = undefined;
    meta.out--;
    this._active--;
    this._succeeded++;
  }

  _count(outcome) {
    if (outcome === ANSWERED || outcome === UNSEEN) this._succeeded++;
    else if (outcome === REFUSED) this._refused++;
    else this._failed++;
  }

  _countRetry() { this._retried++; }

  // -- Waiting --

  _join(amounts, how) {
    const io = this._io;
    if (this._guarded) this._watch();
    write(io, amounts);
    io[IO_PRIORITY] = how.priority;
    io[IO_TIMEOUT] = how.timeout;
    this._core.join();
    const id = io[IO_WAITER];
    if (id === JOIN_FULL) return Promise.reject(this._fullError());
    if (id === JOIN_MEMORY) throw Object.assign(new Error('queue: out of memory'), { code: 'RLIMIT_MEMORY' });
    const asks = io[IO_EVENT] === 1;
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject, amounts, signal: how.signal, timeout: how.timeout };
      this._waiters[id] = waiter;
      this._waiting++;
      try {
        if (how.signal !== undefined) this._listen(how.signal, id);
      } catch (error) { // of a signal that is not Node's
        if (this._waiters[id] === waiter) {
          this._leave(id);
          this._left(id);
        }
        reject(error);
      }
      if (asks) this._pump();
    });
  }

  /** The head, which leaves the queue; null: there is none. */
  _drop() {
    this._core.drop();
    const id = this._io[IO_WAITER];
    return id < 0 ? null : this._left(id);
  }

  /** Takes one out, who gives up: whether that was the head. */
  _leave(id) {
    this._io[IO_WAITER] = id;
    this._core.leave();
    return this._io[IO_EVENT] === 1;
  }

  /** One that has left the queue: nothing of it stays here. */
  _left(id) {
    const waiter = this._waiters[id];
    this._waiters[id] = undefined;
    this._waiting--;
    if (waiter.signal !== undefined) this._unlisten(waiter.signal, id);
    return waiter;
  }

  /** One listener for all who wait with a signal: removing one of many would take as long as there are. */
  _listen(signal, id) {
    const known = this._signals.get(signal);
    if (known !== undefined) {
      known.waiters.add(id);
      return;
    }
    const group = { listener: () => this._aborted(signal), waiters: new Set([id]) };
    this._signals.set(signal, group);
    allowListeners(signal);
    signal.addEventListener('abort', group.listener);
  }

  _unlisten(signal, id) {
    const group = this._signals.get(signal);
    group.waiters.delete(id);
    if (group.waiters.size !== 0) return;
    this._signals.delete(signal);
    try {
      signal.removeEventListener('abort', group.listener);
    } catch {} // a signal that is not Node's; the listener does nothing any more
  }

  _aborted(signal) {
    const { reason } = signal;
    let asks = false;
    for (const id of [...this._signals.get(signal)?.waiters ?? []]) {
      asks = this._leave(id) || asks;
      this._left(id).reject(reason);
    }
    if (asks) this._pump();
  }

  _wake() {
    if (this._waiting !== 0) this._pump();
  }

  /** Lets the head ask, and whoever follows, until somebody has to wait; then sets the timer. */
  _pump() {
    if (this._pumping) {
      this._again = true; // a clock that is a function calls back
      return;
    }
    let sleep = Infinity;
    this._pumping = true;
    try {
      do {
        this._again = false;
        sleep = this.#step();
      } while (sleep === -1 || this._again);
    } finally {
      this._pumping = false;
    }
    this._arm(sleep);
  }

  /** One thing that happens now: -1; or how long nothing will. */
  #step() {
    const io = this._io;
    try {
      this._core.pump();
      if (io[IO_EVENT] === EVENT_PAGE) {
        this._turnPage();
        return -1;
      }
    } catch (error) { // of the clock, or no memory for a page: told to the head, who asked
      const head = this._drop();
      if (head === null) return Infinity;
      head.reject(error);
      return -1;
    }
    const [event, id, index, waited] = io;
    if (event === EVENT_NONE) return io[1];
    const permit = event === EVENT_ADMITTED ? this._permit(index, this._waiters[id].amounts, waited) : null;
    const waiter = this._left(id);
    if (permit !== null) waiter.resolve(permit);
    else waiter.reject(this.#reason(event, waiter, waited));
    return -1;
  }

  #reason(event, { amounts, timeout }, waited) {
    try {
      return event === EVENT_TIMEOUT ? this._timeoutError(amounts, timeout, waited) : this._neverError(amounts);
    } catch (error) { // of the clock
      return error;
    }
  }

  _arm(sleep) {
    if (this._timer !== undefined) clearTimeout(this._timer);
    this._timer = undefined;
    if (sleep === Infinity) return;
    this._timer = setTimeout(onTimer, Math.min(Math.ceil(sleep), TIMER_MOST), this);
    if (this._unref) this._timer.unref();
  }

  // -- Errors --

  /** [wait in ns, index of the limit that binds or -1] */
  _check(amounts) {
    write(this._io, amounts);
    const waitNs = this._core.check();
    return [waitNs, this._io[IO_INDEX]];
  }

  _binding(amounts) {
    const [, index] = this._check(amounts);
    return { limit: this.limits[index] ?? null, meter: this.meters[index] ?? null };
  }

  _neverError(amounts) {
    const { limit, meter } = this._binding(amounts);
    if (limit === null) return new NeverAdmittedError('the cost is larger than a limit: waiting does not help');
    const amount = meter === 'tokens' ? amounts.inputTokens + amounts.outputTokens : amounts[meter] ?? amounts.requests;
    const shownAmount = limit.kind === 'concurrency' ? 1 : amount;
    return new NeverAdmittedError(
      `${meter}: ${shownAmount} is more than ${limit} admits at once: waiting does not help`, { limit, meter });
  }

  _timeoutError(amounts, timeout, waited) {
    const { limit, meter } = this._binding(amounts);
    const why = limit === null ? '' : `${meter}, ${limit}; `;
    return new AcquireTimeoutError(`timeout: not admitted within ${timeout} ms: ${why}${this._waiting} others wait`,
      { limit, meter, waited });
  }

  _fullError() { return new QueueFullError(`queue: full: ${this._waiting} wait already`); }

  // -- Which limit --

  /** The error of a limit of another kind than the one it is to replace, or undefined. */
  #unlike(index, wanted) {
    const before = this.limits[index];
    if (wanted.kind === before.kind) return undefined;
    return typeError(`limit: ${this.meters[index]} is ${before} and cannot become ${wanted}`);
  }

  #indexOf(name, which, limit) {
    let indices = this.#indices(name, which);
    if (indices.length > 1) {
      const same = indices.filter((index) => this.limits[index].kind === limit.kind);
      indices = same.length === 1 ? same : same.filter((index) => this.limits[index].period === limit.period);
    }
    if (indices.length !== 1) throw rangeError(`${name}: ${shown(which)} could be any of ${this}: give the index`);
    return indices[0];
  }

  #indices(name, which) {
    if (typeof which !== 'string' && typeof which !== 'number') {
      throw typeError(`${name}: must be the name of a meter or an index, not ${kindOf(which)}`);
    }
    const found = [...this.limits.keys()].filter((index) => index === which || this.meters[index] === which);
    if (found.length === 0) throw rangeError(`${name}: no limit ${shown(which)}; there are ${this.meters.join(', ')}`);
    return found;
  }
}

function onTimer(limiter) {
  limiter._timer = undefined;
  limiter._pump();
}

function asBytes(words) { return new Uint8Array(words.buffer, words.byteOffset, words.byteLength); }

function statusError(status) {
  const [text, , code] = native.strerror(status);
  return new LimitError(text, code);
}

/** A limiter of limits in this order, with clock and wallOffset: for the shared vectors. Internal. */
function limiterOf(list, settings) {
  return new Limiter({ ...settings, [INTERNAL]: list });
}

/** Ends at the end of a block (using, await using), where the runtime has that. */
function disposable(kind, end) {
  for (const symbol of [Symbol.dispose, Symbol.asyncDispose]) {
    if (symbol === undefined) continue;
    const isSync = symbol === Symbol.dispose;
    const value = isSync ? function dispose() { end(this); } : async function dispose() { end(this); };
    Object.defineProperty(kind.prototype, symbol, { value, writable: true, configurable: true });
  }
}

disposable(Permit, (permit) => {
  if (permit._state === OUT) permit.settle();
});
disposable(Limiter, (limiter) => limiter.close());

module.exports = { Limiter, Permit, limiterOf };
