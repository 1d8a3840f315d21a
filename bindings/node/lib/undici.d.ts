import type { IntegrationOptions } from './call';
import type { Limiter } from './limiter';

/** An interceptor, for `compose()` of any dispatcher of undici 6 and later. */
export type UndiciInterceptor = (dispatch: any) => (options: any, handler: any) => boolean;

/**
 * Lets every request of a dispatcher wait for a limiter.
 *
 *     const agent = new Agent().compose(undiciInterceptor(limiter), interceptors.retry({ methods: ['GET', 'POST'] }));
 *     const { body } = await request(url, { dispatcher: agent, method: 'POST', body: JSON.stringify(question) });
 *
 * Later interceptors of compose() are outside of earlier ones: with retry() or redirect() after it, as here, each
 * attempt and each hop waits and pays; with them before it, a request pays once.
 *
 * Wait         outside undici's time-outs. An abort ends it
 * Estimate     from a JSON body as a string or bytes; others count as one request, and so do those of fetch, which
 *              undici is given as streams: use limiter.fetch for them, or the option cost
 * Hold         the permit counts as in flight until the body has been read or destroyed. undici does not say that a
 *              body was forgotten: read it, or `await body.dump()`
 * Settle       as limitFetch does; compressed bodies too, where Node has the decoder
 *
 * Requests fail with AcquireTimeoutError, QueueFullError, NeverAdmittedError and ClosedError before anything is sent;
 * fetch has them as the `cause` of its TypeError. Throws TypeError or RangeError that names the option.
 */
export function undiciInterceptor(limiter: Limiter, options?: IntegrationOptions): UndiciInterceptor;
