import type { Limit } from './limit';

/**
 * The single pieces. Amounts are whole numbers, times bigints of nanoseconds (or numbers, up to 2^53); `now` absent is
 * the system's monotonic clock. Waits are bigints: 0n admitted, NEVER larger than the limit, ON_RELEASE only when
 * something is released, else nanoseconds after which it would be admitted. None blocks. They throw LimitError for bad
 * limits and amounts.
 */
export type Nanoseconds = bigint | number;

/** As it is now. remaining is negative in debt. */
export type PieceUsage = [limit: number, used: number, remaining: number, resetNs: bigint];

/** One token bucket: limit is per(amount, ms) or its kin. */
export class Bucket {
  constructor(limit: Limit, now?: Nanoseconds);
  /** Takes n (1), or nothing. */
  take(n?: number | bigint, now?: Nanoseconds): bigint;
  /** Answers as take would, and takes nothing. */
  peek(n?: number | bigint, now?: Nanoseconds): bigint;
  /** Takes n now, to be used after the answer: a place in line. An answer above maxWait, or NEVER, took nothing. */
  reserve(n?: number | bigint, maxWait?: Nanoseconds, now?: Nanoseconds): bigint;
  /** Gives n back, up to the burst. */
  credit(n?: number | bigint, now?: Nanoseconds): void;
  /** Takes n whether it is there or not. */
  debit(n?: number | bigint, now?: Nanoseconds): void;
  status(now?: Nanoseconds): PieceUsage;
  /** Gives it new numbers; what is used stays. */
  reconfigure(limit: Limit, now?: Nanoseconds): void;
}

/** One sliding window: limit is sliding(amount, ms). */
export class Window {
  constructor(limit: Limit, now?: Nanoseconds);
  /** Takes n (1) if wait is 0n; credit(n, mark) gives some of it back. */
  take(n?: number | bigint, now?: Nanoseconds): [wait: bigint, mark: bigint];
  peek(n?: number | bigint, now?: Nanoseconds): bigint;
  /** Gives n back to the take that this mark is of, while it still counts. */
  credit(n: number | bigint, mark: bigint): void;
  debit(n?: number | bigint, now?: Nanoseconds): void;
  status(now?: Nanoseconds): PieceUsage;
  reconfigure(limit: Limit, now?: Nanoseconds): void;
}

/** A cap on how many are out at once: limit is concurrent(amount). */
export class Concurrency {
  constructor(limit: Limit);
  take(n?: number | bigint): bigint;
  peek(n?: number | bigint): bigint;
  /** Gives n (1) back. Throws LimitError if fewer are out: then none was. */
  release(n?: number | bigint): void;
  status(): PieceUsage;
  reconfigure(limit: Limit): void;
}

/** A quota that begins anew with the minute, day or month: limit is fixed(), calendarDay() or calendarMonth(). */
export class Calendar {
  constructor(limit: Limit, now?: Nanoseconds);
  take(n?: number | bigint, now?: Nanoseconds): [wait: bigint, mark: bigint];
  peek(n?: number | bigint, now?: Nanoseconds): bigint;
  credit(n: number | bigint, mark: bigint): void;
  debit(n?: number | bigint, now?: Nanoseconds): void;
  status(now?: Nanoseconds): PieceUsage;
  reconfigure(limit: Limit, now?: Nanoseconds): void;
  /** What to keep over a restart. */
  save(): [period: bigint, used: bigint];
  /** Adds what save() told, if its period is not over. */
  restore(saved: readonly [Nanoseconds, Nanoseconds], now?: Nanoseconds): void;
  /** The wall clock (nanoseconds since 1970) was set. */
  sync(wall: Nanoseconds, now?: Nanoseconds): void;
}

/**
 * The bare queue: who is next. data stands for a waiter; priority is 0 (critical) to 3 (low). A Limiter has one inside.
 */
export class Queue {
  constructor(capacity: number, ageing: Nanoseconds);
  /** Returns a handle for remove(). Throws LimitError if it is full. */
  push(data: number | bigint, priority: number, deadline: Nanoseconds | null, now?: Nanoseconds): bigint;
  /** data of who is next, or null. */
  head(): bigint | null;
  /** Takes out one whose deadline has passed, the earliest first: its data, or null. */
  expire(now?: Nanoseconds): bigint | null;
  /** Throws LimitError if it has left already. */
  remove(handle: bigint): void;
  /** The earliest, or null. */
  deadline(): bigint | null;
  count(): number;
}

/** A schedule of delays, as Backoff has inside. What is absent is as usual. Throws LimitError. */
export class BackoffPlan {
  constructor(plan?: { baseNs?: Nanoseconds; capNs?: Nanoseconds; floorNs?: Nanoseconds; retryAfterMaxNs?: Nanoseconds;
    factorPermille?: number; fractionPermille?: number; attemptsMax?: number; jitter?: number;
    baseClassNs?: readonly Nanoseconds[]; leastClassNs?: readonly Nanoseconds[] });
  /** The delays of one request: the same seed gives the same. next() is a delay in nanoseconds, or NEVER. */
  start(seed: number | bigint): { next(errorClass: number, priority: number, retryAfter?: Nanoseconds): bigint };
}
