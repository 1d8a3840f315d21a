import type { Cost, Route } from './limiter';

/** How texts are counted without a tokenizer: four characters a token, or 1.3 tokens a word; both rounded up. */
export type TokenRule = 'characters' | 'words';

/** What a tokenizer returns: a number, or the tokens. */
export type Tokens = number | ArrayLike<unknown> | ReadonlySet<unknown>;

/**
 * Counts exactly: a function of a text that returns a number or the tokens, or an object with a method `encode`, such
 * as `getEncoding('o200k_base')` of js-tiktoken or the module gpt-tokenizer. By such an object, text that looks like a
 * special token ("<|endoftext|>") is counted as text.
 */
export type Tokenizer = ((text: string) => Tokens) | { encode(text: string, ...more: any[]): Tokens };

export interface EstimateOptions {
  /** 'characters' by default. Not used with a tokenizer. */
  rule?: TokenRule | undefined;
  tokenizer?: Tokenizer | null | undefined;
}

/**
 * About how many tokens a text has; 0 for an empty one. A character is a code point.
 *
 * Throws TypeError for a text or tokenizer of another kind, RangeError for another rule.
 *
 *     estimateTokens('How do I reset my password?')                      // 7
 *     estimateTokens('How do I reset my password?', { rule: 'words' })   // 8
 */
export function estimateTokens(text: string, options?: EstimateOptions): number;

/** Prices in dollars for a million tokens, as price lists have them. One that is not given is 0. */
export interface Prices {
  inputPrice?: number | undefined;
  outputPrice?: number | undefined;
}

/** Both prices of a model, in dollars for a million tokens; 0 where nothing is charged. */
export interface ModelPrices {
  readonly inputPrice: number;
  readonly outputPrice: number;
}

export interface RequestCostOptions extends EstimateOptions, Prices {
  /** Whose rules apply: 'openai', 'anthropic' ...; by default 'generic', which reserves the maximum of the output. */
  provider?: string | null | undefined;
  /** A Route that has learned what such requests cost: corrects the estimate. */
  route?: Pick<Route, 'estimate'> | null | undefined;
  /**
   * Tokens of an answer, where the provider does not reserve the maximum or none is named. By default the maximum;
   * where none is named, 256.
   */
  expectedOutput?: number | null | undefined;
}

/** A cost that is never without its requests. */
export type RequestCost = Readonly<Cost> & { readonly requests: number };

/**
 * What a request costs, from its body, as the server counts it at admission: to be given to acquire(). Frozen; holds
 * `requests` always, and the other meters that are not 0.
 *
 * body: an object, or JSON as a string or bytes: chat completions, responses, completions and embeddings of OpenAI and
 * its likes, Anthropic messages, Gemini contents, Bedrock converse.
 *
 * Counted as input: all texts of messages, system and instructions, calls of tools and their results; tools and schemas
 * of answers as JSON. A tokenizer adds 3 tokens a message and 3 for the reply. An image is 1,600 tokens (85 with detail
 * "low"), audio a token for 1,600 bytes, other files one for 50 bytes but at least 1,600; a file named by URL or id is
 * 1,600. What the server adds by itself (an earlier response, a stored prompt) is not known here. As output:
 * max_completion_tokens, max_output_tokens or max_tokens, times `n`. With a price, microdollars too: see priced().
 *
 * Throws RangeError for a body that is none of these, JSON that is none, or a provider that is not known; TypeError for
 * a body of another type.
 *
 *     requestCost({ messages: [{ role: 'user', content: 'Hello, who are you?' }], max_tokens: 100 })
 *     // { requests: 1, inputTokens: 5, outputTokens: 100 }
 */
export function requestCost(body: object | string | Uint8Array, options?: RequestCostOptions): RequestCost;

/**
 * The same cost with its microdollars, rounded up; prices count exactly as they are written. Throws RangeError for a
 * price that is negative or above 10^9, TypeError for one that is no number.
 *
 *     priced({ inputTokens: 1000, outputTokens: 100 }, { inputPrice: 3, outputPrice: 15 }).microdollars   // 4500
 */
export function priced(cost: Cost, prices: Prices): RequestCost;
