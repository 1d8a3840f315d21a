/// <reference lib="esnext.disposable" />
import type { Limit } from './limit';
import type { ManualClock } from './clock';
import type { MeterName } from './errors';
import type { Feedback, FeedbackValues, Meter, Provider } from './feedback';

export type { Meter, MeterName, Provider };
export { Feedback, Reading, Route } from './feedback';
export type { Response } from './feedback';

/**
 * What a request costs: whole numbers, 0 to 2^40. `requests` is 1 where something is acquired, otherwise what is absent
 * is 0.
 */
export interface Cost {
  requests?: number | undefined;
  inputTokens?: number | undefined;
  outputTokens?: number | undefined;
  microdollars?: number | undefined;
  /** Whatever you count. */
  custom?: number | undefined;
}

/** A cost with all its meters. */
export type FullCost = { readonly [meter in keyof Cost]-?: number };

/** Who is next in the queue. */
export type Priority = 'critical' | 'high' | 'normal' | 'low';

/**
 * Where the time comes from: a ManualClock; a function that returns milliseconds (performance.now); 'monotonic', the
 * system's clock, which counts time spent suspended where the system can tell; 'coarse', several times faster with a
 * resolution of 1 to 16 ms; 'tsc', the processor's time stamp counter, where it runs at one rate (it is measured for 20
 * ms first, and may drift by 100 ppm).
 */
export type Clock = ManualClock | (() => number) | 'monotonic' | 'coarse' | 'tsc';

/** One limit or several of the same meter: perMinute(50), [perMinute(50), perDay(1000)]. */
export type Limits = Limit | readonly Limit[] | null | undefined;

export interface LimiterOptions {
  requests?: Limits;
  inputTokens?: Limits;
  outputTokens?: Limits;
  /** Input and output tokens together. */
  tokens?: Limits;
  microdollars?: Limits;
  custom?: Limits;
  /** How many permits may be out at once: 1 to 2^31, or adaptive(). */
  concurrency?: number | Limit | null | undefined;
  /** ramp() or true: slows down when the server says that load was raised too fast. */
  ramp?: boolean | Limit | null | undefined;
  /**
   * What this provider limits and was not given is learned from its answers (observe); with no limits given at all,
   * concurrency is adaptive() and ramp is ramp(), unless they are given (ramp: false).
   */
  provider?: Provider | undefined;
  /** How many may wait, 0 to 2^31; then QueueFullError. 10,000. */
  queue?: number | undefined;
  /** Milliseconds of waiting that a step of priority is worth; Infinity: the lower wait for the higher. 30,000. */
  ageing?: number | undefined;
  /** 'monotonic'. */
  clock?: Clock | undefined;
  /** For your logs. */
  name?: string | null | undefined;
  /** Whether the timer of those who wait lets the process end. false. */
  unref?: boolean | undefined;
}

export interface AcquireOptions {
  /** Ends the wait: it rejects with signal.reason, leaves the queue at once and holds nothing. */
  signal?: AbortSignal | undefined;
  /** 'normal'. */
  priority?: Priority | undefined;
  /** Milliseconds in the queue at most; 0 does not wait. What the request itself takes does not count. Infinity. */
  timeout?: number | undefined;
}

/** What tryAcquire would answer. */
export interface Check {
  /** Whether there is room, and nobody waits. */
  available: boolean;
  /** Milliseconds until there is room, if nobody else came; Infinity: only when a permit is settled, or never. */
  wait: number;
  /** The limit with the longest wait, or null. */
  limit: Limit | null;
  /** What it counts. */
  meter: MeterName | null;
}

/** One limit now. */
export interface Usage {
  /** What it counts. */
  meter: MeterName;
  /** As configured. */
  limit: Limit;
  /** As it is now: configured, followed or learned; null: nothing was learned yet, or a ramp at rest. */
  inForce: Limit | null;
  /** Of a bucket the burst, otherwise the amount. */
  capacity: number;
  /** Rounded up. */
  used: number;
  /** Rounded down; negative in debt. */
  remaining: number;
  /** Milliseconds until nothing is used, if nobody comes; Infinity for concurrency. */
  reset: number;
}

/** A limiter now. */
export interface Status {
  limits: Usage[];
  /** Permits out. Those that were dropped count until they are found: see Permit. */
  active: number;
  /** How many wait. */
  queued: number;
  /** Admitted in the last 60 to 62 s. */
  requestsLastMinute: number;
  /** Requests with a good answer, ... */
  succeeded: number;
  /** ... without one, ... */
  failed: number;
  /** ... tried again, by retry() or by an SDK of OpenAI or Anthropic that is limited, ... */
  retried: number;
  /** ... and refused by the server (429), which are not counted as failed. */
  refused: number;
}

/** What to keep of a calendar quota over a restart. */
export interface SavedQuota {
  meter: MeterName;
  /** Milliseconds of a period; null: a month. */
  length: number | null;
  utcOffset: number;
  period: number;
  used: number;
}

/**
 * What was taken from a limiter, to be settled or cancelled once. `using` and `await using` settle it at the end of the
 * block, with the estimate, if it is still out.
 *
 * One that is dropped is settled with its estimate when it is collected, once somebody is kept out. That matters only
 * under a concurrency limit, or until the first answer of a limit that is learned: there it keeps others out until
 * then. Permits are watched in groups, of at most 256 that were given one after another: one that was dropped is found
 * when all others of its group have ended or were dropped too.
 */
