/** How a limit counts. */
export type LimitKind = 'bucket' | 'window' | 'concurrency' | 'calendar';

/**
 * What a limit does when the server says otherwise: 'shrink' follows it below what was configured, and back up; 'fixed'
 * stays; 'follow' follows it both ways; 'learn' knows nothing until the server tells. 'ramp' and 'adapt' are made by
 * ramp() and adaptive().
 */
export type Follow = 'shrink' | 'fixed' | 'follow' | 'learn' | 'ramp' | 'adapt';

/** Other numbers for a limit: see Limit for what they mean. */
export interface LimitParts {
  amount?: number | undefined;
  /** Milliseconds. */
  period?: number | undefined;
  burst?: number | undefined;
  /** Milliseconds. */
  guard?: number | undefined;
  cells?: number | undefined;
  /** Milliseconds east of UTC, whole seconds. */
  utcOffset?: number | undefined;
  /** Of a calendar: the wall clock less the limiter's clock, in milliseconds. By default the limiter knows it. */
  wallOffset?: number | undefined;
  follow?: 'shrink' | 'fixed' | 'follow' | 'learn' | undefined;
}

/**
 * One limit: how much in how long, and how it counts. A value that cannot be changed, made by perMinute(50) and its
 * kin. What it counts is said where it is given to a Limiter, which checks the ranges.
 */
export class Limit {
  private constructor();
  readonly kind: LimitKind;
  /** How much, 1 to 2^40; null: not known yet, to be learned. */
  readonly amount: number | null;
  /** In how long, milliseconds; null for a month and for concurrency. */
  readonly period: number | null;
  /** Of a bucket: what may go at once after a pause. Of adaptive(): where it begins. Else null. */
  readonly burst: number | null;
  /** The largest delay of a request on its way to the server, milliseconds. */
  readonly guard: number;
  /** Of a sliding window: memory, in cells of 24 bytes; 0 is 258. */
  readonly cells: number;
  /** Of a calendar: milliseconds east of UTC. */
  readonly utcOffset: number;
  readonly follow: Follow;
  /** Of adaptive(). */
  readonly least: number;
  /**
   * The same limit with other numbers. Throws RangeError or TypeError naming the field.
   *
   *     perMinute(50).replace({ burst: 5 })
   */
  replace(parts: LimitParts): Limit;
  /** Whether all numbers are the same. */
  equals(other: unknown): boolean;
  /** The call that makes it: "perMinute(50)". */
  toString(): string;
}

export interface BucketOptions {
  /** What may go at once after a pause, 1 to 2^40: the amount. */
  burst?: number | undefined;
  /** The largest delay of a request on its way to the server, milliseconds, up to the period: 0. */
  guard?: number | undefined;
}

/**
 * A token bucket: amount (1 to 2^40) in so many milliseconds (up to 417 days), refilled continuously. Throws RangeError
 * or TypeError naming the field; ranges are checked by the Limiter it is given to.
 *
 *     per(100, 10_000, { burst: 20 })
 */
export function per(amount: number, ms: number, options?: BucketOptions): Limit;
/** As per(amount, 1000). */
export function perSecond(amount: number, options?: BucketOptions): Limit;
/** As per(amount, 60_000). */
export function perMinute(amount: number, options?: BucketOptions): Limit;
/** As per(amount, 3_600_000). */
export function perHour(amount: number, options?: BucketOptions): Limit;
/** As per(amount, 86_400_000), refilled continuously. For a quota that begins anew at midnight see calendarDay. */
export function perDay(amount: number, options?: BucketOptions): Limit;

export interface WindowOptions {
  /**
   * Memory, in cells of 24 bytes: 3 to 65536, or 0 for 258. With amount + 2 or more it is exact; with fewer it counts
   * up to one slot of ms / (cells - 2) too long. A Limiter has 1056 in all.
   */
  cells?: number | undefined;
  /** Milliseconds, as for a bucket. */
  guard?: number | undefined;
}

/**
 * A sliding window: never more than amount in any so many milliseconds. It satisfies a server that keeps a bucket or a
 * fixed window too.
 *
 *     sliding(100, 60_000)
 */
export function sliding(amount: number, ms: number, options?: WindowOptions): Limit;

export interface CalendarOptions {
  /** Milliseconds east of UTC, whole seconds within a day (Pacific standard time: -28_800_000): 0. */
  utcOffset?: number | undefined;
  /** Milliseconds, less than the period: admits nothing in its last guard milliseconds. 0. */
  guard?: number | undefined;
}

/** A quota that begins anew at each multiple of so many milliseconds of the wall clock. */
export function fixed(amount: number, ms: number, options?: CalendarOptions): Limit;
/** A quota that begins anew at midnight. */
export function calendarDay(amount: number, options?: CalendarOptions): Limit;
/** A quota that begins anew on the first of the month. */
export function calendarMonth(amount: number, options?: Pick<CalendarOptions, 'utcOffset'>): Limit;

/**
 * A bucket of which nothing is known but how long its period usually is (60,000 ms): learned from what the server says.
 * Until the first answer was observed one permit is out at a time.
 */
export function learned(ms?: number): Limit;

/** A cap on permits out at once, 1 to 2^31. `new Limiter({ concurrency: 10 })` is short for it. */
export function concurrent(amount: number): Limit;

/**
 * A cap on permits out at once that moves between least (1) and most (64), both 1 to 2^31: it grows while answers take
 * no longer for it, and shrinks when the server is overloaded. It begins at `begin` (8), within least and most.
 *
 *     new Limiter({ concurrency: adaptive({ least: 4, most: 64 }) })
 */
export function adaptive(options?: { least?: number | undefined; most?: number | undefined;
  begin?: number | undefined }): Limit;

/**
 * No limit until the server says that load was raised too fast: then requests go back to the pace before, are held
 * there for hold milliseconds (900,000), and climb by a quarter a minute; never below floor (15) requests in hold
 * milliseconds.
 */
export function ramp(options?: { floor?: number | undefined; hold?: number | undefined }): Limit;
