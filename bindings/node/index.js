'use strict';

// What `require('rlimit')` and `import { Limiter } from 'rlimit'` give. One literal line each: that is what makes named
// imports work.

const native = require('./load.js');
const errors = require('./lib/errors.js');
const clock = require('./lib/clock.js');
const feedback = require('./lib/feedback.js');
const limit = require('./lib/limit.js');
const limiter = require('./lib/limiter.js');
const estimate = require('./lib/estimate.js');
const retry = require('./lib/retry.js');
const map = require('./lib/map.js');
const config = require('./lib/config.js');
const fetch = require('./lib/fetch.js');
const wrap = require('./lib/wrap.js');
const undici = require('./lib/undici.js');
const middleware = require('./lib/middleware.js');

exports.VERSION = native.VERSION;
exports.PROVIDERS = native.PROVIDERS;
exports.LIMITS_MAX = native.LIMITS_MAX;
exports.NEVER = native.NEVER;
exports.ON_RELEASE = native.ON_RELEASE;

exports.Limiter = limiter.Limiter;
exports.Permit = limiter.Permit;
exports.Limit = limit.Limit;
exports.per = limit.per;
exports.perSecond = limit.perSecond;
exports.perMinute = limit.perMinute;
exports.perHour = limit.perHour;
exports.perDay = limit.perDay;
exports.sliding = limit.sliding;
exports.fixed = limit.fixed;
exports.calendarDay = limit.calendarDay;
exports.calendarMonth = limit.calendarMonth;
exports.learned = limit.learned;
exports.adaptive = limit.adaptive;
exports.concurrent = limit.concurrent;
exports.ramp = limit.ramp;

exports.ManualClock = clock.ManualClock;
exports.now = native.now;
exports.nowCoarse = native.nowCoarse;
exports.wall = native.wall;

exports.LimitError = errors.LimitError;
exports.AcquireTimeoutError = errors.AcquireTimeoutError;
exports.QueueFullError = errors.QueueFullError;
exports.NeverAdmittedError = errors.NeverAdmittedError;
exports.ClosedError = errors.ClosedError;
exports.ConfigError = errors.ConfigError;

exports.parse = feedback.parse;
exports.Feedback = feedback.Feedback;
exports.Reading = feedback.Reading;
exports.Route = feedback.Route;

exports.Bucket = native.Bucket;
exports.Window = native.Window;
exports.Concurrency = native.Concurrency;
exports.Calendar = native.Calendar;
exports.Queue = native.Queue;
exports.BackoffPlan = native.BackoffPlan;

exports.estimateTokens = estimate.estimateTokens;
exports.requestCost = estimate.requestCost;
exports.priced = estimate.priced;
exports.Backoff = retry.Backoff;
exports.Delays = retry.Delays;
exports.RetryBudget = retry.RetryBudget;
exports.backoff = retry.backoff;
exports.classify = retry.classify;
exports.retriesOf = retry.retriesOf;
exports.retry = retry.retry;
exports.retryable = retry.retryable;
exports.map = map.map;
exports.Config = config.Config;
exports.Model = config.Model;
exports.Tier = config.Tier;
exports.configure = config.configure;
exports.load = config.load;

exports.limitFetch = fetch.limitFetch;
exports.wrap = wrap.wrap;
exports.undiciInterceptor = undici.undiciInterceptor;
exports.anthropicMiddleware = middleware.anthropicMiddleware;
