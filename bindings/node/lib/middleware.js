'use strict';

// A limiter as middleware of @anthropic-ai/sdk (0.101 and later). It runs once for each attempt, outside the time-out.

const { Gate, OPTIONS, isRetry } = require('./call.js');
const { LIMITED, readable, send } = require('./fetch.js');
const { optionsOf } = require('./arguments.js');

function anthropicMiddleware(limiter, options) {
  const gate = new Gate(limiter, optionsOf(options, OPTIONS), 'anthropic');
  const middleware = async (request, next) => {
    const { method = 'GET', url, headers, body, signal } = request;
    const call = gate.open(method, url, body === undefined || body === null ? undefined : readable(body));
    if (call === null) return next(request);
    call.isRetry = isRetry(headers);
    try {
      await call.wait(signal);
    } catch (error) {
      throw plain(error);
    }
    return send(call, signal, (own) => next({ ...request, signal: own }));
  };
  middleware[LIMITED] = true;
  return middleware;
}

/** An error that the SDK does not take for a time-out of its own, which it does by the word in name or message. */
function plain(error) {
  if (error !== null && typeof error === 'object' && error.code === 'RLIMIT_TIMEOUT') {
    const value = () => 'waited too long in the queue of the limiter';
    Object.defineProperty(error, 'toString', { value, configurable: true, writable: true });
  }
  return error;
}

module.exports = { anthropicMiddleware };
