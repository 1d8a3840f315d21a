import type { IntegrationOptions } from './call';
import type { Limiter } from './limiter';

/** A middleware of @anthropic-ai/sdk. */
export type AnthropicMiddleware = (request: any, next: (request: any) => Promise<Response>) => Promise<Response>;

/**
 * A limiter as middleware of @anthropic-ai/sdk (0.101 and later): does what wrap() does, for each attempt that reaches
 * it. Put it last, so that what others send again passes here.
 *
 *     const client = new Anthropic({ middleware: [anthropicMiddleware(limiter)] });
 *
 * If you retry yourself (retry()), switch the SDK's off: new Anthropic({ maxRetries: 0, middleware: [...] }).
 *
 * Requests reject with AcquireTimeoutError, QueueFullError, NeverAdmittedError and ClosedError as they are. Throws
 * TypeError or RangeError that names the option.
 */
export function anthropicMiddleware(limiter: Limiter, options?: IntegrationOptions): AnthropicMiddleware;
