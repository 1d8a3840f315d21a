import type { IntegrationOptions, LimitedRequest } from './call';
import type { Limiter } from './limiter';

export type { IntegrationOptions, LimitedRequest };

/** A function that fetches: the global one, or that of undici. */
export type Fetch = (input: any, init?: any) => Promise<any>;

export interface LimitFetchOptions<F extends Fetch = typeof globalThis.fetch> extends IntegrationOptions {
  /** What sends. By default the global fetch, as it is at the time of each request. */
  fetch?: F | undefined;
}

/**
 * fetch, limited: every request waits in the limiter's queue, and tells the limiter what the server said.
 *
 * Estimate     from the body, if it is JSON as a string or bytes (or a Request with such a body); forms, streams and
 *              files are passed untouched and count as one request
 * Wait         before fetch is called. A time-out of the caller includes it: for the SDKs of OpenAI and Anthropic use
 *              wrap(). `signal` ends it: rejects with its reason
 * Settle       with the usage of the answer, of a stream with that of its last events; one cut short with what was seen
 * Hold         the permit counts as in flight until the body has been read or cancelled, the signal aborted, or the
 *              response collected as garbage: read it, or `await response.body?.cancel()`. Errors, and bodies whose
 *              content-length is 1 MB or less, are read before the response is handed over
 * Redirects    one request with all of its hops
 *
 * The response is one of the same class, with the same status, headers and url; its body is a stream of bytes.
 *
 * Rejects with AcquireTimeoutError, QueueFullError, NeverAdmittedError and ClosedError before anything is sent, and as
 * fetch does. Throws TypeError or RangeError that names the option.
 *
 *     const limited = limitFetch(limiter, { priority: 'low', queueTimeout: 30_000 });
 *     const openai = createOpenAI({ fetch: limited });   // Vercel AI
 */
export function limitFetch<F extends Fetch = typeof globalThis.fetch>(
  limiter: Limiter, options?: LimitFetchOptions<F>): F;
