'use strict';

// What retry() and map() pay: their options for the limiter's sake. Internal.

const { PRIORITIES, functionOf, kindOf, nameOf, numberOf, typeError } = require('./arguments.js');
const { costOf: checkCost } = require('./cost.js');

/** A Limiter, or undefined. */
function limiterOf(limiter) {
  if (limiter === undefined || limiter === null) return undefined;
  if (typeof limiter.acquire !== 'function') throw typeError(`limiter: must be a Limiter, not ${kindOf(limiter)}`);
  return limiter;
}

/** { limiter, cost, actual, how }, checked: what acquire() would refuse at each call is said at once. */
function payment(options) {
  const { cost, priority = 'normal', timeout } = options;
  if (cost !== undefined && cost !== null && typeof cost !== 'function') checkCost(cost, 1, 0);
  nameOf('priority', priority, PRIORITIES);
  if (timeout !== undefined) numberOf('timeout', timeout, 0, Infinity);
  const how = timeout === undefined ? { priority } : { priority, timeout };
  return { limiter: limiterOf(options.limiter), cost, actual: functionOf('actual', options.actual), how };
}

/** A cost for acquire(): given as one, as a function, or not at all. */
function costBy(cost, args) {
  return (typeof cost === 'function' ? cost(...args) : cost) ?? undefined;
}

/**
 * Ends a permit that is out still, because its call threw: it has paid, and counts as failed. Never throws, for what the
 * call threw is to be told: if the limiter's clock throws, the collector finds the permit.
 */
function settleLost(limiter, permit) {
  if (permit === null || permit.state !== 'out') return;
  try {
    limiter.observe({ outcome: 'failed' }, permit);
  } catch {} // it counts as succeeded then
  try {
    permit.settle();
  } catch {}
}

module.exports = { costBy, payment, settleLost };
