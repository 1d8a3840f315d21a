'use strict';

// Limits, as they are configured: perMinute(50), sliding(100, 60_000), calendarDay(1000), learned(), adaptive() ...
//
// A limit is a value: what it counts is said where it is given to a Limiter. Ranges are checked there, types here.

const native = require('../load.js');
const { kindOf, nameOf, optionsOf, rangeError, typeError } = require('./arguments.js');
const { LimitError } = require('./errors.js');

const [BUCKET, WINDOW, CONCURRENCY, CALENDAR] = [0, 1, 2, 3];
const KINDS = ['bucket', 'window', 'concurrency', 'calendar'];
const FOLLOWS = ['shrink', 'fixed', 'follow', 'learn', 'ramp', 'adapt'];
const MONTH = 2n ** 64n - 1n;
const PERIOD_MOST = 36028797018; // 2^55 ns
const UNKNOWN_AMOUNT = 2 ** 30;
const DAY = 86400000;
const WORDS = new Map([[1000, 'perSecond'], [60000, 'perMinute'], [3600000, 'perHour'], [DAY, 'perDay']]);
const PARTS = ['amount', 'period', 'burst', 'guard', 'cells', 'utcOffset', 'wallOffset', 'follow'];

/** A whole number, which C can look at: the range that is right depends on the kind. */
function whole(name, value, rule = '1 to 2^40') {
  if (typeof value !== 'number') throw typeError(`${name}: must be a whole number, not ${kindOf(value)}`);
  if (!Number.isSafeInteger(value) || value < 0) throw rangeError(`${name}: must be ${rule}, not ${value}`);
  return value;
}

