import type { Tokenizer } from './estimate';
import type { Cost, Priority, Provider } from './limiter';

/** What a cost function is given. */
export interface LimitedRequest {
  readonly method: string;
  readonly url: string;
  /**
   * The JSON value of the body if it is that, else the string or bytes; null if there is none; undefined if it can be read
   * once only.
   */
  readonly body: any;
}

/** Options that all integrations have. */
export interface IntegrationOptions {
  /**
   * Whose headers and charges. By default the limiter's, else known by the host, else the client's own, else 'generic'.
   * For a relay that gives back what was not used of max_tokens: 'litellm'.
   */
  provider?: Provider | undefined;
  /** 'normal' by default. */
  priority?: Priority | undefined;
  /** Milliseconds in the limiter's queue, then AcquireTimeoutError. By default without end. */
  queueTimeout?: number | undefined;
  /**
   * What a request costs, for example { inputTokens: 900, outputTokens: 200 } (requests is 1 if not in it), or null to
   * let it pass without the limiter. By default requestCost() of a JSON body; one request otherwise. What it throws
   * rejects the request.
   */
  cost?: ((request: LimitedRequest) => Cost | null | undefined) | undefined;
  /** As of estimateTokens. */
  tokenizer?: Tokenizer | undefined;
  /** Whether the server charges the maximum of the output when it admits a request. By default as the provider does. */
  reservesOutput?: boolean | undefined;
}
