'use strict';

// What a request costs, as users write it and as C takes it: five amounts. Internal.

const { kindOf, rangeError, typeError } = require('./arguments.js');

const AMOUNT_MAX = 2 ** 40;
const COST_METERS = ['requests', 'inputTokens', 'outputTokens', 'microdollars', 'custom'];

/** What is acquired if nothing is said. */
const ONE_REQUEST = Object.freeze({ requests: 1, inputTokens: 0, outputTokens: 0, microdollars: 0, custom: 0 });

function amountOf(key, value) {
  if (typeof value !== 'number') throw typeError(`${key}: must be a whole number, not ${kindOf(value)}`);
  if (!Number.isInteger(value) || value < 0 || value > AMOUNT_MAX) {
    throw rangeError(`${key}: must be a whole number, 0 to 2^40, not ${value}`);
  }
  return value;
}

function unknown(key) {
  return typeError(`${key}: unknown meter; a cost has ${COST_METERS.join(', ')}`);
}

function notACost(cost) {
  return typeError(`cost: must be an object such as { inputTokens: 1200 }, not ${kindOf(cost)}`);
}

/** A cost with all five meters; those not named, or undefined, are `absent`, and requests as given. */
function costOf(cost, requests, absent) {
  if (cost === null || typeof cost !== 'object') throw notACost(cost);
  let inputTokens = absent;
  let outputTokens = absent;
  let microdollars = absent;
  let custom = absent;
  for (const key in cost) {
    const value = cost[key];
    const small = typeof value === 'number' && (value | 0) === value && value >= 0; // most are
    switch (key) {
      case 'requests': if (value !== undefined) requests = small ? value : amountOf(key, value); break;
      case 'inputTokens': if (value !== undefined) inputTokens = small ? value : amountOf(key, value); break;
      case 'outputTokens': if (value !== undefined) outputTokens = small ? value : amountOf(key, value); break;
      case 'microdollars': if (value !== undefined) microdollars = small ? value : amountOf(key, value); break;
      case 'custom': if (value !== undefined) custom = small ? value : amountOf(key, value); break;
      default: throw unknown(key);
    }
  }
  return { requests, inputTokens, outputTokens, microdollars, custom };
}

/** Puts a cost where C reads it. */
function write(io, cost) {
  io[0] = cost.requests;
  io[1] = cost.inputTokens;
  io[2] = cost.outputTokens;
  io[3] = cost.microdollars;
  io[4] = cost.custom;
}

/** Puts the cost that a permit was given for where C reads it. */
function writeEstimate(io, cost) {
  io[8] = cost.requests;
  io[9] = cost.inputTokens;
  io[10] = cost.outputTokens;
  io[11] = cost.microdollars;
  io[12] = cost.custom;
}

function toArray(cost) {
  return [cost.requests, cost.inputTokens, cost.outputTokens, cost.microdollars, cost.custom];
}

function fromArray([requests, inputTokens, outputTokens, microdollars, custom]) {
  return { requests, inputTokens, outputTokens, microdollars, custom };
}

module.exports = { COST_METERS, ONE_REQUEST, costOf, fromArray, toArray, write, writeEstimate };