function milliseconds(name, value) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a number of milliseconds, not ${kindOf(value)}`);
  return value;
}

/** Milliseconds as nanoseconds, to the nearest. */
function nanoseconds(name, value) {
  milliseconds(name, value);
  if (!(value >= 0 && value <= PERIOD_MOST)) {
    throw rangeError(`${name}: must be 0 to ${PERIOD_MOST} ms (417 days), not ${value}`);
  }
  return BigInt(Math.floor(value)) * 1000000n + BigInt(Math.round((value % 1) * 1e6));
}

function cellsOf(value) {
  if (whole('cells', value, '0 or 3 to 65536') > 65536) {
    throw rangeError(`cells: must be 0 or 3 to 65536, not ${value}`);
  }
  return value;
}

/** Milliseconds east of UTC as seconds. */
function zoneOf(value) {
  milliseconds('utcOffset', value);
  if (!(Math.abs(value) <= DAY) || value % 1000 !== 0) {
    throw rangeError(`utcOffset: must be whole seconds in milliseconds, -86400000 to 86400000, not ${value}`);
  }
  return value / 1000 + 0;
}

const MADE = Symbol('made');

function fieldsOf([kind, amount, periodNs, burst, guardNs, cells, utcOffsetS, , followed, least]) {
  const follow = FOLLOWS[followed];
  return {
    kind: KINDS[kind],
    amount: follow === 'learn' && amount === UNKNOWN_AMOUNT ? null : amount,
    period: kind === CONCURRENCY || periodNs === MONTH ? null : Number(periodNs) / 1e6,
    burst: kind === BUCKET || follow === 'adapt' ? burst : null,
    guard: Number(guardNs) / 1e6,
    cells,
    utcOffset: utcOffsetS * 1000,
    follow,
    least,
  };
}

class Limit {
  constructor(spec, made) {
    if (made !== MADE) throw typeError('Limit: made by perMinute(50) and its kin');
    Object.defineProperty(this, '_spec', { value: Object.freeze([...spec]) });
    Object.assign(this, fieldsOf(this._spec)); // its own, so that JSON and assert.deepStrictEqual see them
    Object.freeze(this);
  }

  replace(parts) {
    const given = optionsOf(parts, PARTS);
    const spec = [...this._spec];
    if (given.amount !== undefined) {
      if (spec[3] === spec[1]) spec[3] = whole('amount', given.amount);
      spec[1] = whole('amount', given.amount);
    }
    if (given.period !== undefined) spec[2] = nanoseconds('period', given.period);
    if (given.burst !== undefined) spec[3] = whole('burst', given.burst);
    if (given.guard !== undefined) spec[4] = nanoseconds('guard', given.guard);
    if (given.cells !== undefined) spec[5] = cellsOf(given.cells);
    if (given.utcOffset !== undefined) spec[6] = zoneOf(given.utcOffset);
    if (given.wallOffset !== undefined) spec[7] = wallOffsetOf(given.wallOffset);
    if (given.follow !== undefined) spec[8] = FOLLOWS.indexOf(nameOf('follow', given.follow, FOLLOWS.slice(0, 4)));
    return checked(new Limit(spec, MADE));
  }

  equals(other) {
    return other instanceof Limit && this._spec.every((part, index) => part === other._spec[index]);
  }

  toString() {
    const call = callOf(this);
    const plain = ['shrink', 'ramp', 'adapt'].includes(this.follow) || call.startsWith('learned');
    return plain ? call : `${call}.replace({ follow: '${this.follow}' })`;
  }

  [Symbol.for('nodejs.util.inspect.custom')]() { return this.toString(); }
}

function wallOffsetOf(value) {
  milliseconds('wallOffset', value);
  if (!Number.isFinite(value)) throw rangeError(`wallOffset: must be a finite number of milliseconds, not ${value}`);
  return BigInt(Math.floor(value)) * 1000000n + BigInt(Math.round((value - Math.floor(value)) * 1e6));
}

/** The call that makes it, but for follow. */
function callOf(limit) {
  const { amount, period, burst, guard, cells, utcOffset, follow, least } = limit;
  const kind = limit._spec[0];
  if (follow === 'adapt') {
    const begin = burst === 8 ? '' : `, begin: ${burst}`;
    return `adaptive({ least: ${least}, most: ${amount}${begin} })`;
  }
  if (follow === 'ramp') return `ramp({ floor: ${amount}, hold: ${period} })`;
  if (kind === CONCURRENCY) return `concurrent(${amount})`;
  if (kind === BUCKET && amount === null) return `learned(${period})`;
  const more = [];
  if (kind === BUCKET && burst !== amount) more.push(`burst: ${burst}`);
  if (cells) more.push(`cells: ${cells}`);
  if (utcOffset) more.push(`utcOffset: ${utcOffset}`);
  if (guard) more.push(`guard: ${guard}`);
  const tail = more.length > 0 ? `, { ${more.join(', ')} }` : '';
  const shown = amount ?? UNKNOWN_AMOUNT;
  if (kind === CALENDAR && period === null) return `calendarMonth(${shown}${tail})`;
  if (kind === CALENDAR && period === DAY) return `calendarDay(${shown}${tail})`;
  if (kind === BUCKET && WORDS.has(period)) return `${WORDS.get(period)}(${shown}${tail})`;
  return `${['per', 'sliding', '', 'fixed'][kind]}(${shown}, ${period}${tail})`;
}

/** A limit of a spec as C has it. */
function limitOf(spec) {
  return new Limit(spec, MADE);
}

function make(kind, amount, periodNs, options = {}) {
  const { burst = amount, guard = 0, cells = 0, utcOffset = 0, follow = 'shrink', least = 0 } = options;
  return checked(limitOf([kind, whole('amount', amount), periodNs, whole('burst', burst), nanoseconds('guard', guard),
    cellsOf(cells), zoneOf(utcOffset), null, FOLLOWS.indexOf(follow), least]));
}

/** The limit, if it can be one: asked of what makes limiters, so that the answer is the same. */
function checked(limit) {
  const status = native.checkLimit(limit);
  if (status !== 0) throw errorOf(status, '', limit);
  return limit;
}

function per(amount, ms, options) {
  return make(BUCKET, amount, nanoseconds('ms', ms), optionsOf(options, ['burst', 'guard']));
}

function perSecond(amount, options) { return per(amount, 1000, options); }

function perMinute(amount, options) { return per(amount, 60000, options); }

function perHour(amount, options) { return per(amount, 3600000, options); }

function perDay(amount, options) { return per(amount, DAY, options); }

function sliding(amount, ms, options) {
  return make(WINDOW, amount, nanoseconds('ms', ms), optionsOf(options, ['cells', 'guard']));
}

function fixed(amount, ms, options) {
  return make(CALENDAR, amount, nanoseconds('ms', ms), optionsOf(options, ['utcOffset', 'guard']));
}

function calendarDay(amount, options) { return fixed(amount, DAY, options); }

function calendarMonth(amount, options) {
  return make(CALENDAR, amount, MONTH, optionsOf(options, ['utcOffset']));
}

function learned(ms = 60000) {
  return make(BUCKET, UNKNOWN_AMOUNT, nanoseconds('ms', ms), { follow: 'learn' });
}

function concurrent(amount) { return make(CONCURRENCY, amount, 1n); }

function adaptive(options) {
  const { least = 1, most = 64, begin = 8 } = optionsOf(options, ['least', 'most', 'begin']);
  whole('least', least);
  whole('most', most);
  whole('begin', begin);
  if (!(least >= 1 && least <= most && most <= 2 ** 31)) {
    throw rangeError(`least: must be 1 to most, and most at most 2^31, not ${least} and ${most}`);
  }
  return make(CONCURRENCY, most, 1n, { burst: begin, follow: 'adapt', least });
}

function ramp(options) {
  const { floor = 15, hold = 900000 } = optionsOf(options, ['floor', 'hold']);
  return make(BUCKET, whole('floor', floor), nanoseconds('hold', hold), { follow: 'ramp' });
}

const FIELDS = {
  RLM_E_AMOUNT: [['amount'], 'must be 1 to 2^40'],
  RLM_E_PERIOD: [['period'], 'must be more than 0 and at most 36028797018 ms (417 days)'],
  RLM_E_RATE: [['amount', 'period'], 'the rate must not exceed 10^10 a second'],
  RLM_E_BURST: [['burst'], 'must be 1 to 2^40'],
  RLM_E_SPAN: [['amount', 'burst'], 'too large to be counted at this rate and period'],
  RLM_E_GUARD: [['guard'], 'must not exceed the period (calendar: must be less; a month: 0)'],
  RLM_E_CELLS: [['cells'], 'must be 0 or 3 to 65536, and all windows of a limiter together at most 1056'],
  RLM_E_FOLLOW: [['follow'], 'not for this kind of limit'],
};

/** What the amount and its kin are called where adaptive() and ramp() take them. */
const NAMES = { ramp: { amount: 'floor', period: 'hold' }, adapt: { amount: 'most', burst: 'begin' } };

/** What rlm_limiter_init or rlm_reconfigure says of a limit, in this package's words. */
function errorOf(status, name, limit) {
  const [text, , code] = native.strerror(status);
  const [fields, said] = FIELDS[code] ?? [[], text];
  const rule = code === 'RLM_E_AMOUNT' && limit.kind === 'concurrency' ? 'must be 1 to 2^31' : said;
  const names = fields.map((field) => NAMES[limit.follow]?.[field] ?? field).join(', ');
  const told = fields.length > 0 ? `, not ${fields.map((field) => limit[field]).join(' and ')}` : '';
  return new LimitError([name, names, `${rule}${told}`].filter((part) => part !== '').join(': '), code);
}

module.exports = {
  Limit, adaptive, calendarDay, calendarMonth, concurrent, errorOf, fixed, learned, limitOf, per, perDay, perHour,
  perMinute, perSecond, ramp, sliding,
};
