import type { Cost, FullCost } from './limiter';

/** What a limit counts. 'tokens' is input and output together. */
export type Meter = 'requests' | 'inputTokens' | 'outputTokens' | 'tokens' | 'microdollars' | 'custom';
/** What an answer was. */
export type OutcomeName = 'answered' | 'refused' | 'slow_down' | 'overloaded' | 'failed';
/** The providers whose rules are known; 'generic' is any other. */
export type Provider = 'anthropic' | 'openai' | 'azure' | 'bedrock' | 'gemini' | 'groq' |
  'cerebras' | 'openrouter' | 'litellm' | 'generic';

/**
 * What a server says of one limit. Amounts are whole numbers, times milliseconds from the moment of the answer; null is
 * not said.
 */
export interface ReadingValues {
  /** The amount in a period. */
  limit?: number | null | undefined;
  remaining?: number | null | undefined;
  /** remaining may be more or less by this much: 0. */
  rounding?: number | null | undefined;
  /** Until nothing is used, or the period ends. */
  reset?: number | null | undefined;
  /** The period, as said or as usual there. */
  period?: number | null | undefined;
  /** The period is at least this: 0. */
  periodLeast?: number | null | undefined;
  /** ... and at most this. */
  periodMost?: number | null | undefined;
}

/** What a server says of one limit. Throws RangeError or TypeError naming the field. */
export class Reading {
  constructor(meter: Meter, values?: ReadingValues);
  readonly meter: Meter;
  readonly limit: number | null;
  readonly remaining: number | null;
  readonly rounding: number;
  readonly reset: number | null;
  readonly period: number | null;
  readonly periodLeast: number;
  readonly periodMost: number | null;
  toJSON(): Required<ReadingValues> & { meter: Meter };
}

export interface FeedbackValues {
  /** 'answered'. */
  outcome?: OutcomeName | undefined;
  /** The meters that a refusal names, and 'concurrency'. */
  named?: Iterable<Meter | 'concurrency'> | null | undefined;
  /** Milliseconds. */
  retryAfter?: number | null | undefined;
  /** What the server says the refused request costs, of the meter named. */
  requested?: number | null | undefined;
  /** At most eight. */
  readings?: Iterable<Reading | (ReadingValues & { meter: Meter })> | undefined;
}

/**
 * What an answer says of limits, for Limiter.observe. parse() makes one of a response; of other transports, make it
 * yourself. Throws RangeError or TypeError naming the field.
 *
 *     new Feedback({ outcome: 'refused', named: ['requests'], retryAfter: 5000 })
 */
export class Feedback {
  constructor(values?: FeedbackValues);
  readonly outcome: OutcomeName;
  readonly named: (Meter | 'concurrency')[];
  readonly retryAfter: number | null;
  readonly requested: number | null;
  readonly readings: Reading[];
  toJSON(): unknown;
}

/** Tokens as a server counted them; those of the cache are not among the input. */
export interface TokenUsage {
  readonly input: number | undefined;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly output: number | undefined;
}

/** What a response says. */
export interface Response {
  /** 'ok'; 'retry', when is not said; 'wait', for `wait` milliseconds; 'never': as it is it will not succeed. */
  readonly verdict: 'ok' | 'retry' | 'wait' | 'never';
  /** Why. */
  readonly reason: '' | 'rate_limit' | 'quota_day' | 'overload' | 'server' | 'network' | 'spent' | 'auth' |
    'too_large' | 'bad_request' | 'told';
  /** For Backoff. */
  readonly errorClass: 'rate_limit' | 'server' | 'network' | 'fatal';
  /** Whether the server asked for a longer wait than is followed. */
  readonly capped: boolean;
  /** Milliseconds that the server asks to wait, or null. */
  readonly wait: number | null;
  /** For Limiter.observe. */
  readonly feedback: Feedback;
  /** Tokens that the body tells of, or null. */
  readonly usage: TokenUsage | null;
}

type HeaderValue = string | Uint8Array | number | null | undefined | readonly (string | Uint8Array)[];
/** Headers of fetch, a Map, an object, pairs of name and value, or the raw array of undici and http. */
export type HeadersLike = Iterable<readonly [string, string]> | { readonly [name: string]: HeaderValue } |
  readonly (string | Uint8Array)[] | null | undefined;

/**
 * What a response says: whether to try again, when, and what Limiter.observe should know.
 *
 * status: 0 if no answer came. body: of a good answer only needed for `usage`. wall: when it came, milliseconds since
 * 1970 (a bigint: nanoseconds); 0: not known; default: now. What is malformed is ignored. Never blocks. Throws
 * RangeError or TypeError naming the argument.
 *
 *     parse(429, { 'Retry-After': '7' }, '', { provider: 'openai' }).wait          // 7000
 */
export function parse(status: number, headers: HeadersLike, body?: string | Uint8Array | ArrayBuffer | null,
  options?: { provider?: Provider | undefined; wall?: number | bigint | undefined }): Response;

/**
 * What requests of one kind (a model, a prompt template) turn out to cost.
 *
 *     const route = new Route();
 *     route.learn({ outputTokens: 4000 }, { outputTokens: 200 });  // after each answer
 *     route.estimate({ outputTokens: 4000 })                       // after some: outputTokens below 300
 */
export class Route {
  /**
   * quantile: that share of answers (0.001 to 0.999; 0.9) shall be no longer than what is reserved. Throws RangeError
   * or TypeError.
   */
  constructor(quantile?: number);
  /**
   * Corrects an estimate by what was learned: input tokens by their ratio; output tokens, given as the most there can
   * be, to the quantile of those seen. Until eight were seen it is returned as it is. Never blocks.
   */
  estimate(cost?: Cost): FullCost;
  /**
   * Takes in what a request cost in fact, of its estimate before it was corrected. Never blocks. Throws RangeError or
   * TypeError.
   */
  learn(estimate: Cost, actual: Cost): void;
}
