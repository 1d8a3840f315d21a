'use strict';

// fetch, limited: every request waits for a limiter, and tells it what the server said.

const { Gate, OPTIONS, UNREADABLE, isRetry, wasSent } = require('./call.js');
const { allowListeners, functionOf, optionsOf } = require('./arguments.js');

/** On what limits already: a second limiter over it would charge twice. */
const LIMITED = Symbol('rlimit.limited');

function limitFetch(limiter, options) {
  const { fetch, ...ours } = optionsOf(options, ['fetch', ...OPTIONS]);
  functionOf('fetch', fetch);
  const gate = new Gate(limiter, ours);
  const inner = (input, init) => (fetch ?? globalThis.fetch)(input, init);
  const limited = async (input, init) => {
    const call = gate.open(methodOf(input, init), urlOf(input), await bodyOf(input, init));
    if (call === null) return inner(input, init);
    call.isRetry = isRetry(init?.headers ?? (isRequest(input) ? input.headers : undefined));
    const signal = init?.signal ?? (isRequest(input) ? input.signal : undefined);
    await call.wait(signal);
    return send(call, signal, (own) => inner(input, { ...init, signal: own }), isErrorOrShort);
  };
  limited[LIMITED] = true;
  return limited;
}

function isRequest(input) {
  return typeof input === 'object' && typeof input?.url === 'string' && typeof input.clone === 'function';
}

function methodOf(input, init) {
  return String(init?.method ?? (isRequest(input) ? input.method : 'GET'));
}

function urlOf(input) {
  return isRequest(input) ? input.url : String(input);
}

/** The body as far as it can be looked at and sent nevertheless. */
async function bodyOf(input, init) {
  if (init?.body !== undefined && init.body !== null) return readable(init.body);
  if (!isRequest(input) || !input.body) return undefined;
  const isJson = /\bjson\b/i.test(input.headers.get('content-type') ?? '');
  return isJson && !input.bodyUsed ? input.clone().text() : UNREADABLE;
}

/** Text and bytes; files, forms and streams can be read once only, and are left alone. */
function readable(body) {
  return typeof body === 'string' || ArrayBuffer.isView(body) || body instanceof ArrayBuffer ? body : UNREADABLE;
}

/** One attempt that was admitted: sends it by inner(signal), and sees to it that the call ends. */
async function send(call, signal, inner, isRead = isError) {
  call.sent = true;
  try {
    return await passed(await inner(linked(signal, call)), call, isRead);
  } catch (error) {
    call.failed(error, wasSent(error));
    throw error;
  }
}

// -- Signals --
//
// A client keeps what it aborts with a request, and with it often the stream that reads the answer. As long as that
// signal is the request's own, a stream that somebody drops is never collected: the connection has the signal, which
// has the stream. So the request gets a signal of its own, and nothing here refers to the given one but weakly.

/** A signal that is aborted with the given one. An abort after the head ends the call at once, though nobody reads. */
function linked(signal, call) {
  const own = new AbortController();
  if (signal) follow(new WeakRef(signal), signal, own, call);
  return own.signal;
}

function follow(given, signal, own, call) {
  const abort = aborting(given, own, call);
  if (signal.aborted) {
    abort();
    return;
  }
  allowListeners(signal);
  signal.addEventListener('abort', abort, { once: true });
  call.onEnd(leaving(given, abort));
}

function aborting(given, own, call) {
  return () => {
    call.leave();
    own.abort(given.deref()?.reason);
  };
}

function leaving(given, abort) {
  return () => given.deref()?.removeEventListener('abort', abort);
}

// -- Responses --

/** The same response, whose body tells its call what is read. isRead: whether it is read here, because the caller may
 * look at the status alone, and would hold its place by a body that it never reads. */
async function passed(response, call, isRead) {
  call.answered(response.status, response.headers);
  const { body } = response;
  if (body === null || body === undefined) {
    call.finish();
    return response;
  }
  if (typeof body.getReader !== 'function' || body.locked) { // of no known make: settled with the estimate
    call.close();
    return response;
  }
  if (!isRead(response)) return dressed(response, watched(body, call));
  const bytes = new Uint8Array(await response.arrayBuffer());
  call.feed(bytes);
  call.finish();
  return dressed(response, bytes);
}

const LENGTH_MOST = 1 << 20; // bytes of a body that is short, if they are announced

function isError(response) { return response.status >= 400; }

function isErrorOrShort(response) {
  const length = response.headers.get('content-length');
  return isError(response) || (length !== null && Number(length) <= LENGTH_MOST);
}

// -- Bodies --

// Streams that somebody dropped without a word: their connection ends, and their call.
const dropped = new FinalizationRegistry(({ call, reader }) => {
  call.close();
  quietly(reader.cancel());
});

function quietly(promise) {
  promise.catch(() => {});
}

/** A stream of the same bytes, which tells the call what passes. Nothing is read ahead of who reads it, and nothing
 * here refers to the stream, so that one that is dropped can be collected. */
function watched(body, call) {
  const reader = body.getReader();
  reader.closed.catch((error) => call.failed(error)); // broken off while nobody was reading
  const stream = new ReadableStream({
    type: 'bytes',
    pull: (controller) => pull(controller, reader, call),
    cancel(reason) {
      call.close();
      return reader.cancel(reason);
    },
  });
  dropped.register(stream, { call, reader });
  return stream;
}

async function pull(controller, reader, call) {
  try {
    let step = await reader.read();
    while (!step.done && step.value.byteLength === 0) step = await reader.read(); // not allowed in a stream of bytes
    if (step.done) {
      call.finish();
      controller.close();
      controller.byobRequest?.respond(0);
      return;
    }
    call.feed(step.value);
    controller.enqueue(ownMemory(step.value));
  } catch (error) {
    call.failed(error);
    throw error;
  }
}

/** Bytes that may be given away: a piece of a pool may not. */
function ownMemory(chunk) {
  return chunk.byteLength === chunk.buffer.byteLength ? chunk : new Uint8Array(chunk);
}

/** A response with another body, the same in everything else. */
function dressed(response, body) {
  const { status, statusText, headers } = response;
  const ours = response instanceof Response || typeof response.constructor !== 'function';
  const Kind = ours ? Response : response.constructor; // that of an undici of the user's own
  return alike(new Kind(body, { status, statusText, headers }), response);
}

function alike(copy, { url, redirected, type }) {
  const clone = () => alike(Object.getPrototypeOf(copy).clone.call(copy), { url, redirected, type });
  for (const [name, value] of Object.entries({ url, redirected, type, clone })) {
    Object.defineProperty(copy, name, { value, configurable: true, writable: name === 'clone' });
  }
  return copy;
}

module.exports = { LIMITED, limitFetch, readable, send };
