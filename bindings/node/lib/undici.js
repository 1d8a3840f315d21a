'use strict';

// An interceptor of undici: every request of a dispatcher waits for a limiter, and tells it what the server said.
//
// undici tells a handler of the means to abort when it writes the request. Here the handler gets one at once, so that
// it can leave the queue; when the request is written, that is joined to undici's own. Handlers are of two kinds: the
// older is given raw headers and returns false for a pause, the newer has a controller. The one that is given is
// answered by one of its kind.

const { Gate, OPTIONS, headerOf, isRetry } = require('./call.js');
const { readable } = require('./fetch.js');
const { optionsOf } = require('./arguments.js');

function undiciInterceptor(limiter, options) {
  const gate = new Gate(limiter, optionsOf(options, OPTIONS));
  return (dispatch) => (request, handler) => {
    const call = gate.open(String(request.method ?? 'GET'), urlOf(request), bodyOf(request.body));
    if (call === null) return dispatch(request, handler);
    call.isRetry = isRetry(request.headers);
    const Kind = typeof handler.onRequestStart === 'function' ? Passing : OldPassing;
    const passing = new Kind(new Course(call), handler);
    passing.course.run(passing, () => dispatch(request, passing));
    return true;
  };
}

function urlOf({ origin, path }) {
  try {
    return new URL(String(path ?? '/'), String(origin)).href;
  } catch {
    return String(path);
  }
}

function bodyOf(body) {
  return body === undefined || body === null ? undefined : readable(body);
}

/** How a request fares: in the limiter's queue, in undici's, under way, over. */
class Course {
  #abandon = new AbortController(); // before undici writes it
  #abort = null; // afterwards
  #dispatched = false;
  #answered = false;
  #over = false;

  constructor(call) {
    this.call = call;
  }

  get aborted() {
    return this.#abandon.signal.aborted;
  }

  get reason() {
    return this.aborted ? this.#abandon.signal.reason : null;
  }

  /** Waits and dispatches. end: tells the handler of an error. Never rejects. */
  async run(passing, dispatch) {
    this.passing = passing;
    try {
      passing.announce(null);
      await this.call.wait(this.#abandon.signal);
      this.#dispatched = true;
      dispatch();
    } catch (error) {
      this.failed(error);
    }
  }

  /** The handler wants no answer any more. */
  abort(reason) {
    if (this.#over || this.aborted) return;
    this.#abandon.abort(reason);
    if (this.#abort !== null) {
      if (this.#answered) this.call.close();
      this.#abort(this.reason);
    } else if (this.#dispatched) {
      this.failed(this.reason); // undici would tell once there is a connection
    }
  }

  /** undici writes the request. */
  started(abort) {
    this.#abort = abort;
    if (this.aborted) abort(this.reason);
  }

  answered(status, headers) {
    if (status < 200) return;
    this.#answered = true;
    this.call.answered(status, headers, headerOf(headers, 'content-encoding'));
  }

  /** No answer, or one that broke off. */
  failed(error) {
    if (this.#over) return;
    this.#over = true;
    if (this.#answered && this.aborted) this.call.close();
    else this.call.failed(error, this.#abort !== null);
    this.passing.tell(error);
  }

  /** The answer is there whole. A handler may yet throw for its status, as that of retries does: failed() tells it. */
  ended() {
    this.call.finish();
  }
}

/** What the newer kind of handler is given. */
class Controller {
  #course;
  #real = null;
  #paused = false;

  constructor(course) {
    this.#course = course;
  }

  join(real) {
    this.#real = real;
    if (this.#paused) real.pause();
  }

  abort(reason) {
    this.#course.abort(reason);
  }

  pause() {
    this.#paused = true;
    this.#real?.pause();
  }

  resume() {
    this.#paused = false;
    this.#real?.resume();
  }

  get paused() {
    return this.#real?.paused ?? this.#paused;
  }

  get aborted() {
    return this.#course.aborted || Boolean(this.#real?.aborted);
  }

  get reason() {
    return this.#course.reason ?? this.#real?.reason ?? null;
  }

  get rawHeaders() {
    return this.#real?.rawHeaders;
  }

  get rawTrailers() {
    return this.#real?.rawTrailers;
  }
}

/** A handler of the newer kind (undici 7 and later) around another. */
class Passing {
  #handler;
  #controller;

  constructor(course, handler) {
    this.course = course;
    this.#handler = handler;
    this.#controller = new Controller(course);
  }

  announce(context) {
    this.#handler.onRequestStart(this.#controller, context);
  }

  tell(error) {
    this.#handler.onResponseError?.(this.#controller, error);
  }

  onRequestStart(controller, context) {
    this.#controller.join(controller);
    this.course.started((reason) => controller.abort(reason));
    if (context) this.announce(context); // the history of redirects
  }

  onRequestUpgrade(controller, status, headers, socket) {
    this.course.answered(status, headers);
    this.course.ended();
    this.#handler.onRequestUpgrade?.(this.#controller, status, headers, socket);
  }

  onResponseStart(controller, status, headers, message) {
    this.course.answered(status, headers);
    this.#handler.onResponseStart?.(this.#controller, status, headers, message);
  }

  onResponseData(controller, chunk) {
    this.course.call.feed(chunk);
    this.#handler.onResponseData?.(this.#controller, chunk);
  }

  onResponseEnd(controller, trailers) {
    this.course.ended();
    this.#handler.onResponseEnd?.(this.#controller, trailers);
  }

  onResponseError(controller, error) {
    this.course.failed(error);
  }

  onResponseStarted() {
    this.#handler.onResponseStarted?.();
  }

  onBodySent(...sent) {
    this.#handler.onBodySent?.(...sent);
  }

  onRequestSent() {
    this.#handler.onRequestSent?.();
  }
}

/** A handler of the older kind (undici 6, and node's own fetch before 24) around another. */
class OldPassing {
  #handler;

  constructor(course, handler) {
    this.course = course;
    this.#handler = handler;
  }

  announce(context) {
    this.#handler.onConnect?.((reason) => this.course.abort(reason), context);
  }

  tell(error) {
    this.#handler.onError?.(error);
  }

  onConnect(abort, context) {
    this.course.started(abort);
    if (context) this.announce(context);
  }

  onUpgrade(status, headers, socket) {
    this.course.answered(status, headers ?? []);
    this.course.ended();
    return this.#handler.onUpgrade?.(status, headers, socket);
  }

  onHeaders(status, headers, resume, message) {
    this.course.answered(status, headers);
    return this.#handler.onHeaders?.(status, headers, resume, message);
  }

  onData(chunk) {
    this.course.call.feed(chunk);
    return this.#handler.onData?.(chunk);
  }

  onComplete(trailers) {
    this.course.ended();
    return this.#handler.onComplete?.(trailers);
  }

  onError(error) {
    this.course.failed(error);
  }

  onResponseStarted() {
    return this.#handler.onResponseStarted?.();
  }

  onBodySent(...sent) {
    return this.#handler.onBodySent?.(...sent);
  }

  onRequestSent() {
    return this.#handler.onRequestSent?.();
  }
}

module.exports = { undiciInterceptor };
