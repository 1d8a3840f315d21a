import type { Limit } from './limit';
import type { Problem } from './config';

/** What a limit counts, as Limiter names it. */
export type MeterName = 'requests' | 'inputTokens' | 'outputTokens' | 'tokens' | 'microdollars' | 'custom' |
  'concurrency' | 'ramp';

/**
 * A limit, an amount or an argument is out of range. The message names field and value; `code` is the status of C:
 * 'RLM_E_AMOUNT', 'RLM_E_PERIOD', 'RLM_E_BURST' ...
 */
export class LimitError extends RangeError {
  constructor(message: string, code: string);
  readonly code: string;
}

/** What the errors of acquire() tell. */
export interface AcquireErrorDetails {
  /** The limit that binds, as configured; null if none does: others wait before. */
  readonly limit: Limit | null;
  /** What it counts. */
  readonly meter: MeterName | null;
  /** Milliseconds in the queue. */
  readonly waited: number;
}

/** The timeout of acquire() passed in the queue. Nothing was taken. */
export class AcquireTimeoutError extends Error implements AcquireErrorDetails {
  constructor(message: string, details?: Partial<AcquireErrorDetails>);
  readonly code: 'RLIMIT_TIMEOUT';
  readonly limit: Limit | null;
  readonly meter: MeterName | null;
  readonly waited: number;
}

/** As many wait as the limiter's `queue` allows. Nothing was taken. */
export class QueueFullError extends Error implements AcquireErrorDetails {
  constructor(message: string, details?: Partial<AcquireErrorDetails>);
  readonly code: 'RLIMIT_QUEUE_FULL';
  readonly limit: Limit | null;
  readonly meter: MeterName | null;
  readonly waited: number;
}

/** The cost is larger than a limit: waiting does not help. `limit` and `meter` say which. */
export class NeverAdmittedError extends RangeError implements AcquireErrorDetails {
  constructor(message: string, details?: Partial<AcquireErrorDetails>);
  readonly code: 'RLIMIT_NEVER';
  readonly limit: Limit | null;
  readonly meter: MeterName | null;
  readonly waited: number;
}

/** The limiter was closed. Nothing was taken. */
export class ClosedError extends Error implements AcquireErrorDetails {
  constructor(message?: string, details?: Partial<AcquireErrorDetails>);
  readonly code: 'RLIMIT_CLOSED';
  readonly limit: Limit | null;
  readonly meter: MeterName | null;
  readonly waited: number;
}

/** What is wrong with a configuration: all of it, a line each. */
export class ConfigError extends RangeError {
  constructor(file: string, problems: readonly Problem[]);
  readonly code: 'RLIMIT_CONFIG';
  /** The name of the file. */
  readonly file: string;
  /** Of each the key, the value as in the file, and what it must be. Secrets are not shown. */
  readonly problems: readonly Problem[];
}