export class Permit {
  private constructor();
  /** What was estimated. */
  readonly cost: FullCost;
  readonly state: 'out' | 'settled' | 'cancelled';
  /** Milliseconds in the queue. */
  readonly waited: number;
  /** The limiter that gave it. */
  readonly limiter: Limiter;
  /**
   * Ends the permit with what was used in fact; a meter that is not named, or is undefined, was used as estimated. The
   * difference is given back or charged: more than estimated is a debt, which delays others. Never blocks.
   *
   * Throws an Error with code 'RLIMIT_SETTLED' if it was settled or cancelled before, RangeError or TypeError naming
   * the field. In status() the request counts as succeeded, unless observe() was told otherwise of this permit:
   * `limiter.observe({ outcome: 'failed' }, permit)`.
   *
   *     permit.settle({ inputTokens: reply?.usage.input_tokens, outputTokens: reply?.usage.output_tokens });
   */
  settle(actual?: Cost): void;
  /** Ends the permit and gives everything back: the request was never sent. Never blocks. Throws as settle. */
  cancel(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Several limits as one decision, and the queue before them.
 *
 *     const claude = new Limiter({ requests: perMinute(50), inputTokens: perMinute(80_000),
 *       outputTokens: perMinute(16_000), concurrency: 10 });
 *
 *     const permit = await claude.acquire({ inputTokens: 1200, outputTokens: 400 },
 *       { signal, priority: 'high', timeout: 30_000 });
 *     let reply;
 *     try {
 *       reply = await client.messages.create(...);
 *     } finally {
 *       permit.settle({ inputTokens: reply?.usage.input_tokens, outputTokens: reply?.usage.output_tokens });
 *     }
 *
 * At most 12 limits. A limiter belongs to the thread that made it; a worker makes its own.
 */
export class Limiter {
  /** Throws RangeError or TypeError naming field and value; LimitError for a limit that is out of range. */
  constructor(options: LimiterOptions);
  /** As configured. */
  readonly limits: readonly Limit[];
  /** What each of them counts. */
  readonly meters: readonly MeterName[];
  readonly name: string | null;
  readonly provider: Provider | null;
  readonly clock: Clock | undefined;
  readonly closed: boolean;
  /**
   * Takes the cost from every limit, or from none: then, or if anybody waits in the queue, null. Never blocks.
   *
   * Throws NeverAdmittedError if the cost is larger than a limit, ClosedError, RangeError or TypeError naming the
   * field.
   */
  tryAcquire(cost?: Cost): Permit | null;
  /**
   * Waits until the cost can be taken from every limit, in the order of priorities and of coming. Where there is room
   * it waits for nothing. Cancelled at any point it leaves nothing behind.
   *
   * Rejects with signal.reason, AcquireTimeoutError, QueueFullError, NeverAdmittedError, ClosedError; RangeError or
   * TypeError naming the field.
   */
  acquire(cost?: Cost, options?: AcquireOptions): Promise<Permit>;
  /** What tryAcquire would answer, taking nothing. Never blocks. Throws RangeError or TypeError naming the field. */
  check(cost?: Cost): Check;
  /** What is used of each limit, and what has become of requests. Never blocks. */
  status(): Status;
  /**
   * Believes what the server said: what remains there, its limits, its pauses. permit is that of the request it
   * answers, not settled yet. What it says of the request's success is counted when the permit ends, or now without
   * one. Never blocks.
   *
   * Throws TypeError, or an Error with code 'RLIMIT_SETTLED' if the permit is not out.
   *
   *     limiter.observe(parse(response.status, response.headers, body, { provider: 'openai' }).feedback, permit);
   */
  observe(feedback: Feedback | FeedbackValues, permit?: Permit | null): void;
  /**
   * Gives a limit other numbers while in use; what is used stays. Who waits asks again.
   *
   * which: the name of what it counts, if only one limit of that kind and period does; or its index in `limits`. limit:
   * of the same kind; a window's and a calendar's period, guard and zone stay. For 'concurrency' a number will do.
   * Never blocks. Throws RangeError, LimitError or TypeError.
   */
  reconfigure(which: MeterName | number, limit: Limit | number): void;
  /**
   * Admits nothing for so many milliseconds; 0 ends a pause. meter: only what the limits of this meter, or the limit at
   * this index, would have to admit; default: all. Never blocks. Throws RangeError or TypeError.
   */
  pause(ms: number, meter?: MeterName | number): void;
  /**
   * Takes from every limit what was used without a permit: elsewhere, or before a restart, whether it is there or not.
   * The debt delays others. Never blocks. Throws RangeError or TypeError; LimitError if a limit cannot owe that much:
   * then nothing is taken.
   */
  debit(cost: Cost): void;
  /** What to keep of calendar quotas over a restart: an array that JSON can write. */
  save(): SavedQuota[];
  /**
   * Adds what save() told, for each quota of the same meter, length and zone whose period is not over; others are left
   * out.
   */
  restore(saved: readonly SavedQuota[]): void;
  /**
   * The wall clock was set: limits that begin with the minute, day or month follow it. wall: milliseconds since 1970;
   * default: now.
   */
  syncWallClock(wall?: number): void;
  /** Ends all waits, and those to come, with ClosedError. Permits that are out may still be settled. Never blocks. */
  close(): void;
  /**
   * fetch, limited: as limitFetch(limiter), the same function each time. For a client that takes a fetch; for those of
   * OpenAI and Anthropic wrap() is better: their time-outs begin before fetch is called, and would include the wait.
   * Throws TypeError if the limiter counts microdollars or custom units: limitFetch(limiter, { prices }) knows them.
   */
  readonly fetch: typeof globalThis.fetch;
  toString(): string;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}
