import type { TokenUsage } from './feedback';

/** The usage in a JSON body, a string or bytes; undefined if there is none, or the body is not JSON. */
export function usageOf(body: unknown): TokenUsage | undefined;
