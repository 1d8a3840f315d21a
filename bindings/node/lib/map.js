'use strict';

// One function over many items, within a limiter, in bounded memory.

const { AsyncResource } = require('async_hooks');
const { setMaxListeners } = require('events');
const { allowListeners, booleanOf, countOf, functionOf, kindOf, optional, optionsOf, rangeError, shown, signalOf,
  typeError } = require('./arguments.js');
const { costBy, payment, settleLost } = require('./payment.js');

const OPTIONS = ['limiter', 'cost', 'actual', 'concurrency', 'buffer', 'ordered', 'errors', 'signal', 'progress',
  'onProgress', 'total', 'priority', 'timeout'];

class Outcome {
  constructor(item, index, ok, value, error) {
    this.item = item;
    this.index = index;
    this.ok = ok;
    this.value = value;
    this.error = error;
  }

  result() {
    if (!this.ok) throw this.error;
    return this.value;
  }
}

function map(items, fn, options) {
  return new Run(new Job(items, fn, options));
}

/** What map() was told. */
class Job {
  constructor(items, fn, options) {
    const given = optionsOf(options, OPTIONS);
    if (typeof fn !== 'function') throw typeError(`fn: must be a function, not ${kindOf(fn)}`);
    this.open = openerOf(items);
    this.fn = fn;
    Object.assign(this, payment(given));
    const { concurrency = 16, buffer = concurrency, ordered = true, errors = 'collect' } = given;
    this.concurrency = countOf('concurrency', concurrency, 1, 2 ** 20);
    this.room = this.concurrency + countOf('buffer', buffer, 0, 2 ** 30);
    this.ordered = booleanOf('ordered', ordered);
    if (errors !== 'collect' && errors !== 'throw') {
      throw rangeError(`errors: must be 'collect' or 'throw', not ${shown(errors)}`);
    }
    this.throws = errors === 'throw';
    this.signal = signalOf(given.signal);
    this.progress = progressOf(given, totalOf(given.total, items));
  }
}

/** A function that begins to read the items: { next, close } of an iterator, asynchronous or not. */
function openerOf(items) {
  const begin = items?.[Symbol.asyncIterator] ?? items?.[Symbol.iterator];
  if (typeof begin !== 'function') {
    throw typeError(`items: must be an iterable or async iterable, not ${kindOf(items)}`);
  }
  return () => begin.call(items);
}

function totalOf(total, items) {
  if (total !== undefined) return countOf('total', total, 0, Number.MAX_SAFE_INTEGER);
  if (typeof items === 'string') return null;
  const counted = items.length ?? items.size;
  return Number.isInteger(counted) ? counted : null;
}

/** Outcomes that came in, in the order in which they are to go out. */
class Ready {
  constructor(ordered) {
    this.next = ordered ? 0 : null;
    this.early = new Map();
    this.due = new Line();
  }

  put(outcome) {
    if (this.next === null) {
      this.due.push(outcome);
      return;
    }
    this.early.set(outcome.index, outcome);
    for (let found = outcome; found !== undefined; found = this.early.get(this.next)) {
      if (found.index !== this.next) return;
      this.early.delete(this.next);
      this.due.push(found);
      this.next += 1;
    }
  }
}

/** First in, first out, without moving the others: shift() of a long array does. */
class Line {
  constructor() {
    this.in = [];
    this.out = [];
  }

  push(value) {
    this.in.push(value);
  }

  shift() {
    if (this.out.length === 0) [this.out, this.in] = [this.in.reverse(), this.out];
    return this.out.pop();
  }

  get length() {
    return this.in.length + this.out.length;
  }
}

// -- Progress --

/** A function that begins to show progress. What was named and is not installed is said at once. */
function progressOf({ progress = false, onProgress }, total) {
  functionOf('onProgress', onProgress);
  const bar = barOf(progress);
  return () => new Progress(total, bar === null ? null : bar(total), onProgress);
}

function barOf(progress) {
  if (progress === false || progress === null) return null;
  if (progress === true || progress === 'cli-progress') {
    const library = findBar(progress !== true);
    return library === null ? null : (total) => new library.SingleBar(
      { format: total === null ?
        '{value} done | {failed} failed' : '{bar} {value}/{total} | {eta} s | {failed} failed' },
      library.Presets.shades_classic);
  }
  const usable = typeof progress === 'object' &&
    ['start', 'update', 'stop'].every((name) => typeof progress[name] === 'function');
  if (usable) return () => progress;
  throw typeError(`progress: must be true, 'cli-progress', a bar with start, update and stop, or false, not ${
    shown(progress)}`);
}

