/**
 * Rate limiting for callers of metered APIs: use all of a quota and never exceed it.
 *
 *     import { Limiter, perMinute } from 'rlimit';
 *
 *     const claude = new Limiter({ requests: perMinute(50), inputTokens: perMinute(80_000),
 *       outputTokens: perMinute(16_000), concurrency: 10 });
 *     const permit = await claude.acquire({ inputTokens: 1200, outputTokens: 400 });
 *
 * All times are milliseconds, except where nanoseconds are bigints (Bucket and its kin).
 */

import type { Provider } from './lib/feedback';

/** The version of the package and of the header inside. */
export const VERSION: string;
/** The providers whose rules are known. */
export const PROVIDERS: readonly Provider[];
/** The most limits that a Limiter has. */
export const LIMITS_MAX: number;
/** A wait of the single pieces: larger than the limit, waiting does not help. */
export const NEVER: bigint;
/** A wait of the single pieces: only when something is released. */
export const ON_RELEASE: bigint;
/**
 * The system's monotonic clock in nanoseconds; it counts time spent suspended where the system can tell. Never blocks.
 */
export function now(): bigint;
/** As now(), faster, with a resolution of 1 to 16 ms. Do not mix the two. */
export function nowCoarse(): bigint;
/** Nanoseconds since 1970 UTC, of the wall clock. */
export function wall(): bigint;

export * from './lib/limiter';
export * from './lib/limit';
export * from './lib/clock';
export * from './lib/errors';
export * from './lib/feedback';
export * from './lib/pieces';
export * from './lib/estimate';
export * from './lib/retry';
export * from './lib/map';
export * from './lib/config';
export * from './lib/fetch';
export * from './lib/wrap';
export * from './lib/undici';
export * from './lib/middleware';
