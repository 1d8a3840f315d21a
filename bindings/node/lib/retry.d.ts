import type { ManualClock } from './clock';
import type { Clock, Cost, Limiter, Priority } from './limiter';

// -- Delays --

/** What kind of failure it was. 'fatal' is not tried again. */
export type ErrorClass = 'rate_limit' | 'server' | 'network' | 'fatal';

/**
 * How delays are spread: not at all; either way by `fraction`; 0 to the delay; half of it to all of it; base to 3 times
 * the delay before.
 */
export type Jitter = 'none' | 'fraction' | 'full' | 'equal' | 'decorrelated';

/** All times in milliseconds. */
export interface BackoffOptions {
  /** The first delay: 1000. */
  base?: number | undefined;
  /** 1 to 100: 2. */
  factor?: number | undefined;
  /** The most: 60,000. */
  cap?: number | undefined;
  /** The least: 100. */
  floor?: number | undefined;
  /** 'fraction'. */
  jitter?: Jitter | undefined;
  /** 0 to 1: 0.1. */
  fraction?: number | undefined;
  /** How many delays there are: retries, not counting the first try. 8. */
  attempts?: number | undefined;
  /** Base by class of error: { rate_limit: 6000, server: 500 }, at most cap. */
  bases?: Partial<Record<ErrorClass, number>> | undefined;
  /** A delay of this class is at least this long: { rate_limit: 5000 }, at most cap. */
  least?: Partial<Record<ErrorClass, number>> | undefined;
  /** A longer wait that a server asks for is not followed: 3,600,000. */
  retryAfterMax?: number | undefined;
  /** Makes the delays repeatable; without one they are others each time. A bigint where it is above 2^53. */
  seed?: number | bigint | undefined;
}

export interface DelayOptions {
  /** 'critical' and 'high' wait half as long. 'normal'. */
  priority?: Priority | undefined;
  /** Milliseconds that the server asked for: it wins, up to the schedule's retryAfterMax. */
  retryAfter?: number | null | undefined;
}

/**
 * A schedule of delays before retries: base * factor^k for the k-th retry, spread by jitter, between floor and cap.
 * Iterating over it gives the delays of a network error, in milliseconds.
 *
 * Throws RangeError or TypeError naming the field.
 *
 *     [...new Backoff({ jitter: 'none', attempts: 4 })]                  // [1000, 2000, 4000, 8000]
 *     const delays = new Backoff({ jitter: 'none' }).start();
 *     delays.delay('server');                                            // 500
 *     delays.delay('rate_limit');                                        // 12000
 *     delays.delay('server', { retryAfter: 17000 });                     // 17000
 */
export class Backoff implements Iterable<number> {
  constructor(options?: BackoffOptions);
  /** How many delays there are. */
  readonly attempts: number;
  /** The delays of one request, from the first. Without a seed here or in the schedule each request has its own. */
  start(seed?: number | bigint): Delays;
  /** As Delays.delay, of a series of this object's own: for a program with one request at a time. */
  delay(errorClass?: ErrorClass, options?: DelayOptions): number | null;
  /** Begins the series of delay() again. */
  reset(): void;
  [Symbol.iterator](): Delays;
  toString(): string;
}

/** The delays of one request's retries, in milliseconds; made by backoff() and Backoff.start(). */
export class Delays implements IterableIterator<number> {
  private constructor();
  /** What it was made by. */
  readonly schedule: Backoff;
  /**
   * Milliseconds to wait before the next retry, or null: give up, there are no attempts left, or the class is 'fatal'.
   * 'network' by default. Throws RangeError for another name.
   */
  delay(errorClass?: ErrorClass, options?: DelayOptions): number | null;
  /** The next delay of a network error. */
  next(): IteratorResult<number, undefined>;
  [Symbol.iterator](): this;
}

/**
 * The delays of one request: new Backoff(options).start().
 *
 *     for (const ms of backoff({ attempts: 5 })) {
 *       if (await succeeds()) break;
 *       await setTimeout(ms);                                            // of timers/promises
 *     }
 */
export function backoff(options?: BackoffOptions): Delays;

export interface RetryBudgetOptions {
  /** Retries for each request, 0 to 1: 0.2. */
  share?: number | undefined;
  /** Retries a second besides, 1 to 10^6: 10. */
  perSecond?: number | undefined;
  /** The most that are saved up, 1 to 10^6: 100. At first the budget is full. */
  burst?: number | undefined;
  /** As a limiter's. */
  clock?: Clock | undefined;
}

/**
 * How many retries all requests together may make: a share of their number, and some each second besides.
 *
 * In an outage every request fails, and each retried eight times makes nine times the load: a budget ends that. One
 * budget is shared by all who call the same server.
 *
 * Throws RangeError or TypeError naming the field.
 */
export class RetryBudget {
  constructor(options?: RetryBudgetOptions);
  /** Counts a first try: it earns `share` of a retry. */
  request(): void;
  /** Spends a retry and returns true, or false if there is none: then give up. */
  retry(): boolean;
  toString(): string;
}

// -- Classification --

/** What a failure is. */
export interface Classified {
  /** Whether another try may succeed. */
  readonly retry: boolean;
  /** For Delays.delay. */
  readonly errorClass: ErrorClass;
  /** Milliseconds that the server asked for, or null. */
  readonly retryAfter: number | null;
  /** Of the response, or null if there was none. */
  readonly status: number | null;
  /** In a word or two, for people. */
  readonly reason: string;
}

