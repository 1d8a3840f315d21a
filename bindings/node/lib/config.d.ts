import type { ModelPrices, RequestCost, RequestCostOptions } from './estimate';
import type { Limiter, LimiterOptions } from './limiter';

/** One thing wrong with a configuration. */
export interface Problem {
  /** Where: 'tiers.standard.requests_per_minute'; '' for the file. */
  readonly key: string;
  /** As in the file; '' where there is none. Secrets are not shown. */
  readonly value: string;
  /** What it must be. */
  readonly message: string;
  /** Where it is in a TOML file, from 1; 0: not known, or the file as a whole. */
  readonly line: number;
  toString(): string;
}

/** A tier as the file has it. */
export class Tier {
  protected constructor();
  /** As in the file. */
  readonly name: string;
  /** The options of its Limiter. */
  readonly options: Readonly<LimiterOptions>;
  /** A new limiter of this tier, each time another. options override those of the file: clock, name ... */
  limiter(options?: Partial<LimiterOptions>): Limiter;
}

/** A model as the file has it: a tier with what it overrides, and what else is known of it. */
export class Model extends Tier {
  private constructor();
  /** The name that the server knows; that in the file if it does not say. */
  readonly id: string;
  readonly tier: string | null;
  /** Models of one pool share a limiter. */
  readonly pool: string | null;
  readonly baseUrl: string | null;
  /** Which environment variable has the key. */
  readonly apiKeyEnv: string | null;
  /** Dollars for a million tokens. */
  readonly inputPrice: number | null;
  readonly outputPrice: number | null;
  /** Both, for the `prices` of wrap() and the like, one that is not in the file being 0; null if neither is. */
  readonly prices: ModelPrices | null;
  readonly contextTokens: number | null;
  readonly maxOutputTokens: number | null;
  /** Names of models to turn to, in order. */
  readonly fallback: readonly string[];
  /** Whose rules apply. */
  readonly provider: string | null;
  /**
   * The key, read from the environment each time; null if the file names no variable. Throws ConfigError if it is not
   * set. Not shown by console.log, nor written by JSON.stringify.
   */
  readonly apiKey: string | null;
  /**
   * requestCost(body) by the rules of this model's provider, with microdollars if the file has its prices. Throws as
   * requestCost does.
   *
   *     const permit = await limiter.acquire(config.models['claude-sonnet'].cost(body));
   */
  cost(body: object | string | Uint8Array, options?: RequestCostOptions): RequestCost;
}

/** A file, as load() read it, or an object, as configure() did. */
export class Config {
  private constructor();
  /** Its name. */
  readonly path: string;
  /** By name. An object without a prototype: any name will do. */
  readonly tiers: Readonly<Record<string, Tier>>;
  readonly models: Readonly<Record<string, Model>>;
  /**
   * The limiter of a model, or of a tier: the same each time, and for all models of a pool.
   *
   * options are for the first time: clock, queue ... override the file's. ConfigError for a name that the file does not
   * have; RangeError for options when the limiter is there already; TypeError for a name that is no string.
   */
  limiter(name: string, options?: Partial<LimiterOptions>): Limiter;
}

export interface ConfigureOptions {
  /** Where the variables that `api_key_env` names are looked up; process.env by default. */
  environ?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * Whether those variables must be set now: the key of a model that is missing is said here, not at the first call.
   * true.
   */
  secrets?: boolean | undefined;
}

export interface LoadOptions extends ConfigureOptions {
  /**
   * Reads the text into an object; by default JSON.parse for .json, and smol-toml, which must be installed, for others.
   */
  parse?: ((text: string) => unknown) | undefined;
}

/**
 * Reads tiers and models from a file: JSON if its name ends in .json, else TOML. The same files serve every language.
 *
 * Keys of a tier, and of a model, which overrides its tier's:
 *
 *     requests_per_minute = 50        also input_tokens, output_tokens, tokens, microdollars, dollars, custom; per
 *                                     second, minute, hour, day; and _per_calendar_day, _per_calendar_month: from
 *                                     midnight, from the first. A number, or { amount, burst, guard, policy, follow,
 *                                     utc_offset }: guard and utc_offset in seconds, burst of a bucket
 *     concurrency = 10                or { least = 1, most = 64 }: adaptive
 *     ramp = true                     or { floor = 15, hold = 900 }: seconds
 *     policy = "bucket"               or "sliding", "fixed": of all limits that do not say otherwise
 *     guard = 0.05                    seconds, less than the period: likewise
 *     provider = "anthropic"          what is not given is learned by its rules
 *     queue = 10000, ageing = 30.0    see Limiter; ageing in seconds
 *
 * Of a model besides: tier, id, base_url, api_key_env, input_price and output_price (dollars for a million tokens; with
 * a limit of dollars or microdollars, its tier's included, both must be there), context_tokens, max_output_tokens,
 * fallback (names of models), pool (models that share a limiter).
 *
 * Throws ConfigError, which tells all errors at once; the file system's error if the file cannot be read; an Error with
 * code 'RLIMIT_NOT_INSTALLED' for TOML without smol-toml.
 *
 *     const claude = load('limits.toml').limiter('claude-sonnet');
 */
export function load(source: string | URL, options?: LoadOptions): Config;

/**
 * The same of an object with `tiers` and `models`, whose keys and units are the file's. name: for messages.
 *
 *     configure({ tiers: { standard: { requests_per_minute: 50, concurrency: 10 } } }).limiter('standard');
 */
export function configure(document: object, options?: ConfigureOptions & { name?: string | undefined }): Config;
