'use strict';

// Checks of what is given, and the errors that name it. Internal.

const events = require('events');
const path = require('path');
const { inspect } = require('util');

const AMOUNT_MAX = 2 ** 40;
const PRIORITIES = ['critical', 'high', 'normal', 'low'];

function coded(error) {
  error.code = 'RLIMIT_ARGUMENT';
  return error;
}

/** A TypeError with its code. */
function typeError(message) {
  return coded(new TypeError(message));
}

/** A RangeError with its code. */
function rangeError(message) {
  return coded(new RangeError(message));
}

/** What a value is, in a word: for "must be a string, not ...". */
function kindOf(value) {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return (value.constructor && value.constructor.name) || 'object';
}

/** A value in a message: short, on one line. */
function shown(value) {
  return inspect(value, { depth: 0, breakLength: Infinity, maxArrayLength: 4, maxStringLength: 80 });
}

/** Options as given, checked to hold no key that is not known; {} for undefined. */
function optionsOf(given, known, name = 'options') {
  if (given === undefined) return {};
  if (given === null || typeof given !== 'object' || Array.isArray(given)) {
    throw typeError(`${name}: must be an object, not ${kindOf(given)}`);
  }
  for (const key of Object.keys(given)) {
    if (!known.includes(key)) throw typeError(`${key}: unknown option; there are ${known.join(', ')}`);
  }
  return given;
}

/** A whole number between least and most. */
function countOf(name, value, least, most) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a whole number, not ${kindOf(value)}`);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw rangeError(`${name}: must be a whole number, ${least} to ${most}, not ${value}`);
  }
  return value;
}

/** A number between least and most. */
function numberOf(name, value, least, most) {
  if (typeof value !== 'number') throw typeError(`${name}: must be a number, not ${kindOf(value)}`);
  if (!(value >= least && value <= most)) throw rangeError(`${name}: must be ${least} to ${most}, not ${value}`);
  return value;
}

/** One of some names. */
function nameOf(name, value, names) {
  if (typeof value !== 'string') throw typeError(`${name}: must be a string, not ${kindOf(value)}`);
  if (!names.includes(value)) throw rangeError(`${name}: must be one of ${names.join(', ')}, not ${shown(value)}`);
  return value;
}

/** A function, or undefined. */
function functionOf(name, value) {
  if (value !== undefined && typeof value !== 'function') {
    throw typeError(`${name}: must be a function, not ${kindOf(value)}`);
  }
  return value;
}

/** true, false or undefined. */
function booleanOf(name, value) {
  if (value !== undefined && typeof value !== 'boolean') {
    throw typeError(`${name}: must be true, false or undefined, not ${shown(value)}`);
  }
  return value;
}

/** An AbortSignal, or undefined. */
function signalOf(signal) {
  const usable = signal === undefined || (signal !== null && typeof signal === 'object' &&
    typeof signal.aborted === 'boolean' && typeof signal.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function');
  if (!usable) throw typeError(`signal: must be an AbortSignal, not ${kindOf(signal)}`);
  return signal;
}

const LISTENERS_MOST = 1500; // on one signal, until a warning: as many as node's own fetch allows

/** Many wait with one signal: that is no leak, and not to be warned of. */
function allowListeners(signal) {
  if (!(signal instanceof EventTarget) || events.getMaxListeners === undefined) return;
  let most = 0;
  try {
    most = events.getMaxListeners(signal);
  } catch {} // it throws for a signal that may have any number
  if (most === events.defaultMaxListeners) events.setMaxListeners(LISTENERS_MOST, signal);
}

/** A library that the program may have, or null: looked for beside this package and beside the program. */
function optional(name) {
  const program = process.argv[1] === undefined ? [] : [path.dirname(process.argv[1])];
  let found;
  try {
    found = require.resolve(name, { paths: [__dirname, ...program] });
  } catch {
    return null;
  }
  return require(found);
}

module.exports = {
  AMOUNT_MAX, PRIORITIES, typeError, rangeError, kindOf, shown, optionsOf, countOf, numberOf, nameOf, functionOf,
  booleanOf, signalOf, allowListeners, optional,
};