/**
 * What an error or a response is, and whether to try again. provider: whose bodies and headers to expect; 'generic'.
 *
 * Known without loading them: errors and responses of openai, @anthropic-ai/sdk, fetch and undici, axios, got, ky, the
 * AI SDK, the SDKs of AWS and Google; whatever has `status` or `statusCode`, or a `response` with it, or a `cause` that
 * is one of these; time-outs and connection errors by their codes. 408, 409, 429, 500, 502, 503, 504, 529 are retried;
 * 400, 401, 403, a spent quota, an oversized request are not, nor is an abort or any other error. Headers and body
 * count as far as they have been read: see parse(). What the limiter itself throws is not retried. Never throws but for
 * the provider.
 *
 *     classify(Object.assign(new Error(), { code: 'ECONNRESET' }))
 *     // { retry: true, errorClass: 'network', retryAfter: null, status: null, reason: 'ECONNRESET' }
 */
export function classify(failure: unknown, options?: { provider?: string | undefined }): Classified;

// -- Retrying --

/** What the function of retry() is told. */
export interface Attempt {
  /** From 1. */
  readonly attempt: number;
  /** The signal given to retry(): hand it on to the call. */
  readonly signal: AbortSignal | undefined;
}

/** What onRetry is told, before the wait. */
export interface RetryEvent {
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  /** Milliseconds until the next. */
  readonly delay: number;
  readonly classified: Classified;
  /** What was thrown ... */
  readonly error?: unknown;
  /** ... or the response that was returned. */
  readonly response?: unknown;
}

type ErrorConstructorLike = abstract new (...args: any[]) => Error;

/** All times in milliseconds. */
export interface RetryOptions<Args extends unknown[] = unknown[], Value = unknown> {
  /** Every attempt pays it; what the server says in an error goes back to it. */
  limiter?: Limiter | null | undefined;
  /** What an attempt costs, or a function of the call's arguments that returns it. One request by default. */
  cost?: Cost | null | ((...args: Args) => Cost | null | undefined) | undefined;
  /** A function of the result that returns what was used, to settle with; without one, the estimate. */
  actual?: ((value: Awaited<Value>) => Cost | undefined) | undefined;
  /** The delays: a Backoff or its options. */
  backoff?: Backoff | Delays | BackoffOptions | null | undefined;
  /** Tries in all, the first included; by default as many as the backoff has delays, and one. */
  attempts?: number | undefined;
  /**
   * Without it, classify(). A function of the error that returns true, false, a class of error, or undefined for
   * classify's opinion; or a class of errors, or several: those and no others.
   */
  retryOn?: ((error: any) => boolean | ErrorClass | null | undefined) | ErrorConstructorLike |
    readonly ErrorConstructorLike[] | null | undefined;
  /** Ends a wait at once, in the queue or between attempts, with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Of the limiter's queue; 'critical' and 'high' wait half as long between attempts. 'normal'. */
  priority?: Priority | undefined;
  /** Of the limiter's queue. */
  timeout?: number | undefined;
  /** Shared with others. */
  budget?: RetryBudget | null | undefined;
  /** Whose error bodies and headers to expect; the limiter's by default. */
  provider?: string | null | undefined;
  /** Waits so many milliseconds; a timer by default. */
  sleep?: ((ms: number, signal: AbortSignal | undefined) => unknown) | undefined;
  /** A ManualClock, to sleep by; the limiter's by default. No real time passes then: advance() ends the sleep. */
  clock?: ManualClock | null | undefined;
  /** Whether the timer of a wait lets the process end. */
  unref?: boolean | undefined;
  /** Called before each wait. */
  onRetry?: ((event: RetryEvent) => void) | undefined;
}

/**
 * Calls a function, and again when it fails in a way that may pass.
 *
 * A result that is an HTTP response (it has `headers` and `status` or `statusCode`) with a status to be retried counts
 * as a failure; the last one is returned, those before are let go. Retry-After wins over the backoff. The last error is
 * thrown as it is; retriesOf(error) tells the attempts. What the limiter throws (AcquireTimeoutError, QueueFullError,
 * NeverAdmittedError) is not retried. A call under way is not interrupted by the signal: hand it on.
 *
 * Rejects with TypeError or RangeError naming the option; TypeError for a generator function.
 *
 *     const reply = await retry(({ signal }) => client.messages.create(body, { signal, maxRetries: 0 }),
 *       { limiter: claude, cost: requestCost(body), attempts: 5, signal });
 */
export function retry<Value>(fn: (attempt: Attempt) => Value, options?: RetryOptions<[Attempt], Value>):
  Promise<Awaited<Value>>;

/**
 * A function that does as retry() each time it is called, with the same arguments and `this`. cost may be a function of
 * the arguments.
 *
 * Throws TypeError or RangeError naming the option; TypeError for a generator function.
 *
 *     const ask = retryable(async (question: string) => client.messages.create(bodyOf(question)),
 *       { limiter, cost: (question) => requestCost(bodyOf(question)) });
 */
export function retryable<This, Args extends unknown[], Value>(fn: (this: This, ...args: Args) => Value,
  options?: RetryOptions<Args, Value>): (this: This, ...args: Args) => Promise<Awaited<Value>>;

/** How it went, before retry() gave up. */
export interface Retries {
  readonly attempts: number;
  /** Milliseconds between them, in all. */
  readonly waited: number;
  /** Why there was no other: 'no attempts left', 'the retry budget is spent', 'not retried: ...'. */
  readonly reason: string;
}

/**
 * What led to an error that retry() threw, or to a response with an error that it returned; undefined for others, and
 * for those that were not tried again at all.
 */
export function retriesOf(failure: unknown): Retries | undefined;