function findBar(required) {
  const library = optional('cli-progress');
  if (library !== null) return library;
  const message = 'progress: cli-progress is not installed: npm install cli-progress';
  if (required) throw Object.assign(new Error(message), { code: 'RLIMIT_NOT_INSTALLED' });
  process.emitWarning(message, { code: 'RLIMIT_NOT_INSTALLED' });
  return null;
}

/** Counts what is done, and shows it. */
class Progress {
  constructor(total, bar, tell) {
    this.total = total;
    this.done = this.failed = 0;
    this.bar = bar;
    this.tell = tell;
    this.bar?.start(total ?? 0, 0, { failed: 0 });
  }

  count(outcome) {
    const { bar, tell, total } = this;
    this.done += 1;
    if (!outcome.ok) this.failed += 1;
    if (bar !== null) {
      if (total === null) bar.setTotal?.(this.done);
      bar.update(this.done, { failed: this.failed });
    }
    if (tell !== undefined) tell({ done: this.done, failed: this.failed, total });
  }

  stop() {
    this.bar?.stop();
  }
}

// -- The run --

/** One run over the items: an async iterator, whose return() waits until nothing runs any more. */
class Run {
  #job;
  #source = null; // the iterator of the items
  #ready;
  #readers = new Line(); // of next() that wait: { resolve, reject }
  #index = 0; // items taken
  #out = 0; // items taken and not yielded
  #running = 0;
  #pulling = false; // an item is waited for
  #exhausted = false; // no more items are taken
  #closed = false; // the iterator of the items is at its end
  #failure = null; // of the items: { error }, thrown when all before it are yielded
  #untold = null; // what it ended with, until somebody asks
  #end = null; // a promise, once it is ending: of nothing running any more
  #idle = null; // called when nothing runs any more
  #stopper = new AbortController();
  #scope = new AsyncResource('rlimit.map'); // the calls are made as if map() made them
  #progress = null;
  #abort = null; // the listener on the signal given

  constructor(job) {
    this.#job = job;
    this.#ready = new Ready(job.ordered);
    setMaxListeners(0, this.#stopper.signal);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    return new Promise((resolve, reject) => {
      if (this.#end !== null) {
        this.#end.then(() => this.#answer({ resolve, reject }));
        return;
      }
      this.#readers.push({ resolve, reject });
      if (this.#source === null) this.#begin();
      this.#serve();
    });
  }

  async return(value) {
    const first = this.#end === null;
    await this.#stop(null);
    const untold = this.#untold; // what went wrong with closing; who leaves has no use for another failure
    this.#untold = null;
    if (first && untold !== null) throw untold.error;
    return { done: true, value };
  }

  async throw(error) {
    await this.#stop(null);
    throw error;
  }

  #begin() {
    const { signal } = this.#job;
    try {
      if (signal !== undefined) {
        signal.throwIfAborted();
        this.#abort = () => this.#stop({ error: signal.reason });
        allowListeners(signal);
        signal.addEventListener('abort', this.#abort, { once: true });
      }
      this.#progress = this.#job.progress();
      this.#source = this.#job.open();
    } catch (error) {
      this.#stop({ error });
    }
  }

  // -- Taking items --

  /** Takes items while there is room, and gives outcomes to who waits for them. */
  #serve() {
    this.#yield();
    if (this.#end === null) this.#scope.runInAsyncScope(() => this.#take());
  }

