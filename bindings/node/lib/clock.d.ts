/**
 * A clock that stands still until advance() or set(): for tests and simulation.
 *
 * Who waits for a limiter with this clock waits until advance() has gone far enough; no real time passes for it and no
 * timer is used, so tests may replace timers as they like.
 *
 *     const clock = new ManualClock();
 *     const limiter = new Limiter({ requests: perMinute(1), clock });
 *     await limiter.acquire();
 *     const second = limiter.acquire();
 *     clock.advance(60_000);
 *     await second;
 */
export class ManualClock {
  /** start: milliseconds since 1970, where calendars begin; 0 to 4,611,686,018,427. Throws RangeError or TypeError. */
  constructor(start?: number);
  /** Milliseconds. */
  readonly now: number;
  /**
   * Moves the time on by so many milliseconds, and wakes whom that concerns: their promises resolve in the microtasks
   * that follow. Returns the new time. Never blocks. Throws RangeError or TypeError.
   */
  advance(ms: number): number;
  /** Sets the time, backwards too, and wakes whom that concerns. Never blocks. Throws RangeError or TypeError. */
  set(ms: number): void;
  /** Resolves once the clock has advanced so far; rejects with signal.reason if that is aborted first. */
  sleep(ms: number, options?: { signal?: AbortSignal | undefined }): Promise<void>;
  toString(): string;
}
