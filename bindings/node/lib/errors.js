'use strict';

// The errors of this package. Each has a code; the message names field and value.

class LimitError extends RangeError {
  constructor(message, code) {
    super(message);
    this.name = 'LimitError';
    this.code = code;
  }
}

/** What an error of acquire() tells beside its message. */
function about(error, name, code, { limit = null, meter = null, waited = 0 } = {}) {
  error.name = name;
  error.code = code;
  error.limit = limit;
  error.meter = meter;
  error.waited = waited;
}

class AcquireTimeoutError extends Error {
  constructor(message, details) {
    super(message);
    about(this, 'AcquireTimeoutError', 'RLIMIT_TIMEOUT', details);
  }
}

class QueueFullError extends Error {
  constructor(message, details) {
    super(message);
    about(this, 'QueueFullError', 'RLIMIT_QUEUE_FULL', details);
  }
}

class NeverAdmittedError extends RangeError {
  constructor(message, details) {
    super(message);
    about(this, 'NeverAdmittedError', 'RLIMIT_NEVER', details);
  }
}

class ClosedError extends Error {
  constructor(message = 'the limiter is closed', details = undefined) {
    super(message);
    about(this, 'ClosedError', 'RLIMIT_CLOSED', details);
  }
}

class ConfigError extends RangeError {
  constructor(file, problems) {
    super(problems.map((problem) => `${file}${problem.line ? `:${problem.line}` : ''}: ${problem}`).join('\n'));
    this.name = 'ConfigError';
    this.code = 'RLIMIT_CONFIG';
    this.file = file;
    this.problems = Object.freeze([...problems]);
  }
}

module.exports = { AcquireTimeoutError, ClosedError, ConfigError, LimitError, NeverAdmittedError, QueueFullError };
