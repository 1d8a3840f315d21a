import type { IntegrationOptions } from './call';
import type { Limiter } from './limiter';

export interface WrapOptions extends IntegrationOptions {
  /** How often the SDK retries: 0 if you do (retry()). By default as the client has it (2). */
  retries?: number | undefined;
}

/**
 * What wrap() needs: clients of openai (5 and later), @anthropic-ai/sdk, and theirs of Azure, Bedrock, Vertex have it.
 */
export interface WrappableClient {
  maxRetries: number;
  withOptions(options: any): any;
}

/**
 * A client of openai or @anthropic-ai/sdk, limited from now on, with the copies that withOptions() makes of it
 * afterwards. Returns the same client. Calling it again changes the limiter.
 *
 *     const client = wrap(new OpenAI(), new Limiter({ provider: 'openai' }));
 *     const reply = await client.chat.completions.create({ model, messages, max_tokens: 400 });
 *
 * Estimate     from the body: input by its characters (or tokenizer), output by its maximum, or as learned where the
 *              provider does not charge the maximum
 * Wait         in the limiter's queue, outside all time-outs of the SDK. A request's `signal` ends it:
 *              APIUserAbortError, as ever
 * Settle       with the usage of the response. OpenAI tells that of a stream only if asked: stream_options: {
 *              include_usage: true }; else the estimate stands, or the number of deltas if that is more
 * Hold         the permit counts as in flight until the body has been read, or the stream left (`break`, abort,
 *              cancel()) or collected as garbage
 * Retries      the SDK retries (408, 409, 429, 5xx, connection errors). Each of its attempts waits, and pays. Let one
 *              own them: retries: 0 switches the SDK's off
 * Errors       AcquireTimeoutError, QueueFullError, NeverAdmittedError and ClosedError pass through the SDK as they
 *              are, and are not retried
 *
 * Throws TypeError for what is not a client or has a limiter already, TypeError or RangeError that names the option.
 */
export function wrap<C extends WrappableClient>(client: C, limiter: Limiter, options?: WrapOptions): C;