  #take() {
    const { concurrency, room } = this.#job;
    while (this.#end === null && !this.#exhausted && !this.#pulling && this.#running < concurrency &&
      this.#out < room) {
      this.#pull();
    }
  }

  /** Takes one item, at once or, from an async iterable, when it comes. */
  #pull() {
    let taken;
    try {
      taken = this.#source.next();
      if (!isThenable(taken)) {
        if (taken.done || !isThenable(taken.value)) {
          this.#took(taken);
          return;
        }
        taken = Promise.resolve(taken.value).then((value) => ({ done: false, value }));
      }
    } catch (error) {
      this.#broke(error);
      return;
    }
    this.#pulling = true;
    Promise.resolve(taken).then(
      (result) => this.#arrived(() => this.#took(result)), (error) => this.#arrived(() => this.#broke(error)));
  }

  #arrived(take) {
    this.#pulling = false;
    try {
      take();
    } catch (error) { // a result that cannot be read
      this.#broke(error);
    }
    this.#serve();
  }

  #took(result) {
    if (result === null || typeof result !== 'object') {
      throw typeError(`items: next() must return an object, not ${kindOf(result)}`);
    }
    const { done, value } = result;
    if (done) {
      this.#exhausted = this.#closed = true;
    } else if (this.#end === null && !this.#exhausted) {
      this.#index += 1;
      this.#out += 1;
      this.#running += 1;
      this.#call(value, this.#index - 1);
    }
    this.#yield();
  }

  #broke(error) {
    this.#exhausted = this.#closed = true;
    this.#failure = this.#failure ?? { error };
    this.#yield();
  }

  // -- Calling --

  /** Calls the function with one item. Never rejects. */
  async #call(item, index) {
    const outcome = await this.#outcomeOf(item, index);
    this.#running -= 1;
    if (this.#end !== null) {
      if (this.#running === 0) this.#idle();
      return;
    }
    if (!outcome.ok && this.#job.throws) this.#exhausted = true; // it will end with this: no more are begun
    this.#ready.put(outcome);
    this.#serve();
  }

  async #outcomeOf(item, index) {
    const { fn, limiter, cost, actual, how } = this.#job;
    const { signal } = this.#stopper;
    let permit = null;
    let value;
    try {
      // Awaited without a limiter too: the function then has an asynchronous context of its own.
      permit = await (limiter === undefined ? null : limiter.acquire(costBy(cost, [item]), { ...how, signal }));
      signal.throwIfAborted();
      value = await fn(item, { index, signal });
      permit?.settle(actual?.(value));
      return new Outcome(item, index, true, value, undefined);
    } catch (error) {
      return new Outcome(item, index, false, value, error);
    } finally {
      settleLost(limiter, permit);
    }
  }

  // -- Yielding --

  /** Gives what is due to who waits for it, or ends. */
  #yield() {
    while (this.#end === null && this.#readers.length > 0) {
      const outcome = this.#ready.due.shift();
      if (outcome !== undefined) this.#give(outcome);
      else if (this.#exhausted && this.#out === 0) this.#stop(this.#failure);
      else return;
    }
  }

  #give(outcome) {
    this.#out -= 1;
    try {
      this.#progress.count(outcome);
      if (!outcome.ok && this.#job.throws) throw outcome.error;
    } catch (error) {
      this.#stop({ error });
      return;
    }
    this.#readers.shift().resolve({ done: false, value: outcome });
  }

  // -- Ending --

  /** Begins to end, once: the failure is told to the first who waits, or who asks next. Never rejects. */
  #stop(failure) {
    if (this.#end === null) {
      let ended;
      this.#end = new Promise((resolve) => { ended = resolve; });
      this.#finish(failure).then(ended);
    }
    return this.#end;
  }

  async #finish(failure) {
    if (this.#running > 0) {
      const idle = new Promise((resolve) => { this.#idle = resolve; });
      this.#stopper.abort(failure ? failure.error : undefined);
      await idle;
    }
    let untold = failure;
    for (const close of [() => this.#unlisten(), () => this.#close(), () => this.#progress?.stop()]) {
      try {
        await close();
      } catch (error) {
        untold = untold ?? { error };
      }
    }
    this.#untold = untold ?? null;
    while (this.#readers.length > 0) this.#answer(this.#readers.shift());
  }

  #unlisten() {
    if (this.#abort !== null) this.#job.signal.removeEventListener('abort', this.#abort);
  }

  /** Closes the iterator of the items, if it is not at its end. One that an item is waited for may take its time. */
  async #close() {
    if (this.#source === null || this.#closed || typeof this.#source.return !== 'function') return;
    const closing = this.#source.return();
    if (this.#pulling) Promise.resolve(closing).catch(() => {});
    else await closing;
  }

  #answer({ resolve, reject }) {
    const untold = this.#untold;
    this.#untold = null;
    if (untold === null) resolve({ done: true, value: undefined });
    else reject(untold.error);
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Run.prototype, Symbol.asyncDispose, {
    value: async function asyncDispose() {
      await this.return();
    },
    writable: true,
    configurable: true,
  });
}

function isThenable(value) {
  return value !== null && typeof value === 'object' && typeof value.then === 'function';
}

module.exports = { Outcome, map };
