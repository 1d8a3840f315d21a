'use strict';

// A clock that is set by hand, for tests and simulation.

const { allowListeners, kindOf, optionsOf, rangeError, signalOf, typeError } = require('./arguments.js');

const MOST = 4611686018427; // ms: 2^62 ns

function nanoseconds(name, ms) {
  if (typeof ms !== 'number') throw typeError(`${name}: must be a number of milliseconds, not ${kindOf(ms)}`);
  if (!(ms >= 0 && ms <= MOST)) throw rangeError(`${name}: must be 0 to ${MOST} ms, not ${ms}`);
  return BigInt(Math.floor(ms)) * 1000000n + BigInt(Math.round((ms % 1) * 1e6));
}

class ManualClock {
  #limiters = new Set(); // WeakRefs
  #sleepers = new Set();

  constructor(start = 0) {
    Object.defineProperty(this, '_cell', { value: new BigUint64Array(1) }); // C reads it
    this._cell[0] = nanoseconds('start', start);
  }

  get now() { return Number(this._cell[0]) / 1e6; }

  advance(ms) {
    const next = this._cell[0] + nanoseconds('ms', ms);
    if (next > BigInt(MOST) * 1000000n) throw rangeError(`ms: the time would pass ${MOST} ms`);
    this._cell[0] = next;
    this.#wake();
    return this.now;
  }

  set(ms) {
    this._cell[0] = nanoseconds('ms', ms);
    this.#wake();
  }

  async sleep(ms, options) {
    const signal = signalOf(optionsOf(options, ['signal']).signal);
    const until = this._cell[0] + nanoseconds('ms', ms);
    signal?.throwIfAborted();
    if (until <= this._cell[0]) return;
    await new Promise((resolve, reject) => {
      const sleeper = { until, wake: () => end(resolve) };
      const abort = () => end(() => reject(signal.reason));
      const end = (finish) => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener('abort', abort);
        finish();
      };
      this.#sleepers.add(sleeper);
      allowListeners(signal);
      signal?.addEventListener('abort', abort);
    });
  }

  /** A limiter to wake. Internal. */
  _watch(limiter) {
    for (const known of this.#limiters) if (known.deref() === undefined) this.#limiters.delete(known);
    this.#limiters.add(new WeakRef(limiter));
  }

  #wake() {
    const due = [...this.#sleepers].filter((sleeper) => sleeper.until <= this._cell[0]);
    for (const sleeper of due.sort((a, b) => (a.until < b.until ? -1 : Number(a.until > b.until)))) sleeper.wake();
    for (const known of this.#limiters) known.deref()?._pump();
  }

  toString() { return `ManualClock(${this.now})`; }

  [Symbol.for('nodejs.util.inspect.custom')]() { return this.toString(); }
}

module.exports = { ManualClock };
