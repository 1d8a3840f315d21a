import type { ModelPrices, Tokenizer } from './estimate';
import type { Cost, Priority, Provider } from './limiter';

/** What a cost function is given. */
export interface LimitedRequest {
  readonly method: string;
  readonly url: string;
  /**
   * The JSON value of the body if it is that, else the string or bytes; null if there is none; undefined if it can be
   * read once only.
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
  /**
   * Dollars for a million tokens: { inputPrice: 3, outputPrice: 15 }, or an object of such by the model that a request
   * names, '*' for all others. What a limiter of microdollars is charged by; it needs this or `cost`, and TypeError
   * says so at once. (A limiter of custom units needs `cost`.) Of a model, config.models[name].prices.
   *
   * A request whose price is not known rejects with a RangeError, and is not sent: its model is not here, or its tokens
   * cannot be estimated. Charged are the input, with what was read from a cache, which costs less in fact, and twice
   * what was written to one, the most that is asked for it; and the output. So it is an upper bound, but for what is
   * priced apart from tokens (searches, images), and for batches, which are not charged. With `cost`, what that
   * function says, if it names microdollars or no tokens.
   */
  prices?: ModelPrices | { readonly [model: string]: ModelPrices } | null | undefined;
  /** As of estimateTokens. */
  tokenizer?: Tokenizer | undefined;
  /** Whether the server charges the maximum of the output when it admits a request. By default as the provider does. */
  reservesOutput?: boolean | undefined;
}
